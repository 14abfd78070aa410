//! The crate's one integration test: SQL files of `tests/slt` against a small dataset made by the real writer, and what a
//! SQL file cannot say (hostile statements, limits, files on disk, statistics).
//!
//! Beside SQL, a record of an `.slt` file may be one of these lines:
//!
//! ```text
//! run windows length=8                   a text of the library; parameters not given have their defaults
//! explain windows length=8               its plan; the dataset's folder reads as DATASET
//! store demos run sft_demonstrations     the result of a query, kept as a table
//! alias demonstrations demos             Session::alias
//! ```
//!
//! `PLAYHOUSE_SLT_COMPLETE=1 cargo test -p playhouse-queries --test slt` rewrites the expected rows from what came out.
//! It records bugs as faithfully as answers: read the diff.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;
mod hostile;
mod runner;
mod session;
mod stats;

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use playhouse_queries::{Error, Params, Session, SessionOptions, Value, library};

/// A session that reads the records of an `.slt` file.
struct Database {
    session: Session,
    root: PathBuf,
}

impl Database {
    fn new(root: &Path) -> Self {
        // Two partitions whatever the machine has, so that plans are the same everywhere.
        let session = Session::new(&SessionOptions { threads: Some(2), ..Default::default() }).unwrap();
        session.register_dataset("", root).unwrap();
        Self { session, root: root.to_owned() }
    }

    fn answer(&self, line: &str) -> Result<Vec<RecordBatch>, Error> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "run" => {
                let (sql, params) = library_call(rest);
                self.session.query(sql, &params)
            }
            "explain" if library::get(rest.split(' ').next().unwrap()).is_some() => {
                let (sql, params) = library_call(rest);
                // The header is a comment before the statement.
                self.session.query(&format!("explain\n{sql}"), &params)
            }
            "store" => {
                let (name, query) = rest.split_once(' ').expect("store NAME QUERY");
                let rows = self.answer(query)?;
                self.session.register_batches(None, name, rows)?;
                Ok(Vec::new())
            }
            "alias" => {
                let (name, target) = rest.split_once(' ').expect("alias NAME TARGET");
                self.session.alias(name, target)?;
                Ok(Vec::new())
            }
            _ => self.session.query(line, &Params::new()),
        }
    }
}

/// `NAME key=value ...`: the text, and its defaults with those values put over them.
fn library_call(call: &str) -> (&'static str, Params) {
    let mut words = call.split_whitespace();
    let name = words.next().expect("a name");
    let sql = library::get(name).unwrap_or_else(|| panic!("no text named {name}"));
    let mut params = library::defaults(sql);
    for word in words {
        let (key, value) = word.split_once('=').expect("key=value");
        let value = value.parse().map(Value::Int).or_else(|_| value.parse().map(Value::Float));
        params.insert(key.to_owned(), value.unwrap_or_else(|_| Value::from(word.split_once('=').unwrap().1)));
    }
    (sql, params)
}

impl runner::Database for Database {
    fn run(&mut self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        let folder = self.root.to_str().unwrap().trim_start_matches('/');
        let batches = self.answer(sql).map_err(|e| e.to_string())?;
        Ok(batches.iter().flat_map(|batch| rows(batch, folder)).collect())
    }
}

/// Cells as text. Floats have six digits, so that the files can be read.
fn rows(batch: &RecordBatch, folder: &str) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let formatters: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
    let cell = |row: usize, column: usize| {
        let text = formatters[column].value(row).to_string();
        match text.parse::<f64>() {
            Ok(number) if batch.column(column).data_type().is_floating() => {
                let text = format!("{number:.6}");
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            _ if text.is_empty() => "(empty)".to_owned(),
            _ => text.replace(folder, "DATASET"),
        }
    };
    let mut rows = Vec::new();
    for row in 0..batch.num_rows() {
        let cells: Vec<String> = (0..batch.num_columns()).map(|column| cell(row, column)).collect();
        match cells.as_slice() {
            // EXPLAIN: one row a line of the plan, its depth as dashes.
            [kind, plan] if kind.ends_with("_plan") => {
                rows.push(vec![format!("{kind}:")]);
                rows.extend(plan.lines().map(|line| {
                    let depth = line.len() - line.trim_start().len();
                    vec![format!("{}{}", "-".repeat(depth), line.trim_start())]
                }));
            }
            _ => rows.push(cells),
        }
    }
    rows
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/slt");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "slt"));
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn sql_files() {
    let complete = std::env::var_os("PLAYHOUSE_SLT_COMPLETE").is_some();
    let mut failures = Vec::new();
    for file in files() {
        let dataset = fixture::dataset();
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy();
        let (actual, failed) = runner::run(&name, &text, &mut Database::new(dataset.path()));
        match complete {
            true => std::fs::write(&file, actual).unwrap(),
            false => failures.extend(failed),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Every text and every function is run by some file.
#[test]
fn nothing_is_untested() {
    let all: String = files().iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    // Whole words: `run windows_active` is no test of `windows`.
    let words: Vec<&str> = all.split_whitespace().collect();
    let occurs = |command: &str, name: &str| words.windows(2).any(|pair| pair == [command, name]);
    for name in library::names() {
        assert!(occurs("run", name), "no rows of {name}.sql in tests/slt");
        assert!(occurs("explain", name), "no plan of {name}.sql in tests/slt");
    }
    for page in playhouse_queries::functions::manual() {
        assert!(all.contains(&format!("{}(", page.name)), "no rows of {} in tests/slt", page.name);
    }
}
