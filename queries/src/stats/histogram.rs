//! A histogram with the quantiles that people ask for.

use serde::Serialize;

/// Bins of a histogram at most.
const BINS: usize = 16;
/// The quantiles that a histogram tells.
pub(super) const QUANTILES: [f64; 7] = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0];

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
    /// Values beyond `to`, which would stretch the bins: a few far ones.
    pub beyond: u64,
    /// The mean.
    pub mean: f64,
    /// Minimum, 5%, 25%, 50%, 75%, 95% and maximum.
    pub quantiles: [f64; 7],
}

impl Histogram {
    /// Of `values`, over `range` or in bins of a round width over where they lie. Without values everything is zero.
    pub(super) fn of(unit: &'static str, values: &[f64], range: Option<(f64, f64)>) -> Self {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let [(Some(low), Some(high))] = [(sorted.first().copied(), sorted.last().copied())] else {
            let zeros = [0.0; 7];
            return Self { unit, from: 0.0, to: 0.0, counts: vec![0; BINS], beyond: 0, mean: 0.0, quantiles: zeros };
        };
        // One episode of a day among many of a minute must not put all of these into one bin.
        let reach = 4.0 * (quantile(&sorted, 0.95) - low) + low;
        let (from, to, bins) = match range {
            Some((from, to)) => (from, to, BINS),
            None if reach > low => rounded(low, sorted[sorted.partition_point(|v| *v <= reach) - 1]),
            None => rounded(low, high),
        };
        let width = ((to - from) / bins as f64).max(f64::MIN_POSITIVE);
        let mut counts = vec![0; bins];
        let mut beyond = 0;
        for value in &sorted {
            match *value > to {
                true => beyond += 1,
                // A negative quotient saturates into the first bin.
                false => counts[(((value - from) / width) as usize).min(bins - 1)] += 1,
            }
        }
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        let quantiles = QUANTILES.map(|q| quantile(&sorted, q));
        Self { unit, from, to, counts, beyond, mean, quantiles }
    }

    /// The lower end of a bin.
    pub fn edge(&self, bin: usize) -> f64 {
        self.from + (self.to - self.from) / self.counts.len().max(1) as f64 * bin as f64
    }
}

/// Bins of a round width (1, 2, 2.5 or 5 times a power of ten) that cover `low..=high`.
fn rounded(low: f64, high: f64) -> (f64, f64, usize) {
    let span = if high > low { high - low } else { low.abs().max(1.0) };
    let least = span / (BINS - 1) as f64;
    let power = 10f64.powf(least.log10().floor());
    let width = [1.0, 2.0, 2.5, 5.0].into_iter().map(|f| f * power).find(|w| *w >= least).unwrap_or(10.0 * power);
    let first = (low / width).floor();
    let bins = (((high / width).floor() - first) as usize + 1).clamp(1, BINS + 1);
    (first * width, (first + bins as f64) * width, bins)
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
        assert_eq!((histogram.from, histogram.to, histogram.mean), (0.0, 100.0, 49.5));
        assert_eq!(histogram.counts, [10; 10]);
        assert_eq!((histogram.quantiles[3], histogram.edge(3)), (49.5, 30.0));
        assert_eq!(Histogram::of("s", &[3.0], None).counts.iter().sum::<u64>(), 1);
        assert_eq!(Histogram::of("s", &[], None).counts.iter().sum::<u64>(), 0);
        let shares = Histogram::of("", &[0.0, 0.5, 1.0], Some((0.0, 1.0)));
        assert_eq!((shares.counts[0], shares.counts[8], shares.counts[15]), (1, 1, 1));
    }

    #[test]
    fn a_far_value_does_not_stretch_the_bins() {
        let values: Vec<f64> = (0..200).map(|i| 30.0 + f64::from(i % 30)).chain([86_400.0]).collect();
        let histogram = Histogram::of("s", &values, None);
        assert_eq!((histogram.beyond, histogram.quantiles[6]), (1, 86_400.0));
        assert!(
            histogram.to < 200.0 && histogram.counts.iter().filter(|count| **count > 0).count() >= 3,
            "{histogram:?}"
        );
    }
}
