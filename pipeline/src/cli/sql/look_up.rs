//! `\d` and `\df`: what there is to ask, and what it means.

use std::fmt::Write;

use anyhow::Result;
use playhouse_queries::{Session, TableInfo, functions};

use crate::cli::terminal::size_of_stdout;
use crate::cli::text::{columns, wrapped};
use crate::engine::Error;
use crate::engine::nearest::{hint, nearest};

/// Tables and their columns.
pub(super) fn tables(session: &Session) -> String {
    let names = |table: &TableInfo| {
        let names: Vec<&str> = table.schema.fields().iter().map(|f| f.name().as_str()).collect();
        names.join(", ")
    };
    let rows: Vec<_> = session.tables().iter().map(|table| vec![table.name.clone(), names(table)]).collect();
    wrapped(&rows, width())
}

/// A table's columns and their types.
pub(super) fn table(session: &Session, name: &str) -> Result<String> {
    let tables = session.tables();
    let Some(table) = tables.iter().find(|table| table.name == name) else {
        let names = tables.iter().map(|table| table.name.as_str());
        return Err(Error::Usage(format!("no table is called `{name}`{}", hint(name, names))).into());
    };
    let null = |nullable| if nullable { "may be null" } else { "" };
    let fields = table.schema.fields().iter();
    let rows: Vec<_> =
        fields.map(|f| vec![f.name().clone(), f.data_type().to_string(), null(f.is_nullable()).to_owned()]).collect();
    Ok(columns(&rows, ""))
}

/// Our functions, a line each.
pub(super) fn all_functions() -> String {
    let rows: Vec<_> = functions::manual().into_iter().map(|f| vec![f.syntax, f.description]).collect();
    wrapped(&rows, width())
}

/// Columns of the screen, if there is one.
fn width() -> Option<usize> {
    size_of_stdout().map(|(_, columns)| columns)
}

/// Everything about a function, ours or the engine's.
pub(super) fn function(session: &Session, name: &str) -> Result<String> {
    let Some(manual) = session.manual(name) else {
        let names = session.function_names();
        let message = match names.contains(&name.to_lowercase()) {
            true => format!("{name} is a function without a manual"),
            // All few hundred of them are no hint.
            false => match nearest(name, names.iter().map(String::as_str)) {
                Some(meant) => format!("no function is called `{name}`; did you mean `{meant}`?"),
                None => format!("no function is called `{name}`; \\df lists those of Playhouse"),
            },
        };
        return Err(Error::Usage(message).into());
    };
    let paragraphs = manual.description.trim().lines().map(|line| wrapped(&[vec![line.to_owned()]], width()));
    let mut text = format!("{}\n\n{}", manual.syntax, paragraphs.collect::<String>());
    if !manual.arguments.is_empty() {
        let rows: Vec<_> =
            manual.arguments.into_iter().map(|(name, meaning)| vec![format!("  {name}"), meaning]).collect();
        text.push('\n');
        text.push_str(&wrapped(&rows, width()));
    }
    let example = manual.example.lines().filter(|line| !line.starts_with("```"));
    let example: Vec<&str> = example.collect();
    if !example.is_empty() {
        // Writing to a text cannot fail.
        let _ = write!(text, "\nExample:\n  {}\n", example.join("\n  "));
    }
    Ok(text)
}
