//! SQL on more than one machine: Ballista with our tables, operators and functions.
//!
//! ```text
//!   session (client)          scheduler                executors
//!   SQL ──> physical plan ──> stages ──> tasks ──────> a task's share of the plan, our operators in it
//!              codec             codec                   codec
//!   rows  <────────────────────────────────────────────  rows, straight from who has them
//! ```
//!
//! The session plans for itself, as it does without a cluster, and sends the physical plan. Nothing is registered anywhere else:
//! a plan names its files, and every machine must see them under the same names. Two kinds of nodes are ours: scans of steps
//! ([`playhouse_queries::remote::SentStepsExec`]) and plans that one executor runs as a whole. Whatever else we have that is quick,
//! executors put into their tasks when they come.
//!
//! *Same rows.* What depends on the machine it runs in is turned off when planning (filters that joins make while they run, order
//! kept by merging). A plan that cannot be cut into stages (`cut.rs` says which) goes to one executor as a whole, and so does a query whose rows
//! are to be written with the same bytes wherever it runs. What cannot be sent at all, such as `with recursive`, runs here.
//!
//! *Lost executors.* The scheduler misses an executor that is silent for some seconds, and has others do its tasks again.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
mod codec;
mod cut;
mod engine;
mod error;
mod executor;
mod failure;
mod job;
mod leaf;
mod scheduler;
mod whole;

pub use client::{PARTITIONS, connect};
pub use error::{Error, Result};
pub use executor::{Executor, ExecutorOptions};
pub use playhouse_queries::remote::Cluster;
pub use scheduler::{Scheduler, SchedulerOptions};

/// Bytes of a message between machines at most: a plan lists every episode that it reads, 16 bytes each.
const MESSAGE: usize = 256 << 20;

/// Stack of a thread that plans or runs plans, which are trees.
const STACK: usize = 64 << 20;

/// Threads of a process of the cluster.
fn threads(count: usize) -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(count).thread_name("playhouse-cluster").thread_stack_size(STACK).enable_all();
    builder.build().map_err(|e| Error::Internal(format!("cannot start threads: {e}")))
}
