//! A dataset on disk.
use crate::{ActionSource, ActionSpace, Episode, EpisodeStats, Error, FrameSpec, Result, Window};
use std::path::{Path, PathBuf};

/// What every file of a dataset has in common.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetSpec {
    /// What an action is.
    pub actions: ActionSpace,
    /// What a frame is; none for a dataset without frames.
    pub frames: Option<FrameSpec>,
}
/// A row of the table `episodes`.
#[derive(Clone, Debug, PartialEq)]
pub struct EpisodeRow {
    /// Unique within the dataset.
    pub episode_id: i64,
    /// Where it comes from.
    pub source: String,
    /// The map played on.
    pub map: Option<String>,
    /// Who played.
    pub player: Option<String>,
    /// The model that played.
    pub policy: Option<String>,
    /// Where it began.
    pub spawn: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// The split.
    pub split: Option<String>,
    /// Who chose the actions.
    pub action_source: ActionSource,
    /// The environment's seed.
    pub seed: Option<i64>,
    /// Steps a second.
    pub hz: f32,
    /// Number of steps.
    pub num_steps: u32,
    /// Sum of rewards (column `return`).
    pub episode_return: Option<f32>,
    /// Microseconds since 1970.
    pub started_at: Option<i64>,
    /// Statistics.
    pub stats: EpisodeStats,
}
/// A dataset.
pub struct Dataset {
    root: PathBuf,
    spec: DatasetSpec,
}
/// What a writer stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Episodes stored.
    pub episodes: u64,
    /// Steps stored.
    pub steps: u64,
    /// Bytes of the files written.
    pub bytes: u64,
    /// Parts committed.
    pub parts: u64,
}
/// Writes episodes.
pub struct Writer {
    _spec: DatasetSpec,
}
/// Reads windows.
pub struct WindowReader {
    _root: PathBuf,
}
fn missing<T>() -> Result<T> {
    Err(Error::Internal("being written".into()))
}
impl Dataset {
    /// Creates.
    pub fn create(root: &Path, spec: &DatasetSpec) -> Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            spec: spec.clone(),
        })
    }
    /// Opens.
    pub fn open(_root: &Path) -> Result<Self> {
        missing()
    }
    /// Root.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// Spec.
    pub fn spec(&self) -> &DatasetSpec {
        &self.spec
    }
    /// Writer.
    pub fn writer(&self) -> Result<Writer> {
        missing()
    }
    /// Episodes in order of id.
    pub fn episodes(&self) -> Result<Vec<EpisodeRow>> {
        missing()
    }
    /// Reader: a snapshot of what is committed now.
    pub fn reader(&self) -> Result<WindowReader> {
        missing()
    }
    /// All actions of an episode, `[T, C]`.
    pub fn read_actions(&self, _episode_id: i64) -> Result<Vec<u8>> {
        missing()
    }
    /// A whole episode.
    pub fn read_episode(&self, _episode_id: i64) -> Result<Episode> {
        missing()
    }
}
impl Writer {
    /// Adds an episode.
    pub fn push(&mut self, _episode: Episode) -> Result<()> {
        missing()
    }
    /// Commits what was pushed so far, so that it survives a crash.
    pub fn flush(&mut self) -> Result<()> {
        missing()
    }
    /// Commits the rest.
    pub fn finish(self) -> Result<Summary> {
        missing()
    }
}
impl WindowReader {
    /// Clears and fills `actions` (`length x C`) and `frames_rgb` (`length x bytes()`).
    pub fn read(
        &self,
        _w: &Window,
        _actions: &mut Vec<u8>,
        _frames_rgb: &mut Vec<u8>,
    ) -> Result<()> {
        missing()
    }
    /// Data pages read so far.
    pub fn pages_read(&self) -> u64 {
        0
    }
    /// Bytes read from files so far.
    pub fn bytes_read(&self) -> u64 {
        0
    }
    /// The episodes of the snapshot, by id.
    pub fn episodes(&self) -> &[EpisodeRow] {
        &[]
    }
    /// All actions of an episode.
    pub fn read_actions(&self, _episode_id: i64) -> Result<Vec<u8>> {
        missing()
    }
    /// A whole episode.
    pub fn read_episode(&self, _episode_id: i64) -> Result<Episode> {
        missing()
    }
}
/// One finding of [`verify`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Stable code: `PH001`.
    pub code: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong, where, and the fix.
    pub message: String,
    /// Removed by `repair`.
    pub repaired: bool,
}
/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct VerifyReport {
    /// Files looked at.
    pub files: u64,
    /// Episodes.
    pub episodes: u64,
    /// Steps.
    pub steps: u64,
    /// Frames.
    pub frames: u64,
    /// Findings.
    pub problems: Vec<Problem>,
}
/// Checks a dataset.
pub fn verify(_root: &Path, _repair: bool) -> Result<VerifyReport> {
    missing()
}
