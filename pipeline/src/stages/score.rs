//! `score`: a finished reward model judges windows, as they were played or with their frames tampered with.
//!
//! Whoever trusts a reward model asks it what it says of episodes that it should not like, and what it looks at.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float32Array, RecordBatch};
use playhouse_agent::{ModelConfig, WindowBatch, WindowSource, score};
use playhouse_schemas::Window;
use serde::Deserialize;

use super::{Outcome, Stage, StageContext, Watch, parse, table};
use crate::env::{derive_seed, purpose_seed};
use crate::sources::{Role, Windows};

/// Settings of `score`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// The stage whose reward model judges.
    reward: String,
    /// The dataset stage that is judged.
    data: String,
    /// The query with the windows to judge; by default the last 32 steps of every episode.
    windows: Option<String>,
    /// How the model sees their frames.
    #[serde(default)]
    frames: View,
}

/// What becomes of a window's frames before the model sees them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum View {
    /// Nothing.
    #[default]
    Played,
    /// All but the last are in a random order.
    Shuffled,
    /// Every one is the last.
    Last,
}

impl Stage for Score {
    const VERSION: u32 = 1;

    fn parse(stage: &str, table: &toml::Table) -> Result<Self> {
        parse(stage, table)
    }

    fn inputs(&self) -> Vec<String> {
        [&self.reward, &self.data].into_iter().chain(&self.windows).cloned().collect()
    }

    fn run(self, ctx: &StageContext) -> Result<Outcome> {
        let model = ctx.model(&self.reward)?;
        let side = ModelConfig::read(&model)?.frame_size;
        let data = ctx.dataset(&self.data)?;
        let windows = match &self.windows {
            Some(query) => Windows::from_table(&data, &ctx.query(query)?, "to score", Role::Whole, side, 0)?,
            None => Windows::endings(&data, side)?.0,
        };
        let list = windows.list().to_vec();
        let mut seen = Seen { windows, view: self.frames, seed: purpose_seed(ctx.seed, ctx.name) };
        let scores = score(&model, &mut seen, ctx.compute, &mut Watch::new(ctx.progress))?;
        let number = |get: fn(&Window) -> i64| table::int_column(list.iter().map(get));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("episode_id", number(|w| w.episode_id)),
            ("t_start", number(|w| w.t_start.into())),
            ("length", number(|w| w.length.into())),
            ("reward", Arc::new(Float32Array::from(scores))),
        ];
        table::write(&ctx.dir.join("scores.parquet"), &RecordBatch::try_from_iter(columns)?)?;
        Ok(Outcome { rows: [("scores".to_owned(), list.len() as u64)].into(), ..Outcome::default() })
    }
}

/// Windows as the model is to see them.
struct Seen {
    windows: Windows,
    view: View,
    seed: u64,
}

impl WindowSource for Seen {
    fn len(&self) -> usize {
        self.windows.len()
    }

    fn frame_size(&self) -> usize {
        self.windows.frame_size()
    }

    fn load(&mut self, indices: &[usize], out: &mut WindowBatch) -> playhouse_agent::Result<()> {
        self.windows.load(indices, out)?;
        let frame = self.frame_size().pow(2) * 3;
        let each = out.frames.len() / indices.len().max(1);
        for (&index, frames) in indices.iter().zip(out.frames.chunks_exact_mut(each)) {
            let real = self.windows.list()[index].length as usize;
            tamper(&mut frames[..real * frame], frame, self.view, derive_seed(self.seed, index as u64));
        }
        Ok(())
    }
}

/// Does to a window's frames, of `size` bytes each, what `view` says.
fn tamper(frames: &mut [u8], size: usize, view: View, seed: u64) {
    let Some(last) = (frames.len() / size).checked_sub(1) else { return };
    let (earlier, end) = frames.split_at_mut(last * size);
    match view {
        View::Played => {}
        View::Last => earlier.chunks_exact_mut(size).for_each(|frame| frame.copy_from_slice(end)),
        View::Shuffled => {
            // Fisher and Yates; a modulus of 64 bits by at most 32 is even enough.
            for i in (1..last).rev() {
                let j = (derive_seed(seed, i as u64) % (i as u64 + 1)) as usize;
                if i != j {
                    let (before, from) = earlier.split_at_mut(i * size);
                    before[j * size..][..size].swap_with_slice(&mut from[..size]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_shuffled_or_replaced_and_the_last_one_stays() {
        let played: Vec<u8> = (0..32u8).flat_map(|t| [t; 6]).collect();
        let seen = |view, seed| {
            let mut frames = played.clone();
            tamper(&mut frames, 6, view, seed);
            frames.chunks_exact(6).map(|frame| frame.iter().all(|v| *v == frame[0]).then_some(frame[0])).collect()
        };
        let order = |view, seed| -> Vec<u8> { Option::<Vec<u8>>::unwrap(seen(view, seed)) };
        assert_eq!(order(View::Played, 1), (0..32).collect::<Vec<u8>>());
        assert_eq!(order(View::Last, 1), [31; 32]);
        let (one, two) = (order(View::Shuffled, 1), order(View::Shuffled, 2));
        assert!(one != two && one[31] == 31 && two[31] == 31);
        for mut order in [one, two] {
            let moved = order.iter().enumerate().filter(|(t, frame)| *t as u8 != **frame).count();
            assert!(moved > 20, "{moved}");
            order.sort_unstable();
            assert_eq!(order, (0..32).collect::<Vec<u8>>());
        }
        tamper(&mut [], 6, View::Shuffled, 1);
    }
}
