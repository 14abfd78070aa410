//! Which rows a pass reads.
//!
//! ```text
//!   every footer ──> parts that cannot be right: read whole, to name the episodes
//!   the index    ──> a sample of whole episodes: their pages alone are read, and counted
//!                    or, in a full pass and in a small dataset, everything
//! ```

use std::collections::HashSet;

use playhouse_schemas::{ActionSpace, Table};

use super::index::{Index, Part};
use super::part::{Footer, RowFile};
use super::side_by_side::side_by_side;
use super::{Options, Watch};
use crate::error::{Error, Result};

/// Steps up to which a dataset is read whole without being asked: a second or two.
const SMALL: u64 = 1 << 20;
/// Steps that a sample aims for at most, however long the episodes are.
const SAMPLE_STEPS: u64 = 1 << 22;
/// Parts read whole because something in them is wrong. More of them would tell the same.
const SUSPECTS: usize = 16;

/// What the footers say of a part.
pub(super) struct Survey {
    pub(super) steps: Footer,
    /// Rows of `frames`, if the dataset has them.
    pub(super) frames: Option<u64>,
    /// Something is wrong in it.
    pub(super) suspect: bool,
}

/// What is read.
pub(super) struct Plan {
    /// What the footers say, part by part.
    pub(super) surveys: Vec<Survey>,
    /// Rows of the index whose steps are counted; none for all.
    pub(super) sample: Option<HashSet<usize>>,
    /// Parts read whole.
    pub(super) whole: HashSet<usize>,
    /// Rows of the index whose pictures are looked at.
    pub(super) pictures: HashSet<usize>,
}

impl Plan {
    pub(super) fn new(index: &Index, actions: &ActionSpace, options: &Options) -> Result<Self> {
        let surveys = side_by_side(index.parts.len(), options.threads, |part| match options.watch.stop() {
            true => Err(Error::Cancelled),
            false => survey(index, &index.parts[part], actions),
        })?;
        let sample = match options.full || index.total_steps() <= SMALL {
            true => None,
            false => Some(sample(index, options)),
        };
        let suspects = surveys.iter().enumerate().filter(|(_, survey)| survey.suspect).map(|(i, _)| i);
        let whole = match sample {
            None => (0..index.parts.len()).collect(),
            Some(_) => suspects.take(SUSPECTS).collect(),
        };
        let pictures = pictures(index, sample.as_ref(), options);
        Ok(Self { surveys, sample, whole, pictures })
    }

    /// Whether an episode's steps count for the distributions.
    pub(super) fn counts(&self, row: usize) -> bool {
        self.sample.as_ref().is_none_or(|sample| sample.contains(&row))
    }
}

fn survey(index: &Index, part: &Part, actions: &ActionSpace) -> Result<Survey> {
    let steps = RowFile::open(&part.steps, Table::Steps, actions, false)?.footer(actions);
    let frames = match &part.frames {
        Some(path) => Some(RowFile::open(path, Table::Frames, actions, false)?.rows()),
        None => None,
    };
    let beyond = steps.components.iter().zip(&actions.components);
    let beyond = beyond.into_iter().any(|(span, c)| span.is_some_and(|(_, high)| high >= c.cardinality));
    let listed = index.steps_of(part);
    let suspect =
        steps.rows != listed || frames.is_some_and(|rows| rows != listed) || steps.infinite.is_some() || beyond;
    Ok(Survey { steps, frames, suspect })
}

/// Rows of the index drawn without replacement, the same for the same seed and dataset.
fn sample(index: &Index, options: &Options) -> HashSet<usize> {
    // The size is settled before the draw: to stop where the steps are enough would favour short episodes.
    let mean = (index.total_steps() / index.ids.len().max(1) as u64).max(1);
    let affordable = usize::try_from(SAMPLE_STEPS / mean).unwrap_or(usize::MAX).max(16);
    draw(index, options.seed).take(options.sample.min(affordable)).collect()
}

/// The rows of the index in an order that the seed and each episode's id alone decide: the smallest hash first.
fn draw(index: &Index, seed: u64) -> impl Iterator<Item = usize> {
    let mut order: Vec<(u64, usize)> =
        index.ids.iter().enumerate().map(|(row, &id)| (mix(mix(seed) ^ id as u64), row)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, row)| row)
}

/// Spreads a number over all 64 bits (the finalizer of SplitMix64).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Episodes whose pictures are compared: the first of the sample that come to `options.pictures` frames.
fn pictures(index: &Index, sample: Option<&HashSet<usize>>, options: &Options) -> HashSet<usize> {
    let mut left = options.pictures;
    let drawn = draw(index, options.seed).filter(|row| sample.is_none_or(|sample| sample.contains(row)));
    drawn
        .take_while(|&row| {
            let goes_on = left > 0;
            left = left.saturating_sub(index.steps[row]);
            goes_on
        })
        .collect()
}

/// Says how far a pass is, and whether to go on.
pub(super) fn tick(watch: &dyn Watch, done: u64, total: u64, what: &str) -> Result<()> {
    watch.update(done, total, what);
    if watch.stop() { Err(Error::Cancelled) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_spread() {
        let low = (0..10_000u64).filter(|&id| mix(mix(1) ^ id) < u64::MAX / 4).count();
        assert!((2350..2650).contains(&low), "{low}");
        assert_ne!(mix(1), mix(2));
    }
}
