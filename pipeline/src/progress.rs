//! How long work tells what it is doing, and is told to stop.
//!
//! Stages call [`Progress`] often and cheaply; what becomes of it is decided here: bars on a terminal, plain lines in
//! a log, nothing at all.

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
