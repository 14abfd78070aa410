//! Plain tables of gameplay: steps and episodes in Parquet files that another tool wrote, read through named columns.
//!
//! ```text
//! *.parquet, sorted by name --> PlainTable: columns there? types readable? compression known?
//!   rows in order           --> Plays: one Play an episode, checked to be t = 0, 1, .. of ascending episodes
//!   Play (slices of batches) -> StepColumns::played: values as actions [T, C], telemetry, rewards, end flags
//! ```
//!
//! The first two run on one thread and keep a few batches in memory; the last is most of the work, and any thread can do
//! it. Nothing is guessed: what cannot be meant is an [`Error::Invalid`](crate::Error::Invalid) that names the file, the
//! row (counted from 0 within the file), the column and the value, and says what to do.

mod files;
mod steps;
mod values;

pub use files::PlainTable;
pub use steps::{Play, Plays};
pub use values::{Played, StepColumns};
