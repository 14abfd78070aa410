//! A histogram with the quantiles that people ask for.

use serde::Serialize;

/// Bins of a histogram.
const BINS: usize = 16;

/// Counts of a quantity in equal bins.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Histogram {
    /// The unit; empty for shares.
    pub unit: &'static str,
    /// The lower end of the first bin.
    pub from: f64,
    /// The upper end of the last bin, which includes it.
    pub to: f64,
    /// Values in each bin.
    pub counts: Vec<u64>,
    /// The mean.
    pub mean: f64,
    /// Minimum, 25%, 50%, 75%, 99% and maximum.
    pub quantiles: [f64; 6],
}

impl Histogram {
    /// Of `values`, between `range` or the smallest and largest value. Without values everything is zero.
    pub(super) fn of(unit: &'static str, values: &[f64], range: Option<(f64, f64)>) -> Self {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let [(Some(low), Some(high))] = [(sorted.first().copied(), sorted.last().copied())] else {
            return Self { unit, from: 0.0, to: 0.0, counts: vec![0; BINS], mean: 0.0, quantiles: [0.0; 6] };
        };
        let (from, to) = range.unwrap_or((low, high));
        let width = ((to - from) / BINS as f64).max(f64::MIN_POSITIVE);
        let mut counts = vec![0; BINS];
        for value in &sorted {
            // A negative or too large quotient saturates into the outer bins.
            counts[(((value - from) / width) as usize).min(BINS - 1)] += 1;
        }
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        let quantiles = [0.0, 0.25, 0.5, 0.75, 0.99, 1.0].map(|q| quantile(&sorted, q));
        Self { unit, from, to, counts, mean, quantiles }
    }
}

/// Linear between the neighbouring ranks of `sorted`, which has values.
pub(super) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    below + (above - below) * rank.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_finite_value_once() {
        let values: Vec<f64> = (0..100).map(f64::from).chain([f64::NAN]).collect();
        let histogram = Histogram::of("s", &values, None);
        assert_eq!(histogram.counts.iter().sum::<u64>(), 100);
        assert_eq!((histogram.from, histogram.to, histogram.mean), (0.0, 99.0, 49.5));
        assert_eq!(histogram.quantiles[2], 49.5);
        assert_eq!(Histogram::of("s", &[3.0], None).counts.iter().sum::<u64>(), 1);
        assert_eq!(Histogram::of("s", &[], None).counts.iter().sum::<u64>(), 0);
    }
}
