//! The order in which data is seen: one permutation after another, as a function of (seed, step).

use std::ops::Range;

use crate::rng;

/// Draws batches without replacement within an epoch. Batches may straddle two epochs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampler {
    pub seed: u64,
    pub items: usize,
    pub batch: usize,
}

impl Sampler {
    /// The batches of steps `first..last`, in order.
    pub fn batches(self, first: u64, last: u64) -> impl Iterator<Item = Vec<usize>> + Send {
        let mut epoch = (u64::MAX, Vec::new());
        (first..last).map(move |step| {
            let start = step as u128 * self.batch as u128;
            (0..self.batch as u128)
                .map(|i| {
                    let place = start + i;
                    let (index, offset) = ((place / self.items as u128) as u64, (place % self.items as u128) as usize);
                    if epoch.0 != index {
                        epoch = (index, self.permutation(index));
                    }
                    epoch.1[offset]
                })
                .collect()
        })
    }

    /// As [`Sampler::batches`], of each batch only these places: what one of several ranks has of it.
    pub fn parts(self, first: u64, last: u64, places: Range<usize>) -> impl Iterator<Item = Vec<usize>> + Send {
        self.batches(first, last).map(move |batch| batch[places.clone()].to_vec())
    }

    fn permutation(self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.items).collect();
        rng::shuffle(&mut rng::at(self.seed, &[1, epoch]), &mut order);
        order
    }
}

/// At most `count` of `items`, spread evenly and always the same.
pub(crate) fn fixed(items: usize, count: usize) -> Vec<usize> {
    let count = count.min(items);
    (0..count).map(|i| i * items / count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_epoch_sees_everything_once() {
        let sampler = Sampler { seed: 1, items: 10, batch: 4 };
        let seen: Vec<usize> = sampler.batches(0, 5).flatten().collect();
        for epoch in seen.chunks(10) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(seen[..10], seen[10..]);
    }

    #[test]
    fn starting_in_the_middle_changes_nothing() {
        let sampler = Sampler { seed: 2, items: 7, batch: 3 };
        let all: Vec<_> = sampler.batches(0, 20).collect();
        assert_eq!(sampler.batches(13, 20).collect::<Vec<_>>(), all[13..]);
    }

    #[test]
    fn parts_of_a_batch_make_it_up() {
        let sampler = Sampler { seed: 3, items: 11, batch: 5 };
        let whole = sampler.batches(2, 9);
        let parts = sampler.parts(2, 9, 0..2).zip(sampler.parts(2, 9, 2..5)).map(|(a, b)| [a, b].concat());
        assert!(whole.eq(parts));
    }

    #[test]
    fn fixed_choices_are_spread() {
        assert_eq!(fixed(10, 5), [0, 2, 4, 6, 8]);
        assert_eq!(fixed(3, 5), [0, 1, 2]);
        assert!(fixed(0, 5).is_empty());
    }
}
