//! Parts: how episodes are split over files, and which files exist.
//!
//! ```text
//! <root>/frames/part-000000001200.parquet      one part: the same name in each folder,
//! <root>/steps/part-000000001200.parquet       the first episode's id in 12 digits
//! <root>/episodes/part-000000001200.parquet    its rows, in order, say which rows of the other two are whose
//! <root>/steps/.tmp-part-000000001300-4711-0   being written by process 4711, or left by its crash
//! ```
//!
//! A part exists if and only if its file in `episodes/` does. Files without one are orphans that no reader sees.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::storage;
use crate::table::Table;

/// Start of the name of a file that is not committed.
pub(crate) const TEMP_PREFIX: &str = ".tmp-";

/// The part that begins with an episode.
pub(crate) fn name(first_episode: i64) -> String {
    format!("part-{first_episode:012}")
}

/// A part's committed file.
pub(crate) fn file(root: &Path, table: Table, part: &str) -> PathBuf {
    root.join(table.name()).join(format!("{part}.parquet"))
}

/// A name for a part's files while they are written, which no other writer uses: two that begin with the same episode
/// must not write into one file. It does not end in `.parquet`, so that no glob finds it.
pub(crate) fn temp_name(part: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{TEMP_PREFIX}{part}-{}-{count}", std::process::id())
}

/// A committed part whose steps or frames are gone.
pub(crate) fn missing(file: &Path, part: &str) -> Error {
    let reason = format!(
        "missing, though episodes/{part}.parquet lists its episodes; restore it from a copy (`playhouse verify` names \
         all that is missing)"
    );
    Error::corrupt(file, reason)
}

/// What a table's folder holds, sorted by name.
#[derive(Default)]
pub(crate) struct Folder {
    /// Names of parts: the files `<part>.parquet`.
    pub(crate) parts: Vec<String>,
    /// Files that an unfinished commit left.
    pub(crate) temps: Vec<PathBuf>,
}

/// Lists a table's folder; none where it does not exist. Files of other kinds are left alone.
pub(crate) fn list(root: &Path, table: Table) -> Result<Option<Folder>> {
    let path = root.join(table.name());
    let Some(names) = storage::names(&path)? else { return Ok(None) };
    let mut folder = Folder::default();
    for name in names {
        if name.starts_with(TEMP_PREFIX) {
            folder.temps.push(path.join(name));
        } else if let Some(part) = name.strip_suffix(".parquet").filter(|part| !part.starts_with('.')) {
            folder.parts.push(part.to_owned());
        }
    }
    // `a-1.parquet` comes before `a.parquet`, and `a` before `a-1`.
    folder.parts.sort();
    Ok(Some(folder))
}
