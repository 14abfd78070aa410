//! The product: everything between a folder of gameplay and an aligned agent with its report.
//!
//! ```text
//!             playhouse plan | run | sql | stats | import | record | transcode | verify | play | evaluate | doctor
//!                                        cli/  (typed arguments -> what is run)
//!                                          |
//!   definition.toml --> engine/  definition -> matrix -> graph -> fingerprints -> plan -> run
//!                                          |                        |
//!                        stages::run(kind, context)      Session::write_parquet (kind "query")
//!                         |      |      |      |
//!                      import/ env  evaluate report/     <home>/<pipeline>/<stage>/<fingerprint>/
//!                         |      |      |      |           data/ table.parquet model.safetensors
//!                       schemas arena agent  queries       metrics.parquet report.html stage.json
//! ```
//!
//! A *pipeline* is a TOML file of stages; a *stage* has a kind, settings, inputs and expectations; its *fingerprint* is
//! everything that can change its result; a *run* is one execution of a pipeline with its parameters resolved.
//! [`engine`] decides what must run and keeps the books, [`stages`] knows how each kind is done; [`report`] shows one run,
//! [`results`] what the runs of a matrix say together.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cli;
pub mod doctor;
pub mod engine;
pub mod env;
pub mod evaluate;
pub mod import;
pub mod limits;
pub mod ordered;
pub mod progress;
pub mod ranks;
pub mod report;
pub mod results;
pub mod sources;
pub mod stages;
pub mod transcode;
