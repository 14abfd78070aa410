//! A line editor for a prompt: several lines, history, completion.
//!
//! ```text
//!   terminal (raw) ── bytes ──> keys ── Key ──> input ── edits ──> buffer (text, cursor, undo)
//!        ^                                        |  ^
//!        └──── screen (rows, wrapped) <───────────┘  └── history (this and earlier sessions), Assistant (words, end)
//! ```
//!
//! [`Editor::read`] is the only thing that touches the terminal; the rest is plain values and tested as such. The
//! terminal is raw only while somebody types: a running query sees Ctrl-C as a signal.
//!
//! Why not one of the crates for this: each brings a terminal library of its own beside the ones that are linked already,
//! and what a prompt for SQL needs is little: texts of several lines, one list of words, one file of history.

mod buffer;
mod history;
mod input;
mod keys;
mod screen;
mod terminal;

use std::io::{self, Write};

pub use history::History;
use input::{Input, Step};
use keys::Keys;
use screen::Screen;
use terminal::Raw;
pub use terminal::{is_interactive, size_of_stdout};

/// Words that could stand at the cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completion {
    /// Where the word begins that they replace, in bytes.
    pub start: usize,
    /// The words, sorted. They need not begin as what was typed does, but for its case.
    pub words: Vec<String>,
}

/// What the prompt knows and an editor does not.
pub trait Assistant {
    /// True if Enter ends the text; if not, it begins another line.
    fn is_whole(&self, text: &str) -> bool;
    /// What may stand at byte `cursor` of `text`.
    fn complete(&self, text: &str, cursor: usize) -> Completion;
    /// Asked about once a second: true when the program shall end.
    fn leave(&self) -> bool {
        false
    }
}

/// What came of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A text that is whole.
    Text(String),
    /// Ctrl-C: what was typed is forgotten.
    Cleared,
    /// Ctrl-D on an empty line, or the terminal is gone.
    End,
}

/// Reads texts from the terminal of standard input and draws them on standard error.
#[derive(Debug, Default)]
pub struct Editor {
    /// Keys beyond the last text: somebody types faster than queries run.
    keys: Keys,
    /// What was typed or called up, oldest first.
    pub history: History,
}

impl Editor {
    /// Lets the user type a text after `prompt`; lines after the first begin with `more`.
    ///
    /// # Errors
    /// The terminal cannot be read or written.
    pub fn read(&mut self, prompt: &str, more: &str, assistant: &dyn Assistant) -> io::Result<Line> {
        let mut raw = Raw::enter()?;
        let mut screen = Screen::default();
        let mut input = Input::new(self.history.entries());
        let mut out = io::stderr();
        loop {
            // Keys that are there already are obeyed before anything is drawn: a pasted text is drawn once.
            if !self.keys.pending() {
                let (text, cursor, search) = input.shown();
                let prompt = search.as_deref().unwrap_or(prompt);
                out.write_all(screen.draw(prompt, more, text, cursor, terminal::size()).as_bytes())?;
                out.flush()?;
            }
            let key = loop {
                if let Some(key) = self.keys.next() {
                    break key;
                }
                match raw.read()? {
                    Some([]) => return end(&mut out, &mut screen, Line::End),
                    Some(bytes) => self.keys.feed(bytes),
                    None if assistant.leave() => return end(&mut out, &mut screen, Line::End),
                    None => {}
                }
            };
            match input.press(key, assistant) {
                Step::Edit => {}
                Step::Words(words) => {
                    out.write_all(screen.list(&words, terminal::size()).as_bytes())?;
                }
                Step::Wipe => out.write_all(screen.wipe().as_bytes())?,
                Step::Done(line) => {
                    let (text, _, _) = input.shown();
                    out.write_all(screen.draw(prompt, more, text, text.len(), terminal::size()).as_bytes())?;
                    return end(&mut out, &mut screen, line);
                }
            }
        }
    }
}

fn end(out: &mut dyn Write, screen: &mut Screen, line: Line) -> io::Result<Line> {
    out.write_all(screen.leave(line == Line::Cleared).as_bytes())?;
    out.flush()?;
    Ok(line)
}
