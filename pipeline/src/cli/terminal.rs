//! What the terminal is: whether somebody sits there, and how much they see.

use std::io::{self, IsTerminal};

use rustix::termios::tcgetwinsize;

/// Terminals without the control sequences that an editor of lines draws with.
const PLAIN: [&str; 3] = ["dumb", "cons25", "emacs"];

/// True if somebody sits there: keys come from a terminal, and what is drawn goes to one that can be drawn on.
pub(super) fn is_interactive() -> bool {
    let can_draw = std::env::var_os("TERM").is_none_or(|kind| !PLAIN.iter().any(|plain| kind == *plain));
    io::stdin().is_terminal() && io::stderr().is_terminal() && can_draw
}

/// Rows and columns of standard output, if it is a terminal and says.
pub(super) fn size_of_stdout() -> Option<(usize, usize)> {
    let stdout = io::stdout();
    let size = tcgetwinsize(&stdout).ok().filter(|_| stdout.is_terminal())?;
    let (rows, columns) = (usize::from(size.ws_row), usize::from(size.ws_col));
    // What claims to be narrower says nothing of use.
    (rows > 0 && columns > 20).then_some((rows, columns))
}
