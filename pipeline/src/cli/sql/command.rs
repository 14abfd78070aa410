//! Commands: what begins with a backslash and ends with its line.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;
use playhouse_queries::Value;

use super::arguments::value;
use crate::cli::args::Format;
use crate::cli::terminal::size_of_stdout;
use crate::cli::text::wrapped;
use crate::engine::Error;
use crate::engine::nearest::hint;

/// A command, ready to be obeyed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// `\d`
    Tables,
    /// `\d TABLE`
    Columns(String),
    /// `\df`
    Functions,
    /// `\df NAME`
    Function(String),
    /// `\set`
    Parameters,
    /// `\set NAME VALUE`
    Set(String, Value),
    /// `\unset NAME`
    Unset(String),
    /// `\format NAME`
    Format(Format),
    /// `\rows N`; none for all
    Rows(Option<usize>),
    /// `\o FILE`
    Output(PathBuf),
    /// `\images FOLDER`; none to stop
    Images(Option<PathBuf>),
    /// `\i FILE`
    Include(PathBuf),
    /// `\timing`; none to switch over
    Timing(Option<bool>),
    /// `\?`
    Help,
    /// `\q`
    Quit,
}

/// How each is written, and what it does.
const MANUAL: &[(&str, &str)] = &[
    ("\\d", "list tables"),
    ("\\d TABLE", "list a table's columns"),
    ("\\df", "list the functions that Playhouse adds to SQL"),
    ("\\df NAME", "a function's manual, with an example"),
    ("\\set NAME VALUE", "a value for $NAME in statements; \\set alone lists them"),
    ("\\unset NAME", "forget it"),
    ("\\format table|json|csv", "how answers are shown"),
    ("\\rows N", "rows of a table that are shown at most; \\rows all for all"),
    ("\\o FILE", "the next answer goes to a file, whole: .parquet, .csv, .json, or as a table"),
    ("\\images FOLDER", "write the pictures of answers as files; \\images alone stops that"),
    ("\\i FILE", "run the statements and commands of a file"),
    ("\\timing on|off", "say how long each statement took"),
    ("\\?", "this list"),
    ("\\q", "leave, as Ctrl-D does"),
];

/// Keys that are worth knowing.
const KEYS: &str = "\
A statement ends with `;` and may have many lines. Tab completes, Up and Down
call up earlier ones, Ctrl-R searches them. Ctrl-C ends a running statement or
clears what was typed; Ctrl-D on an empty line leaves.
";

/// The names of all commands, with their backslash.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let mut names: Vec<&str> = MANUAL.iter().filter_map(|(usage, _)| usage.split(' ').next()).collect();
    names.dedup();
    names.into_iter()
}

/// What `\?` shows.
pub(super) fn help() -> String {
    let rows: Vec<Vec<String>> =
        MANUAL.iter().map(|(usage, meaning)| vec![(*usage).to_owned(), (*meaning).to_owned()]).collect();
    format!("{}\n{KEYS}", wrapped(&rows, size_of_stdout().map(|(_, columns)| columns)))
}

impl Command {
    /// A command without its backslash.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let path = || PathBuf::from(rest);
        Ok(match (name, rest) {
            ("d", "") => Self::Tables,
            ("d", table) => Self::Columns(table.to_owned()),
            ("df", "") => Self::Functions,
            ("df", function) => Self::Function(function.trim_end_matches("()").to_owned()),
            ("set", "") => Self::Parameters,
            ("set", _) => match rest.split_once(char::is_whitespace) {
                Some((name, text)) => Self::Set(name.trim_start_matches('$').to_owned(), value(text.trim())),
                None => return Err(wants(name, rest)),
            },
            ("unset", parameter) if !parameter.is_empty() => Self::Unset(parameter.trim_start_matches('$').to_owned()),
            ("format", format) => match Format::from_str(format, true) {
                Ok(Format::Parquet) => {
                    let message = "Parquet needs a file: \\o FILE.parquet writes the next answer to one";
                    return Err(Error::Usage(message.to_owned()).into());
                }
                Ok(format) => Self::Format(format),
                Err(_) => return Err(wants(name, rest)),
            },
            ("rows", "all") => Self::Rows(None),
            ("rows", number) => match number.parse() {
                Ok(rows) if rows > 0 => Self::Rows(Some(rows)),
                _ => return Err(wants(name, rest)),
            },
            ("o", file) if !file.is_empty() => Self::Output(path()),
            ("images", "") => Self::Images(None),
            ("images", _) => Self::Images(Some(path())),
            ("i", file) if !file.is_empty() => Self::Include(path()),
            ("timing", "") => Self::Timing(None),
            ("timing", "on") => Self::Timing(Some(true)),
            ("timing", "off") => Self::Timing(Some(false)),
            ("?" | "h" | "help", "") => Self::Help,
            ("q" | "quit", "") => Self::Quit,
            _ => return Err(wants(name, rest)),
        })
    }
}

/// What is wrong with a command that cannot be obeyed.
fn wants(name: &str, rest: &str) -> anyhow::Error {
    let typed = format!("\\{name}");
    let usages: Vec<&str> =
        MANUAL.iter().map(|(usage, _)| *usage).filter(|usage| usage.split(' ').next() == Some(&typed)).collect();
    let message = match usages.as_slice() {
        [] => format!("{typed} is not known{}; \\? lists the commands", hint(&typed, names())),
        _ if rest.is_empty() => format!("{typed} wants more: {}", usages.join(" or ")),
        _ => format!("{typed} {rest}: write it as {}", usages.join(" or ")),
    };
    Error::Usage(message).into()
}

/// A parameter as `\set` takes it.
pub(super) struct Setting<'a>(pub(super) &'a str, pub(super) &'a Value);

impl fmt::Display for Setting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\\set {} {}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood() {
        let of = |text: &str| Command::parse(text).unwrap();
        assert_eq!(of("d"), Command::Tables);
        assert_eq!(of("d  play.steps"), Command::Columns("play.steps".into()));
        assert_eq!(of("df stick()"), Command::Function("stick".into()));
        assert_eq!(of("set $n 3"), Command::Set("n".into(), Value::Int(3)));
        assert_eq!(of("set pad 'left or right'"), Command::Set("pad".into(), Value::Text("left or right".into())));
        assert_eq!(of("set pad left or right"), Command::Set("pad".into(), Value::Text("left or right".into())));
        assert_eq!(of("format JSON"), Command::Format(Format::Json));
        assert_eq!(of("rows all"), Command::Rows(None));
        assert_eq!(of("o my answer.csv"), Command::Output("my answer.csv".into()));
        assert_eq!(of("timing"), Command::Timing(None));
        assert_eq!(of("q"), Command::Quit);
    }

    #[test]
    fn others_are_told_what_would_do() {
        let says = |text: &str, words: &str| {
            let message = Command::parse(text).unwrap_err().to_string();
            assert!(message.contains(words), "{text}: {message}");
        };
        says("fromat json", "did you mean `\\format`?");
        says("format parquet", "\\o FILE.parquet");
        says("format xml", "\\format table|json|csv");
        says("rows 0", "\\rows N");
        says("set n", "\\set NAME VALUE");
        says("o", "\\o FILE");
        says("q now", "\\q");
    }

    #[test]
    fn every_command_of_the_manual_exists() {
        for name in names() {
            let message = Command::parse(&name[1..]).map_or_else(|e| e.to_string(), |_| String::new());
            assert!(!message.contains("is not known"), "{name}: {message}");
        }
    }
}
