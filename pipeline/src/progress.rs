//! How long work tells what it is doing, and is told to stop.
//!
//! Stages call [`Progress`] often and cheaply; what becomes of it is decided here: a bar with the time left on a
//! terminal, a plain line now and then in a log, nothing when asked to be quiet. Work that is over in two seconds
//! shows nothing at all. Everything goes to stderr: stdout is for results.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use crate::engine::clock;

/// What a stage says while it works. Every method has a no-op default.
pub trait Progress: Sync {
    /// `done` of `total` units are finished (`total` 0: not known); `message` says what is being done.
    fn update(&self, _done: u64, _total: u64, _message: &str) {}
    /// A line worth keeping on the screen.
    fn note(&self, _line: &str) {}
    /// True once the user asked to stop: save what is needed to resume, then return an error.
    fn stop(&self) -> bool {
        false
    }
}

/// Says nothing and never stops.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {}

static STOP: AtomicBool = AtomicBool::new(false);
/// Ctrl-C ends the question at hand and not the program.
static PROMPT: AtomicBool = AtomicBool::new(false);
/// The program was asked to end, at a prompt or not.
static LEAVE: AtomicBool = AtomicBool::new(false);

/// Between two signals to an editor of lines that waits for a key.
const NUDGE: Duration = Duration::from_millis(100);

/// Lets Ctrl-C (and a polite kill) set the stop flag instead of ending the process. A second one ends it at once.
///
/// # Errors
/// The system refuses a thread or a handler.
pub fn catch_interrupts() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before anything else runs: the prompt's editor puts a handler of its own over this one for as long as it reads.
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("interrupts".into()).spawn(move || {
        runtime.block_on(async {
            let mut asked = 0;
            loop {
                let prompt = PROMPT.load(Ordering::Relaxed);
                tokio::select! {
                    _ = interrupt.recv() => if PROMPT.load(Ordering::Relaxed) {
                        STOP.store(true, Ordering::Relaxed);
                        continue;
                    },
                    _ = terminate.recv() => LEAVE.store(true, Ordering::Relaxed),
                    // The editor notices nothing but Ctrl-C. Again and again, for it may not have begun to listen.
                    () = tokio::time::sleep(NUDGE), if prompt && asked_to_leave() => {
                        // A process may always signal itself.
                        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGINT);
                        continue;
                    }
                }
                asked += 1;
                if asked > 1 {
                    std::process::exit(130);
                }
                STOP.store(true, Ordering::Relaxed);
                if !PROMPT.load(Ordering::Relaxed) {
                    // A closed stderr must not end a run that is about to save its work.
                    let _ = writeln!(std::io::stderr(), "stopping at the next checkpoint (once more: stop at once)");
                }
            }
        });
    })?;
    Ok(())
}

/// True once the user asked to stop.
pub fn interrupted() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// From now on Ctrl-C ends the question at hand, however often it is pressed. A polite kill still ends the program.
pub fn interrupts_end_questions() {
    PROMPT.store(true, Ordering::Relaxed);
}

/// Forgets that the user asked to stop: the question it was about has ended. Not that the program shall end.
pub fn next_question() {
    STOP.store(asked_to_leave(), Ordering::Relaxed);
}

/// True once somebody asked the program itself to end, which a prompt must look for: [`interrupted`] is reset there.
pub fn asked_to_leave() -> bool {
    LEAVE.load(Ordering::Relaxed)
}

/// The bars on the screen: one below the other where several stages work at once. Lines go above them.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Where progress and notes go.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    quiet: bool,
    bars: bool,
}

impl Console {
    /// Bars if stderr is a terminal, plain lines if not, nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, bars: std::io::stderr().is_terminal() }
    }

    /// True if there is a screen to draw on, and somebody who wants to see it.
    pub fn draws(&self) -> bool {
        self.bars && !self.quiet
    }

    /// A line for the user, unless quiet.
    pub fn line(&self, text: &str) {
        if !self.quiet {
            self.error(text);
        }
    }

    /// A line that even the quiet get to see: why something failed.
    pub fn error(&self, text: &str) {
        // If nobody reads stderr any more, the work still counts, and the exit status tells.
        let write = || drop(writeln!(std::io::stderr(), "{text}"));
        if self.bars { BARS.suspend(write) } else { write() }
    }

    /// Progress of one piece of work.
    pub fn task(&self, name: &str) -> Task {
        Task { console: *self, name: name.to_owned(), began: Instant::now(), state: Mutex::default() }
    }
}

/// The progress of one piece of work on a [`Console`].
pub struct Task {
    console: Console,
    name: String,
    began: Instant,
    state: Mutex<TaskState>,
}

#[derive(Default)]
struct TaskState {
    bar: Option<ProgressBar>,
    /// When this attempt's first unit count came in, and what it was: a resumed stage does not begin at 0.
    origin: Option<(Instant, u64)>,
    shown: Option<Instant>,
}

impl Task {
    /// Nothing is shown before.
    const PATIENCE: Duration = Duration::from_secs(2);
    /// Between two plain lines.
    const LINES: Duration = Duration::from_secs(10);
    /// Between two drawings of a bar.
    const BARS: Duration = Duration::from_millis(100);

    fn state(&self) -> MutexGuard<'_, TaskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, state: &mut TaskState, done: u64, total: u64, message: &str) {
        let bar = state.bar.get_or_insert_with(|| {
            let bar = BARS.add(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()));
            bar.set_prefix(self.name.clone());
            bar
        });
        if bar.length() != Some(total) {
            let template = match total {
                0 => "{prefix} {spinner} {elapsed} {wide_msg}",
                _ => "{prefix} [{bar:24}] {pos}/{len}, {eta} left  {wide_msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_length(total);
        }
        bar.set_position(done);
        bar.set_message(message.to_owned());
    }

    fn print(&self, origin: (Instant, u64), done: u64, total: u64, message: &str) {
        self.console.line(&plain(&self.name, origin.0.elapsed(), done - origin.1.min(done), done, total, message));
    }
}

impl Progress for Task {
    fn update(&self, done: u64, total: u64, message: &str) {
        if self.console.quiet {
            return;
        }
        let mut state = self.state();
        let origin = *state.origin.get_or_insert_with(|| (Instant::now(), done));
        let pause = if self.console.bars { Self::BARS } else { Self::LINES };
        if self.began.elapsed() < Self::PATIENCE || state.shown.is_some_and(|at| at.elapsed() < pause) {
            return;
        }
        state.shown = Some(Instant::now());
        match self.console.bars {
            true => self.draw(&mut state, done, total, message),
            false => self.print(origin, done, total, message),
        }
    }

    fn note(&self, line: &str) {
        self.console.line(line);
    }

    fn stop(&self) -> bool {
        interrupted()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(bar) = &self.state().bar {
            bar.finish_and_clear();
            BARS.remove(bar);
        }
    }
}

/// `pretrain: 120/800, 42 s left: loss 3.21`
fn plain(name: &str, elapsed: Duration, made: u64, done: u64, total: u64, message: &str) -> String {
    let mut line = match total {
        0 => format!("{name}: {done}"),
        _ => format!("{name}: {done}/{total}"),
    };
    if made > 0 && total > done {
        #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
        let left = elapsed.as_secs_f64() * (total - done) as f64 / made as f64;
        line.push_str(&format!(", {} left", clock::duration(left)));
    }
    if !message.is_empty() {
        line.push_str(": ");
        line.push_str(message);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_estimate_from_this_attempt() {
        let line = |made, done, total| plain("pretrain", Duration::from_secs(10), made, done, total, "loss 3.2");
        assert_eq!(line(10, 110, 120), "pretrain: 110/120, 10 s left: loss 3.2");
        assert_eq!(line(0, 100, 120), "pretrain: 100/120: loss 3.2");
        assert_eq!(line(5, 5, 0), "pretrain: 5: loss 3.2");
    }
}
