//! The table `episodes` as Polars reads it, and which rows of which part are whose.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use playhouse_schemas::{ActionSpace, Table};
use polars::prelude::DataFrame;

use super::frame;
use super::part::RowFile;
use super::side_by_side::side_by_side;
use crate::error::Result;

/// The index of a dataset: one row an episode, in the order of the files and of the rows in them.
pub(super) struct Index {
    pub(super) frame: DataFrame,
    /// `episode_id` of each row.
    pub(super) ids: Vec<i64>,
    /// `num_steps` of each row; 0 where it is below 1.
    pub(super) steps: Vec<u64>,
    /// `hz` of each row; NaN where it is null.
    pub(super) hz: Vec<f64>,
    /// The map of each row, as a place in `maps`.
    pub(super) map: Vec<usize>,
    /// The maps, in order; none for episodes that do not say.
    pub(super) maps: Vec<Option<String>>,
    /// The files of each part.
    pub(super) parts: Vec<Part>,
}

/// The files with one name in `episodes/`, `steps/` and `frames/`.
pub(super) struct Part {
    pub(super) steps: PathBuf,
    pub(super) frames: Option<PathBuf>,
    /// Its episodes, as rows of the index.
    pub(super) episodes: Range<usize>,
}

impl Index {
    /// Reads the index. The three lists have one file a part, `frames` may be empty; `threads` of them are open at a time.
    pub(super) fn read(
        root: &Path,
        actions: &ActionSpace,
        threads: usize,
        episodes: &[PathBuf],
        steps: &[PathBuf],
        frames: &[PathBuf],
    ) -> Result<Self> {
        let rows_of =
            |part: usize| Ok(RowFile::open(&episodes[part], Table::Episodes, actions, false)?.rows() as usize);
        let rows = side_by_side(episodes.len(), threads, rows_of)?;
        let mut parts = Vec::with_capacity(episodes.len());
        let mut row = 0;
        for (i, (rows, steps)) in rows.into_iter().zip(steps).enumerate() {
            let frames = frames.get(i).cloned();
            parts.push(Part { steps: steps.clone(), frames, episodes: row..row + rows });
            row += rows;
        }
        let frame = frame::episodes(root, episodes, actions)?;
        let lengths = frame::optional_numbers(&frame, "num_steps")?;
        let names = frame::texts(&frame, "map")?;
        let mut maps: Vec<Option<String>> = names.clone();
        maps.sort();
        maps.dedup();
        let places: HashMap<&Option<String>, usize> = maps.iter().enumerate().map(|(i, name)| (name, i)).collect();
        let map = names.iter().map(|name| places.get(name).copied().unwrap_or(0)).collect();
        Ok(Self {
            ids: frame::ids(&frame, "episode_id")?,
            steps: lengths.into_iter().map(|n| n.unwrap_or(0.0).max(0.0) as u64).collect(),
            hz: frame::optional_numbers(&frame, "hz")?.into_iter().map(|hz| hz.unwrap_or(f64::NAN)).collect(),
            frame,
            map,
            maps,
            parts,
        })
    }

    /// All steps that the index lists.
    pub(super) fn total_steps(&self) -> u64 {
        self.steps.iter().sum()
    }

    /// Steps that the index lists for a part.
    pub(super) fn steps_of(&self, part: &Part) -> u64 {
        self.steps[part.episodes.clone()].iter().sum()
    }

    /// The rows in the part's files of an episode of it, if every episode before it has its steps.
    pub(super) fn rows_of(&self, part: &Part, episode: usize) -> Range<u64> {
        let first: u64 = self.steps[part.episodes.start..episode].iter().sum();
        first..first + self.steps[episode]
    }
}
