//! `sql`: questions, answered as tables, JSON lines, CSV or Parquet; one after the other, or at a prompt.
//!
//! ```text
//!   query, -f FILE, pipe ─┐
//!                         ├─> script ──> interpreter ──> answer ──> pager, file
//!   shell ── prompt ───────┘    statements    |             └─ pictures ──> --images DIR
//!              └─ complete     commands      └─ look_up
//!
//!   stage outputs   by stage name: demos, play.episodes, reward.scores
//!   the books       runs, run_stages, metrics, checkpoints
//!   --dataset       a folder's episodes, steps, frames, and its sidecars
//! ```

mod answer;
mod arguments;
mod command;
mod complete;
mod interpreter;
mod layout;
mod look_up;
mod pager;
mod pictures;
mod prompt;
mod scan_line;
mod script;
mod shell;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use arrow::array::RecordBatch;
use playhouse_queries::{Session, SessionOptions};

use super::args::SqlArgs;
use super::{Context, cluster};
use crate::engine::names::{self, Names};
use crate::engine::{Error, catalog, ledger};
use crate::progress::interrupted;
use arguments::{Source, resolve};
use interpreter::{Interpreter, Output, Settings};
use pictures::RawFrames;
use scan_line::ScanLine;

/// Rows of a table that a prompt shows, until told otherwise.
const ROWS: usize = 1000;

/// `playhouse sql`
pub(super) fn sql(context: &mut Context, args: SqlArgs) -> Result<()> {
    let pipeline = args.pipeline.clone();
    let cluster = cluster::connect(args.cluster.as_deref())?;
    let question = resolve(args)?;
    let line = ScanLine::new(context.console);
    let session = Session::new(&SessionOptions {
        threads: Some(context.threads),
        memory_limit: context.memory_limit,
        spill_limit: context.spill_limit,
        stop: Some(Arc::new(interrupted)),
        watch: line.watch(),
        cluster,
    })?;
    let (mut roots, unfinished) = register_home(context, &session, pipeline.as_deref())?;
    for (name, folder) in question.datasets {
        session.register_dataset(&name, &folder)?;
        roots.push(folder);
    }
    let prompt = matches!(question.source, Source::Prompt);
    let home = context.home.root().to_owned();
    let mut interpreter = Interpreter {
        context,
        session,
        settings: Settings {
            params: question.params,
            format: question.format,
            output: question.output.map(|path| Output { path, format: None }),
            images: question.images,
            timing: prompt,
            rows: prompt.then_some(ROWS),
        },
        raw: RawFrames::of(roots),
        line,
        prompt,
    };
    let (text, origin) = match question.source {
        Source::Text(text, origin) => (text, origin),
        Source::Prompt => {
            if interpreter.session.tables().is_empty() {
                interpreter.context.console.line(&format!("playhouse: {}", nothing_here(&home)));
            }
            return shell::shell(&mut interpreter);
        }
    };
    let answered = interpreter.run(&text, origin.as_deref()).map(|_| ());
    let asks_for_tables = match &answered {
        Ok(()) => text.trim() == "\\d",
        Err(error) => matches!(error.downcast_ref(), Some(playhouse_queries::Error::UnknownTable { .. })),
    };
    if asks_for_tables && interpreter.session.tables().is_empty() {
        let why = nothing_here(&home);
        return match answered {
            Ok(()) => Err(Error::Usage(why).into()),
            Err(error) => Err(error.context(why)),
        };
    }
    answered.map_err(|error| {
        let stage = match error.downcast_ref() {
            Some(playhouse_queries::Error::UnknownTable { name, .. }) => stage_of(name).to_owned(),
            _ => return error,
        };
        match unfinished.contains(&stage) {
            true => error.context(format!(
                "stage `{stage}` is not finished; the command that runs its pipeline goes on with it"
            )),
            false => error,
        }
    })
}

/// The stage whose table a name means.
fn stage_of(table: &str) -> &str {
    table.split('.').next().unwrap_or(table).trim_matches('"')
}

/// Why there are no tables.
fn nothing_here(home: &Path) -> String {
    let what = if home.exists() { "is not a folder" } else { "does not exist" };
    format!(
        "{} {what}, so no stage's output can be asked (go to the folder where a pipeline ran, name its home with --home, or a \
         dataset with --dataset)",
        home.display()
    )
}

/// Registers every stage's output and the books, and returns the folders of datasets and the stages that are not finished.
/// An output that cannot be read is named and left out: it must not keep the others from being asked.
fn register_home(
    context: &Context,
    session: &Session,
    pipeline: Option<&str>,
) -> Result<(Vec<PathBuf>, BTreeSet<String>)> {
    if !context.home.root().is_dir() {
        return Ok(Default::default());
    }
    let Names { outputs, unfinished, note } = names::current(&context.home, pipeline)?;
    if let Some(name) = pipeline.filter(|_| outputs.is_empty()) {
        let home = context.home.root().display();
        return Err(Error::Usage(format!("--pipeline {name}: no finished output of it in {home}")).into());
    }
    context.tell(note);
    for (stage, (dir, _)) in &outputs {
        if let Err(error) = catalog::register(session, stage, dir) {
            context.console.line(&format!("playhouse: left out: {error:#}"));
        }
    }
    let empty = |schema| vec![RecordBatch::new_empty(schema)];
    let or_empty = |batches: Vec<RecordBatch>, schema| if batches.is_empty() { empty(schema) } else { batches };
    let (runs, stages) = ledger::runs(&context.home)?;
    session.register_batches(None, "runs", or_empty(runs, ledger::runs_schema()))?;
    session.register_batches(None, "run_stages", or_empty(stages, ledger::stages_schema()))?;
    let metrics = ledger::metrics(&context.home)?;
    session.register_batches(None, "metrics", or_empty(metrics, ledger::metrics_schema()))?;
    session.register_batches(None, "checkpoints", vec![ledger::checkpoints(&context.home)?])?;
    let roots = outputs.into_values().map(|(dir, _)| dir.join("data")).filter(|data| data.is_dir()).collect();
    Ok((roots, unfinished))
}
