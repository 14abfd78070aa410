//! Over runs: the interquartile mean and its bootstrap interval (Agarwal et al. 2021, arXiv 2108.13264).
//!
//! The mean of the middle half is less moved by one bad run than the mean, and wastes less than the median. With the
//! few runs that reinforcement learning can afford, the paper's quartiles fall between runs: here a run on an edge counts
//! with the part of its weight that lies inside, so three runs weigh 1/6, 2/3 and 1/6.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::distinct;
use super::points::Point;
use crate::env::purpose_seed;

/// Resamples of an interval.
pub const RESAMPLES: usize = 2000;

/// What all runs together say of one series at one x: a row of the table `claim`.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The series.
    pub series: String,
    /// The place in the series.
    pub x: String,
    /// Interquartile mean over runs.
    pub iqm: f64,
    /// Lower end of its 95% interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How many runs have it.
    pub runs: usize,
    /// The smallest value of a run.
    pub worst: f64,
    /// The largest.
    pub best: f64,
    /// The smallest lower end of a run's Wilson interval; none if a run has no counts.
    pub worst_low: Option<f64>,
    /// Counts of all runs; none if a run has none.
    pub counts: Option<(u64, u64)>,
}

impl Row {
    /// True if the interval says anything: one run without counts has none.
    pub fn has_interval(&self) -> bool {
        self.runs > 1 || self.counts.is_some()
    }
}

/// A row for each series and x, in the order in which they first appear. `claim` decides the random numbers.
pub fn aggregate(claim: &str, points: &[Point]) -> Vec<Row> {
    let keys = distinct(points.iter().map(|point| (&point.series, &point.x)));
    let row = |(series, x): (&String, &String)| {
        let here: Vec<&Point> = points.iter().filter(|p| p.series == *series && p.x == *x).collect();
        let values: Vec<f64> = here.iter().map(|point| point.value).collect();
        // By name, so that an interval does not change with what else is in the table.
        let (low, high) = interval(&here, purpose_seed(0, &format!("{claim}\n{series}\n{x}")));
        let lows: Option<Vec<f64>> = here.iter().map(|point| Some(point.share()?.low)).collect();
        let counts: Option<Vec<(u64, u64)>> = here.iter().map(|point| point.counts).collect();
        Row {
            series: series.clone(),
            x: x.clone(),
            iqm: iqm(&values),
            low,
            high,
            runs: here.len(),
            worst: values.iter().copied().fold(f64::INFINITY, f64::min),
            best: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            worst_low: lows.map(|lows| lows.into_iter().fold(1.0, f64::min)),
            counts: counts.map(|all| all.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))),
        }
    };
    keys.into_iter().map(row).collect()
}

/// The mean of the middle half: a quarter of the total weight is cut off on each side, in the middle of a value if need be.
/// `values` is not empty.
pub fn iqm(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let (from, to) = (n / 4.0, n - n / 4.0);
    // The i-th value covers i..i + 1 of a line of length n.
    let weighted = sorted.iter().enumerate().map(|(i, value)| {
        let i = i as f64;
        value * ((i + 1.0).min(to) - i.max(from)).max(0.0)
    });
    // Rounding alone must not put the mean of equal values below the least of them.
    (weighted.sum::<f64>() / (to - from)).clamp(sorted[0], sorted[sorted.len() - 1])
}

/// The 95% percentile interval of the interquartile mean: runs are drawn with replacement, and of a drawn run with counts
/// the count is drawn anew, so that the noise of its rollouts is in it.
fn interval(points: &[&Point], seed: u64) -> (f64, f64) {
    if let [only] = points
        && only.counts.is_none()
    {
        return (only.value, only.value);
    }
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let counts: Vec<Option<Binomial>> =
        points.iter().map(|point| point.counts.map(|(count, of)| Binomial::new(count, of))).collect();
    let mut means: Vec<f64> = Vec::with_capacity(RESAMPLES);
    let mut drawn = Vec::with_capacity(points.len());
    for _ in 0..RESAMPLES {
        drawn.clear();
        for _ in points {
            let run = (uniform(&mut rng) * points.len() as f64) as usize;
            drawn.push(match &counts[run] {
                Some(count) => count.share(uniform(&mut rng)),
                None => points[run].value,
            });
        }
        means.push(iqm(&drawn));
    }
    means.sort_by(f64::total_cmp);
    (quantile(&means, 0.025), quantile(&means, 0.975))
}

/// Uniform in [0, 1) with 53 bits.
fn uniform(rng: &mut Pcg64Mcg) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Between the two nearest of sorted values, in proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, part) = (place as usize, place.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] * (1.0 - part) + sorted[above] * part
}

/// The distribution of a count `of` trials at the rate `count / of`, as a table to look draws up in. Where all count or
/// none, the rate is that of half a trial less or more: no count of trials says always or never.
struct Binomial {
    of: u64,
    /// The count of the first entry.
    first: u64,
    /// How likely a count is to be that of an entry or less.
    cumulative: Vec<f64>,
}

impl Binomial {
    /// Terms below this part of the largest are left out: two thousand draws never meet them.
    const LEAST: f64 = 1e-15;

    /// The terms follow from each other with `*` and `/` alone, outwards from the largest, so that every machine draws the
    /// same counts.
    fn new(count: u64, of: u64) -> Self {
        let odds = (count as f64).max(0.5) / ((of - count) as f64).max(0.5);
        // The term of k + 1 over that of k. `count` is the most likely count at these odds.
        let ratio = |k: u64| (of - k) as f64 / (k + 1) as f64 * odds;
        let (mut below, mut above) = (Vec::new(), Vec::new());
        let mut term = 1.0;
        for k in (0..count).rev() {
            term /= ratio(k);
            below.push(term);
            if term < Self::LEAST {
                break;
            }
        }
        term = 1.0;
        for k in count..of {
            term *= ratio(k);
            above.push(term);
            if term < Self::LEAST {
                break;
            }
        }
        let first = count - below.len() as u64;
        let mut sum = 0.0;
        let terms = below.into_iter().rev().chain([1.0]).chain(above);
        let mut cumulative: Vec<f64> = terms
            .map(|term| {
                sum += term;
                sum
            })
            .collect();
        cumulative.iter_mut().for_each(|entry| *entry /= sum);
        Binomial { of, first, cumulative }
    }

    /// The share that a uniform number in [0, 1) draws.
    fn share(&self, uniform: f64) -> f64 {
        let place = self.cumulative.partition_point(|entry| *entry <= uniform).min(self.cumulative.len() - 1);
        (self.first + place as u64) as f64 / self.of as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(run: &str, value: f64, counts: Option<(u64, u64)>) -> Point {
        Point { run: run.into(), series: "s".into(), x: "1".into(), value, counts }
    }

    fn share(run: &str, count: u64, of: u64) -> Point {
        point(run, count as f64 / of as f64, Some((count, of)))
    }

    #[test]
    fn the_middle_half_by_hand() {
        let close = |values: &[f64], expected: f64| {
            let found = iqm(values);
            assert!((found - expected).abs() < 1e-12, "{values:?}: {found}, not {expected}");
        };
        close(&[7.0], 7.0);
        close(&[4.0, 1.0], 2.5);
        assert_eq!(iqm(&[0.025; 3]), 0.025);
        // 0.25, 1 and 0.25 of 1.5.
        close(&[9.0, 0.0, 3.0], (0.0 + 4.0 * 3.0 + 9.0) / 6.0);
        close(&[100.0, 2.0, 4.0, -50.0], 3.0);
        // 0.75, 1 and 0.75 of 2.5.
        close(&[5.0, 4.0, 3.0, 2.0, 1e6], (0.75 * 3.0 + 4.0 + 0.75 * 5.0) / 2.5);
        close(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 4.5);
    }

    #[test]
    fn counts_are_drawn_as_the_binomial_says() {
        for (count, of) in [(3, 10), (1, 300), (299, 300), (150, 300)] {
            let binomial = Binomial::new(count, of);
            let draws = 20_000u32;
            let shares: Vec<f64> =
                (0..draws).map(|i| binomial.share((f64::from(i) + 0.5) / f64::from(draws))).collect();
            let rate = count as f64 / of as f64;
            let mean = shares.iter().sum::<f64>() / f64::from(draws);
            let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / f64::from(draws);
            assert!((mean - rate).abs() < 1e-4, "{count} of {of}: mean {mean}");
            let expected = rate * (1.0 - rate) / of as f64;
            assert!((variance / expected - 1.0).abs() < 0.01, "{count} of {of}: {variance}, not {expected}");
        }
        // Half a trial less or more than none and all: 1 of 11 and 10 of 11.
        for (count, expected) in [(0, 5.0 / 11.0), (5, 5.0 - 5.0 / 11.0)] {
            let binomial = Binomial::new(count, 5);
            let mean =
                (0..11_000).map(|i| binomial.share((f64::from(i) + 0.5) / 11_000.0) * 5.0).sum::<f64>() / 11_000.0;
            assert!((mean - expected).abs() < 1e-3, "{count}: {mean}, not {expected}");
        }
    }

    #[test]
    fn intervals_cover_what_they_should_and_are_the_same_every_time() {
        // Runs of one true rate: their pooled share lies 95 times in 100 within 1.96 standard errors, and so should the
        // interval, up to what three runs can tell.
        let points = [share("1", 190, 300), share("2", 201, 300), share("3", 212, 300)];
        let all: Vec<&Point> = points.iter().collect();
        let (low, high) = interval(&all, 5);
        assert!(low < 0.65 && high > 0.69 && (0.06..0.16).contains(&(high - low)), "{low} to {high}");
        assert_eq!(interval(&all, 5), (low, high));
        assert_ne!(interval(&all, 6), (low, high));
        // One run: the noise of its rollouts alone, as Wilson has it.
        let (low, high) = interval(&all[1..2], 5);
        let wilson = points[1].share().unwrap();
        assert!((low - wilson.low).abs() < 0.01 && (high - wilson.high).abs() < 0.01, "{low} to {high}, {wilson:?}");
        // Without counts only the runs are drawn.
        let bare = [point("1", 1.0, None), point("2", 2.0, None), point("3", 4.0, None)];
        let (low, high) = interval(&bare.iter().collect::<Vec<_>>(), 5);
        assert_eq!((low, high), (1.0, 4.0));
        assert_eq!(interval(&[&bare[2]], 5), (4.0, 4.0));
    }

    #[test]
    fn the_interval_holds_the_truth_about_as_often_as_it_says() {
        // Ten runs of 100 rollouts at a rate of 0.3, made anew 200 times.
        let truth = Binomial::new(30, 100);
        let mut rng = Pcg64Mcg::seed_from_u64(11);
        let mut held = 0;
        for _ in 0..200 {
            let points: Vec<Point> = (0..10)
                .map(|run| share(&run.to_string(), (truth.share(uniform(&mut rng)) * 100.0).round() as u64, 100))
                .collect();
            let (low, high) = interval(&points.iter().collect::<Vec<_>>(), rng.next_u64());
            held += u32::from((low..=high).contains(&0.3));
        }
        assert!(held >= 184, "{held} of 200");
    }

    #[test]
    fn a_row_for_each_series_and_x_over_the_runs_that_have_it() {
        let mut points = vec![share("1", 1, 4), share("2", 3, 4)];
        points.push(Point { x: "2".into(), ..share("2", 4, 4) });
        let rows = aggregate("claim", &points);
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].runs, rows[0].iqm, rows[0].worst, rows[0].best), (2, 0.5, 0.25, 0.75));
        assert_eq!(rows[0].counts, Some((4, 8)));
        assert_eq!(rows[0].worst_low, points[0].share().map(|share| share.low));
        assert_eq!((rows[1].x.as_str(), rows[1].runs, rows[1].iqm), ("2", 1, 1.0));
        points[0].counts = None;
        let mixed = &aggregate("claim", &points)[0];
        assert_eq!((mixed.counts, mixed.worst_low), (None, None));
    }
}
