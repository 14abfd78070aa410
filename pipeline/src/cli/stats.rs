//! `stats`: what a dataset holds, what is wrong with it, and in what it differs from another.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use playhouse_queries::stats::{self, Code, DatasetStats, Described, Drift, Finding, Options, Severity, Watch};
use serde::Serialize;

use super::args::StatsArgs;
use super::text::visible;
use super::{Context, json};
use crate::engine::Error;
use crate::engine::store::write_atomically;
use crate::progress::{Progress, Task};
use crate::report;

/// `playhouse stats`
pub(super) fn stats(context: &mut Context, args: &StatsArgs) -> Result<()> {
    if args.codes {
        return Ok(write!(context.out, "{}", stats::codes())?);
    }
    if args.keys {
        return Ok(write!(context.out, "{}", stats::keys())?);
    }
    let (denied, allowed) = (codes("--deny", &args.deny)?, codes("--allow", &args.allow)?);
    if args.max_drift.is_some_and(|most| !(0.0..=1.0).contains(&most)) {
        return Err(Error::Usage("--max-drift is a distance between 0 and 1".to_owned()).into());
    }
    let Some(dataset) = &args.dataset else { return Ok(()) };
    let mut described = describe(context, args, dataset)?;
    described.stats.findings.retain(|finding| !allowed.contains(&finding.code));
    let drift = match &args.against {
        Some(other) => Some(stats::drift(&described, &describe(context, args, other)?)),
        None => None,
    };
    print(context, args, &described, drift.as_ref())?;
    if let Some(path) = &args.html {
        let page = report::dataset(&described.stats, drift.as_ref())?;
        write_atomically(path, page.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
        context.console.line(&path.display().to_string());
    }
    verdict(args, &described.stats.root, &described.stats.findings, &denied, drift.as_ref())
}

fn describe(context: &Context, args: &StatsArgs, dataset: &str) -> Result<Described> {
    let root = context.dataset(dataset, args.pipeline.as_deref())?;
    let watch = Follow(context.console.task("stats"));
    let options = Options {
        full: args.full,
        sample: args.sample as usize,
        seed: args.seed,
        pictures: args.pictures,
        threads: context.threads,
        watch: &watch,
    };
    stats::describe(&root, &options).map_err(|error| match error {
        playhouse_queries::Error::Cancelled => anyhow!("interrupted; nothing was written"),
        other => other.into(),
    })
}

/// All that is printed as JSON.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    stats: &'a DatasetStats,
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<&'a Drift>,
}

fn print(context: &mut Context, args: &StatsArgs, described: &Described, drift: Option<&Drift>) -> Result<()> {
    let stats = &described.stats;
    if args.json {
        return json(context.out, &Whole { stats, drift });
    }
    // Who asks for a comparison knows the datasets.
    match drift {
        Some(drift) => writeln!(context.out, "{}", visible(&drift.to_string()))?,
        None => write!(context.out, "{}", visible(&stats.to_string()))?,
    }
    Ok(())
}

/// Whether the exit status is 0.
fn verdict(args: &StatsArgs, root: &Path, findings: &[Finding], denied: &[Code], drift: Option<&Drift>) -> Result<()> {
    let fatal = |finding: &&Finding| finding.severity == Severity::Error || denied.contains(&finding.code);
    let fatal: Vec<&str> = findings.iter().filter(fatal).map(|finding| finding.code.as_str()).collect();
    if args.check && !fatal.is_empty() {
        bail!("{}: {} (see the findings; --allow CODE leaves one out)", root.display(), fatal.join(", "));
    }
    if let (Some(drift), Some(most)) = (drift, args.max_drift) {
        let beyond: Vec<String> = drift.beyond(most).map(|row| format!("{} {:.3}", row.name, row.distance)).collect();
        if !beyond.is_empty() {
            bail!("{}: differs by more than {most}: {}", root.display(), beyond.join(", "));
        }
    }
    Ok(())
}

fn codes(option: &str, texts: &[String]) -> Result<Vec<Code>> {
    let parse = |text: &String| {
        text.parse::<Code>().map_err(|reason| Error::Usage(format!("{option} {text}: {reason}")).into())
    };
    texts.iter().map(parse).collect()
}

/// Shows the pass over a dataset on the console.
struct Follow(Task);

impl Watch for Follow {
    fn update(&self, done: u64, total: u64, what: &str) {
        self.0.update(done, total, what);
    }

    fn stop(&self) -> bool {
        self.0.stop()
    }
}
