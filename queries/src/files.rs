//! Which files of a dataset folder are data.
//!
//! ```text
//!   <dataset>/episodes/part-000000000000.parquet      committed: its episodes exist
//!   <dataset>/steps/part-000000000000.parquet         same name as a part of episodes: data
//!   <dataset>/steps/part-000000000064.parquet         no part of episodes: an orphan of a crash, not read
//!   <dataset>/frames/.tmp-...                         being written, not read
//!   <dataset>/scores/*.parquet                        a sidecar: read as it is
//! ```
//!
//! A writer commits frames, then steps, then episodes. So `episodes` is listed first: whatever it names is complete.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A table of a dataset folder.
pub(crate) struct TableFiles {
    pub(crate) name: String,
    pub(crate) files: Vec<PathBuf>,
    /// The columns every part is sorted by, and the parts among themselves.
    pub(crate) order: &'static [&'static str],
}

/// The tables of the dataset at `root`: episodes, steps and frames if they are there, and every sidecar.
pub(crate) fn dataset_tables(root: &Path) -> Result<Vec<TableFiles>> {
    let episodes = parquet_files(&root.join("episodes"))?;
    if episodes.is_empty() {
        let message = if root.is_dir() {
            "no episodes: this is not a dataset, or nothing was committed to it yet (expected episodes/*.parquet)"
        } else {
            "no such folder"
        };
        return Err(Error::data(root, message));
    }
    let committed: BTreeSet<OsString> = episodes.iter().filter_map(|p| p.file_name().map(OsString::from)).collect();
    let mut tables = vec![TableFiles { name: "episodes".to_owned(), files: episodes, order: &["episode_id"] }];
    for folder in folders(root)? {
        let Some(name) = folder.file_name().and_then(|n| n.to_str()).map(str::to_owned) else { continue };
        if name == "episodes" || name.starts_with('.') {
            continue;
        }
        let mut files = parquet_files(&folder)?;
        let by_step = name == "steps" || name == "frames";
        if by_step {
            files.retain(|file| file.file_name().is_some_and(|n| committed.contains(n)));
        }
        if !files.is_empty() {
            tables.push(TableFiles { name, files, order: if by_step { &["episode_id", "t"] } else { &[] } });
        }
    }
    Ok(tables)
}

/// The `*.parquet` files of `folder` by name, temporary ones left out; none if there is no such folder.
pub(crate) fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = entries(folder)?;
    files.retain(|path| {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.ends_with(".parquet") && !name.starts_with('.') && path.is_file()
    });
    Ok(files)
}

fn folders(root: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = entries(root)?;
    folders.retain(|path| path.is_dir());
    Ok(folders)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(folder, e)),
    };
    let mut paths = listing
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| Error::io(folder, e))?;
    paths.sort();
    Ok(paths)
}
