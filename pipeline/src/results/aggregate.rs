//! Values of several runs as one: the interquartile mean, and the interval that a bootstrap gives it.
//!
//! The interval answers for two kinds of chance at once: which seeds were drawn (runs are drawn again, with replacement), and, where a value
//! is a share of rollouts, which rollouts were (each drawn run's count is drawn again from its binomial). Three runs are few: the interval
//! is as honest as a percentile bootstrap of three can be, so the worst run stands beside it.

use super::points::Point;
use crate::env::{derive_seed, purpose_seed};
use crate::evaluate::Share;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2000;

/// One place of one series, over all runs that have it.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Which curve, or which group of bars.
    pub series: String,
    /// Where on it.
    pub x: String,
    /// By run.
    pub points: Vec<Point>,
    /// Interquartile mean over the runs.
    pub iqm: f64,
    /// Its 95% interval; none where one run without counts gives none.
    pub interval: Option<(f64, f64)>,
}

impl Cell {
    /// The lowest value of a run.
    pub fn worst(&self) -> f64 {
        self.points.iter().map(|point| point.value).fold(f64::INFINITY, f64::min)
    }

    /// The highest value of a run.
    pub fn best(&self) -> f64 {
        self.points.iter().map(|point| point.value).fold(f64::NEG_INFINITY, f64::max)
    }

    /// The lowest end of the runs' Wilson intervals, where values are shares.
    pub fn worst_low(&self) -> Option<f64> {
        let lows: Option<Vec<f64>> = self.points.iter().map(|p| Some(share(p)?.low)).collect();
        lows.filter(|lows| !lows.is_empty()).map(|lows| lows.into_iter().fold(f64::INFINITY, f64::min))
    }

    /// Counts over all runs, where values are shares.
    pub fn counts(&self) -> Option<(u64, u64)> {
        self.points.iter().try_fold((0, 0), |(count, of), point| point.counts.map(|(c, n)| (count + c, of + n)))
    }
}

/// A run's share with Wilson's interval.
pub fn share(point: &Point) -> Option<Share> {
    point.counts.map(|(count, of)| Share::new(count, of))
}

/// The cells of a claim's points, in the order in which they first come.
pub fn cells(claim: &str, points: Vec<Point>) -> Vec<Cell> {
    let mut groups: Vec<(String, String, Vec<Point>)> = Vec::new();
    for point in points {
        match groups.iter_mut().find(|(series, x, _)| *series == point.series && *x == point.x) {
            Some((_, _, group)) => group.push(point),
            None => groups.push((point.series.clone(), point.x.clone(), vec![point])),
        }
    }
    let cell = |(series, x, points): (String, String, Vec<Point>)| {
        let values: Vec<f64> = points.iter().map(|point| point.value).collect();
        let interval = bootstrap(&points, purpose_seed(0, &format!("{claim}/{series}/{x}")));
        Cell { iqm: iqm(&values), interval, series, x, points }
    };
    groups.into_iter().map(cell).collect()
}

/// The mean of the middle half of `values` (Agarwal et al. 2021, arXiv 2108.13264): a quarter of the weight is taken off each end, of
/// values in part where a quarter is no whole number. NaN for none.
pub fn iqm(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quarter = sorted.len() as f64 / 4.0;
    // Value i has the stretch from i to i + 1; what of it lies within the middle half is its weight.
    let kept = |i: usize| ((i as f64 + 1.0).min(3.0 * quarter) - (i as f64).max(quarter)).max(0.0);
    sorted.iter().enumerate().map(|(i, value)| kept(i) * value).sum::<f64>() / (2.0 * quarter)
}

/// The 2.5% and 97.5% points of the interquartile mean over resampled runs and rollouts.
fn bootstrap(points: &[Point], seed: u64) -> Option<(f64, f64)> {
    if points.len() < 2 && points.iter().any(|point| point.counts.is_none()) {
        return None;
    }
    let shares: Vec<Option<Binomial>> = points
        .iter()
        .map(|point| point.counts.map(|(count, of)| Binomial::new(of, count as f64 / of as f64)))
        .collect();
    let mut draws = 0;
    let mut draw = || {
        draws += 1;
        derive_seed(seed, draws) as f64 / (1u64 << 63) as f64
    };
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let values: Vec<f64> = (0..points.len())
                .map(|_| {
                    let run = ((draw() * points.len() as f64) as usize).min(points.len() - 1);
                    match &shares[run] {
                        Some(binomial) => binomial.share(draw()),
                        None => points[run].value,
                    }
                })
                .collect();
            iqm(&values)
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[(share * (RESAMPLES - 1) as f64).round() as usize];
    Some((at(0.025), at(0.975)))
}

/// Shares of `of` trials, to draw from.
struct Binomial {
    /// P(at most k successes), by k.
    below: Vec<f64>,
}

impl Binomial {
    fn new(of: u64, p: f64) -> Self {
        let n = of as f64;
        // By the logarithm of one term to the next: powers of p alone underflow.
        let mut log = n * (1.0 - p).ln();
        let mut total = 0.0;
        let below = (0..=of)
            .map(|k| {
                let k = k as f64;
                total += match p {
                    0.0 => f64::from(k == 0.0),
                    1.0 => f64::from(k == n),
                    _ => log.exp(),
                };
                log += ((n - k) / (k + 1.0)).ln() + (p / (1.0 - p)).ln();
                total
            })
            .collect();
        Self { below }
    }

    /// The share that `draw` of 0 to 1 falls on.
    fn share(&self, draw: f64) -> f64 {
        let n = self.below.len() - 1;
        let draw = draw * self.below[n];
        self.below.partition_point(|below| *below <= draw).min(n) as f64 / n as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_half_counts() {
        assert_eq!(iqm(&[5.0]), 5.0);
        assert_eq!(iqm(&[1.0, 3.0]), 2.0);
        // A quarter of three values is 0.75: the ends keep 0.25 each, the middle one all of itself.
        assert!((iqm(&[9.0, 1.0, 2.0]) - (0.25 + 2.0 + 0.25 * 9.0) / 1.5).abs() < 1e-12);
        assert_eq!(iqm(&[100.0, 2.0, 4.0, -50.0]), 3.0);
        assert_eq!(iqm(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1000.0]), 3.5);
        assert!(iqm(&[]).is_nan());
    }

    fn point(run: &str, value: f64, counts: Option<(u64, u64)>) -> Point {
        Point { run: run.into(), series: "s".into(), x: "1".into(), value, counts }
    }

    #[test]
    fn binomials_have_their_mean_and_spread() {
        for (of, p) in [(1, 0.5), (300, 0.9), (300, 0.0), (300, 1.0), (4000, 0.01)] {
            let binomial = Binomial::new(of, p);
            let shares: Vec<f64> = (0..10_000).map(|i| binomial.share((i as f64 + 0.5) / 10_000.0)).collect();
            let mean = shares.iter().sum::<f64>() / 1e4;
            let spread = (shares.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e4).sqrt();
            let expected = (p * (1.0 - p) / of as f64).sqrt();
            assert!(
                (mean - p).abs() < 1e-3 && (spread - expected).abs() < 0.02 * expected + 1e-9,
                "{of} {p}: {mean} {spread}"
            );
        }
    }

    #[test]
    fn intervals_know_both_kinds_of_chance() {
        assert_eq!(bootstrap(&[point("", 0.5, None)], 1), None);
        // One run of 300: the binomial's own interval.
        let (low, high) = bootstrap(&[point("", 0.9, Some((270, 300)))], 1).unwrap();
        assert!((low - 0.866).abs() < 0.01 && (high - 0.933).abs() < 0.01, "{low} {high}");
        // Runs that differ widen it beyond that; runs without counts have only their difference.
        let runs = [(240, 0.8), (270, 0.9), (300, 1.0)].map(|(n, value)| point("", value, Some((n, 300))));
        let (low, high) = bootstrap(&runs, 1).unwrap();
        assert!(low < 0.83 && high > 0.97, "{low} {high}");
        let bare = [0.8, 0.9, 1.0].map(|value| point("", value, None));
        let (low, high) = bootstrap(&bare, 1).unwrap();
        assert!((0.799..0.83).contains(&low) && (0.97..1.001).contains(&high), "{low} {high}");
        assert_eq!(bootstrap(&runs, 7), bootstrap(&runs, 7));
    }

    #[test]
    fn points_become_cells_in_their_order() {
        let of = |run: &str, series: &str, x: &str, n| Point {
            run: run.into(),
            series: series.into(),
            x: x.into(),
            value: n as f64 / 10.0,
            counts: Some((n, 10)),
        };
        let points = vec![of("1", "b", "2", 4), of("1", "a", "1", 9), of("2", "b", "2", 6), of("2", "c", "1", 1)];
        let cells = cells("claim", points);
        let names: Vec<(&str, usize)> = cells.iter().map(|cell| (cell.series.as_str(), cell.points.len())).collect();
        assert_eq!(names, [("b", 2), ("a", 1), ("c", 1)]);
        let b = &cells[0];
        assert_eq!((b.iqm, b.worst(), b.best(), b.counts()), (0.5, 0.4, 0.6, Some((10, 20))));
        assert!((b.worst_low().unwrap() - Share::new(4, 10).low).abs() < 1e-12);
    }
}
