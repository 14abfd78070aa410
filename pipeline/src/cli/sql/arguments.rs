//! From what was typed on the command line to what is asked.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use playhouse_queries::{Params, Value};

use crate::cli::args::{Format, SqlArgs};
use crate::cli::terminal::is_interactive;
use crate::engine::Error;

/// What is asked, with its values, and where answers go.
pub(super) struct Question {
    pub(super) source: Source,
    pub(super) params: Params,
    /// Names, empty for none, and folders or URLs.
    pub(super) datasets: Vec<(String, PathBuf)>,
    pub(super) format: Option<Format>,
    pub(super) output: Option<PathBuf>,
    pub(super) images: Option<PathBuf>,
}

/// Where statements come from.
pub(super) enum Source {
    /// A text, and the file it was read from.
    Text(String, Option<PathBuf>),
    /// Somebody at a terminal.
    Prompt,
}

pub(super) fn resolve(args: SqlArgs) -> Result<Question> {
    let source = match (args.query.or(args.command), args.file) {
        (Some(text), _) => Source::Text(text, None),
        (None, Some(file)) => Source::Text(read(&file)?, Some(file)),
        (None, None) if is_interactive() => Source::Prompt,
        (None, None) if std::io::stdin().is_terminal() => {
            let message = "no query: give one, as in playhouse sql \"select * from runs\", or -f FILE, or pipe one in; \
                           the prompt needs a terminal on standard error too, and one that can be drawn on";
            return Err(Error::Usage(message.to_owned()).into());
        }
        (None, None) => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read the query from standard input")?;
            Source::Text(text, None)
        }
    };
    let mut params = Params::new();
    for text in &args.param {
        let (name, value) = parameter(text)?;
        if params.insert(name.clone(), value).is_some() {
            return Err(Error::Usage(format!("--param {name} is given twice: give it one value")).into());
        }
    }
    let datasets: Vec<(String, PathBuf)> = args
        .dataset
        .iter()
        .map(|text| match text.split_once('=') {
            // A folder may have the sign in its name, and so may a URL.
            Some((name, folder)) if !name.contains("://") && !Path::new(text).is_dir() => {
                (name.to_owned(), PathBuf::from(folder))
            }
            _ => (String::new(), PathBuf::from(text)),
        })
        .collect();
    if let Some((name, folder)) = datasets.iter().enumerate().find_map(|(i, one)| {
        let again = datasets[..i].iter().any(|(name, _)| *name == one.0);
        again.then_some(one)
    }) {
        let called = if name.is_empty() { "without a name".to_owned() } else { format!("called {name}") };
        let message = format!(
            "--dataset {}: there is another dataset {called}; give each a name of its own, as in --dataset a={}",
            folder.display(),
            folder.display()
        );
        return Err(Error::Usage(message).into());
    }
    // Before anything is opened: the file is missing whatever the question is.
    format_of(args.format, args.output.as_deref())?;
    Ok(Question { source, params, datasets, format: args.format, output: args.output, images: args.images })
}

/// A text file of statements.
pub(super) fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read the query from {}", file.display()))
}

/// The format that was asked for, or what the file's name ends in.
pub(super) fn format_of(asked: Option<Format>, output: Option<&Path>) -> Result<Format> {
    let format = asked.or_else(|| output.and_then(ending)).unwrap_or(Format::Table);
    if format == Format::Parquet && output.is_none() {
        return Err(Error::Usage("--format parquet needs a file: --output FILE".to_owned()).into());
    }
    Ok(format)
}

/// The format that a file's name ends in.
pub(super) fn ending(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "parquet" => Some(Format::Parquet),
        "csv" => Some(Format::Csv),
        "json" | "jsonl" => Some(Format::Json),
        _ => None,
    }
}

/// `n=5` is a number, `name=left` a text, `x=null` nothing; quotes make a text of anything.
fn parameter(text: &str) -> Result<(String, Value)> {
    let Some((name, text)) = text.split_once('=') else {
        return Err(Error::Usage(format!("--param {text}: write it as name=value, as in --param n=5")).into());
    };
    Ok((name.trim().trim_start_matches('$').to_owned(), value(text)))
}

/// The value that a text most obviously is.
pub(super) fn value(text: &str) -> Value {
    let quoted = text.strip_prefix('\'').and_then(|v| v.strip_suffix('\''));
    match (quoted, text) {
        (Some(text), _) => Value::Text(text.to_owned()),
        (None, "null") => Value::Null,
        (None, "true") => Value::Bool(true),
        (None, "false") => Value::Bool(false),
        (None, text) => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(i), _) => Value::Int(i),
            (_, Ok(f)) if f.is_finite() => Value::Float(f),
            _ => Value::Text(text.to_owned()),
        },
    }
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

    #[test]
    fn a_file_says_its_format() {
        let of = |asked, file: &str| format_of(asked, Some(Path::new(file))).unwrap();
        assert_eq!(of(None, "a.parquet"), Format::Parquet);
        assert_eq!(of(None, "a.jsonl"), Format::Json);
        assert_eq!(of(None, "a.txt"), Format::Table);
        assert_eq!(of(Some(Format::Csv), "a.parquet"), Format::Csv);
        assert!(format_of(Some(Format::Parquet), None).is_err());
    }
}
