//! Wilson's score interval for a proportion, at 95%: what [`wilson_low`](super::wilson_low) and
//! [`wilson_high`](super::wilson_high) return one end of.
//!
//! With p = k / n and z = 1.96 it is (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n). Unlike p ± z √(p(1-p)/n) it is
//! honest at 0 and 1, where the interval of a policy that never fell in 300 rollouts is not a point.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Builder};
use arrow::datatypes::Int64Type;
use datafusion::common::{Result, exec_err};

/// The 97.5% quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Both ends for `k` successes of `n` > 0 trials.
pub(crate) fn interval(k: i64, n: i64) -> (f64, f64) {
    let (n, p) = (n as f64, k as f64 / n as f64);
    let centre = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    // Rounding may put an end a hair outside.
    (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0))
}

/// One end, row by row; null where an argument is null or there were no trials.
pub(super) fn ends(name: &str, args: &[ArrayRef], end: fn((f64, f64)) -> f64) -> Result<ArrayRef> {
    let (successes, trials) = (args[0].as_primitive::<Int64Type>(), args[1].as_primitive::<Int64Type>());
    let mut ends = Float64Builder::with_capacity(successes.len());
    for (k, n) in successes.iter().zip(trials) {
        match (k, n) {
            (Some(k), Some(n)) if k < 0 || k > n => {
                return exec_err!("{name}: {k} successes of {n} trials");
            }
            (Some(k), Some(n)) if n > 0 => ends.append_value(end(interval(k, n))),
            _ => ends.append_null(),
        }
    }
    Ok(Arc::new(ends.finish()))
}

#[cfg(test)]
mod tests {
    use super::interval;

    #[test]
    fn agrees_with_published_values() {
        // Newcombe 1998, table I, method 3 (score): 81/263, 15/148, 0/20, 1/29.
        let published =
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)];
        for (k, n, low, high) in published {
            let found = interval(k, n);
            assert!((found.0 - low).abs() < 5e-5 && (found.1 - high).abs() < 5e-5, "{k}/{n}: {found:?}");
        }
        let mirrored = interval(20, 20);
        assert_eq!(mirrored.1, 1.0);
        assert!((mirrored.0 - (1.0 - 0.1611)).abs() < 5e-5);
    }
}
