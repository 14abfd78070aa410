//! Are two sets of episodes drawn from one population?
//!
//! Steps of one episode are not independent, so the chi-squared test over step counts would call any two halves of one
//! dataset different. The covariance of the shares is therefore estimated from the episodes' totals (each episode a
//! cluster), and the statistic is corrected to second order as in the analysis of surveys (Rao and Scott 1984): with shares
//! p and q, d = p - q, the covariance V of d from the clusters of both sides, and D the diagonal of the pooled shares,
//!
//! ```text
//!   X = dᵀ D⁻¹ d,    M = D⁻¹ V,    F = X / tr M  on  (tr M)² / tr M²  and that times (clusters - 2) degrees of freedom
//! ```
//!
//! No bootstrap, and no matrix is inverted, so that values that nobody chose do no harm. An episode that counts once (its
//! outcome) is a cluster of one. Quantities that an episode has one of (its length) need no correction: Kolmogorov-Smirnov.

/// Counts of the values of one quantity, and how they vary from episode to episode.
#[derive(Debug, Clone)]
pub(super) struct Clusters {
    /// Share of each value.
    pub(super) shares: Vec<f64>,
    /// Covariance of the shares, `[values][values]`; none for a single episode.
    covariance: Option<Vec<f64>>,
    episodes: usize,
    /// All counts together.
    total: f64,
}

impl Clusters {
    /// From each episode's counts of `values` values.
    pub(super) fn of<'a>(values: usize, rows: impl Iterator<Item = &'a [u32]> + Clone) -> Self {
        let (mut counts, mut episodes) = (vec![0.0; values], 0);
        for row in rows.clone() {
            episodes += 1;
            counts.iter_mut().zip(row).for_each(|(all, more)| *all += f64::from(*more));
        }
        let total: f64 = counts.iter().sum();
        let shares: Vec<f64> = counts.iter().map(|count| count / total.max(1.0)).collect();
        let mut cross = vec![0.0; values * values];
        let mut rest = vec![0.0; values];
        for row in rows {
            let steps: f64 = row.iter().map(|count| f64::from(*count)).sum();
            for ((rest, count), share) in rest.iter_mut().zip(row).zip(&shares) {
                *rest = f64::from(*count) - share * steps;
            }
            for (i, a) in rest.iter().enumerate().filter(|(_, a)| **a != 0.0) {
                cross[i * values..][..values].iter_mut().zip(&rest).for_each(|(cross, b)| *cross += a * b);
            }
        }
        let covariance = (episodes > 1).then(|| {
            let m = episodes as f64;
            cross.iter().map(|cross| m / (m - 1.0) * cross / (total * total)).collect()
        });
        Self { shares, covariance, episodes, total }
    }
}

/// How different two sets are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Test {
    /// Total variation distance, or that of Kolmogorov and Smirnov: 0 for equal distributions, 1 for disjoint ones.
    pub(super) distance: f64,
    /// The distance to expect of two sets of these sizes drawn from one population.
    pub(super) by_chance: Option<f64>,
    /// Population stability index.
    pub(super) psi: Option<f64>,
    /// Probability of a difference at least this large if there were none.
    pub(super) p: Option<f64>,
}

/// Compares shares.
pub(super) fn compare_shares(a: &Clusters, b: &Clusters) -> Test {
    let values = a.shares.len();
    let difference: Vec<f64> = a.shares.iter().zip(&b.shares).map(|(a, b)| a - b).collect();
    let distance = difference.iter().map(|d| d.abs()).sum::<f64>() / 2.0;
    // Half a count where there is none keeps the logarithm finite.
    let floor = |share: f64, total: f64| share.max(0.5 / total.max(1.0));
    let psi = a.shares.iter().zip(&b.shares).filter(|(p, q)| **p > 0.0 || **q > 0.0).map(|(p, q)| {
        let (p, q) = (floor(*p, a.total), floor(*q, b.total));
        (p - q) * (p / q).ln()
    });
    let psi = Some(psi.sum());
    let (Some(of_a), Some(of_b)) = (&a.covariance, &b.covariance) else {
        return Test { distance, by_chance: None, psi, p: None };
    };
    let variance: Vec<f64> = of_a.iter().zip(of_b).map(|(a, b)| a + b).collect();
    // The mean of |x| of a normal x is its deviation times the root of 2 / π.
    let deviations: f64 = (0..values).map(|i| variance[i * values + i].max(0.0).sqrt()).sum();
    let by_chance = Some(deviations / 2.0 * (2.0 / std::f64::consts::PI).sqrt());
    let pooled: Vec<f64> = a
        .shares
        .iter()
        .zip(&b.shares)
        .map(|(p, q)| (p * a.total + q * b.total) / (a.total + b.total).max(1.0))
        .collect();
    let used: Vec<usize> = (0..values).filter(|i| pooled[*i] > 0.0).collect();
    let statistic: f64 = used.iter().map(|&i| difference[i].powi(2) / pooled[i]).sum();
    let m = |i: usize, j: usize| variance[i * values + j] / pooled[i];
    let trace: f64 = used.iter().map(|&i| m(i, i)).sum();
    let squares: f64 =
        used.iter().flat_map(|&i| used.iter().map(move |&j| (i, j))).map(|(i, j)| m(i, j) * m(j, i)).sum();
    let p = match trace > 0.0 && squares > 0.0 {
        true => {
            let freedom = trace * trace / squares;
            let clusters = (a.episodes + b.episodes - 2) as f64;
            Some(f_tail(statistic / trace, freedom, freedom * clusters.max(1.0)))
        }
        // Every episode has exactly the same shares.
        false => Some(if distance > 0.0 { 0.0 } else { 1.0 }),
    };
    Test { distance, by_chance, psi, p }
}

/// Compares values of which every episode has one: the greatest distance between the two distribution functions. With
/// many equal values the probability is too large, never too small.
pub(super) fn compare_values(a: &[f64], b: &[f64]) -> Option<Test> {
    let sorted = |values: &[f64]| {
        let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (a, b) = (sorted(a), sorted(b));
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (mut i, mut j, mut distance) = (0, 0, 0f64);
    while i < a.len() && j < b.len() {
        let at = a[i].min(b[j]);
        while i < a.len() && a[i] <= at {
            i += 1;
        }
        while j < b.len() && b[j] <= at {
            j += 1;
        }
        distance = distance.max((i as f64 / n - j as f64 / m).abs());
    }
    let root = (n * m / (n + m)).sqrt();
    // The mean of Kolmogorov's distribution is the root of π / 2 times ln 2.
    let by_chance = (std::f64::consts::FRAC_PI_2.sqrt() * std::f64::consts::LN_2 / root).min(1.0);
    let p = kolmogorov_tail((root + 0.12 + 0.11 / root) * distance);
    Some(Test { distance, by_chance: Some(by_chance), psi: None, p: Some(p) })
}

/// Holm's correction for having asked several questions: no smaller than the values, in their order.
pub(super) fn holm(values: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<(usize, f64)> = values.iter().enumerate().filter_map(|(i, p)| Some((i, (*p)?))).collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut adjusted = vec![None; values.len()];
    let mut least = 0f64;
    for (rank, (i, p)) in order.iter().enumerate() {
        least = least.max(((order.len() - rank) as f64 * p).min(1.0));
        adjusted[*i] = Some(least);
    }
    adjusted
}

/// P(K > x) of Kolmogorov's distribution.
fn kolmogorov_tail(x: f64) -> f64 {
    // Below, the probability differs from 1 by less than 1e-8.
    if x < 0.27 {
        return 1.0;
    }
    let terms = (1..=100).map(|k| {
        let k = f64::from(k);
        let sign = if k % 2.0 == 1.0 { 2.0 } else { -2.0 };
        sign * (-2.0 * k * k * x * x).exp()
    });
    terms.sum::<f64>().clamp(0.0, 1.0)
}

/// P(F > x) of the F distribution with `d1` and `d2` degrees of freedom, which need not be whole.
fn f_tail(x: f64, d1: f64, d2: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    incomplete_beta(d2 / (d2 + d1 * x), d2 / 2.0, d1 / 2.0)
}

/// The regularised incomplete beta function, by its continued fraction (modified Lentz).
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast on one side of the mean; the other side follows by symmetry.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    let tiny = 1e-300;
    let guard = |v: f64| if v.abs() < tiny { tiny } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for i in 1..10_000 {
        let m = f64::from(i);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let step = d * c;
        fraction *= step;
        if (step - 1.0).abs() < 1e-14 {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

/// The logarithm of the gamma function of x > 0: Stirling's series, after shifting x to where it is exact.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 15.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0))) / x;
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 2e-4, "{found} is not {expected}");
    }

    #[test]
    fn tails_agree_with_tables() {
        near(f_tail(4.9646, 1.0, 10.0), 0.05);
        near(f_tail(3.7083, 3.0, 10.0), 0.05);
        near(f_tail(2.3207, 10.0, 1e6), 0.01);
        near(f_tail(0.0, 3.0, 10.0), 1.0);
        near(kolmogorov_tail(1.3581), 0.05);
        near(kolmogorov_tail(1.6276), 0.01);
        near(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln());
        near(ln_gamma(10.0), 362_880f64.ln());
    }

    #[test]
    fn an_episode_that_counts_once_gives_pearsons_test() {
        // 2 x 2 table 30/70 and 45/55: Pearson's chi-squared 4.8, p 0.0285.
        let ones = |first: usize, n: usize| -> Vec<[u32; 2]> {
            (0..n).map(|i| if i < first { [1, 0] } else { [0, 1] }).collect()
        };
        let (a, b) = (ones(30, 100), ones(45, 100));
        let of = |rows: &[[u32; 2]]| Clusters::of(2, rows.iter().map(|row| &row[..]));
        let test = compare_shares(&of(&a), &of(&b));
        near(test.distance, 0.15);
        let p = test.p.unwrap();
        assert!((0.024..0.034).contains(&p), "{p}");
    }

    #[test]
    fn holm_steps_down() {
        assert_eq!(holm(&[Some(0.01), None, Some(0.04), Some(0.03)]), [Some(0.03), None, Some(0.06), Some(0.06)]);
    }

    /// Episodes that play in one of two manners. Of 400 comparisons of sets from one population about 5% may be called
    /// different at 5%; a test that took the steps as independent would call nearly all of them so.
    #[test]
    fn episodes_and_not_steps_are_independent() {
        let mut state = 11u64;
        let mut draw = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut set = |often: u64| -> Vec<[u32; 3]> {
            let episode = |_| {
                let n = 100 + draw(200) as u32;
                let held = if draw(10) < often { n / 2 } else { n / 50 };
                [n - held, held, 0]
            };
            (0..60).map(episode).collect()
        };
        let of = |rows: &[[u32; 3]]| Clusters::of(3, rows.iter().map(|row| &row[..]));
        let mut called = [0, 0];
        for _ in 0..400 {
            let (a, b, other) = (set(3), set(3), set(8));
            called[0] += usize::from(compare_shares(&of(&a), &of(&b)).p.unwrap() < 0.05);
            called[1] += usize::from(compare_shares(&of(&a), &of(&other)).p.unwrap() < 0.05);
        }
        assert!((6..=36).contains(&called[0]), "{} of 400 by chance", called[0]);
        assert!(called[1] > 380, "{} of 400 found", called[1]);
    }

    #[test]
    fn lengths_from_one_population_are_seldom_called_different() {
        let values = |from: usize, step: usize| -> Vec<f64> { (from..1000).step_by(step).map(|i| i as f64).collect() };
        let same = compare_values(&values(0, 3), &values(1, 3)).unwrap();
        assert!(same.distance < 0.01 && same.p.unwrap() > 0.99, "{same:?}");
        let far = compare_values(&values(0, 3), &values(300, 3)).unwrap();
        near(far.distance, 100.0 / 334.0);
        assert!(far.p.unwrap() < 1e-6);
        assert!(compare_values(&[], &[1.0]).is_none());
    }
}
