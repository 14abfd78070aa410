//! What long work tells, and how it is told to stop.

/// Follows a pass over a dataset. Every method has a no-op default, and `()` watches nothing.
pub trait Watch: Sync {
    /// `done` of `total` rows have been read of the table that `what` names.
    fn update(&self, _done: u64, _total: u64, _what: &str) {}
    /// True once the user asked to stop: the pass then ends with [`Error::Cancelled`](crate::Error::Cancelled).
    fn stop(&self) -> bool {
        false
    }
}

impl Watch for () {}
