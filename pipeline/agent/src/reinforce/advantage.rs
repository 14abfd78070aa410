//! From rewards to advantages: leave-one-out baselines within groups of episodes that started alike (arXiv 2402.14740).

/// Advantages, and which groups taught something.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Advantages {
    /// Of each episode; zero in groups that were left out.
    pub values: Vec<f64>,
    /// Of each group.
    pub used: Vec<bool>,
}

/// `rewards` holds groups of `k` standardised rewards, one after another. A_i = r_i - mean of the others. Groups with a standard deviation
/// below `min_spread` are left out. Where `normalise`, all are divided by their common standard deviation (arXiv 2501.03262; a group's own
/// would be a biased estimate), but never by less than 0.1: when all episodes are about equally good, noise must not be blown up.
pub(crate) fn advantages(rewards: &[f64], k: usize, min_spread: f64, normalise: bool) -> Advantages {
    let mut values = Vec::with_capacity(rewards.len());
    let mut used = Vec::with_capacity(rewards.len() / k);
    for group in rewards.chunks_exact(k) {
        let (mean, std) = mean_std(group);
        used.push(std >= min_spread);
        let leave_one_out = k as f64 / (k - 1) as f64;
        values.extend(group.iter().map(|r| if std >= min_spread { leave_one_out * (r - mean) } else { 0.0 }));
    }
    if normalise {
        let taught: Vec<f64> = values
            .chunks_exact(k)
            .zip(&used)
            .filter(|(_, used)| **used)
            .flat_map(|(group, _)| group)
            .copied()
            .collect();
        let std = mean_std(&taught).1.max(0.1);
        values.iter_mut().for_each(|a| *a /= std);
    }
    Advantages { values, used }
}

/// Mean and (population) standard deviation; zeros of nothing.
pub(crate) fn mean_std(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_compared_with_the_others() {
        let a = advantages(&[1.0, 2.0, 6.0, 5.0, 5.0, 5.0], 3, 0.01, false);
        let expected = [1.0 - 4.0, 2.0 - 3.5, 6.0 - 1.5, 0.0, 0.0, 0.0];
        assert!(a.values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?}");
        assert_eq!(a.used, [true, false]);
    }

    #[test]
    fn normalised_over_what_taught_and_never_blown_up() {
        let a = advantages(&[1.0, 2.0, 6.0, 5.0, 5.0, 5.0], 3, 0.01, true);
        assert!((mean_std(&a.values[..3]).1 - 1.0).abs() < 1e-12);
        let quiet = advantages(&[0.00, 0.02], 2, 0.001, true);
        assert!((quiet.values[1] - 0.02 / 0.1).abs() < 1e-12, "{quiet:?}");
    }
}
