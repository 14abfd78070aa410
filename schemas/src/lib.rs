//! What a row of gameplay means: action spaces, frames, episodes, windows, and the dataset on disk.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod action;
mod action_blocks;
mod dataset;
mod disk;
mod episode;
mod error;
mod footer;
mod frame;
mod frame_pages;
mod parquet_file;
mod part;
mod reader;
mod row;
mod source;
mod spec;
mod stats;
mod step;
mod table;
#[cfg(test)]
mod testing;
mod validate;
mod verify;
mod window;
mod writer;

pub use action::{ActionSpace, Component, Kind, gamepad};
pub use dataset::Dataset;
pub use episode::{ActionSource, Episode, Pose};
pub use error::{Error, Result};
pub use footer::FORMAT_VERSION;
pub use frame::{Codec, FrameSpec};
pub use reader::WindowReader;
pub use row::EpisodeRow;
pub use spec::DatasetSpec;
pub use stats::EpisodeStats;
pub use table::Table;
pub use verify::{Code, Problem, VerifyOptions, VerifyReport, verify, verify_with};
pub use window::{Window, windows_from_batch};
pub use writer::{PartLimits, Summary, Writer};
