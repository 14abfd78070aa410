//! Windows and pairs of a dataset as training sources.
//!
//! ```text
//!   table of windows (a query's result)     dataset
//!   episode_id  t_start  length  weight        |-- frames stored: read by page, decoded on all cores
//!        |                                     |-- no frames, played in the arena: rendered again, bit for bit
//!        v                                     v
//!   blocks of 16 steps (frames.rs), kept in memory while the budget lasts: actions, and frames shrunk to the model's size, or as
//!        |                                     stored for a device that unpacks them; what then is not there is read where the
//!        v                                     batch wants it
//!   WindowBatch   frames [B, 32, S, S, 3]   actions [B, 32, 16]   weights [B, 32]
//! ```
//!
//! Training uses every step of a window. What compares two policies on a rollout counts each step once, seen exactly as it
//! was played: a policy acts with 16 to 32 frames of context, so of windows every 16 steps only the last 16 steps count.

mod frames;

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::RecordBatch;
use playhouse_agent::{PackedFrames, PairSource, WindowBatch, WindowSource};
use playhouse_schemas::{Dataset, EpisodeRow, Window, gamepad::COMPONENTS, windows_from_batch};
use rayon::prelude::*;

use crate::env::Replay;
use crate::stages::table;
use frames::{BLOCK, Frames, Sink};

/// Timesteps of a full window.
pub const CONTEXT: usize = 32;

/// Which steps of a window carry weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Every step: training.
    Whole,
    /// All steps of an episode's first window, the last 16 of every other: a rollout, each step once.
    Rollout,
}

/// Windows of one dataset.
pub struct Windows {
    frames: Frames,
    windows: Vec<Window>,
    role: Role,
    /// Of the batch before.
    packed: Vec<PackedFrames>,
}

impl Windows {
    /// Opens `dataset` for `windows`, whose frames are shrunk to `side` pixels and kept up to `budget` bytes.
    ///
    /// # Errors
    /// The dataset cannot be read, has neither frames nor a replayable source, or a window leaves its episode.
    pub fn open(dataset: &Path, windows: Vec<Window>, role: Role, side: usize, budget: usize) -> Result<Self> {
        let dataset = Dataset::open(dataset)?;
        let episodes: HashMap<i64, EpisodeRow> =
            dataset.episodes()?.into_iter().map(|row| (row.episode_id, row)).collect();
        for (row, window) in windows.iter().enumerate() {
            check_window(window, &episodes).with_context(|| format!("row {row} of the windows"))?;
        }
        Ok(Windows { frames: Frames::open(dataset, episodes, side, budget)?, windows, role, packed: Vec::new() })
    }

    /// The windows of a query's result, from its Parquet file. Windows without a single weighted step are left out. `purpose` is
    /// what they are for, as "to train on".
    ///
    /// # Errors
    /// As for [`Windows::open`]; also if the table lacks a column or is empty.
    pub fn from_table(
        dataset: &Path,
        file: &Path,
        purpose: &str,
        role: Role,
        side: usize,
        budget: usize,
    ) -> Result<Self> {
        let mut windows = windows_from_batch(&table::read(file)?).with_context(|| file.display().to_string())?;
        windows.retain(|window| (0..window.length as usize).any(|t| weight(role, window, t) > 0.0));
        ensure!(
            !windows.is_empty(),
            "{} holds no windows {purpose}: loosen the query that makes it, or record more episodes",
            file.display()
        );
        Windows::open(dataset, windows, role, side, budget)
    }

    /// The last 32 steps of every episode: what the reward model judges. Also gives the episodes, in the same order.
    ///
    /// # Errors
    /// As for [`Windows::open`].
    pub fn endings(dataset: &Path, side: usize) -> Result<(Self, Vec<EpisodeRow>)> {
        let rows = Dataset::open(dataset)?.episodes()?;
        let ending = |row: &EpisodeRow| {
            let steps = row.num_steps as usize;
            let length = steps.min(CONTEXT);
            Window { episode_id: row.episode_id, t_start: (steps - length) as u32, length: length as u32, weight: 1.0 }
        };
        let windows = rows.iter().map(ending).collect();
        Ok((Windows::open(dataset, windows, Role::Whole, side, 0)?, rows))
    }

    /// The windows themselves, by index.
    pub fn list(&self) -> &[Window] {
        &self.windows
    }

    /// Steps of a window that carry weight.
    pub fn weighted(&self, window: &Window) -> usize {
        (0..window.length as usize).filter(|t| weight(self.role, window, *t) > 0.0).count()
    }

    fn fill(&self, window: &Window, mut frames: Sink, actions: &mut [u8], weights: &mut [f32]) -> Result<()> {
        let length = window.length as usize;
        actions[length * COMPONENTS..].fill(0);
        self.frames.window(window, &mut frames, &mut actions[..length * COMPONENTS])?;
        frames.pad(CONTEXT - length);
        for (t, out) in weights.iter_mut().enumerate() {
            *out = if t < length { weight(self.role, window, t) } else { 0.0 };
        }
        Ok(())
    }
}

/// The weight of step `t` of a window.
fn weight(role: Role, window: &Window, t: usize) -> f32 {
    let context_only = role == Role::Rollout && window.t_start > 0 && t < BLOCK;
    if context_only { 0.0 } else { window.weight }
}

fn check_window(window: &Window, episodes: &HashMap<i64, EpisodeRow>) -> Result<()> {
    let Window { episode_id, t_start, length, .. } = *window;
    let Some(row) = episodes.get(&episode_id) else {
        bail!("episode {episode_id} is not in the dataset: did the query read another one?");
    };
    ensure!(
        (1..=CONTEXT as u32).contains(&length),
        "episode {episode_id}: a window of {length} steps; a window has 1 to {CONTEXT}"
    );
    ensure!(
        u64::from(t_start) + u64::from(length) <= row.num_steps as u64,
        "episode {episode_id}: steps {t_start}..{} of an episode with {}",
        u64::from(t_start) + u64::from(length),
        row.num_steps
    );
    Ok(())
}

impl WindowSource for Windows {
    fn len(&self) -> usize {
        self.windows.len()
    }

    fn frame_size(&self) -> usize {
        self.frames.side
    }

    fn pack(&mut self, wanted: bool) -> bool {
        self.frames.pack(wanted)
    }

    fn load(&mut self, indices: &[usize], out: &mut WindowBatch) -> Result<(), playhouse_agent::Error> {
        let window_bytes = CONTEXT * self.frames.frame_bytes();
        fit(&mut out.actions, indices.len() * CONTEXT * COMPONENTS);
        fit(&mut out.weights, indices.len() * CONTEXT);
        let places = out.actions.par_chunks_exact_mut(CONTEXT * COMPONENTS);
        let places = places.zip(out.weights.par_chunks_exact_mut(CONTEXT)).zip(indices);
        if self.frames.packed() {
            // Their memory is used again, as the batch's is.
            let mut packed = std::mem::take(&mut self.packed);
            packed.resize_with(indices.len(), PackedFrames::default);
            let filled = places.zip(packed.par_iter_mut()).try_for_each(|(((actions, weights), &index), packed)| {
                packed.clear();
                self.fill(&self.windows[index], Sink::Packed(packed), actions, weights)
            });
            filled.map_err(playhouse_agent::Error::outside)?;
            PackedFrames::join(&packed, &mut out.frames);
            self.packed = packed;
            return Ok(());
        }
        fit(&mut out.frames, indices.len() * window_bytes);
        places
            .zip(out.frames.par_chunks_exact_mut(window_bytes))
            .try_for_each(|(((actions, weights), &index), frames)| {
                self.fill(&self.windows[index], Sink::Pixels(frames), actions, weights)
            })
            .map_err(playhouse_agent::Error::outside)
    }
}

/// Gives a buffer its length; one that has it is kept, whatever it holds.
fn fit<T: Clone + Default>(buffer: &mut Vec<T>, length: usize) {
    if buffer.len() != length {
        // Zeroed as a whole, which the allocator does for nothing; resizing in place is a slow loop in the dev profile.
        *buffer = vec![T::default(); length];
    }
}

/// What is needed to play an episode of the arena again.
///
/// # Errors
/// The episode has no map or no seed, or its actions cannot be read.
pub fn open_replay(dataset: &Dataset, row: &EpisodeRow) -> Result<Replay> {
    let id = row.episode_id;
    let map = row.map.clone().with_context(|| format!("episode {id} has no map, so it cannot be played again"))?;
    let seed = row.seed.with_context(|| format!("episode {id} has no seed, so it cannot be played again"))?;
    Ok(Replay { map, seed: seed as u64, actions: dataset.read_actions(id)? })
}

/// Preference pairs: two windows of one dataset each, and how sure it is that the first is the better one.
pub struct Pairs {
    /// Chosen at even places, rejected at odd ones.
    windows: Windows,
    labels: Vec<f32>,
}

impl Pairs {
    /// The pairs of a query's result: columns `chosen_episode_id`, `chosen_t_start`, `chosen_length`, the same for
    /// `rejected_`, and optionally `label` (probability that the chosen one is better, 1 if absent).
    ///
    /// # Errors
    /// A column is missing, a window leaves its episode, a label is not within 0..1, or there are no pairs.
    pub fn from_table(dataset: &Path, file: &Path, side: usize, budget: usize) -> Result<Self> {
        let batches = table::read(file)?;
        let (windows, labels) = pairs(&batches).with_context(|| file.display().to_string())?;
        ensure!(!labels.is_empty(), "{} holds no pairs: loosen the query that makes it", file.display());
        Ok(Pairs { windows: Windows::open(dataset, windows, Role::Whole, side, budget)?, labels })
    }
}

fn pairs(batches: &[RecordBatch]) -> Result<(Vec<Window>, Vec<f32>)> {
    let side = |name: &str| -> Result<Vec<Window>> {
        let ids = table::integers(batches, &format!("{name}_episode_id"))?;
        let starts = table::integers(batches, &format!("{name}_t_start"))?;
        let lengths = table::integers(batches, &format!("{name}_length"))?;
        let whole = |value: i64, what: &str, row: usize| {
            u32::try_from(value).with_context(|| format!("row {row}: {name}_{what} is {value}"))
        };
        let rows = ids.into_iter().zip(starts).zip(lengths).enumerate();
        rows.map(|(row, ((episode_id, start), length))| {
            let (t_start, length) = (whole(start, "t_start", row)?, whole(length, "length", row)?);
            Ok(Window { episode_id, t_start, length, weight: 1.0 })
        })
        .collect()
    };
    let (chosen, rejected) = (side("chosen")?, side("rejected")?);
    let labels: Vec<f32> = if table::has(batches, "label") {
        table::numbers(batches, "label")?.into_iter().map(|label| label.unwrap_or(f64::NAN) as f32).collect()
    } else {
        vec![1.0; chosen.len()]
    };
    if let Some(row) = labels.iter().position(|label| !(0.0..=1.0).contains(label)) {
        bail!("row {row}: label is {}, expected a probability between 0 and 1", labels[row]);
    }
    let windows = chosen.into_iter().zip(rejected).flat_map(|(chosen, rejected)| [chosen, rejected]).collect();
    Ok((windows, labels))
}

impl PairSource for Pairs {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn frame_size(&self) -> usize {
        self.windows.frame_size()
    }

    fn load(
        &mut self,
        indices: &[usize],
        chosen: &mut WindowBatch,
        rejected: &mut WindowBatch,
    ) -> Result<(), playhouse_agent::Error> {
        let places = |offset: usize| -> Vec<usize> { indices.iter().map(|index| 2 * index + offset).collect() };
        self.windows.load(&places(0), chosen)?;
        self.windows.load(&places(1), rejected)
    }

    fn label(&self, index: usize) -> f32 {
        self.labels[index]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::progress::Silent;
    use crate::stages::record_into;

    /// Two datasets of the same play, one with raw frames, one without any.
    fn twins(root: &Path) -> [std::path::PathBuf; 2] {
        ["raw", "none"].map(|frames| {
            let settings =
                format!("maps = ['skygarden', 'canyon']\nepisodes = 3\nframes = '{frames}'").parse().unwrap();
            let path = root.join(frames);
            record_into(&path, &settings, 11, 2, &Silent).unwrap();
            path
        })
    }

    fn load(dataset: &Path, windows: &[Window], role: Role, side: usize, budget: usize) -> WindowBatch {
        let mut source = Windows::open(dataset, windows.to_vec(), role, side, budget).unwrap();
        let mut batch = WindowBatch::default();
        let all: Vec<usize> = (0..windows.len()).collect();
        source.load(&all, &mut batch).unwrap();
        let first = batch.clone();
        source.load(&all, &mut batch).unwrap();
        assert_eq!(first, batch, "a second load gives the same, cached or not");
        batch
    }

    #[test]
    fn rendering_again_gives_the_stored_frames_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let [raw, none] = twins(dir.path());
        let rows = Dataset::open(&raw).unwrap().episodes().unwrap();
        let window = |row: &EpisodeRow, t_start: u32| {
            let length = (row.num_steps - t_start).min(32);
            Window { episode_id: row.episode_id, t_start, length, weight: 0.5 }
        };
        // At the start, off the grid of blocks, and at the end.
        let windows: Vec<Window> =
            rows.iter().flat_map(|row| [window(row, 0), window(row, 7), window(row, row.num_steps - 5)]).collect();
        for (side, budget) in [(128, 0), (64, 1 << 24)] {
            let stored = load(&raw, &windows, Role::Whole, side, budget);
            assert!(stored == load(&none, &windows, Role::Whole, side, budget), "side {side}");
            assert!(stored.frames.iter().any(|byte| *byte > 0));
        }
    }

    #[test]
    fn weights_leave_out_context_and_padding() {
        let window = |t_start, length| Window { episode_id: 0, t_start, length, weight: 2.0 };
        let weights = |role, window: Window| (0..32).map(|t| weight(role, &window, t)).sum::<f32>();
        assert_eq!(weights(Role::Rollout, window(0, 32)), 64.0);
        assert_eq!(weights(Role::Rollout, window(16, 32)), 32.0);
        assert_eq!(weights(Role::Whole, window(16, 32)), 64.0);

        let dir = tempfile::tempdir().unwrap();
        let [_, none] = twins(dir.path());
        let batch = load(&none, &[Window { length: 5, ..window(0, 5) }], Role::Rollout, 64, 0);
        assert_eq!(batch.weights.iter().filter(|w| **w > 0.0).count(), 5);
        assert_eq!(batch.frames.len(), 32 * 64 * 64 * 3);
    }

    #[test]
    fn windows_outside_their_episode_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let [_, none] = twins(dir.path());
        let open = |window| {
            let good = Window { episode_id: 0, t_start: 0, length: 1, weight: 1.0 };
            let error = Windows::open(&none, vec![good, window], Role::Whole, 64, 0).err().unwrap();
            format!("{error:#}")
        };
        let error = open(Window { episode_id: 77, t_start: 0, length: 1, weight: 1.0 });
        assert!(error.contains("row 1") && error.contains("episode 77 is not in the dataset"), "{error}");
        let error = open(Window { episode_id: 1, t_start: 9_999, length: 32, weight: 1.0 });
        assert!(error.contains("episode 1: steps 9999..10031"), "{error}");
        let error = open(Window { episode_id: 1, t_start: 0, length: 33, weight: 1.0 });
        assert!(error.contains("a window of 33 steps"), "{error}");
    }

    #[test]
    fn pairs_are_read_by_column_and_checked() {
        let ids = |values: Vec<i64>| table::int_column(values);
        let columns = |label: f32| {
            vec![
                ("chosen_episode_id", ids(vec![1])),
                ("chosen_t_start", ids(vec![0])),
                ("chosen_length", ids(vec![4])),
                ("rejected_episode_id", ids(vec![2])),
                ("rejected_t_start", ids(vec![1])),
                ("rejected_length", ids(vec![4])),
                ("label", Arc::new(arrow::array::Float32Array::from(vec![label])) as _),
            ]
        };
        let batch = |label| RecordBatch::try_from_iter(columns(label)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let [_, none] = twins(dir.path());
        let file = dir.path().join("pairs.parquet");
        table::write(&file, &batch(0.5)).unwrap();
        let mut source = Pairs::from_table(&none, &file, 64, 0).unwrap();
        assert_eq!((source.len(), source.label(0), source.frame_size()), (1, 0.5, 64));
        let (mut chosen, mut rejected) = (WindowBatch::default(), WindowBatch::default());
        source.load(&[0], &mut chosen, &mut rejected).unwrap();
        assert!(chosen.weights == rejected.weights && chosen.frames != rejected.frames);

        let error = pairs(&[batch(1.5)]).unwrap_err().to_string();
        assert!(error.contains("row 0: label is 1.5"), "{error}");
        let mut short = columns(1.0);
        short.remove(4);
        let error = pairs(&[RecordBatch::try_from_iter(short).unwrap()]).unwrap_err().to_string();
        assert!(error.contains("no column `rejected_t_start`"), "{error}");
    }
}
