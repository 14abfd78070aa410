//! Answers that do not fit the screen go through a pager.
//!
//! `$PAGER`, or `less -SFRX`; plainly if it is not there, or is set to nothing. Text is held back until it is wider or
//! longer than the terminal, so that short answers stay on the screen like any other output.

use std::io::{self, ErrorKind, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use unicode_width::UnicodeWidthStr;

use super::scan_line::ScanLine;
use crate::cli::terminal::size_of_stdout;
use crate::progress::interrupts_end_questions;

/// Chops long lines, leaves at the end of a short text, and leaves what it showed on the screen.
const PAGER: &str = "less -SFRX";

/// Standard output, through a pager where it does not fit.
pub(super) struct Paged<'a> {
    out: &'a mut dyn Write,
    line: &'a ScanLine,
    /// Rows and columns, if there is a screen to fit.
    size: Option<(usize, usize)>,
    held: Vec<u8>,
    pager: Option<(Child, ChildStdin)>,
    /// The reader left the pager before the end.
    pub(super) left: bool,
}

impl<'a> Paged<'a> {
    pub(super) fn new(out: &'a mut dyn Write, line: &'a ScanLine) -> Self {
        Self { out, line, size: size_of_stdout(), held: Vec::new(), pager: None, left: false }
    }

    /// Writes what is held back, and waits for the reader to leave the pager.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.line.clear();
        if let Some((mut child, stdin)) = self.pager.take() {
            drop(stdin);
            child.wait()?;
        }
        let held = std::mem::take(&mut self.held);
        self.out.write_all(&held)?;
        self.out.flush()
    }

    /// Gives what is held back to a pager, or from now on to standard output.
    fn spill(&mut self) -> io::Result<()> {
        self.size = None;
        self.line.clear();
        self.out.flush()?;
        let held = std::mem::take(&mut self.held);
        match start() {
            Some(pager) => {
                self.pager = Some(pager);
                // In a pager, Ctrl-C is the pager's.
                interrupts_end_questions();
                self.write_all(&held)
            }
            None => self.out.write_all(&held),
        }
    }
}

impl Write for Paged<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some((_, stdin)) = &mut self.pager {
            return stdin.write(bytes).inspect_err(|e| self.left |= e.kind() == ErrorKind::BrokenPipe);
        }
        let Some(size) = self.size else { return self.out.write(bytes) };
        self.held.extend_from_slice(bytes);
        if !fits(&self.held, size) {
            self.spill()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.pager {
            Some((_, stdin)) => stdin.flush(),
            None => Ok(()),
        }
    }
}

/// True if the text leaves a row for the prompt, and no line is too wide.
fn fits(text: &[u8], (rows, columns): (usize, usize)) -> bool {
    let text = String::from_utf8_lossy(text);
    let mut lines = 0;
    text.lines().all(|line| {
        lines += 1;
        lines < rows && line.width() <= columns
    })
}

fn start() -> Option<(Child, ChildStdin)> {
    let chosen = std::env::var("PAGER").unwrap_or_else(|_| PAGER.to_owned());
    let mut words = chosen.split_whitespace();
    let mut child = Command::new(words.next()?).args(words).stdin(Stdio::piped()).spawn().ok()?;
    let stdin = child.stdin.take()?;
    Some((child, stdin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_leaves_a_row_for_the_prompt() {
        assert!(fits(b"12345\n12345\n", (3, 5)));
        assert!(!fits(b"12345\n12345\n12345\n", (3, 5)));
        assert!(!fits(b"123456\n", (3, 5)));
        assert!(!fits("日本語\n".as_bytes(), (3, 5)));
    }
}
