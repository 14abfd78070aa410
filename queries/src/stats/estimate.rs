//! Shares of steps, estimated from whole episodes.
//!
//! Steps of one episode resemble each other: a player who holds a button holds it for seconds, and one who never jumps
//! never jumps. So the episode is what was drawn, and the error is that of a ratio of two sums over m drawn episodes of N,
//! linearised: with c steps of n in an episode that chose the value, p = Σc / Σn and r = c - p n,
//!
//! ```text
//!   var(p) = (1 - m / N) · m / (m - 1) · Σ r² / (Σ n)²
//! ```
//!
//! It is 0 when every episode was read: then p is no estimate. Treating the steps as independent would claim errors
//! several times too small.

use serde::Serialize;

/// The 97.5% quantile of the normal distribution.
pub(super) const Z: f64 = 1.959_963_984_540_054;

/// A share of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Share {
    /// The share, 0 to 1.
    pub share: f64,
    /// Half the width of its 95% interval: 0 where every step was read, none for a sample of one episode.
    pub margin: Option<f64>,
}

impl Share {
    /// From (c, n) of each episode read, of `episodes` in all.
    pub(super) fn of(rows: impl Iterator<Item = (f64, f64)> + Clone, episodes: usize) -> Self {
        let (mut drawn, mut chosen, mut steps) = (0usize, 0.0, 0.0);
        for (c, n) in rows.clone() {
            drawn += 1;
            chosen += c;
            steps += n;
        }
        if steps == 0.0 {
            return Self { share: 0.0, margin: None };
        }
        let share = chosen / steps;
        if drawn >= episodes {
            return Self { share, margin: Some(0.0) };
        }
        if drawn < 2 {
            return Self { share, margin: None };
        }
        let squares: f64 = rows.map(|(c, n)| (c - share * n).powi(2)).sum();
        let m = drawn as f64;
        let variance = (1.0 - m / episodes as f64) * m / (m - 1.0) * squares / (steps * steps);
        Self { share, margin: Some(Z * variance.sqrt()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_episodes_leave_no_error_and_one_leaves_none_known() {
        let rows = [(1.0, 10.0), (4.0, 10.0)];
        assert_eq!(Share::of(rows.into_iter(), 2), Share { share: 0.25, margin: Some(0.0) });
        assert_eq!(Share::of(rows.into_iter().take(1), 2), Share { share: 0.1, margin: None });
        assert_eq!(Share::of(std::iter::empty(), 2), Share { share: 0.0, margin: None });
    }

    /// Episodes that hold a button throughout or never: 95% of the intervals must hold the truth. Intervals that take
    /// the steps as independent would hold it in about 20%.
    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        let mut state = 7u64;
        let mut draw = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let population: Vec<(f64, f64)> = (0..2000)
            .map(|_| {
                let n = 50.0 + draw(200) as f64;
                let p = [0.0, 0.1, 0.9][draw(3) as usize];
                ((n * p).round(), n)
            })
            .collect();
        let truth = Share::of(population.iter().copied(), 2000).share;
        let mut held = 0;
        for _ in 0..400 {
            let mut order: Vec<usize> = (0..2000).collect();
            for i in 0..100 {
                order.swap(i, i + draw((2000 - i) as u64) as usize);
            }
            let found = Share::of(order[..100].iter().map(|&i| population[i]), 2000);
            held += usize::from((found.share - truth).abs() <= found.margin.unwrap());
        }
        assert!((360..=398).contains(&held), "{held} of 400");
    }
}
