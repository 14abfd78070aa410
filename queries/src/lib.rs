//! Everything that asks questions of gameplay.
//!
//! ```text
//!   dataset folders ─┐
//!   stage outputs  ──┼─> Session (DataFusion) ── query / stream ──> record batches
//!   record batches ──┘      ▲        └───────── write_parquet ───> table.parquet
//!                           │
//!        library (sql/*.sql, reviewed text)   functions (one a file)
//!
//!   dataset folder ──> stats::dataset (Polars) ──> DatasetStats (terminal, JSON)
//! ```
//!
//! A [`Session`] answers SQL over datasets and over the outputs of stages. It never writes: only `SELECT`, `EXPLAIN`,
//! `SHOW` and `DESCRIBE` run, and a result reaches the disk through [`Session::write_parquet`] alone. Parameters
//! (`$name`) are bound as literals in the syntax tree, so that a value is never read as SQL.
//!
//! This is the only crate that imports DataFusion and Polars, but for `playhouse-cluster`, which runs our plans on other machines.
//! Neither shows in its public types, which are Arrow's, outside of [`remote`], which is for that crate alone.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod buckets;
#[cfg(test)]
mod differential;
mod environment;
mod episodes;
mod error;
mod files;
pub mod functions;
pub mod library;
mod operators;
mod output;
mod params;
mod recursion;
pub mod remote;
mod resident;
mod rules;
mod scan_progress;
mod session;
mod split;
mod statement;
pub mod stats;
mod steps;
mod table;
mod threads;
mod yielding;

pub use error::{Error, Position, Result};
pub use params::{Params, Value};
pub use scan_progress::{ScanProgress, Watch};
pub use session::{Rows, Session, SessionOptions, TableInfo};
pub use split::statement_end;
pub use statement::{Inspection, inspect};
