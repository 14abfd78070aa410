//! Random numbers that are a function of where one is, not of what ran before.
//!
//! Every draw comes from a generator seeded by (seed, purpose, index, ...), so a resumed run needs no generator state
//! beyond its counters, and the number of lanes or threads cannot change a result.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A generator for the place named by `path` under `seed`.
pub(crate) fn at(seed: u64, path: &[u64]) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(mix(seed, path))
}

/// A seed for the place named by `path` under `seed`.
pub(crate) fn mix(seed: u64, path: &[u64]) -> u64 {
    path.iter().fold(scramble(seed), |state, &x| scramble(state ^ scramble(x.wrapping_add(0x9e37_79b9_7f4a_7c15))))
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
fn scramble(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Uniform in [0, 1) with 53 bits.
pub(crate) fn uniform(rng: &mut Pcg64Mcg) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Uniform in 0..n by Lemire's multiply-shift; the bias for our n (below 2^40) is below 2^-24.
pub(crate) fn below(rng: &mut Pcg64Mcg, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

/// Standard normal by Box and Muller.
pub(crate) fn normal(rng: &mut Pcg64Mcg) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// Shuffles in place (Fisher and Yates).
pub(crate) fn shuffle<T>(rng: &mut Pcg64Mcg, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(rng, i + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_places_are_independent() {
        let a: Vec<u64> = (0..64).map(|i| mix(7, &[1, i])).collect();
        let b: Vec<u64> = (0..64).map(|i| mix(7, &[2, i])).collect();
        let c: Vec<u64> = (0..64).map(|i| mix(8, &[1, i])).collect();
        let mut all: Vec<u64> = a.iter().chain(&b).chain(&c).copied().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3 * 64);
        // Half of the bits differ between neighbours, on average.
        let flips: u32 = a.windows(2).map(|w| (w[0] ^ w[1]).count_ones()).sum();
        assert!((28 * 63..36 * 63).contains(&flips), "{flips}");
    }

    #[test]
    fn normal_has_its_moments() {
        let mut rng = at(1, &[]);
        let draws: Vec<f64> = (0..20_000).map(|_| normal(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }

    #[test]
    fn shuffle_permutes() {
        let mut items: Vec<usize> = (0..100).collect();
        shuffle(&mut at(3, &[]), &mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
