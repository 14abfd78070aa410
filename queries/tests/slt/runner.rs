//! A small runner of sqllogictest files: the records that our files use, and no more.
//!
//! ```text
//! statement ok                 statement error PART OF THE MESSAGE          query T
//! SQL                          SQL                                          SQL
//!                                                                           ----
//!                                                                           rows, cells joined by a space
//! ```
//!
//! A record ends at an empty line; `#` begins a comment. Rows are compared in order: every query of ours has one.
//! (The crate of that name would do, but it turns on a feature deep under the query engine, and every test run would then
//! compile the engine a second time.)

use std::fmt::Write;

/// What the records run against: rows as cells, or an error message.
pub trait Database {
    fn run(&mut self, sql: &str) -> Result<Vec<Vec<String>>, String>;
}

/// Runs the records of `text` and returns it with every expected result replaced by the actual one, and a message for
/// each record that differed.
pub fn run(name: &str, text: &str, database: &mut dyn Database) -> (String, Vec<String>) {
    let (mut actual, mut failures) = (String::new(), Vec::new());
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        actual.push_str(line);
        actual.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut record: Vec<&str> = Vec::new();
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.is_empty()) {
            record.push(line);
        }
        let divider = record.iter().position(|line| *line == "----").unwrap_or(record.len());
        let (sql, expected) = (record[..divider].join("\n"), record.get(divider + 1..).unwrap_or_default());
        let _ = writeln!(actual, "{sql}");
        let place = format!("{name}:{}: {sql}", number + 1);
        match (line, database.run(&sql)) {
            ("statement ok", Ok(_)) => {}
            (query, Ok(rows)) if query.starts_with("query ") => {
                let rows: Vec<String> = rows.iter().map(|cells| cells.join(" ")).collect();
                if rows != expected {
                    failures.push(format!("{place}\nexpected:\n{}\ngot:\n{}", expected.join("\n"), rows.join("\n")));
                }
                actual.push_str("----\n");
                rows.iter().for_each(|row| actual.extend([row, "\n"]));
            }
            (line, outcome) => match (line.strip_prefix("statement error "), outcome) {
                (Some(part), Err(message)) if message.contains(part) => {}
                (Some(part), Err(message)) => {
                    failures.push(format!("{place}\nexpected an error with {part:?}: {message}"))
                }
                (Some(_), Ok(_)) => failures.push(format!("{place}\nran, and should have failed")),
                (None, Err(message)) => failures.push(format!("{place}\n{message}")),
                (None, Ok(_)) => failures.push(format!("{place}\nunknown record {line:?}")),
            },
        }
    }
    (actual, failures)
}
