//! The agent's observer on top of the pipeline's progress.

use playhouse_agent::Observer;

use crate::progress::Progress;

/// Passes on what the agent tells, as a part of a larger whole.
pub struct Watch<'a> {
    progress: &'a dyn Progress,
    prefix: String,
    /// Units done before this part began, and units of the whole; 0 takes the part's own total.
    before: u64,
    total: u64,
}

impl<'a> Watch<'a> {
    /// Passes everything on as it is.
    pub fn new(progress: &'a dyn Progress) -> Self {
        Watch { progress, prefix: String::new(), before: 0, total: 0 }
    }

    /// Counts from `before` towards `total` and puts `prefix` before each message.
    pub fn part(progress: &'a dyn Progress, prefix: &str, before: u64, total: u64) -> Self {
        Watch { progress, prefix: format!("{prefix} "), before, total }
    }
}

impl Observer for Watch<'_> {
    fn progress(&mut self, done: u64, total: u64, message: &str) {
        let total = if self.total > 0 { self.total } else { total };
        self.progress.update(self.before + done, total, &format!("{}{message}", self.prefix));
    }

    fn stop(&self) -> bool {
        self.progress.stop()
    }
}
