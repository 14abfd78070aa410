//! The reviewed SQL of `sql/*.sql`, embedded.
//!
//! A text begins with a header comment that people and this module read:
//!
//! ```text
//! -- One line that says what it is for.
//! --
//! -- Any explanation.
//! --
//! -- Inputs:
//! --   episodes     what the table must have
//! -- Parameters:
//! --   $length = 32     a default, then what it means
//! -- Columns: episode_id, t_start, length, weight
//! -- Order: episode_id, t_start
//! ```
//!
//! Users' own texts may carry such a header too: [`defaults`] reads it from any text.

use crate::params::{Params, Value};

macro_rules! texts {
    ($($name:literal),* $(,)?) => {
        /// Names and texts, by name.
        const TEXTS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../sql/", $name, ".sql")))),*];
    };
}

texts![
    "action_rates",
    "curation",
    "evaluation_summary",
    "idle",
    "lengths",
    "outcomes",
    "outcomes_by_spawn",
    "outliers",
    "preference_pairs",
    "sft_demonstrations",
    "sft_windows",
    "splits",
    "top_rollouts",
    "windows",
    "windows_active",
];

/// A text of the library and what its header says.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// The file's name without `.sql`.
    pub name: &'static str,
    /// The whole text, header included.
    pub sql: &'static str,
    /// What it is for, in a line.
    pub summary: &'static str,
    /// The tables it reads.
    pub inputs: Vec<&'static str>,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// The columns of its result.
    pub columns: Vec<&'static str>,
}

/// A parameter as a header declares it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Without the `$`.
    pub name: String,
    /// The value it has unless it is given another.
    pub default: Value,
    /// What it means.
    pub meaning: String,
}

/// The text called `name`.
pub fn get(name: &str) -> Option<&'static str> {
    TEXTS.iter().find(|(known, _)| *known == name).map(|(_, sql)| *sql)
}

/// Every name, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    TEXTS.iter().map(|(name, _)| *name)
}

/// Every text with what its header says, by name.
pub fn texts() -> Vec<Text> {
    let read = |&(name, sql): &(&'static str, &'static str)| Text {
        name,
        sql,
        summary: header(sql).next().unwrap_or_default(),
        inputs: section(sql, "Inputs:").filter_map(|line| line.split_whitespace().next()).collect(),
        parameters: parameters(sql).collect(),
        columns: header(sql)
            .find_map(|line| line.strip_prefix("Columns:"))
            .map(|list| list.split(',').map(str::trim).collect())
            .unwrap_or_default(),
    };
    TEXTS.iter().map(read).collect()
}

/// The defaults that the header of `sql` declares, for any text with a header; empty without one.
pub fn defaults(sql: &str) -> Params {
    parameters(sql).map(|parameter| (parameter.name, parameter.default)).collect()
}

/// The comment lines before the first line of SQL, without their dashes.
fn header(sql: &str) -> impl Iterator<Item = &str> {
    sql.lines().map_while(|line| line.strip_prefix("--")).map(|line| line.strip_prefix(' ').unwrap_or(line))
}

/// The indented lines under `title`.
fn section<'a>(sql: &'a str, title: &'static str) -> impl Iterator<Item = &'a str> {
    header(sql).skip_while(move |line| line.trim_end() != title).skip(1).take_while(|line| line.starts_with(' '))
}

fn parameters(sql: &str) -> impl Iterator<Item = Parameter> {
    section(sql, "Parameters:").filter_map(|line| {
        let (name, rest) = line.trim().strip_prefix('$')?.split_once('=')?;
        let rest = rest.trim();
        // A text default may hold spaces; everything else ends at the first.
        let end = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.find('\'')? + 2,
            None => rest.find(' ').unwrap_or(rest.len()),
        };
        let (value, meaning) = rest.split_at(end);
        Some(Parameter { name: name.trim().to_owned(), default: value_of(value)?, meaning: meaning.trim().to_owned() })
    })
}

fn value_of(literal: &str) -> Option<Value> {
    if let Some(text) = literal.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
        return Some(Value::from(text));
    }
    match literal {
        "null" => Some(Value::Null),
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ => literal.parse().map(Value::Int).or_else(|_| literal.parse().map(Value::Float)).ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::statement::inspect;

    #[test]
    fn every_file_is_embedded_and_sorted() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../sql");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".sql").map(str::to_owned))
            .collect();
        files.sort();
        assert_eq!(files, names().collect::<Vec<_>>());
    }

    #[test]
    fn headers_say_what_the_sql_does() {
        for text in texts() {
            let found = inspect(text.sql).unwrap();
            let declared: BTreeSet<String> = text.parameters.iter().map(|p| p.name.clone()).collect();
            assert_eq!(declared, found.parameters, "{}: parameters", text.name);
            let inputs: BTreeSet<String> = text.inputs.iter().map(|i| (*i).to_owned()).collect();
            assert_eq!(inputs, found.tables, "{}: inputs", text.name);
            assert!(text.summary.ends_with('.') || text.summary.ends_with(','), "{}: {:?}", text.name, text.summary);
            assert!(text.parameters.iter().all(|p| !p.meaning.is_empty()), "{}: a parameter has no meaning", text.name);
            assert!(header(text.sql).any(|line| line.starts_with("Order:")), "{}: no order", text.name);
        }
    }

    #[test]
    fn defaults_have_their_types() {
        let sql = "-- A text.\n-- Parameters:\n--   $a = 3     three\n--   $b = 0.5   half\n--   $c = 'x y' text\n--   $d = null\n--\nselect 1";
        let found = defaults(sql);
        assert_eq!(found["a"], Value::Int(3));
        assert_eq!(found["b"], Value::Float(0.5));
        assert_eq!(found["c"], Value::from("x y"));
        assert_eq!(found["d"], Value::Null);
        assert!(defaults("select 1 -- $a = 3").is_empty());
    }
}
