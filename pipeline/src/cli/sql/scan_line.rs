//! The line that says how far a long query has come. It appears after a second, and is gone when the answer comes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use playhouse_queries::{ScanProgress, Watch};

use crate::cli::text::{bytes, count};
use crate::engine::clock;
use crate::progress::Console;

/// Nothing is shown before.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two drawings.
const PAUSE: Duration = Duration::from_millis(200);
/// A scan that has not moved for so long waits for what is made of its rows, and says nothing of when that ends.
const STILL: Duration = Duration::from_secs(3);

/// A line at the bottom of a terminal.
#[derive(Clone)]
pub(super) struct ScanLine {
    /// None where there is no terminal: a log has no use for a line that goes away.
    state: Option<Arc<Mutex<State>>>,
}

#[derive(Default)]
struct State {
    /// When the query began, or the line was last drawn; none while no query runs.
    began: Option<Instant>,
    drawn: Option<Instant>,
    /// Rows that were read, and since when it is so many.
    read: Option<(u64, Instant)>,
    bar: Option<ProgressBar>,
}

impl ScanLine {
    pub(super) fn new(console: Console) -> Self {
        Self { state: console.draws().then(Arc::default) }
    }

    /// What a session tells its progress to.
    pub(super) fn watch(&self) -> Option<Watch> {
        let state = Arc::clone(self.state.as_ref()?);
        Some(Arc::new(move |progress: &ScanProgress| lock(&state).draw(progress)))
    }

    /// A query begins.
    pub(super) fn begin(&self) {
        if let Some(state) = &self.state {
            *lock(state) = State { began: Some(Instant::now()), ..State::default() };
        }
    }

    /// The line goes away, and does not come back before the next query.
    pub(super) fn clear(&self) {
        if let Some(state) = &self.state {
            let mut state = lock(state);
            state.began = None;
            if let Some(bar) = state.bar.take() {
                bar.finish_and_clear();
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn draw(&mut self, progress: &ScanProgress) {
        let Some(elapsed) = self.began.map(|began| began.elapsed()) else { return };
        if elapsed < PATIENCE || self.drawn.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        self.drawn = Some(Instant::now());
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        let since = match self.read {
            Some((read, since)) if read == progress.read => since,
            _ => Instant::now(),
        };
        self.read = Some((progress.read, since));
        bar.set_message(line(elapsed, progress, since.elapsed() < STILL));
    }
}

/// `12 s: read 12.3 M of 355.0 M rows (3%), 1.2 GB, 6 min 30 s left`
fn line(elapsed: Duration, progress: &ScanProgress, moves: bool) -> String {
    let ScanProgress { read, total, bytes: scanned, made } = *progress;
    let seconds = elapsed.as_secs_f64();
    let mut parts = Vec::new();
    match total {
        Some(total) if read >= total => parts.push(format!("read all {} rows", count(total))),
        Some(total) => {
            let percent = u128::from(read) * 100 / u128::from(total);
            parts.push(format!("read {} of {} rows ({percent}%)", count(read), count(total)));
        }
        None if read > 0 => parts.push(format!("read {} rows", count(read))),
        None => {}
    }
    if scanned > 0 {
        parts.push(bytes(scanned));
    }
    match total {
        // Too little of the whole to tell anything from it.
        Some(total) if read < total && read > total / 100 && moves => {
            let left = seconds * (total - read) as f64 / read as f64;
            parts.push(format!("{} left", clock::duration(left)));
        }
        Some(total) if read < total && moves => {}
        // Nothing is read and the query goes on: what it makes of it is what moves.
        _ if made > read => parts.push(format!("made {} so far", count(made))),
        Some(_) => parts.push("at work on the answer".to_owned()),
        None => {}
    }
    if parts.is_empty() {
        parts.push("at work".to_owned());
    }
    format!("{}: {} (Ctrl-C ends it)", clock::duration(seconds), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, read: u64, total: Option<u64>, bytes: u64, made: u64) -> String {
        line(Duration::from_secs(seconds), &ScanProgress { read, total, bytes, made }, true)
    }

    #[test]
    fn the_line_says_what_is_known() {
        let scan = at(10, 71_000_000, Some(355_000_000), 1_200_000_000, 71_000_000);
        assert_eq!(scan, "10 s: read 71.0 M of 355.0 M rows (20%), 1.2 GB, 40 s left (Ctrl-C ends it)");
        let early = at(1, 100, Some(355_000_000), 0, 100);
        assert_eq!(early, "1.0 s: read 100 of 355.0 M rows (0%) (Ctrl-C ends it)");
        let join = at(30, 2000, Some(2000), 0, 3_000_000);
        assert_eq!(join, "30 s: read all 2.0 k rows, made 3.0 M so far (Ctrl-C ends it)");
        let sort = at(30, 2000, Some(2000), 0, 2000);
        assert_eq!(sort, "30 s: read all 2.0 k rows, at work on the answer (Ctrl-C ends it)");
        let waits = ScanProgress { read: 1000, total: Some(2000), bytes: 0, made: 3_000_000 };
        let waits = line(Duration::from_secs(30), &waits, false);
        assert_eq!(waits, "30 s: read 1.0 k of 2.0 k rows (50%), made 3.0 M so far (Ctrl-C ends it)");
        assert_eq!(at(3, 5000, None, 0, 5000), "3.0 s: read 5.0 k rows (Ctrl-C ends it)");
        assert_eq!(at(3, 0, None, 0, 5000), "3.0 s: made 5.0 k so far (Ctrl-C ends it)");
        assert_eq!(at(3, 0, None, 0, 0), "3.0 s: at work (Ctrl-C ends it)");
    }

    #[test]
    fn nothing_is_drawn_in_the_first_second() {
        let mut state = State { began: Some(Instant::now()), ..State::default() };
        state.draw(&ScanProgress::default());
        assert!(state.bar.is_none());
        state.began = Instant::now().checked_sub(PATIENCE);
        state.draw(&ScanProgress::default());
        assert!(state.bar.is_some());
    }
}
