//! What each kind of stage does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use playhouse_queries::Session;

use crate::progress::Progress;

/// Everything a stage may know while it runs.
pub struct StageContext<'a> {
    /// The stage's name in the pipeline.
    pub name: &'a str,
    /// Its own folder: survives a kill, holds checkpoints and, at the end, the results.
    pub dir: &'a Path,
    /// Its settings, parameters already substituted.
    pub settings: &'a toml::Table,
    /// The seed of the run.
    pub seed: u64,
    /// Finished input stages: name to folder.
    pub inputs: &'a BTreeMap<String, PathBuf>,
    /// A session in which every input is registered under its stage name.
    pub session: &'a Session,
    /// Where to report progress, and where a stop request comes from.
    pub progress: &'a dyn Progress,
    /// Threads the stage may use.
    pub threads: usize,
}

/// What a finished stage tells.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Outcome {
    /// Rows by table name.
    pub rows: BTreeMap<String, u64>,
    /// Figures worth showing at the end of a run.
    pub figures: BTreeMap<String, f64>,
}

/// Checks a stage's settings at plan time and names the stages they refer to.
pub fn check(kind: &str, name: &str, _settings: &toml::Table) -> anyhow::Result<Vec<String>> {
    anyhow::bail!("stage `{name}`: kind `{kind}` is not known")
}

/// The version of a kind's implementation: part of its fingerprint.
pub fn version(_kind: &str) -> u32 {
    1
}

/// Runs a stage to its end, from its last checkpoint if there is one.
pub fn run(kind: &str, ctx: &StageContext) -> anyhow::Result<Outcome> {
    anyhow::bail!("stage `{}`: kind `{kind}` is not known", ctx.name)
}
