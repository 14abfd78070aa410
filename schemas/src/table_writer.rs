//! A temporary Parquet file of one table, while it is written.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::spec::DatasetSpec;
use crate::table::Table;

/// Writes batches to a temporary file.
pub(crate) struct TableWriter {
    path: PathBuf,
    writer: ArrowWriter<Recorder>,
    fault: Fault,
}

impl TableWriter {
    /// Makes the file. `first` are the rows that will be written first, where they are known.
    pub(crate) fn create(
        disk: &dyn Disk,
        path: &Path,
        table: Table,
        spec: &DatasetSpec,
        first: Option<&RecordBatch>,
    ) -> Result<Self> {
        let properties = table.properties(spec, first)?;
        let file = disk.create(path).map_err(|e| Error::io(path, "create", e))?;
        let fault = Fault::default();
        let recorder = Recorder { file, fault: fault.clone() };
        let writer = ArrowWriter::try_new(recorder, table.schema(&spec.actions), Some(properties))
            .map_err(|e| write_error(path, &fault, &e))?;
        Ok(Self { path: path.to_owned(), writer, fault })
    }

    /// Adds rows, which stay in memory until their row group ends.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(|e| write_error(&self.path, &self.fault, &e))
    }

    /// Bytes of the current row group.
    pub(crate) fn group_bytes(&self) -> usize {
        self.writer.in_progress_size()
    }

    /// Ends the row group and hands it to the file.
    pub(crate) fn end_group(&mut self) -> Result<()> {
        self.writer.flush().map_err(|e| write_error(&self.path, &self.fault, &e))
    }

    /// Writes the footer; the file is complete, though perhaps not yet on the medium.
    pub(crate) fn finish(self) -> Result<Box<dyn DiskFile>> {
        let recorder = self.writer.into_inner().map_err(|e| write_error(&self.path, &self.fault, &e))?;
        Ok(recorder.file)
    }
}

/// The disk's last word on a file. The parquet crate turns some errors of a file into text, and whether a disk is full
/// should not have to be read out of a text.
type Fault = Arc<Mutex<Option<io::Error>>>;

/// A file that remembers its last error.
struct Recorder {
    file: Box<dyn DiskFile>,
    fault: Fault,
}

impl Recorder {
    fn record<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(e) = &result {
            let copy = e.raw_os_error().map_or_else(|| e.kind().into(), io::Error::from_raw_os_error);
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
        }
        result
    }
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.file.write(bytes);
        self.record(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.file.flush();
        self.record(result)
    }
}

/// A failed write: the disk's fault when it complained, ours otherwise.
fn write_error(path: &Path, fault: &Fault, error: &ParquetError) -> Error {
    match fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(io) => Error::io(path, "write", io),
        None => Error::Internal(format!("{}: {error}", path.display())),
    }
}
