//! Functions of our own for SQL, one a file.
//!
//! To add one: write `functions/<name>.rs` with a function that makes the `ScalarUDF` or `AggregateUDF`, whose documentation
//! is part of it, add it to [`scalars`] or [`aggregates`], and give it rows in `tests/slt/functions.slt`. A test forbids two
//! functions of one name and functions without documentation.

mod action_entropy;
mod aggregate;
mod bounded;
mod bucket_of;
mod held_for;
mod idle_fraction;
mod longest_run;
mod ordered;
mod path_length;
mod presses;
mod scalar;
mod shuffle_key;
mod split_of;
mod stick;
pub(crate) mod trues;
mod wilson;
mod wilson_high;
mod wilson_low;

use datafusion::logical_expr::{AggregateUDF, Documentation, ScalarUDF};
use datafusion::prelude::SessionContext;

pub(crate) use aggregate::{Accumulate, Groups, Run, accumulator_of};
pub(crate) use bounded::bound;
pub(crate) use wilson::interval as wilson_interval;

/// What a user is told about a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manual {
    /// Its name.
    pub name: String,
    /// How it is called.
    pub syntax: String,
    /// What it computes.
    pub description: String,
    /// Its arguments and what they mean.
    pub arguments: Vec<(String, String)>,
    /// A query that shows it.
    pub example: String,
}

impl Manual {
    pub(crate) fn of(name: &str, doc: &Documentation) -> Self {
        Self {
            name: name.to_owned(),
            syntax: doc.syntax_example.clone(),
            description: doc.description.clone(),
            arguments: doc.arguments.clone().unwrap_or_default(),
            example: doc.sql_example.clone().unwrap_or_default(),
        }
    }
}

fn scalars() -> Vec<ScalarUDF> {
    vec![
        bucket_of::function(),
        shuffle_key::function(),
        split_of::function(),
        stick::function(),
        wilson_high::function(),
        wilson_low::function(),
    ]
}

fn aggregates() -> Vec<AggregateUDF> {
    vec![
        action_entropy::function(),
        held_for::function(),
        idle_fraction::function(),
        longest_run::function(),
        path_length::function(),
        presses::function(),
        trues::count_true(),
        trues::rate(),
    ]
}

/// The functions that Playhouse adds to SQL, by name.
pub fn manual() -> Vec<Manual> {
    let (scalars, aggregates) = (scalars(), aggregates());
    let scalars = scalars.iter().map(|function| (function.name(), function.documentation()));
    let aggregates = aggregates.iter().map(|function| (function.name(), function.documentation()));
    let pages = scalars.chain(aggregates).filter_map(|(name, doc)| Some(Manual::of(name, doc?)));
    let mut pages: Vec<Manual> = pages.collect();
    pages.sort_by(|a, b| a.name.cmp(&b.name));
    pages
}

/// Makes every function known to `context`.
pub(crate) fn register_all(context: &SessionContext) {
    scalars().into_iter().for_each(|function| context.register_udf(function));
    aggregates().into_iter().for_each(|function| context.register_udaf(function));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_new_and_unique() {
        let state = SessionContext::new().state();
        let built_in: BTreeSet<&String> =
            state.scalar_functions().keys().chain(state.aggregate_functions().keys()).collect();
        let mut seen = BTreeSet::new();
        for page in manual() {
            assert!(!built_in.contains(&page.name), "{} hides a built-in function", page.name);
            assert!(seen.insert(page.name.clone()), "two functions are called {}", page.name);
        }
    }

    #[test]
    fn every_function_is_documented() {
        assert_eq!(manual().len(), scalars().len() + aggregates().len(), "a function has no documentation");
        for page in manual() {
            assert!(page.syntax.starts_with(&format!("{}(", page.name)), "{}: syntax {:?}", page.name, page.syntax);
            assert!(page.description.len() > 40, "{} has no description", page.name);
            assert!(page.example.to_lowercase().starts_with("select "), "{} has no example", page.name);
        }
    }
}
