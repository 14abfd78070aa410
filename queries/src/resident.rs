//! The memory that the process really has, watched beside the memory pool's books.
//!
//! Operators tell the pool what they hold. What a query has in flight between them, and what a function makes inside a batch,
//! nobody counts. So whoever waits for a query looks at the process itself now and then, and ends a query that makes it grow
//! by more than its limit and an allowance.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// Bytes by which a query may go beyond its limit: batches in flight, buffers of files, what the allocator keeps.
const ALLOWANCE: usize = 256 << 20;

/// What the process may grow to.
#[derive(Debug)]
pub(crate) struct Ceiling {
    /// Bytes that a query may take; none for no limit.
    limit: Option<usize>,
    /// Bytes that the process had when the query began.
    base: AtomicUsize,
}

impl Ceiling {
    pub(crate) fn new(limit: Option<usize>) -> Self {
        let ceiling = Self { limit, base: AtomicUsize::new(0) };
        ceiling.begin();
        ceiling
    }

    /// A query begins.
    pub(crate) fn begin(&self) {
        if self.limit.is_some() {
            self.base.store(resident().unwrap_or(usize::MAX), Ordering::Relaxed);
        }
    }

    /// # Errors
    /// [`Error::Memory`] if the process has grown too large.
    pub(crate) fn check(&self) -> Result<()> {
        let Some((limit, now)) = self.limit.zip(resident()) else { return Ok(()) };
        let grown = now.saturating_sub(self.base.load(Ordering::Relaxed));
        if grown <= limit.saturating_add(ALLOWANCE) {
            return Ok(());
        }
        let message = format!(
            "the process has grown by {:.0} MiB, of which its operators know less",
            grown as f64 / f64::from(1 << 20)
        );
        Err(Error::Memory { limit: Some(limit), message })
    }
}

/// Bytes of memory that are this process's own and in use; none where the system does not say.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse::<usize>().ok().map(|kibibytes| kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_beyond_limit_and_allowance_is_an_error() {
        if resident().is_none() {
            return;
        }
        let ceiling = Ceiling::new(Some(1 << 20));
        ceiling.begin();
        ceiling.check().unwrap();
        let large = std::hint::black_box(vec![1u8; ALLOWANCE + (64 << 20)]);
        let error = ceiling.check().unwrap_err();
        assert!(matches!(error, Error::Memory { limit: Some(1_048_576), .. }), "{error}");
        drop(large);
        Ceiling::new(None).check().unwrap();
    }
}
