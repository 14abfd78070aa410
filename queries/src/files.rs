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
//! Which parts are committed is the dataset's to say ([`Dataset::files`]); the sidecars are this module's. In a bucket the same
//! names are those of objects.

use std::path::{Path, PathBuf};

use playhouse_schemas::storage::{folders, is_local, parquet_files};
use playhouse_schemas::{Dataset, Error as DatasetError, Table};

use crate::error::{Error, Result};

/// A table of a dataset folder.
pub(crate) struct TableFiles {
    pub(crate) name: String,
    pub(crate) files: Vec<PathBuf>,
    /// The columns every part is sorted by, and the parts among themselves.
    pub(crate) order: &'static [&'static str],
}

/// The dataset at `root` and its tables: episodes, steps, frames if it has them, and every sidecar.
pub(crate) fn dataset_tables(root: &Path) -> Result<(Dataset, Vec<TableFiles>)> {
    let dataset = Dataset::open(root).map_err(|e| match e {
        DatasetError::NoDataset { .. } if root.is_dir() || !is_local(root) => Error::data(
            root,
            "no episodes: this is not a dataset, or nothing was committed to it yet (expected episodes/*.parquet)",
        ),
        DatasetError::NoDataset { .. } => Error::data(root, "no such folder"),
        other => other.into(),
    })?;
    let mut tables = Vec::new();
    for (table, files) in dataset.files()? {
        let order: &[&str] = if table == Table::Episodes { &["episode_id"] } else { &["episode_id", "t"] };
        tables.push(TableFiles { name: table.name().to_owned(), files, order });
    }
    for folder in folders(root)? {
        let Some(name) = folder.file_name().and_then(|n| n.to_str()) else { continue };
        if name.starts_with('.') || Table::COMMIT_ORDER.iter().any(|table| table.name() == name) {
            continue;
        }
        let files = parquet_files(&folder)?;
        if !files.is_empty() {
            tables.push(TableFiles { name: name.to_owned(), files, order: &[] });
        }
    }
    Ok((dataset, tables))
}
