//! The prompt: reads what somebody types, runs it, and goes on whatever comes of it.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use playhouse_queries::Error as QueryError;

use super::complete::Words;
use super::interpreter::{Interpreter, Next};
use super::prompt::{Line, Prompt};
use crate::engine::chain;
use crate::progress::{asked_to_leave, interrupts_end_questions, next_question};

/// Reads and runs until the user leaves.
///
/// # Errors
/// The terminal cannot be read, standard output cannot be written, or the program was asked to end.
pub(super) fn shell(interpreter: &mut Interpreter<'_, '_>) -> Result<()> {
    interrupts_end_questions();
    let console = interpreter.context.console;
    let mut prompt = Prompt::new(Words::of(&interpreter.session)).context("cannot use the terminal")?;
    if let Some(path) = history_file()
        && let Err(error) = prompt.keep_history(path.clone())
    {
        console.line(&format!("playhouse: no history beyond this session: {}: {error}", path.display()));
    }
    let tables = interpreter.session.tables().len();
    let version = env!("CARGO_PKG_VERSION");
    console.line(&format!("Playhouse {version}, {tables} tables. \\d lists them, \\? shows help, \\q leaves."));
    loop {
        next_question();
        let text = match prompt.read().context("cannot read from the terminal")? {
            Line::Text(text) => text,
            Line::Cleared => continue,
            Line::End => break,
        };
        if let Err(error) = prompt.remember(&text) {
            console.line(&format!("playhouse: no history beyond this session: {error}"));
        }
        let ran = interpreter.run(&text, None);
        interpreter.context.out.flush()?;
        if asked_to_leave() {
            break;
        }
        match ran {
            Ok(Next::GoOn) => {}
            Ok(Next::Quit) => return Ok(()),
            Err(error) => {
                console.error(&told(&error));
                if is_cut_short(&error) {
                    interpreter.session.renew_threads()?;
                }
            }
        }
    }
    ensure!(!asked_to_leave(), "asked to end");
    Ok(())
}

fn is_cancelled(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(QueryError::Cancelled)))
}

/// True if threads may still be at work on the query.
fn is_cut_short(error: &anyhow::Error) -> bool {
    let short = |error: &QueryError| matches!(error, QueryError::Cancelled | QueryError::Memory { .. });
    error.chain().any(|cause| cause.downcast_ref().is_some_and(short))
}

/// An error as the prompt tells it.
fn told(error: &anyhow::Error) -> String {
    match error.chain().find_map(|cause| cause.downcast_ref()) {
        _ if is_cancelled(error) => "cancelled".to_owned(),
        Some(QueryError::MissingParameter { name, .. }) => {
            format!("playhouse: {} (\\set {name} VALUE gives it one)", chain(error))
        }
        _ => format!("playhouse: {}", chain(error)),
    }
}

/// Where the history is kept, by the conventions for users' state.
fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("playhouse").join("history"))
}
