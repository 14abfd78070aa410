//! Commands on datasets: `import`, `record`, `transcode`, `copy`, `verify`, `play`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use playhouse_schemas::{Codec, VerifyOptions, verify_with};
use toml::{Table, Value};

use super::args::{CopyArgs, FrameCodec, ImportArgs, PlayArgs, RecordArgs, TranscodeArgs, VerifyArgs};
use super::text::bytes;
use super::{Context, json};
use crate::engine::Error;
use crate::engine::store::write_atomically;
use crate::progress::Progress as _;
use crate::stages::Outcome;
use crate::{import, report, stages, transcode};

/// `playhouse import`
pub(super) fn import(context: &mut Context, args: &ImportArgs) -> Result<()> {
    if args.example_mapping {
        if args.format != "table" {
            return Err(Error::Usage(format!("format `{}` has no mapping; `table` does", args.format)).into());
        }
        return Ok(write!(context.out, "{}", import::EXAMPLE_MAPPING)?);
    }
    // clap sees to it that both are there.
    let (Some(source), Some(dataset)) = (&args.source, &args.dataset) else { return Ok(()) };
    let mut options = Table::new();
    if let Some(mapping) = &args.mapping {
        options.insert("mapping".to_owned(), Value::String(mapping.display().to_string()));
    }
    for text in &args.option {
        let Some((name, value)) = text.split_once('=') else {
            return Err(Error::Usage(format!(
                "--option {text}: write it as name=value, as in --option sticks=continuous"
            ))
            .into());
        };
        // What reads as a TOML value is one; everything else is a text.
        let value = toml::from_str::<Table>(&format!("v = {value}"))
            .ok()
            .and_then(|mut table| table.remove("v"))
            .unwrap_or_else(|| Value::String(value.to_owned()));
        options.insert(name.trim().to_owned(), value);
    }
    let task = context.console.task("import");
    let imported = import::import(&args.format, source, dataset, &options, context.threads, &task)
        .with_context(|| format!("import of {}", source.display()))?;
    drop(task);
    let (episodes, steps, skipped) = (imported.episodes, imported.steps, imported.skipped);
    let there = if skipped > 0 { format!("; {skipped} were there already") } else { String::new() };
    writeln!(context.out, "imported {episodes} episodes, {steps} steps into {}{there}", dataset.display())?;
    Ok(())
}

/// `playhouse record`
pub(super) fn record(context: &mut Context, args: &RecordArgs) -> Result<()> {
    let length = match args.hours {
        Some(hours) => ("hours".to_owned(), Value::Float(hours)),
        None => ("episodes".to_owned(), Value::Integer(i64::from(args.episodes.unwrap_or(100)))),
    };
    let settings = Table::from_iter([
        ("map".to_owned(), Value::String(args.map.clone())),
        ("persona".to_owned(), Value::String(args.persona.clone())),
        ("frames".to_owned(), Value::String(args.frames.clone())),
        length,
    ]);
    let task = context.console.task("record");
    let outcome = stages::record_into(&args.dataset, &settings, args.seed, context.threads, &task)
        .with_context(|| format!("recording into {}", args.dataset.display()))?;
    drop(task);
    tell(context, "recorded", &outcome, &args.dataset.display().to_string())
}

fn tell(context: &mut Context, verb: &str, outcome: &Outcome, place: &str) -> Result<()> {
    let counts: Vec<String> = outcome.rows.iter().map(|(table, rows)| format!("{rows} {table}")).collect();
    writeln!(context.out, "{verb} {} into {place}", counts.join(", "))?;
    Ok(())
}

/// `playhouse copy`
pub(super) fn copy(context: &mut Context, args: &CopyArgs) -> Result<()> {
    let source = context.dataset(&args.source, args.pipeline.as_deref())?;
    let task = context.console.task("copy");
    let go_on = |done: u64, total: u64| {
        task.update(done / 1_000_000, total / 1_000_000, "MB");
        !task.stop()
    };
    let copied = playhouse_schemas::copy(&source, &args.target, &go_on)
        .with_context(|| format!("copying {} to {}", source.display(), args.target.display()))?;
    drop(task);
    let (parts, size) = (copied.parts, bytes(copied.bytes));
    let there = if copied.skipped > 0 { format!("; {} were there already", copied.skipped) } else { String::new() };
    writeln!(context.out, "copied {parts} parts, {size}, to {}{there}", args.target.display())?;
    Ok(())
}

/// `playhouse transcode`
pub(super) fn transcode(context: &mut Context, args: &TranscodeArgs) -> Result<()> {
    let codec = match (args.codec, args.quality) {
        (FrameCodec::Jpeg, quality) => Codec::Jpeg { quality: quality.unwrap_or(90) },
        (_, Some(_)) => {
            return Err(Error::Usage("--quality is for --codec jpeg; the other codecs lose nothing".into()).into());
        }
        (FrameCodec::Fast, None) => Codec::Fast,
        (FrameCodec::Png, None) => Codec::Png,
        (FrameCodec::Raw, None) => Codec::Raw,
    };
    let source = context.dataset(&args.source, args.pipeline.as_deref())?;
    let task = context.console.task("transcode");
    let done = transcode::transcode(&source, &args.dataset, codec, context.threads, &task)?;
    drop(task);
    write!(
        context.out,
        "transcoded {} episodes, {} frames into {}",
        done.episodes,
        done.frames,
        args.dataset.display()
    )?;
    let a_frame = |size: u64| size.checked_div(done.frames).map(bytes);
    if let (Some(before), Some(after)) = (a_frame(done.bytes_before), a_frame(done.bytes_after)) {
        write!(context.out, ": {after} a frame, {before} before")?;
    }
    if done.skipped > 0 {
        write!(context.out, "; {} were there already", done.skipped)?;
    }
    Ok(writeln!(context.out)?)
}

/// `playhouse verify`
pub(super) fn verify(context: &mut Context, args: &VerifyArgs) -> Result<()> {
    let root = context.dataset(&args.dataset, args.pipeline.as_deref())?;
    let report = verify_with(&root, VerifyOptions { repair: args.repair, deep: args.deep })?;
    if args.json {
        json(context.out, &report)?;
    } else {
        for problem in &report.problems {
            let done = if problem.repaired { " (repaired)" } else { "" };
            writeln!(context.out, "{} {}: {}{done}", problem.code, problem.path.display(), problem.message)?;
        }
        let (parts, episodes, steps) = (report.parts, report.episodes, report.steps);
        writeln!(context.out, "parts {parts}, episodes {episodes}, steps {steps}, frames {}", report.frames)?;
    }
    let left: Vec<_> = report.problems.iter().filter(|problem| !problem.repaired).collect();
    let fix = match (left.len(), left.iter().any(|problem| problem.code.repairable())) {
        (0, _) => return Ok(()),
        (_, true) if !args.repair => "; --repair removes what no episode belongs to",
        _ => "; the messages say what to do",
    };
    let problems = if left.len() == 1 { "problem" } else { "problems" };
    bail!("{}: {} {problems}{fix}", root.display(), left.len())
}

/// `playhouse play`
pub(super) fn play(context: &mut Context, args: &PlayArgs) -> Result<()> {
    let root = context.dataset(&args.dataset, args.pipeline.as_deref())?;
    let page = report::player(&root, args.episode)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("episode-{}.html", args.episode)));
    write_atomically(&out, page.as_bytes())?;
    writeln!(context.out, "{}", out.display())?;
    Ok(())
}
