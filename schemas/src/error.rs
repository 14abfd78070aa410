//! One error type for the crate. The variant says whose fault it is: the caller's input, a damaged or foreign file, a
//! conflict with what is already stored, or the disk.

use std::io;
use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with gameplay data.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller handed in data that breaks the format's rules. Nothing was stored.
    #[error("{place}: {reason}")]
    Invalid {
        /// Where: an episode, a step, a component, a row.
        place: String,
        /// What is wrong, with the value and the fix.
        reason: String,
    },
    /// The caller asks for an episode that the dataset does not hold.
    #[error("{}: no episode {episode_id}; `select episode_id from episodes` lists those that exist", .root.display())]
    NoSuchEpisode {
        /// The dataset's folder.
        root: PathBuf,
        /// The id asked for.
        episode_id: i64,
    },
    /// The folder holds no episode, so there is no footer to read the action space from.
    #[error("{}: not a dataset, or an empty one: no Parquet file in `episodes/`", .root.display())]
    NoDataset {
        /// The dataset's folder.
        root: PathBuf,
    },
    /// What is to be written contradicts what is stored.
    #[error("{}: {reason}", .path.display())]
    Conflict {
        /// The dataset or the file in the way.
        path: PathBuf,
        /// Which two things disagree, and the fix.
        reason: String,
    },
    /// A file of ours is truncated or damaged.
    #[error("{}: damaged: {reason}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in the file, and what.
        reason: String,
    },
    /// A readable Parquet file that this format did not write.
    #[error("{}: not a Playhouse file: {reason}", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is missing or different.
        reason: String,
    },
    /// A file of another format version.
    #[error("{}: format version {found}, this build reads version {supported}; record or import it again, or use the release that wrote it", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in its footer.
        found: String,
        /// The version that this build reads.
        supported: u32,
    },
    /// The disk is full. Nothing of the unfinished part is visible.
    #[error("{}: the disk is full; free some space and run again", .path.display())]
    DiskFull {
        /// The file being written.
        path: PathBuf,
    },
    /// The folder or file may not be written.
    #[error("{}: not writable ({source}); check the owner and mode of the folder", .path.display())]
    ReadOnly {
        /// The file being written.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A bucket cannot be asked, or its server refused or failed. An object that is not there is [`Error::Io`], as a file is.
    #[error("{}: cannot {action}: {reason}", .path.display())]
    Store {
        /// The URL.
        path: PathBuf,
        /// What was tried: "connect", "list", "read".
        action: &'static str,
        /// Why it failed, and the fix.
        reason: String,
    },
    /// Any other failure of the file system.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: "open", "rename".
        action: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// Whoever asked for it ended it.
    #[error("stopped on request; run again to continue")]
    Stopped,
    /// A fault of this crate: please report it.
    #[error("internal error, please report it: {0}")]
    Internal(String),
}

impl Error {
    pub(crate) fn invalid(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { place: place.into(), reason: reason.into() }
    }

    pub(crate) fn conflict(path: &Path, reason: impl Into<String>) -> Self {
        Self::Conflict { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn corrupt(path: &Path, reason: impl ToString) -> Self {
        Self::Corrupt { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn foreign(path: &Path, reason: impl Into<String>) -> Self {
        Self::Foreign { path: path.to_owned(), reason: reason.into() }
    }

    /// Whether it is that a file or an object is not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Sorts a file system failure into full, not writable, or other; what lies beneath it may be one of ours already.
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        let source = match source.downcast::<Self>() {
            Ok(known) => return known,
            Err(source) => source,
        };
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                if action != "open" && action != "read" =>
            {
                Self::ReadOnly { path, source }
            }
            _ => Self::Io { path, action, source },
        }
    }
}
