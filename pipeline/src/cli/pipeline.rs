//! `plan` and `run`.

use std::collections::BTreeMap;

use anyhow::Result;
use playhouse_agent::Ranks;
use playhouse_kernels::ranks::{Launch, Waiting};

use super::args::{PipelineArgs, PlanArgs, RunArgs};
use super::text::{columns, number};
use super::{Context, cluster, json};
use crate::engine::Error;
use crate::engine::clock;
use crate::engine::definition::Definition;
use crate::engine::plan::{Plan, State};
use crate::engine::run::{Fate, Options, Summary, run as execute, title, verdict};
use crate::progress::interrupted;
use crate::ranks::follow;

/// Figures of a stage that fit on its line.
const SHOWN_FIGURES: usize = 4;

/// Inputs of a stage, and reasons why it runs, that its line in a plan has.
const SHOWN: usize = 4;

fn resolve(context: &Context, definition: &Definition, args: &PipelineArgs) -> Result<Plan> {
    Ok(Plan::make(definition, &args.set, &args.select, &context.home)?)
}

/// `playhouse plan`
pub(super) fn plan(context: &mut Context, args: PlanArgs) -> Result<()> {
    let definition = Definition::load(&args.pipeline.pipeline)?;
    let plan = resolve(context, &definition, &args.pipeline)?;
    if args.json {
        json(context.out, &plan)?;
        return Ok(());
    }
    write!(context.out, "{}", describe(&plan))?;
    Ok(())
}

/// The head of a plan: the pipeline, its parameters and its runs.
fn head(plan: &Plan) -> String {
    let mut text = match plan.description.trim() {
        "" => format!("{}\n", plan.pipeline),
        description => format!("{}: {description}\n", plan.pipeline),
    };
    let first = &plan.runs[0];
    let shown = |(name, value): (&String, &toml::Value)| {
        let varies = plan.runs.iter().any(|run| run.get(name) != Some(value));
        if varies { format!("{name} = (matrix)") } else { format!("{name} = {value}") }
    };
    if !first.is_empty() {
        text.push_str(&format!("  parameters: {}\n", first.iter().map(shown).collect::<Vec<_>>().join(", ")));
    }
    if plan.runs.len() > 1 {
        text.push_str(&format!("  {} runs of the matrix\n", plan.runs.len()));
    }
    text
}

/// As many of a list as a line takes.
fn some(list: &[&str], between: &str) -> String {
    match list.get(..SHOWN) {
        Some(shown) if list.len() > SHOWN + 1 => {
            format!("{}{between}and {} more", shown.join(between), list.len() - SHOWN)
        }
        _ => list.join(between),
    }
}

fn describe(plan: &Plan) -> String {
    let mut rows = vec![["stage", "kind", "needs", "state", "why"].map(str::to_owned).to_vec()];
    for item in &plan.stages {
        let why = match item.state {
            State::Cached => item.seconds.map(|s| format!("took {}", clock::duration(s))).unwrap_or_default(),
            _ => some(&Vec::from_iter(item.why.iter().map(String::as_str)), "; "),
        };
        rows.push(vec![
            title(item),
            item.kind.clone(),
            some(&Vec::from_iter(item.input_stages()), ", "),
            item.state.as_str().to_owned(),
            why,
        ]);
    }
    let count = |state| plan.stages.iter().filter(|item| item.state == state).count();
    let states = [State::Cached, State::ToCheck, State::Resumes, State::ToRun];
    let counts: Vec<String> =
        states.into_iter().filter(|s| count(*s) > 0).map(|s| format!("{} {}", count(s), s.as_str())).collect();
    format!("{}\n{}\n{} stages: {}\n", head(plan), columns(&rows, "  "), plan.stages.len(), counts.join(", "))
}

/// `playhouse run`
pub(super) fn run(context: &mut Context, args: RunArgs) -> Result<()> {
    let definition = Definition::load(&args.pipeline.pipeline)?;
    let launch = Launch::from_environment().map_err(|e| Error::Usage(e.to_string()))?;
    let launch = launch.map(|launch| Launch { command: number_of(&definition, &args.pipeline), ..launch });
    if args.jobs > 1 && launch.as_ref().is_some_and(|launch| launch.size > 1) {
        let why = "--jobs and several ranks (WORLD_SIZE): ranks train one stage at a time, so leave --jobs out";
        return Err(Error::Usage(why.to_owned()).into());
    }
    let compute = context.compute(args.device, launch.as_ref().map_or(0, |launch| launch.local_rank))?;
    let ranks = meet(context, launch.as_ref())?;
    if !ranks.leads() {
        return follow(&ranks, compute);
    }
    let options = Options {
        compute,
        ranks: ranks.clone(),
        jobs: args.jobs.into(),
        memory_limit: context.memory_limit,
        spill_limit: context.spill_limit,
        cluster: cluster::connect(args.cluster.as_deref())?,
        command: format!("run {}", args.pipeline.pipeline),
    };
    // Before the plan: what another process finishes in between would be taken for unfinished, and removed.
    let lock = context.home.lock(&options.command)?;
    let plan = resolve(context, &definition, &args.pipeline)?;
    context.console.line(head(&plan).trim_end());
    let summary = execute(&plan, &lock, &options, &context.console)?;
    ranks.end();
    write!(context.out, "{}", summarise(&plan, &summary))?;
    verdict(&summary)
}

/// This process among those that a launcher started, or alone.
fn meet(context: &Context, launch: Option<&Launch>) -> Result<Ranks> {
    let Some(launch) = launch else { return Ok(Ranks::default()) };
    if launch.size > 1 && launch.rank == 0 {
        context.console.line(&format!("waiting for {} ranks at {}", launch.size, launch.address));
    }
    let waiting = Waiting { stop: &interrupted, tell: &|line| context.console.line(line) };
    Ok(Ranks::meet(launch, waiting)?)
}

/// What all ranks should be started with, as a number: the definition, and what of it is to run. Not where, nor on what device.
fn number_of(definition: &Definition, args: &PipelineArgs) -> u64 {
    let hash = blake3::hash(format!("{:?}", (definition.text(), &args.set, &args.select)).as_bytes());
    hash.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn summarise(plan: &Plan, summary: &Summary) -> String {
    let mut rows = vec![["stage", "state", "time", "rows", "figures"].map(str::to_owned).to_vec()];
    for stage in &summary.stages {
        let item = &stage.item;
        let time = match stage.fate {
            Fate::Cached | Fate::Skipped(_) | Fate::NotStarted => String::new(),
            _ => clock::duration(stage.seconds),
        };
        rows.push(vec![
            title(item),
            stage.fate.as_str().to_owned(),
            time,
            counts(&stage.rows),
            figures(&stage.figures),
        ]);
    }
    let mut text = format!("\n{}\n", columns(&rows, ""));
    let ran = summary.stages.iter().filter(|s| s.fate == Fate::Done).count();
    let cached = summary.stages.iter().filter(|s| s.fate == Fate::Cached).count();
    text.push_str(&match ran {
        0 if cached == summary.stages.len() => format!(
            "{}: nothing to do, all {} stages are finished ({})\n",
            plan.pipeline,
            summary.stages.len(),
            clock::duration(summary.seconds)
        ),
        _ => format!(
            "{}: {ran} of {} stages in {}\n",
            plan.pipeline,
            summary.stages.len(),
            clock::duration(summary.seconds)
        ),
    });
    for stage in &summary.stages {
        for (what, file) in [("report", "report.html"), ("results", "RESULTS.md")] {
            let path = stage.item.dir.join(file);
            if matches!(stage.fate, Fate::Done | Fate::Cached) && path.is_file() {
                text.push_str(&format!("{what}: {}\n", path.display()));
            }
        }
    }
    text
}

fn counts(rows: &BTreeMap<String, u64>) -> String {
    match rows.len() {
        1 => rows.values().map(u64::to_string).collect(),
        _ => rows.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", "),
    }
}

fn figures(figures: &BTreeMap<String, f64>) -> String {
    // `loss` says more than `loss/left_x`: names with fewer parts come first.
    let mut ranked: Vec<(&String, &f64)> = figures.iter().collect();
    ranked.sort_by_key(|(name, _)| (name.matches('/').count(), *name));
    let mut shown: Vec<String> =
        ranked.iter().take(SHOWN_FIGURES).map(|(name, value)| format!("{name} {}", number(**value))).collect();
    if figures.len() > SHOWN_FIGURES {
        shown.push(format!("and {} more", figures.len() - SHOWN_FIGURES));
    }
    shown.join(", ")
}
