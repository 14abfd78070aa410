//! A training stage on several processes at once: rank 0 runs the pipeline, the others wait for what they can help with.
//!
//! ```text
//!   rank 0    lock, plan, sql, record, ... | pretrain |  sql, rollout, ...   | reward |   ...   end
//!   rank 1                                 | pretrain |                      | reward |
//! ```
//!
//! The others are told the stage and where its folders are: all ranks share a file system. They read their parts of every batch and write
//! nothing.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result, anyhow};
use playhouse_agent::{Compute, Error, Ranks};
use playhouse_queries::{Session, SessionOptions};
use serde::{Deserialize, Serialize};

use crate::engine::chain;
use crate::progress::{Progress, interrupted};
use crate::stages::{self, Outcome, StageContext};

/// Kinds whose batches are shared.
const SHARED: [&str; 4] = ["pretrain", "finetune", "prefer", "reward"];

/// A stage as another process has to know it.
#[derive(Serialize, Deserialize)]
struct Task {
    pipeline: String,
    stage: String,
    kind: String,
    dir: PathBuf,
    /// TOML.
    settings: String,
    seed: u64,
    inputs: BTreeMap<String, PathBuf>,
}

/// Runs a stage, with the help of the other ranks if it is of a kind that they can help with.
///
/// # Errors
/// The stage fails, here or on another rank.
pub fn lead(kind: &str, context: &StageContext) -> Result<Outcome> {
    let ranks = &context.ranks;
    if ranks.size() == 1 || !SHARED.contains(&kind) {
        return caught(kind, context);
    }
    let path = |path: &Path| absolute(path).with_context(|| format!("the path of {}", path.display()));
    let inputs = context.inputs.iter().map(|(name, dir)| Ok((name.clone(), path(dir)?)));
    let task = Task {
        pipeline: context.pipeline.to_owned(),
        stage: context.name.to_owned(),
        kind: kind.to_owned(),
        dir: path(context.dir)?,
        settings: toml::to_string(context.settings)?,
        seed: context.seed,
        inputs: inputs.collect::<Result<_>>()?,
    };
    ranks.begin(&serde_json::to_vec(&task)?)?;
    let outcome = caught(kind, context).inspect_err(|error| ranks.give_up(&chain(error)));
    outcome.map_err(|error| {
        let stopped = error.chain().any(|cause| matches!(cause.downcast_ref(), Some(Error::Interrupted)));
        if !stopped || context.progress.stop() {
            return error;
        }
        // Nobody asked this process, so nobody who reads what it says knows why.
        anyhow!("another rank was stopped, and all with it; the same command goes on from the last checkpoint")
    })
}

/// Helps rank 0 until it is through, or this rank is asked to stop.
///
/// # Errors
/// Rank 0 is lost, or this rank was stopped. What keeps this rank from its part of a stage is told to rank 0, whose stage then fails.
pub fn follow(ranks: &Ranks, compute: Compute) -> Result<()> {
    while let Some(task) = ranks.next(&interrupted)? {
        let task: Task = serde_json::from_slice(&task).context("rank 0 runs another version of playhouse")?;
        if let Err(error) = help(&task, ranks, compute) {
            ranks.give_up(&chain(&error));
        }
    }
    Ok(())
}

fn help(task: &Task, ranks: &Ranks, compute: Compute) -> Result<()> {
    let session = Session::new(&SessionOptions { threads: Some(1), ..SessionOptions::default() })?;
    let context = StageContext {
        pipeline: &task.pipeline,
        name: &task.stage,
        dir: &task.dir,
        settings: &task.settings.parse()?,
        seed: task.seed,
        inputs: &task.inputs,
        session: &session,
        progress: &Quiet,
        compute,
        ranks: ranks.clone(),
    };
    caught(&task.kind, &context).map(|_| ())
}

/// Runs a stage. A bug in one must not take the books and the other branches with it, nor leave the other ranks waiting.
fn caught(kind: &str, context: &StageContext) -> Result<Outcome> {
    catch_unwind(AssertUnwindSafe(|| stages::run(kind, context))).unwrap_or_else(|_| {
        Err(anyhow!("internal error (the lines above say where); please report it with the definition"))
    })
}

/// Rank 0 speaks for all; every rank may be asked to stop.
struct Quiet;

impl Progress for Quiet {
    fn stop(&self) -> bool {
        interrupted()
    }
}
