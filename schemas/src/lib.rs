//! What a row of gameplay means: action spaces, frames, episodes, windows, and the dataset on disk.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod action;
mod dataset;
mod episode;
mod error;
mod frame;
mod stats;
#[cfg(test)]
mod testing;
mod window;

pub use action::{ActionSpace, Component, Kind, gamepad};
pub use dataset::{
    Dataset, DatasetSpec, EpisodeRow, Problem, Summary, VerifyReport, WindowReader, Writer, verify,
};
pub use episode::{ActionSource, Episode, Pose};
pub use error::{Error, Result};
pub use frame::{Codec, FrameSpec};
pub use stats::EpisodeStats;
pub use window::{Window, windows_from_batch};
