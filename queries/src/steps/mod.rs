//! The table `steps` of a dataset, read with what the dataset knows about it.
//!
//! ```text
//!   TableProvider::scan                     index of episodes (from `episodes`, a few MB for 10,000 hours)
//!     filters on episode_id  -> which episodes        no step is read for it
//!     filters on t           -> which of their steps
//!     partitions             -> whole episodes, about as many rows in each, ascending
//!   StepsExec                               episode_id and t are made up, buttons are bits of one column
//!     filters that come while running (joins) -> fewer episodes
//!   SentStepsExec                           the same scan between machines
//! ```
//!
//! A scan says how it is laid out: `Range` partitioning by `episode_id`, sorted by `(episode_id, t)`. So group-bys and
//! windows over episodes neither hash, nor sort, nor exchange rows. `Range` is what the partitions are; a join whose other
//! side is partitioned by a hash does not take them for the same (DataFusion compares the two), and redistributes.

mod exec;
mod selection;
mod sent;
mod table;

pub(crate) use exec::StepsExec;
pub use sent::SentStepsExec;
pub(crate) use table::StepsTable;
