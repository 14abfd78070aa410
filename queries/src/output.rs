//! What leaves a session: plain columns, tables as text, Parquet files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::error::{Error, Result};

/// Rows of a row group: large enough for the statistics to be small, small enough to prune.
const ROW_GROUP: usize = 1 << 20;

/// Bytes of a row group at most, encoded: it is in memory until it is complete.
const ROW_GROUP_BYTES: usize = 128 << 20;

/// `schema` with dictionary columns as their values: how the data is encoded is not the business of who asks.
pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Dictionary(_, value) => {
            Arc::new(Field::new(field.name(), value.as_ref().clone(), field.is_nullable()))
        }
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// `batch` with the columns of `schema`, which [`plain_schema`] made.
pub(crate) fn plain_batch(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|e| Error::Internal(e.to_string()))?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(|e| Error::Internal(e.to_string()))
}

/// A Parquet file that appears at its path complete or not at all.
///
/// Rows go to a temporary name in the same folder; `finish` syncs and renames. Dropped before that, nothing is left.
/// The bytes depend on the rows and their order alone.
pub(crate) struct AtomicParquet {
    writer: Option<ArrowWriter<File>>,
    temporary: PathBuf,
    path: PathBuf,
    rows: u64,
}

impl AtomicParquet {
    pub(crate) fn create(path: &Path, schema: SchemaRef) -> Result<Self> {
        let name = path.file_name().ok_or_else(|| Error::data(path, "not a file name"))?.to_string_lossy();
        // The process id keeps two writers of one table from sharing a temporary file.
        let temporary = path.with_file_name(format!(".tmp-{name}-{}", std::process::id()));
        let level = ZstdLevel::try_new(3).map_err(|e| Error::Internal(e.to_string()))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .set_statistics_enabled(EnabledStatistics::Page)
            .build();
        let file = File::create(&temporary).map_err(|e| Error::io(&temporary, e))?;
        // From here on the drop removes the file.
        let mut this = Self { writer: None, temporary, path: path.to_owned(), rows: 0 };
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(|e| this.failed(e))?;
        this.writer = Some(writer);
        Ok(this)
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        let Some(writer) = self.writer.as_mut() else { return Ok(()) };
        let written = writer
            .write(batch)
            .and_then(|()| if writer.in_progress_size() > ROW_GROUP_BYTES { writer.flush() } else { Ok(()) });
        written.map_err(|e| self.failed(e))
    }

    /// Returns the number of rows written.
    pub(crate) fn finish(mut self) -> Result<u64> {
        if let Some(writer) = self.writer.take() {
            let file = writer.into_inner().map_err(|e| self.failed(e))?;
            file.sync_all().map_err(|e| Error::io(&self.path, e))?;
        }
        std::fs::rename(&self.temporary, &self.path).map_err(|e| Error::io(&self.path, e))?;
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::io(folder, e))?;
        Ok(self.rows)
    }

    /// A full disk reads as what it is.
    fn failed(&self, error: ParquetError) -> Error {
        match error {
            ParquetError::External(source) => match source.downcast::<std::io::Error>() {
                Ok(source) => Error::io(&self.path, *source),
                Err(other) => Error::data(&self.path, format!("could not be written: {other}")),
            },
            other => Error::data(&self.path, format!("could not be written: {other}")),
        }
    }
}

impl Drop for AtomicParquet {
    fn drop(&mut self) {
        drop(self.writer.take());
        // After `finish` the name is gone already; before it, a file that cannot be removed is ignored by readers.
        let _ = std::fs::remove_file(&self.temporary);
    }
}
