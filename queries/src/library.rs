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
//! --   $length = 32     (1..) a default, what is allowed if not everything, then what it means
//! -- Columns: episode_id, t_start, length, weight
//! -- Order: episode_id, t_start
//! ```
//!
//! What is allowed is `(1..)` or `(0..1)`, ends included, or `('a', 'b')`. A whole default asks for whole
//! numbers. Users' own texts may carry such a header too: [`defaults`] reads it from any text,
//! and a session refuses values that it does not allow, before it plans.

use std::fmt;

use crate::error::{Error, Result};
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
    "recovery",
    "sft_demonstrations",
    "sft_windows",
    "splits",
    "style_pairs",
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
    /// The values it may have.
    pub allowed: Allowed,
    /// What it means.
    pub meaning: String,
}

/// The values that a parameter may have.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Allowed {
    /// The header does not say.
    Any,
    /// Numbers from `low` to `high`, both included; no upper end if there is none.
    Range {
        /// The smallest.
        low: f64,
        /// The largest.
        high: Option<f64>,
        /// No fractions.
        whole: bool,
    },
    /// One of these texts.
    OneOf(Vec<String>),
}

impl Allowed {
    /// Takes `(..)` off the front of a parameter's meaning; a parenthesis of another form is part of the meaning.
    fn parse<'a>(meaning: &'a str, default: &Value) -> (Self, &'a str) {
        let any = (Self::Any, meaning);
        let Some((inside, rest)) = meaning.strip_prefix('(').and_then(|m| m.split_once(')')) else { return any };
        if let Some((low, high)) = inside.split_once("..") {
            let whole = matches!(default, Value::Int(_));
            return match (low.parse(), (!high.is_empty()).then(|| high.parse()).transpose()) {
                (Ok(low), Ok(high)) => (Self::Range { low, high, whole }, rest),
                _ => any,
            };
        }
        let word = |word: &str| Some(word.trim().strip_prefix('\'')?.strip_suffix('\'')?.to_owned());
        inside.split(',').map(word).collect::<Option<_>>().map_or(any, |words| (Self::OneOf(words), rest))
    }

    fn allows(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Any, _) => true,
            (Self::Range { low, high, .. }, Value::Int(i)) => (*low..=high.unwrap_or(f64::MAX)).contains(&(*i as f64)),
            (Self::Range { low, high, whole: false }, Value::Float(x)) => (*low..=high.unwrap_or(f64::MAX)).contains(x),
            (Self::OneOf(words), Value::Text(text)) => words.contains(text),
            _ => false,
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any value"),
            Self::Range { low, high, whole } => {
                write!(f, "a {} from {low} ", if *whole { "whole number" } else { "number" })?;
                match high {
                    Some(high) => write!(f, "to {high}"),
                    None => f.write_str("up"),
                }
            }
            Self::OneOf(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
                f.write_str(&quoted.join(" or "))
            }
        }
    }
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

/// Refuses a value that the header of `sql` does not allow: a negative stride would drop windows and say nothing.
pub(crate) fn check(sql: &str, params: &Params) -> Result<()> {
    for Parameter { name, allowed, .. } in parameters(sql) {
        if let Some(value) = params.get(&name).filter(|value| !allowed.allows(value)) {
            return Err(Error::Parameter { name, value: value.clone(), allowed });
        }
    }
    Ok(())
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
        let default = value_of(value)?;
        let (allowed, meaning) = Allowed::parse(meaning.trim(), &default);
        Some(Parameter { name: name.trim().to_owned(), default, allowed, meaning: meaning.trim().to_owned() })
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
            assert!(text.parameters.iter().all(|p| p.allowed.allows(&p.default)), "{}: a default", text.name);
            assert!(text.parameters.iter().all(|p| !p.meaning.starts_with('(')), "{}: an unread rule", text.name);
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

    #[test]
    fn values_that_a_header_does_not_allow_are_named() {
        let sql = "-- A text.\n-- Parameters:\n--   $n = 16  (1..) steps\n--   $p = 0.5  (0..1) share\n\
            --   $side = 'all'  ('train', 'all') side\n--   $free = 1  (optional) anything\n--\nselect 1";
        let with = |name: &str, value: Value| check(sql, &Params::from([(name.to_owned(), value)]));
        for (name, value) in [
            ("n", Value::Int(1)),
            ("n", Value::Int(i64::MAX)),
            ("p", Value::Float(0.0)),
            ("p", Value::Int(1)),
            ("side", Value::from("train")),
            ("free", Value::from("x")),
            ("other", Value::Null),
        ] {
            with(name, value.clone()).unwrap_or_else(|e| panic!("{name} {value:?}: {e}"));
        }
        for (name, value, message) in [
            ("n", Value::Int(-16), "$n is -16; it must be a whole number from 1 up"),
            ("n", Value::Int(0), "$n is 0; it must be a whole number from 1 up"),
            ("n", Value::Float(2.5), "$n is 2.5; it must be a whole number from 1 up"),
            ("n", Value::Null, "$n is null; it must be a whole number from 1 up"),
            ("p", Value::Float(1.5), "$p is 1.5; it must be a number from 0 to 1"),
            ("p", Value::Float(f64::NAN), "$p is NaN; it must be a number from 0 to 1"),
            ("side", Value::from("heldout"), "$side is 'heldout'; it must be 'train' or 'all'"),
        ] {
            assert_eq!(with(name, value).unwrap_err().to_string(), message);
        }
    }
}
