//! What can go wrong, and whose fault it is.

use std::io::ErrorKind;
use std::path::PathBuf;

/// Everything this crate can fail with. A variant says who has to act; the message says how.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting or a model configuration that cannot work. Raised before anything is computed.
    #[error("invalid settings: {0}")]
    Settings(String),

    /// Data handed in by a source, an environment or a caller breaks the documented shape or range.
    #[error("invalid input: {0}")]
    Input(String),

    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder concerned.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// The disk is full. What was there before is whole.
    #[error("{path}: the disk is full; free some space and run again", path = path.display())]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
    },

    /// A model or checkpoint file is damaged, or was written by something else.
    #[error("{path}: {reason}", path = path.display())]
    Corrupt {
        /// The file concerned.
        path: PathBuf,
        /// What was expected, what was found, and what to do.
        reason: String,
    },

    /// A checkpoint belongs to other settings than the ones asked for: resuming it would mix two runs.
    #[error("{path}: {reason}; use another folder, or delete this file to start over", path = path.display())]
    Conflict {
        /// The checkpoint concerned.
        path: PathBuf,
        /// Which setting differs and how.
        reason: String,
    },

    /// The loss or the gradient stopped being finite. Nothing was written after the last checkpoint.
    #[error("training diverged at step {step}: {what} is {value}; lower the learning rate or raise the warm-up")]
    Diverged {
        /// Optimiser step, counted from 0.
        step: u64,
        /// Which quantity.
        what: &'static str,
        /// Its value (NaN or infinite).
        value: f64,
    },

    /// The device asked for cannot be used here.
    #[error("{0}")]
    Device(#[from] playhouse_kernels::CudaError),

    /// Processes that train together cannot go on.
    #[error("training on several ranks: {0}")]
    Ranks(#[from] playhouse_kernels::RanksError),

    /// The observer asked to stop. The state was saved; the same call goes on where it stopped.
    #[error("stopped on request; run again to continue")]
    Interrupted,

    /// A window source, a pair source or an environment failed with an error of its own.
    #[error("{0}")]
    Outside(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Wraps an error of a caller's source or environment.
    pub fn outside(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Outside(error.into())
    }

    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { path, source },
        }
    }

    pub(crate) fn corrupt(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Corrupt { path: path.into(), reason: reason.into() }
    }
}

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_said_with_what_to_do() {
        // As the system says it: ENOSPC.
        let full = Error::io("runs/checkpoint.safetensors", std::io::Error::from_raw_os_error(28));
        let said = "runs/checkpoint.safetensors: the disk is full; free some space and run again";
        assert_eq!(full.to_string(), said);
        assert!(matches!(Error::io("x", ErrorKind::PermissionDenied.into()), Error::Io { .. }));
    }
}
