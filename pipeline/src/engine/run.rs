//! Executes a plan: stages in order, each into its own folder, the finished marker last.
//!
//! ```text
//!   jobs workers, each: for the next stage whose inputs are decided
//!     an input failed?            -> skipped, the branch ends here and others go on
//!     cached?                     -> taken as it is
//!     else                        -> (damaged output removed) work, expectations, stage.json
//!   the books are written whatever happened
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use playhouse_agent::{Compute, Ranks};
use playhouse_cluster::Cluster;
use playhouse_queries::{Session, SessionOptions};

use super::board::Board;
use super::error::{Error, chain};
use super::graph::{Query, shown};
use super::ledger::{RunRow, StageRow};
use super::plan::{Item, Plan, State, stage_of};
use super::store::{FORMAT, Home, Lock, StageRecord, files, hashes};
use super::{catalog, clock, damage, fingerprint, ledger, names, preflight};
use crate::progress::{Console, Progress, interrupted};
use crate::ranks;
use crate::stages::{self, Outcome, StageContext};

/// Rows of a violated expectation that are shown.
const SHOWN_ROWS: usize = 5;

/// Bytes of a setting that are shown before its stage begins.
const LONG: usize = 240;

/// Failed stages that the last line names.
const NAMED: usize = 5;

/// How a plan is executed. Nothing here changes a result, but that another device rounds otherwise.
#[derive(Debug, Clone)]
pub struct Options {
    /// Device, and threads of all stages together.
    pub compute: Compute,
    /// Stages that may run at once; each gets its share of the threads and of the limits. At most one a thread.
    pub jobs: usize,
    /// Bytes a query may take; none: no limit.
    pub memory_limit: Option<usize>,
    /// Bytes of temporary files that a query may write; none: what the query engine allows.
    pub spill_limit: Option<u64>,
    /// Machines that run the SQL of `query` stages; none: this one.
    pub cluster: Option<Arc<dyn Cluster>>,
    /// Processes that share the batches of training stages.
    pub ranks: Ranks,
    /// What was typed, for the lock.
    pub command: String,
}

impl Options {
    /// What one of `jobs` stages at once may use.
    fn share(&self, jobs: usize) -> Self {
        Self {
            compute: Compute { threads: (self.compute.threads / jobs).max(1), ..self.compute },
            memory_limit: self.memory_limit.map(|bytes| bytes / jobs),
            spill_limit: self.spill_limit.map(|bytes| bytes / jobs as u64),
            ..self.clone()
        }
    }
}

/// What became of a stage.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// Its output was there.
    Cached,
    /// It ran to its end.
    Done,
    /// It failed, for this reason.
    Failed(String),
    /// It did not run, for this reason.
    Skipped(String),
    /// The user stopped it.
    Interrupted,
    /// The user stopped the run before its turn came.
    NotStarted,
}

impl Fate {
    /// As in the table `run_stages`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Done => "done",
            Self::Failed(_) => "failed",
            Self::Skipped(_) => "skipped",
            Self::Interrupted => "interrupted",
            Self::NotStarted => "not started",
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed(why) | Self::Skipped(why) => Some(why),
            _ => None,
        }
    }
}

/// One stage's line at the end.
#[derive(Debug, Clone)]
pub struct StageResult {
    /// The plan's item.
    pub item: Item,
    /// What became of it.
    pub fate: Fate,
    /// Wall time in this run.
    pub seconds: f64,
    /// Rows by table, if finished.
    pub rows: BTreeMap<String, u64>,
    /// Main figures, if finished.
    pub figures: BTreeMap<String, f64>,
}

/// A whole run.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The stages in the order in which they came.
    pub stages: Vec<StageResult>,
    /// Wall time.
    pub seconds: f64,
}

impl Summary {
    /// True if the user stopped it.
    pub fn interrupted(&self) -> bool {
        self.stages.iter().any(|s| matches!(s.fate, Fate::Interrupted | Fate::NotStarted))
    }

    /// The stages that failed and why.
    pub fn failures(&self) -> impl Iterator<Item = (&StageResult, &str)> {
        self.stages.iter().filter_map(|s| match &s.fate {
            Fate::Failed(why) => Some((s, why.as_str())),
            _ => None,
        })
    }
}

/// Executes a plan, which must have been made while the lock was held: what it says of the home is acted upon. Errors
/// are those of the home; a stage's failure is in the summary.
pub fn run(plan: &Plan, lock: &Lock, options: &Options, console: &Console) -> Result<Summary> {
    let home = lock.home();
    look_ahead(plan)?;
    names::begin(home, plan)?;
    let (began, started) = (Instant::now(), clock::now_us());
    let jobs = options.jobs.clamp(1, options.compute.threads.max(1));
    let share = options.share(jobs);
    let board = Board::new(plan);
    let broken: Mutex<BTreeSet<(String, String)>> = Mutex::default();
    let results: Mutex<BTreeMap<usize, StageResult>> = Mutex::default();
    let work = || {
        while let Some(turn) = board.take() {
            let result = one(plan, turn.stage, lock, &share, console, &broken);
            results.lock().unwrap_or_else(PoisonError::into_inner).insert(turn.stage, result);
        }
    };
    std::thread::scope(|scope| {
        for number in 1..jobs {
            let builder = std::thread::Builder::new().name(format!("stages-{number}"));
            // Fewer workers do the same work.
            if builder.spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    let stages = results.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect();
    let summary = Summary { stages, seconds: began.elapsed().as_secs_f64() };
    book(plan, home, &summary, started).context("the results are there, but the run could not be recorded")?;
    Ok(summary)
}

/// Brings one stage to its fate, which its turn on the board tells the others.
fn one(
    plan: &Plan,
    place: usize,
    lock: &Lock,
    options: &Options,
    console: &Console,
    broken: &Mutex<BTreeSet<(String, String)>>,
) -> StageResult {
    let item = &plan.stages[place];
    let since = Instant::now();
    let broken = || broken.lock().unwrap_or_else(PoisonError::into_inner);
    let reason = blocked(plan, item, &broken());
    let (fate, record) = match reason {
        _ if interrupted() => (Fate::NotStarted, None),
        Some(why) => (Fate::Skipped(why), None),
        None if item.state == State::Cached => (Fate::Cached, item.record.clone()),
        None => {
            announce(console, item, place + 1, plan.stages.len(), options.compute);
            match execute(plan, item, lock, options, &console.task(&title(item))) {
                Ok(record) => (Fate::Done, Some(record)),
                // Whatever a stage says after the user asked it to stop, it says because of that.
                Err(_) if interrupted() => (Fate::Interrupted, None),
                Err(error) => {
                    let why = chain(&error);
                    let advice = damage::advice(plan, item, lock.home(), &why);
                    (Fate::Failed(advice.map_or(why.clone(), |advice| format!("{why}\n      {advice}"))), None)
                }
            }
        }
    };
    if !matches!(fate, Fate::Cached | Fate::Done) {
        broken().insert((item.stage.clone(), item.fingerprint.clone()));
    }
    let seconds = since.elapsed().as_secs_f64();
    tell(console, item, &fate, seconds);
    StageResult {
        item: item.clone(),
        fate,
        seconds,
        rows: record.as_ref().map(|r| r.rows.clone()).unwrap_or_default(),
        figures: record.map(|r| r.figures).unwrap_or_default(),
    }
}

/// Refuses to begin what is known to fail.
fn look_ahead(plan: &Plan) -> Result<()> {
    let problems = preflight::check(plan)?;
    if problems.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = Vec::new();
    for line in problems.iter().map(|(stage, why)| format!("stage `{stage}`: {why}")) {
        // The runs of a matrix have the same problem, once each.
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    bail!("nothing was started, because this SQL cannot run:\n{}", lines.join("\n"))
}

/// Why a stage cannot run, if it cannot: an input broke in this run, or was left out and is not finished.
fn blocked(plan: &Plan, item: &Item, broken: &BTreeSet<(String, String)>) -> Option<String> {
    for (input, fingerprint) in &item.inputs {
        let stage = stage_of(input);
        if broken.contains(&(stage.to_owned(), fingerprint.clone())) {
            return Some(format!("its input `{input}` is not finished"));
        }
        let selected = plan.stages.iter().any(|i| i.stage == stage && i.fingerprint == *fingerprint);
        if !selected
            && plan.item(input, fingerprint).is_none_or(|i| i.record.as_ref().is_none_or(|r| !r.violations.is_empty()))
        {
            return Some(format!(
                "its input `{input}` is not finished and not selected; --select +{} takes it along",
                item.stage
            ));
        }
    }
    None
}

/// A stage's name, and whose it is in a matrix.
pub fn title(item: &Item) -> String {
    if item.runs.is_empty() { item.stage.clone() } else { format!("{} [{}]", item.stage, item.runs.join("; ")) }
}

/// What is about to happen, with every setting resolved, before it happens.
fn announce(console: &Console, item: &Item, number: usize, total: usize, compute: Compute) {
    let verb = match item.state {
        State::Resumes => "resuming ",
        State::ToCheck => "checking ",
        State::ToRun | State::Cached => "",
    };
    let head = format!("[{number}/{total}] {verb}{} ({}): {}", title(item), item.kind, item.why.join("; "));
    let settings = item.node.settings.iter().map(|(key, value)| format!("{key} = {}", brief(value)));
    let mut settings: Vec<String> = settings.collect();
    if let Some(query) = &item.node.query {
        settings.insert(0, format!("sql = {}", if query.source == "text" { "(text)" } else { &query.source }));
        let extra = query.parameters.iter().filter(|(name, _)| !item.node.settings.contains_key(*name));
        settings.extend(extra.map(|(name, value)| format!("${name} = {}", shown(value))));
    } else {
        settings.push(format!("seed = {}", item.node.seed));
        settings.push(format!("device = {}", compute.device));
        settings.push(format!("threads = {}", compute.threads));
    }
    // At once: other stages may be speaking too.
    console.line(&format!("\n{head}\n      {}", settings.join(", ")));
}

/// A setting's value, if it is not as long as a page.
fn brief(value: &toml::Value) -> String {
    match value {
        toml::Value::Array(items) if value.to_string().len() > LONG => format!("({} entries)", items.len()),
        toml::Value::Table(table) if value.to_string().len() > LONG => format!("({} entries)", table.len()),
        toml::Value::String(text) if text.len() > LONG => "(text)".to_owned(),
        value => value.to_string(),
    }
}

fn tell(console: &Console, item: &Item, fate: &Fate, seconds: f64) {
    let title = title(item);
    match fate {
        Fate::Cached | Fate::NotStarted => {}
        Fate::Done => console.line(&format!("      {title} done in {}", clock::duration(seconds))),
        Fate::Failed(why) => console.error(&format!("      {title} FAILED: {why}")),
        Fate::Skipped(why) => console.line(&format!("      {title} skipped: {why}")),
        Fate::Interrupted => console.line(&format!("      {title} stopped")),
    }
}

/// Runs one stage to its finished marker.
fn execute(plan: &Plan, item: &Item, lock: &Lock, options: &Options, progress: &dyn Progress) -> Result<StageRecord> {
    let started = clock::now_us();
    let since = Instant::now();
    let dir = prepare(item, lock)?;
    let session = Session::new(&SessionOptions {
        threads: Some(options.compute.threads),
        memory_limit: options.memory_limit,
        spill_limit: options.spill_limit,
        stop: Some(Arc::new(interrupted)),
        cluster: options.cluster.clone().filter(|_| item.node.query.is_some()),
        ..Default::default()
    })?;
    let inputs: BTreeMap<String, PathBuf> = item
        .inputs
        .iter()
        .filter_map(|(input, fingerprint)| Some((input.clone(), plan.item(input, fingerprint)?.dir.clone())))
        .collect();
    for (stage, _) in item.named_inputs() {
        if let Some(dir) = inputs.get(stage) {
            catalog::register(&session, stage, dir)?;
        }
    }
    if item.node.query.is_some() {
        catalog::register_aliases(&session, &item.node.settings, &|stage| inputs.get(stage).cloned())?;
    }
    let mut record = match (&item.record, item.state) {
        (Some(record), State::ToCheck) => record.clone(),
        _ => {
            let outcome = work(plan, item, &dir, &inputs, &session, options, progress)?;
            let about = || format!("cannot list {}", dir.display());
            let files = files(&dir).with_context(about)?;
            StageRecord {
                format: FORMAT,
                pipeline: plan.pipeline.clone(),
                stage: item.stage.clone(),
                kind: item.kind.clone(),
                kind_version: stages::version(&item.kind),
                fingerprint: item.fingerprint.clone(),
                seed: item.node.seed,
                settings: item.node.settings.clone(),
                sql: item.node.query.as_ref().map(|q| q.text.clone()),
                bound: item
                    .node
                    .query
                    .iter()
                    .flat_map(|q| q.parameters.iter().map(|(name, value)| (name.clone(), shown(value))))
                    .collect(),
                inputs: item.inputs.clone(),
                started_at: clock::rfc3339(started),
                finished_at: clock::rfc3339(clock::now_us()),
                seconds: since.elapsed().as_secs_f64(),
                rows: outcome.rows,
                figures: outcome.figures,
                hashes: hashes(&dir, &files).with_context(about)?,
                files,
                expectations: String::new(),
                violations: Vec::new(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            }
        }
    };
    record.violations = expectations(plan, item, &session)?;
    record.expectations = fingerprint::expectations(&item.node);
    lock.home().finish(&dir, &record)?;
    if !record.violations.is_empty() {
        bail!(
            "{}\n      its output stays in {}; correct the stage or the expectation and run again",
            record.violations.join("\n      "),
            dir.display()
        );
    }
    Ok(record)
}

/// The stage's folder, there and free of a damaged output, and of files that a kill cut off.
fn prepare(item: &Item, lock: &Lock) -> Result<PathBuf> {
    let dir = item.dir.clone();
    if item.state == State::ToRun && dir.exists() {
        lock.remove(&dir)?;
    }
    let about = || format!("cannot prepare {}; check who may write there and whether the disk is full", dir.display());
    std::fs::create_dir_all(&dir).with_context(about)?;
    lock.sweep(&dir)?;
    Ok(dir)
}

/// The work itself: a query through the session, everything else by its kind.
fn work(
    plan: &Plan,
    item: &Item,
    dir: &Path,
    inputs: &BTreeMap<String, PathBuf>,
    session: &Session,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Outcome> {
    if let Some(query) = &item.node.query {
        let rows = session
            .write_parquet(&query.text, &query.parameters, &dir.join("table.parquet"))
            .with_context(|| format!("SQL of stage `{}` ({})", item.stage, query.source))?;
        return Ok(Outcome { rows: BTreeMap::from([(item.stage.clone(), rows)]), figures: BTreeMap::new() });
    }
    let context = StageContext {
        pipeline: &plan.pipeline,
        name: &item.stage,
        dir,
        settings: &item.node.settings,
        seed: item.node.seed,
        inputs,
        session,
        progress,
        compute: options.compute,
        ranks: options.ranks.clone(),
    };
    ranks::lead(&item.kind, &context)
}

/// Looks at a finished stage's expectations and describes those that do not hold.
fn expectations(plan: &Plan, item: &Item, session: &Session) -> Result<Vec<String>> {
    if item.node.expect.is_empty() {
        return Ok(Vec::new());
    }
    catalog::register(session, &item.stage, &item.dir)?;
    // Those further up are there for expectations only.
    for above in plan.further(item) {
        catalog::register(session, &above.stage, &above.dir)?;
    }
    let mut violations = Vec::new();
    for query in &item.node.expect {
        if let Some(violation) =
            violation(session, query).with_context(|| format!("expectation `{}`", query.text.trim()))?
        {
            violations.push(violation);
        }
    }
    Ok(violations)
}

/// The text of an expectation as it is run: one row more than is shown tells that there are more.
pub(super) fn limited(expectation: &Query) -> String {
    let text = expectation.text.trim().trim_end_matches(';');
    format!("select * from (\n{text}\n) as offending limit {}", SHOWN_ROWS + 1)
}

/// Runs one expectation; the rows it returns are the violation.
fn violation(session: &Session, query: &Query) -> Result<Option<String>> {
    let batches = session.query(&limited(query), &query.parameters)?;
    let rows: usize = batches.iter().map(|b| b.num_rows()).sum();
    if rows == 0 {
        return Ok(None);
    }
    let shown = arrow::compute::concat_batches(&batches[0].schema(), &batches)?;
    let table = Session::format_table(&[shown.slice(0, rows.min(SHOWN_ROWS))])?;
    let count = if rows > SHOWN_ROWS { format!("more than {SHOWN_ROWS} rows") } else { format!("{rows} rows") };
    let text = query.text.trim().trim_end_matches(';');
    Ok(Some(format!("expectation violated: `{text}` must return no rows and returned {count}:\n{table}")))
}

/// Writes the run's lines.
fn book(plan: &Plan, home: &Home, summary: &Summary, started: i64) -> Result<()> {
    let started_at = clock::rfc3339(started);
    let status = if summary.interrupted() {
        "interrupted"
    } else if summary.stages.iter().all(|s| matches!(s.fate, Fate::Done | Fate::Cached)) {
        "done"
    } else {
        "failed"
    };
    let run = RunRow {
        run_id: format!("{}-{}", started_at.replace([':', '.'], ""), std::process::id()),
        pipeline: plan.pipeline.clone(),
        parameters: serde_json::to_string(&plan.runs)?,
        started_at,
        seconds: summary.seconds,
        status: status.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let rows: Vec<StageRow> = summary
        .stages
        .iter()
        .map(|s| StageRow {
            stage: s.item.stage.clone(),
            runs: ledger::joined(&s.item.runs),
            kind: s.item.kind.clone(),
            fingerprint: s.item.fingerprint.clone(),
            state: s.fate.as_str().to_owned(),
            seconds: s.seconds,
            rows: (!s.rows.is_empty()).then(|| s.rows.values().sum::<u64>()).and_then(|n| i64::try_from(n).ok()),
            error: s.fate.reason().map(str::to_owned),
        })
        .collect();
    ledger::record(home, &run, &rows)
}

/// A summary's end as an error, for the exit status: none if all is well.
pub fn verdict(summary: &Summary) -> Result<()> {
    if summary.interrupted() {
        return Err(Error::Interrupted.into());
    }
    let mut failed: Vec<String> = summary.failures().map(|(s, _)| title(&s.item)).collect();
    if failed.len() > NAMED {
        let more = format!("and {} more", failed.len() - NAMED);
        failed.splice(NAMED.., [more]);
    }
    let skipped = match summary.stages.iter().filter(|s| matches!(s.fate, Fate::Skipped(_))).count() {
        0 => String::new(),
        1 => "1 stage could not run, because an input is not finished".to_owned(),
        n => format!("{n} stages could not run, because an input is not finished"),
    };
    match (failed.is_empty(), skipped.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => bail!("{skipped}"),
        (false, none) => bail!(
            "{} failed{}{skipped}; everything finished is kept, so after the cause is mended the same command goes on from here",
            failed.join(", "),
            if none { "" } else { ", and " }
        ),
    }
}
