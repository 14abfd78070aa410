//! The terminal itself: raw while somebody types, as it was otherwise.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Tenths of a second that a read waits before it looks around.
const WAIT: u8 = 10;

/// True if somebody sits there: keys come from a terminal, and what is drawn goes to one that can be drawn on.
pub fn is_interactive() -> bool {
    let can_draw = std::env::var_os("TERM").is_none_or(|kind| kind != "dumb");
    io::stdin().is_terminal() && io::stderr().is_terminal() && can_draw
}

/// Rows and columns of the terminal that the editor draws on. One that does not say is taken for a usual one.
pub(super) fn size() -> (usize, usize) {
    sides(&io::stderr()).unwrap_or((24, 80))
}

/// Rows and columns of standard output, if it is a terminal and says.
pub fn size_of_stdout() -> Option<(usize, usize)> {
    sides(&io::stdout())
}

fn sides(stream: &(impl std::os::fd::AsFd + IsTerminal)) -> Option<(usize, usize)> {
    let size = tcgetwinsize(stream).ok().filter(|_| stream.is_terminal())?;
    let (rows, columns) = (usize::from(size.ws_row), usize::from(size.ws_col));
    // A width that holds no prompt would wrap for ever.
    (rows > 0 && columns > 20).then_some((rows, columns))
}

/// A terminal that hands over every key as it is pressed. Dropped, it is as before.
pub(super) struct Raw {
    before: Termios,
    bytes: [u8; 1024],
}

impl Raw {
    pub(super) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        // Signals too: at a prompt, Ctrl-C is a key. Line breaks of the output stay the terminal's business.
        raw.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::IEXTEN | LocalModes::ISIG);
        raw.input_modes.remove(rustix::termios::InputModes::IXON);
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = WAIT;
        // What was typed meanwhile is kept.
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        // Pasted text comes marked as such, so that a tab in it is no completion.
        let _ = io::stderr().write_all(b"\x1b[?2004h");
        Ok(Self { before, bytes: [0; 1024] })
    }

    /// Bytes that were typed; none after a while without any, and no bytes once the terminal is gone.
    pub(super) fn read(&mut self) -> io::Result<Option<&[u8]>> {
        let asked = Instant::now();
        match rustix::io::read(io::stdin(), &mut self.bytes) {
            // A terminal without anybody answers at once.
            Ok(0) if asked.elapsed() < Duration::from_millis(u64::from(WAIT) * 100 / 2) => Ok(Some(&[])),
            Ok(0) => Ok(None),
            Ok(count) => Ok(Some(&self.bytes[..count])),
            Err(rustix::io::Errno::INTR) => Ok(None),
            Err(rustix::io::Errno::IO) => Ok(Some(&[])),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing more can be done about a terminal that is gone.
        let _ = io::stderr().write_all(b"\x1b[?2004l");
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}
