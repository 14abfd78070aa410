//! The engine: from a definition to finished outputs.
//!
//! ```text
//!  definition.rs   the TOML file as written              what was typed
//!  parameters.rs   --set, [matrix], ${name}
//!  graph.rs        stages resolved, in order
//!  fingerprint.rs  what can change a result, hashed
//!  plan.rs         graph x home -> cached / to run / resumes, and why
//!  preflight.rs    plans the queries on the columns to come
//!  run.rs          executes a plan                       what is run
//!  damage.rs       an input's file that rotted, and what to do
//!  board.rs        which stage may begin
//!  store.rs        <home>/<pipeline>/<stage>/<fingerprint>/, stage.json, the lock
//!  names.rs        which output each stage's name means
//!  ledger.rs       runs, their stages, metrics and models as tables
//!  catalog.rs      outputs as SQL tables
//! ```
//!
//! A stage's output is looked up by its fingerprint alone, so there is no database to fall out of step with the files:
//! `stage.json` in the folder, written last, is the only thing that makes an output finished.

pub mod board;
pub mod catalog;
pub mod clock;
mod damage;
pub mod definition;
pub mod error;
pub mod fingerprint;
pub mod graph;
pub mod ledger;
pub mod names;
pub mod nearest;
pub mod parameters;
pub mod plan;
pub mod preflight;
pub mod run;
pub mod store;

pub use error::{Error, Result, chain};
