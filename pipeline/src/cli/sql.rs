//! `sql`: one question, answered as a table, JSON lines, CSV or Parquet.
//!
//! ```text
//!   stage outputs   by stage name: demos, play.episodes, reward.scores
//!   the books       runs, run_stages, metrics, checkpoints
//!   --dataset       a folder's episodes, steps, frames, and its sidecars
//! ```

use std::io::{BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::RecordBatch;
use playhouse_queries::{Params, Session, SessionOptions, TableInfo, Value, functions};

use super::Context;
use super::args::{Format, SqlArgs};
use super::text::{columns, visible};
use crate::engine::nearest::hint;
use crate::engine::{Error, catalog, ledger};
use crate::progress::interrupted;

/// What is run: the text, its values, and where rows go.
struct Question {
    text: String,
    params: Params,
    datasets: Vec<(String, PathBuf)>,
    format: Format,
    output: Option<PathBuf>,
}

/// `playhouse sql`
pub(super) fn sql(context: &mut Context, args: SqlArgs) -> Result<()> {
    let pipeline = args.pipeline.clone();
    let question = resolve(args)?;
    let session = Session::new(&SessionOptions {
        threads: Some(context.threads),
        memory_limit: context.memory_limit,
        stop: Some(Arc::new(interrupted)),
    })?;
    register_home(context, &session, pipeline.as_deref())?;
    for (name, folder) in &question.datasets {
        session.register_dataset(name, folder)?;
    }
    let answered = match question.text.trim().strip_prefix('\\') {
        Some(command) => look_up(context.out, &session, command.trim()),
        None => answer(context, &session, &question),
    };
    let asks_for_tables = match &answered {
        Ok(()) => question.text.trim() == "\\d",
        Err(error) => matches!(error.downcast_ref(), Some(playhouse_queries::Error::UnknownTable { .. })),
    };
    if asks_for_tables && session.tables().is_empty() {
        let why = nothing_here(context.home.root());
        return match answered {
            Ok(()) => Err(Error::Usage(why).into()),
            Err(error) => Err(error.context(why)),
        };
    }
    answered
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

/// `\d`, `\d TABLE` and `\df`, as in other SQL prompts.
fn look_up(out: &mut dyn Write, session: &Session, command: &str) -> Result<()> {
    let tables = session.tables();
    let rows: Vec<Vec<String>> = match command.split_once(' ').map_or((command, ""), |(c, name)| (c, name.trim())) {
        ("d", "") => {
            let columns = |table: &TableInfo| {
                let names: Vec<&str> = table.schema.fields().iter().map(|f| f.name().as_str()).collect();
                names.join(", ")
            };
            tables.iter().map(|table| vec![table.name.clone(), columns(table)]).collect()
        }
        ("d", name) => {
            let names = tables.iter().map(|table| table.name.as_str());
            let Some(table) = tables.iter().find(|table| table.name == name) else {
                return Err(Error::Usage(format!("no table is called `{name}`{}", hint(name, names))).into());
            };
            let null = |nullable| if nullable { "may be null" } else { "" };
            let fields = table.schema.fields().iter();
            fields
                .map(|f| vec![f.name().clone(), f.data_type().to_string(), null(f.is_nullable()).to_owned()])
                .collect()
        }
        ("df", "") => {
            let functions = functions::manual().into_iter();
            functions.map(|f| vec![f.syntax, f.description]).collect()
        }
        _ => {
            let message =
                format!("\\{command} is not known: \\d lists tables, \\d TABLE its columns, \\df our functions");
            return Err(Error::Usage(message).into());
        }
    };
    Ok(write!(out, "{}", columns(&rows, ""))?)
}

fn resolve(args: SqlArgs) -> Result<Question> {
    let text = match (args.query.or(args.command), &args.file) {
        (Some(text), _) => text,
        (None, Some(file)) => {
            std::fs::read_to_string(file).with_context(|| format!("cannot read the query from {}", file.display()))?
        }
        (None, None) if std::io::stdin().is_terminal() => {
            let message = "no query: give one, as in playhouse sql \"select * from runs\", or -f FILE, or pipe one in";
            return Err(Error::Usage(message.to_owned()).into());
        }
        (None, None) => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read the query from standard input")?;
            text
        }
    };
    let ends_in = |end: &str| args.output.as_deref().and_then(Path::extension).is_some_and(|e| e == end);
    let format = args.format.unwrap_or(if ends_in("parquet") {
        Format::Parquet
    } else if ends_in("csv") {
        Format::Csv
    } else if ends_in("json") || ends_in("jsonl") {
        Format::Json
    } else {
        Format::Table
    });
    if format == Format::Parquet && args.output.is_none() {
        return Err(Error::Usage("--format parquet needs a file: --output FILE".to_owned()).into());
    }
    let params = args.param.iter().map(|text| parameter(text)).collect::<Result<_>>()?;
    let datasets = args
        .dataset
        .iter()
        .map(|text| match text.split_once('=') {
            // A folder may have the sign in its name.
            Some((name, folder)) if !Path::new(text).is_dir() => (name.to_owned(), PathBuf::from(folder)),
            _ => (String::new(), PathBuf::from(text)),
        })
        .collect();
    // Some editors put a byte order mark in front of a file.
    let text = text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned);
    Ok(Question { text, params, datasets, format, output: args.output })
}

/// `n=5` is a number, `name=left` a text, `x=null` nothing; quotes make a text of anything.
fn parameter(text: &str) -> Result<(String, Value)> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(Error::Usage(format!("--param {text}: write it as name=value, as in --param n=5")).into());
    };
    let quoted = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\''));
    let value = match (quoted, value) {
        (Some(text), _) => Value::Text(text.to_owned()),
        (None, "null") => Value::Null,
        (None, "true") => Value::Bool(true),
        (None, "false") => Value::Bool(false),
        (None, text) => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(i), _) => Value::Int(i),
            (_, Ok(f)) if f.is_finite() => Value::Float(f),
            _ => Value::Text(text.to_owned()),
        },
    };
    Ok((name.trim().trim_start_matches('$').to_owned(), value))
}

/// Registers every stage's output and the books. An output that cannot be read is named and left out: it must not keep
/// the others from being asked.
fn register_home(context: &Context, session: &Session, pipeline: Option<&str>) -> Result<()> {
    if !context.home.root().is_dir() {
        return Ok(());
    }
    let outputs = ledger::current(&context.home, pipeline);
    if let Some(name) = pipeline.filter(|_| outputs.is_empty()) {
        let home = context.home.root().display();
        return Err(Error::Usage(format!("--pipeline {name}: no finished output of it in {home}")).into());
    }
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
    Ok(())
}

fn answer(context: &mut Context, session: &Session, question: &Question) -> Result<()> {
    let Some(path) = &question.output else {
        return print(&mut *context.out, session, question);
    };
    let rows = match question.format {
        Format::Parquet => Some(session.write_parquet(&question.text, &question.params, path)?),
        _ => {
            // An older answer stays until this one is whole.
            let about = || format!("cannot write {}", path.display());
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(folder).with_context(about)?;
            let mut out = BufWriter::new(file);
            print(&mut out, session, question)?;
            let file = out.into_inner().with_context(about)?;
            file.as_file().sync_all().with_context(about)?;
            file.persist(path).with_context(about)?;
            None
        }
    };
    let rows = rows.map(|n| format!("{n} rows in ")).unwrap_or_default();
    context.console.line(&format!("{rows}{}", path.display()));
    Ok(())
}

fn print(out: &mut dyn Write, session: &Session, question: &Question) -> Result<()> {
    match question.format {
        Format::Table | Format::Parquet => {
            let batches = session.query(&question.text, &question.params)?;
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            writeln!(out, "{}", visible(&Session::format_table(&batches)?))?;
            writeln!(out, "{rows} {}", if rows == 1 { "row" } else { "rows" })?;
        }
        Format::Json => {
            let builder = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
            let mut writer = builder.build::<_, arrow::json::writer::LineDelimited>(out);
            for batch in session.stream(&question.text, &question.params)? {
                writer.write(&batch?)?;
            }
            writer.finish()?;
        }
        Format::Csv => {
            let rows = session.stream(&question.text, &question.params)?;
            if let Some(field) = rows.schema().fields().iter().find(|field| field.data_type().is_nested()) {
                let message = format!(
                    "column `{}` has parts, which CSV cannot hold: select one, as in {}['bytes'], or use --format json",
                    field.name(),
                    field.name()
                );
                return Err(Error::Usage(message).into());
            }
            let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(out);
            // Without rows there is still a header.
            writer.write(&RecordBatch::new_empty(rows.schema()))?;
            for batch in rows {
                writer.write(&batch?)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_take_the_obvious_type() {
        let value = |text: &str| parameter(text).unwrap().1;
        assert_eq!(value("n=5"), Value::Int(5));
        assert_eq!(value("n=-0.5"), Value::Float(-0.5));
        assert_eq!(value("n='5'"), Value::Text("5".into()));
        assert_eq!(value("n=left=right"), Value::Text("left=right".into()));
        assert_eq!(value("n=null"), Value::Null);
        assert_eq!(value("n=inf"), Value::Text("inf".into()));
        assert!(parameter("n").is_err());
    }
}
