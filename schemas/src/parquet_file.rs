//! A Parquet file of ours: its footer, read once and checked, and ranges of its rows.

use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use crate::error::{Error, Result};
use crate::footer;
use crate::row::{self, EpisodeRow};
use crate::spec::DatasetSpec;
use crate::storage::{Source, fault_in};
use crate::table::Table;

/// A file with its footer.
pub(crate) struct ParquetFile {
    pub(crate) path: PathBuf,
    pub(crate) spec: DatasetSpec,
    metadata: ArrowReaderMetadata,
}

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;

impl ParquetFile {
    /// Opens the file and checks that it belongs to `table`.
    pub(crate) fn open(path: &Path, table: Table) -> Result<Self> {
        Self::load(&Source::open(path, Arc::default())?, path, table)
    }

    /// Reads and checks the footer through a source.
    pub(crate) fn load(source: &Source, path: &Path, table: Table) -> Result<Self> {
        // Strings come back as plain Utf8, and no other tool's copy of the Arrow schema is trusted.
        let options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true)
            .with_offset_index_policy(PageIndexPolicy::Optional);
        let footer = source.for_footer()?;
        let metadata = guarded(path, || ArrowReaderMetadata::load(&footer, options))?;
        let spec = footer::read(path, table, metadata.metadata().file_metadata())?;
        if table != Table::Episodes && metadata.metadata().offset_index().is_none() {
            return Err(Error::corrupt(path, "it has no page index; write it again with this program"));
        }
        Ok(Self { path: path.to_owned(), spec, metadata })
    }

    /// The footer.
    pub(crate) fn metadata(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> u64 {
        self.metadata().file_metadata().num_rows().try_into().unwrap_or(0)
    }

    /// Decodes `rows` of some leaf columns (all, when none are given), reading only the pages that hold them.
    pub(crate) fn batches(
        &self,
        source: Source,
        rows: Range<u64>,
        leaves: Option<&[usize]>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
        self.select(source, &[rows], leaves, BATCH_ROWS)
    }

    /// Decodes some ranges of rows, ascending and apart, of some leaf columns (all, when none are given), reading only the
    /// pages that hold them. Every batch has `batch_rows` rows but the last.
    pub(crate) fn select(
        &self,
        source: Source,
        rows: &[Range<u64>],
        leaves: Option<&[usize]>,
        batch_rows: usize,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let source = source.expecting(self.metadata(), leaves, Some(rows));
        let ranges = rows.iter().map(|range| range.start as usize..range.end as usize);
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(source, self.metadata.clone())
            .with_batch_size(batch_rows)
            .with_row_selection(RowSelection::from_consecutive_ranges(ranges, self.rows() as usize));
        if let Some(leaves) = leaves {
            let mask = ProjectionMask::leaves(self.metadata.parquet_schema(), leaves.iter().copied());
            builder = builder.with_projection(mask);
        }
        let path = self.path.clone();
        let mut reader = guarded(&path, || builder.build())?;
        Ok(std::iter::from_fn(move || guarded(&path, || reader.next().transpose()).transpose()))
    }
}

/// All rows of a file of `episodes`, and the spec in its footer.
pub(crate) fn read_episodes(path: &Path, source: Source) -> Result<(DatasetSpec, Vec<EpisodeRow>)> {
    let file = ParquetFile::load(&source, path, Table::Episodes)?;
    let mut rows = Vec::new();
    for batch in file.batches(source, 0..file.rows(), None)? {
        let more = row::from_batch(path, rows.len(), &batch?, &file.spec.actions)?;
        rows.extend(more);
    }
    if rows.len() as u64 != file.rows() {
        return Err(Error::corrupt(path, format!("{} of {} rows can be read", rows.len(), file.rows())));
    }
    Ok((file.spec, rows))
}

/// Runs a call into the parquet crate. Some of its decoders panic on a damaged page (59.3: byte stream split, one value
/// short); that is the file's fault, and is reported as such.
pub(crate) fn guarded<T, E>(path: &Path, call: impl FnOnce() -> std::result::Result<T, E>) -> Result<T>
where
    ParquetError: From<E>,
{
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|e| read_error(path, e.into())),
        Err(_) => Err(Error::corrupt(path, "a page is damaged, its decoder gave up")),
    }
}

/// A failed read: the disk's fault when an input or output error lies beneath, the file's otherwise.
fn read_error(path: &Path, error: ParquetError) -> Error {
    let error = match fault_in(error) {
        Ok(fault) => return fault,
        Err(error) => error,
    };
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(e) if e.kind() == io::ErrorKind::UnexpectedEof => Error::corrupt(path, "it ends too early"),
            Ok(e) => Error::io(path, "read", *e),
            Err(other) => Error::corrupt(path, other),
        },
        ParquetError::EOF(reason) => Error::corrupt(path, format!("it ends too early ({reason})")),
        other => Error::corrupt(path, format!("not readable as Parquet ({other})")),
    }
}
