//! What a row of gameplay means: action spaces, frames, episodes, windows, and the dataset on disk.
//!
//! A dataset is a folder of plain Parquet files that any tool reads with a glob:
//!
//! ```text
//! <root>/episodes/part-000000000000.parquet    one row an episode: who, where, outcome, statistics
//!        episode_id source map player policy spawn outcome split action_source seed hz num_steps return started_at
//!        idle_fraction distance net_displacement action_entropy presses_<button>.. mean_stick_deflection
//!        longest_repeat action_hash
//! <root>/steps/part-000000000000.parquet       one row a step, sorted by (episode_id, t)
//!        episode_id t <component>.. buttons pos_x pos_y pos_z yaw pitch reward terminated truncated
//! <root>/frames/part-000000000000.parquet      one row a step, or no such folder; sorted by (episode_id, t)
//!        episode_id t image{bytes path}
//! ```
//!
//! Frame `t` is what the agent saw, action `t` what it then did. Every footer carries the format version, the
//! [`ActionSpace`] and the [`FrameSpec`]. An episode exists if and only if its row is in `episodes`, which is written
//! last: see [`Writer`] for the commit, [`WindowReader`] for what a training window costs, [`verify()`] for what can be
//! wrong. A dataset lies in a folder, or under a prefix of a bucket (`s3://bucket/prefix`): see [`storage`].
//!
//! ```
//! use playhouse_schemas::{ActionSource, ActionSpace, Dataset, DatasetSpec, Episode, Window, gamepad};
//!
//! # let folder = tempfile::tempdir().expect("a temporary folder");
//! # let root = folder.path();
//! let spec = DatasetSpec { actions: ActionSpace::gamepad(), frames: None };
//! let dataset = Dataset::create(root, &spec)?;
//! let mut writer = dataset.writer()?;
//! writer.push(Episode {
//!     episode_id: 0,
//!     source: "example".into(),
//!     map: None,
//!     player: Some("ada".into()),
//!     policy: None,
//!     spawn: None,
//!     outcome: Some("left".into()),
//!     split: None,
//!     action_source: ActionSource::Human,
//!     seed: None,
//!     hz: 10.0,
//!     episode_return: None,
//!     started_at: None,
//!     actions: gamepad::neutral().repeat(50),
//!     poses: Vec::new(),
//!     rewards: Vec::new(),
//!     terminated: true,
//!     truncated: false,
//!     frames: Vec::new(),
//! })?;
//! writer.finish()?;
//!
//! let reader = dataset.reader()?;
//! let (mut actions, mut frames) = (Vec::new(), Vec::new());
//! let window = Window { episode_id: 0, t_start: 18, length: 32, weight: 1.0 };
//! reader.read(&window, &mut actions, &mut frames)?;
//! assert_eq!(actions.len(), 32 * gamepad::COMPONENTS);
//! assert_eq!(reader.episodes()[0].stats.idle_fraction, 1.0);
//! # Ok::<(), playhouse_schemas::Error>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod action;
mod action_blocks;
mod bitmaps;
mod copy;
mod dataset;
mod disk;
mod episode;
mod error;
mod fast_frame;
mod footer;
mod frame;
mod frame_pages;
mod ids;
mod page_cursor;
mod parquet_file;
mod part;
mod picture;
mod prepared;
mod reader;
mod row;
mod small_ints;
mod spec;
mod stats;
mod step;
mod step_index;
mod step_scan;
mod table;
mod table_writer;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod validate;
mod verify;
mod window;
mod writer;

pub mod plain;
pub mod storage;

pub use action::{ActionSpace, Component, Kind, gamepad};
pub use copy::{Copied, copy};
pub use dataset::Dataset;
pub use episode::{ActionSource, Episode, Pose};
pub use error::{Error, Result};
pub use footer::FORMAT_VERSION;
pub use frame::{Codec, FrameSpec};
pub use picture::{Picture, PictureKind};
pub use prepared::PreparedEpisode;
pub use reader::WindowReader;
pub use row::EpisodeRow;
pub use spec::DatasetSpec;
pub use stats::{EpisodeStats, action_hash};
pub use step_index::{EpisodeSteps, StepIndex};
pub use step_scan::StepScan;
pub use table::Table;
pub use verify::{Code, Problem, VerifyOptions, VerifyReport, verify, verify_with};
pub use window::{Window, windows_from_batch};
pub use writer::{PartLimits, Summary, Writer};
