//! The prompt itself: rustyline, told what a whole statement is, what may stand at the cursor, and where texts are kept.
//!
//! It draws on the terminal and not on standard output, which may be a file. The terminal is raw only while somebody types:
//! a running query sees Ctrl-C as a signal.

use std::borrow::Cow;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustyline::completion::Completer;
use rustyline::config::BellStyle;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Behavior, CompletionType, Config, Context, Editor, Helper};

use super::complete::Words;
use super::script::Script;
use crate::progress::asked_to_leave;

const PROMPT: &str = "playhouse> ";

/// Texts that are kept.
const KEPT: usize = 5_000;

/// Candidates that are listed without asking.
const LISTED: usize = 200;

/// What came of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Statements and commands that are whole.
    Text(String),
    /// Ctrl-C: what was typed is forgotten.
    Cleared,
    /// Ctrl-D on an empty line, or the terminal is gone.
    End,
}

/// Reads statements from the terminal.
pub(super) struct Prompt {
    editor: Editor<Sql, FileHistory>,
    /// Where texts are kept; nowhere if that did not work.
    history: Option<PathBuf>,
}

impl Prompt {
    pub(super) fn new(words: Words) -> rustyline::Result<Self> {
        let config = Config::builder()
            .behavior(Behavior::PreferTerm)
            .bell_style(BellStyle::None)
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .completion_prompt_limit(LISTED)
            .max_history_size(KEPT)?
            .history_ignore_dups(true)?
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Sql { words }));
        Ok(Self { editor, history: None })
    }

    /// Calls up what earlier sessions left in a file, which is made if it is not there, and keeps this session's there too.
    ///
    /// # Errors
    /// It cannot be read, or not be written.
    pub(super) fn keep_history(&mut self, path: PathBuf) -> rustyline::Result<()> {
        make_private(&path)?;
        self.editor.load_history(&path)?;
        self.history = Some(path);
        Ok(())
    }

    /// Lets the user type.
    ///
    /// # Errors
    /// The terminal cannot be read or written.
    pub(super) fn read(&mut self) -> rustyline::Result<Line> {
        match self.editor.readline(PROMPT) {
            Ok(text) => Ok(Line::Text(text)),
            Err(ReadlineError::Interrupted) if asked_to_leave() => Ok(Line::End),
            Err(ReadlineError::Interrupted) => Ok(Line::Cleared),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(ReadlineError::Io(error)) if is_gone(&error) => Ok(Line::End),
            Err(error) => Err(error),
        }
    }

    /// Keeps a text, unless it is blank or the one before. It is written at once: a session that is killed loses nothing.
    /// After an error it is kept for this session alone, and so are those after it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn remember(&mut self, text: &str) -> rustyline::Result<()> {
        if !self.editor.add_history_entry(text.trim())? {
            return Ok(());
        }
        let Some(path) = self.history.take() else { return Ok(()) };
        self.editor.append_history(&path)?;
        self.history = Some(path);
        Ok(())
    }
}

/// A file that only its owner reads, in a folder of the same kind.
fn make_private(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

/// A terminal that was closed fails with this error where a pipe would end.
fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// What the editor of lines must know of SQL.
struct Sql {
    words: Words,
}

impl Helper for Sql {}

impl Validator for Sql {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let whole = Script::parse(context.input()).is_whole();
        Ok(if whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for Sql {
    type Candidate = String;

    fn complete(&self, text: &str, cursor: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.words.complete(text, cursor))
    }
}

/// Shown behind the cursor, and never part of the text.
struct Aside(String);

impl Hint for Aside {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Sql {
    type Hint = Aside;

    fn hint(&self, text: &str, cursor: usize, _: &Context<'_>) -> Option<Aside> {
        let at_end = cursor == text.len();
        // Whoever pressed Enter expected an answer.
        if at_end && text.ends_with('\n') {
            return Some(Aside("; ends the statement".to_owned()));
        }
        self.words.arguments(text).filter(|_| at_end).map(|rest| Aside(rest.to_owned()))
    }
}

impl Highlighter for Sql {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        // Dim, so that it is not taken for what was typed.
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn prompt() -> Prompt {
        Prompt::new(Words::default()).unwrap()
    }

    fn kept(prompt: &Prompt) -> Vec<&str> {
        prompt.editor.history().iter().map(String::as_str).collect()
    }

    #[test]
    fn texts_outlive_the_session() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/playhouse/history");
        let mut first = prompt();
        first.keep_history(path.clone()).unwrap();
        for text in ["select 1;", " select 1;\n", "select '\\n',\n  2;", "  ", "\\d steps"] {
            first.remember(text).unwrap();
        }
        let mut again = prompt();
        again.keep_history(path.clone()).unwrap();
        assert_eq!(kept(&again), ["select 1;", "select '\\n',\n  2;", "\\d steps"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn sessions_side_by_side_keep_each_others_texts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let (mut one, mut other) = (prompt(), prompt());
        one.keep_history(path.clone()).unwrap();
        other.keep_history(path.clone()).unwrap();
        for text in ["a;", "b;"] {
            one.remember(text).unwrap();
            other.remember(&text.to_uppercase()).unwrap();
        }
        let mut later = prompt();
        later.keep_history(path).unwrap();
        assert_eq!(kept(&later), ["a;", "A;", "b;", "B;"]);
    }

    #[test]
    fn a_long_history_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut texts: String = (0..=KEPT).map(|i| format!("select {i};\n")).collect();
        texts.insert_str(0, "#V2\n");
        fs::write(&path, texts).unwrap();
        let mut first = prompt();
        first.keep_history(path.clone()).unwrap();
        first.remember("the last").unwrap();
        let mut again = prompt();
        again.keep_history(path.clone()).unwrap();
        let kept = kept(&again);
        assert_eq!((kept.len(), kept[0], kept[KEPT - 1]), (KEPT, "select 2;", "the last"));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), KEPT + 1);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("taken"), "").unwrap();
        assert!(prompt().keep_history(folder.path().join("taken/history")).is_err());
        // Gone in the middle: said once.
        let path = folder.path().join("gone/history");
        let mut session = prompt();
        session.keep_history(path.clone()).unwrap();
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        assert!(session.remember("select 1;").is_err());
        session.remember("select 2;").unwrap();
        assert_eq!(kept(&session), ["select 1;", "select 2;"]);
    }

    #[test]
    fn what_is_shown_behind_the_cursor() {
        let helper = Sql { words: Words::with_arguments(&[("presses", "presses(button, t)")]) };
        let history = FileHistory::new();
        let shown = |text: &str| {
            let cursor = text.find('|').unwrap();
            helper.hint(&text.replace('|', ""), cursor, &Context::new(&history)).map(|hint| hint.0)
        };
        assert_eq!(shown("select presses(|"), Some("button, t)".to_owned()));
        assert_eq!(shown("select 1\n|"), Some("; ends the statement".to_owned()));
        assert_eq!(shown("select presses(|\n"), None);
        assert_eq!(shown("select 1|"), None);
    }
}
