//! Errors that say whose fault it is: the SQL, its parameters, a file, the limits, or us.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use datafusion::common::utils::datafusion_strsim::levenshtein;
use parquet::errors::ParquetError;
use playhouse_schemas::storage::explain;

use crate::library::Allowed;
use crate::params::Value;
use crate::remote::ClusterFailure;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A place in a SQL text: line and column from 1, and the line itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line's text.
    pub text: String,
}

impl Position {
    /// The position `line`:`column` of `sql`, if the text has that line.
    pub(crate) fn of(sql: &str, line: u64, column: u64) -> Option<Self> {
        let (line, column) = (usize::try_from(line).ok()?, usize::try_from(column).ok()?);
        let text = sql.lines().nth(line.checked_sub(1)?)?.to_owned();
        Some(Self { line, column: column.max(1), text })
    }
}

/// Prints the line with a caret under the column, on lines of their own.
struct Caret<'a>(&'a Option<Position>);

impl fmt::Display for Caret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Position { line, column, text }) = self.0 else { return Ok(()) };
        // Tabs stay tabs under the text, so that the caret stands where the terminal puts the character.
        let indent: String = text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        write!(f, "\n  line {line}, column {column}:\n    {text}\n    {indent}^")
    }
}

/// What can go wrong with a question.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The SQL is wrong: syntax, an unknown column or function, types that do not fit, a division by zero.
    #[error("{message}{}", Caret(.position))]
    Sql {
        /// What is wrong, with the nearest names where one is unknown.
        message: String,
        /// Where, if the planner knows.
        position: Option<Position>,
    },
    /// A table of the SQL is not registered.
    #[error("no table named {name}{}{}", suggestion(.near), Caret(.position))]
    UnknownTable {
        /// The name as written.
        name: String,
        /// The nearest registered names, best first; all of them if there are few.
        near: Vec<String>,
        /// Where it is first used.
        position: Option<Position>,
    },
    /// A statement that would change something.
    #[error(
        "{statement} is not allowed here: only SELECT, EXPLAIN, SHOW and DESCRIBE run; write a result with a query stage or --output"
    )]
    Forbidden {
        /// The statement's first words.
        statement: String,
    },
    /// `$name` stands in the SQL and has no value.
    #[error("the SQL uses ${name}, which has no value{}", suggestion(.near))]
    MissingParameter {
        /// The parameter, without `$`.
        name: String,
        /// Parameters with a value and a similar name.
        near: Vec<String>,
    },
    /// A parameter has a value and the SQL does not use it: most often a misspelt name.
    #[error("the SQL does not use ${name}{}", suggestion(.near))]
    UnusedParameter {
        /// The parameter, without `$`.
        name: String,
        /// Parameters that the SQL uses and that have a similar name.
        near: Vec<String>,
    },
    /// A parameter has a value that the SQL's header does not allow.
    #[error("${name} is {value}; it must be {allowed}")]
    Parameter {
        /// The parameter, without `$`.
        name: String,
        /// Its value.
        value: Value,
        /// What would do.
        allowed: Allowed,
    },
    /// A file or folder that is not what it should be.
    #[error("{}: {message}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it and what to do.
        message: String,
    },
    /// A dataset that is damaged, foreign, or of another format version.
    #[error(transparent)]
    Dataset(#[from] playhouse_schemas::Error),
    /// The data could not be read while the query ran.
    #[error("reading failed: {0}")]
    Read(String),
    /// The query wanted more memory than it may have.
    #[error(
        "the query needs more than its memory limit{}: {message}; filter earlier, select fewer columns, or raise the limit \
         (--memory-limit)",
        limit_text(.limit)
    )]
    Memory {
        /// The limit in bytes, if one was set.
        limit: Option<usize>,
        /// What asked for more.
        message: String,
    },
    /// The query wanted more room for temporary files than it may have, or than there is.
    #[error(
        "the query needs more room for temporary files in {}: {message}; filter earlier, select fewer columns, raise the limit \
         (--memory-limit, --spill-limit), or point TMPDIR at a folder on a larger disk",
        folder.display()
    )]
    Disk {
        /// Where temporary files go.
        folder: PathBuf,
        /// How much there was.
        message: String,
    },
    /// The cluster that should have run the query is away, or lost it.
    #[error("{0}")]
    Cluster(String),
    /// The stop closure of the session's options returned true.
    #[error("the query was cancelled")]
    Cancelled,
    /// A file could not be written or a folder listed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A fault of the query engine or of this crate, and not of the question.
    #[error("internal error in the query engine: {0}")]
    Internal(String),
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn data(path: &Path, message: impl fmt::Display) -> Self {
        Self::Data { path: path.to_owned(), message: message.to_string() }
    }

    /// An error of a file that is not a dataset's.
    pub(crate) fn of_file(error: playhouse_schemas::Error) -> Self {
        match error {
            playhouse_schemas::Error::Io { path, source, .. } => Self::Io { path, source },
            other => other.into(),
        }
    }

    /// Sorts an error of DataFusion by whose fault it is; `sql` gives the position its line.
    pub(crate) fn from_engine(error: DataFusionError, sql: &str, limit: Option<usize>) -> Self {
        let first = error.iter().next().unwrap_or(&error);
        let span = first.diagnostic().and_then(|d| d.span);
        let position = span.and_then(|s| Position::of(sql, s.start.line, s.start.column));
        let root = first.find_root();
        if let Some(message) = no_room(root) {
            return Self::Disk { folder: std::env::temp_dir(), message };
        }
        match root {
            DataFusionError::SQL(parser, _) => syntax_error(&parser.to_string(), sql),
            DataFusionError::SchemaError(schema, _) => Self::Sql { message: schema.to_string(), position },
            DataFusionError::Plan(message)
            | DataFusionError::NotImplemented(message)
            | DataFusionError::Configuration(message)
            | DataFusionError::Execution(message) => Self::Sql { message: message.clone(), position },
            DataFusionError::ResourcesExhausted(message) => {
                Self::Memory { limit, message: exhausted(message).to_owned() }
            }
            DataFusionError::ArrowError(arrow, _) => Self::Sql { message: arrow.to_string(), position },
            root if store_error(root).is_some() => Self::Read(store_error(root).map_or_else(String::new, told)),
            DataFusionError::ParquetError(e) => Self::Read(e.to_string()),
            DataFusionError::IoError(e) => Self::Read(e.to_string()),
            DataFusionError::External(e) if e.is::<playhouse_schemas::Error>() => Self::Read(e.to_string()),
            DataFusionError::External(e) if e.is::<ClusterFailure>() => Self::Cluster(e.to_string()),
            other => Self::Internal(other.strip_backtrace()),
        }
    }
}

/// What an error says if it is that temporary files are too large. Nothing else is written while a query runs.
fn no_room(error: &DataFusionError) -> Option<String> {
    let source = match error {
        DataFusionError::IoError(source) => source,
        DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
            ArrowError::IoError(_, source) => source,
            _ => return None,
        },
        _ => return None,
    };
    let text = source.to_string();
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(text),
        // The engine has no kind of its own for this.
        ErrorKind::Other => {
            let (_, limit) = text.split_once("has exceeded the allowable limit of ")?;
            Some(format!("it may take {}", limit.split(". ").next()?))
        }
        _ => None,
    }
}

/// The error of an object store that lies beneath one of DataFusion.
pub(crate) fn store_error(error: &DataFusionError) -> Option<&object_store::Error> {
    match error {
        DataFusionError::ObjectStore(e) => Some(e.as_ref()),
        DataFusionError::ParquetError(e) => match e.as_ref() {
            ParquetError::External(e) => e.downcast_ref(),
            _ => None,
        },
        _ => None,
    }
}

/// Which object, and what is wrong.
fn told(error: &object_store::Error) -> String {
    use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
    match error {
        NotFound { path, .. } => format!("{path} is not there"),
        PermissionDenied { path, .. } | Unauthenticated { path, .. } => format!("{path}: {}", explain(error)),
        _ => explain(error),
    }
}

/// The parser puts the place into its message (`... at Line: 1, Column: 8`).
pub(crate) fn syntax_error(message: &str, sql: &str) -> Error {
    let message = message.trim_start_matches("sql parser error: ").trim_start_matches("ParserError: ");
    let Some((text, place)) = message.rsplit_once(" at Line: ") else {
        return Error::Sql { message: message.to_owned(), position: None };
    };
    let mut numbers = place.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
    let position = numbers.next().zip(numbers.next()).and_then(|(line, column)| Position::of(sql, line, column));
    Error::Sql { message: format!("syntax error: {text}"), position }
}

/// Up to five of `known` that are near `name` (at most half of the letters differ), best first.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let name = name.to_lowercase();
    let mut scored: Vec<(usize, &str)> = known
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_lowercase();
            // A name that misses its schema, or has a wrong one, is near by its last part.
            let tail = lower.rsplit('.').next().unwrap_or(&lower);
            let wanted_tail = name.rsplit('.').next().unwrap_or(&name);
            (levenshtein(&name, &lower).min(levenshtein(wanted_tail, tail) + 1), candidate)
        })
        .filter(|(distance, candidate)| distance * 2 <= candidate.len().max(name.len()))
        .collect();
    scored.sort();
    scored.into_iter().take(5).map(|(_, candidate)| candidate.to_owned()).collect()
}

fn suggestion(near: &[String]) -> String {
    match near {
        [] => String::new(),
        [one] => format!("; did you mean {one}?"),
        many => format!("; did you mean one of {}?", many.join(", ")),
    }
}

fn limit_text(limit: &Option<usize>) -> String {
    limit.map(|bytes| format!(" of {:.1} MiB", bytes as f64 / (1 << 20) as f64)).unwrap_or_default()
}

/// Of what the memory pool says, who asked for how much: what else it lists is for who writes operators.
fn exhausted(text: &str) -> &str {
    let refused = text.find("Failed to allocate").map_or(text, |at| &text[at..]);
    let refused = refused.lines().next().unwrap_or(refused);
    refused.split(" for this reservation").next().unwrap_or(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_files_that_do_not_fit_are_told_from_data_that_cannot_be_read() {
        let of = |source: std::io::Error| Error::from_engine(DataFusionError::IoError(source), "", None);
        let full = of(ErrorKind::StorageFull.into());
        assert!(full.to_string().contains("--spill-limit") && full.to_string().contains("no storage space"), "{full}");
        let bounded =
            "The used disk space during the spilling process has exceeded the allowable limit of 9.5 MB. Please";
        let bounded = of(std::io::Error::other(bounded));
        assert!(bounded.to_string().contains("it may take 9.5 MB; filter earlier"), "{bounded}");
        assert!(matches!(of(ErrorKind::UnexpectedEof.into()), Error::Read(_)));
        assert!(matches!(of(std::io::Error::other("no idea")), Error::Read(_)));
    }

    #[test]
    fn what_the_pool_refused_is_said_in_a_line() {
        let pool = "Additional allocation failed for Sort with top memory consumers as:\n  Sort#1 consumed 9 MB\nError: Failed to \
            allocate additional 8.0 MB for Sort with 9.0 MB already allocated for this reservation - 1.0 MB remain available";
        assert_eq!(exhausted(pool), "Failed to allocate additional 8.0 MB for Sort with 9.0 MB already allocated");
        assert_eq!(exhausted("one call of repeat would make 2 GiB"), "one call of repeat would make 2 GiB");
    }
}
