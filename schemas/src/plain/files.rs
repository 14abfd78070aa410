//! The files of a plain table, checked before a row is read.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;

use crate::error::{Error, Result};
use crate::parquet_file::guarded;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;

/// Parquet files of one table, in order.
pub struct PlainTable {
    files: Vec<PlainFile>,
}

/// One of them, with its footer.
pub(super) struct PlainFile {
    pub(super) path: Arc<Path>,
    metadata: ArrowReaderMetadata,
}

impl PlainTable {
    /// Reads the footers of `paths`, which are the table in this order.
    ///
    /// # Errors
    /// A file that cannot be opened or is no Parquet.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let files = paths.iter().map(|path| PlainFile::open(path)).collect::<Result<_>>()?;
        Ok(Self { files })
    }

    /// Number of rows of all files.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(PlainFile::rows).sum()
    }

    /// The columns of the first file, in its order: names and types. Empty for a table without files.
    pub fn columns(&self) -> Vec<(String, DataType)> {
        let fields = self.files.first().map(|file| file.schema().fields());
        fields.into_iter().flatten().map(|f| (f.name().clone(), f.data_type().clone())).collect()
    }

    /// Checks that every file has these columns, of a type that `accepts` for it, in a compression that can be read.
    /// `accepts` gives what was expected otherwise.
    ///
    /// # Errors
    /// The first file and column where that is not so.
    pub fn require<'a>(
        &self,
        columns: impl IntoIterator<Item = &'a str>,
        accepts: impl Fn(&str, &DataType) -> std::result::Result<(), String>,
    ) -> Result<()> {
        let columns: Vec<&str> = columns.into_iter().collect();
        self.files.iter().try_for_each(|file| file.require(&columns, &accepts))
    }

    /// Decodes some columns of the whole table: batches with their file and their first row in it.
    ///
    /// # Errors
    /// A damaged file.
    pub fn read(&self, columns: &[&str]) -> Result<Vec<(Arc<Path>, u64, RecordBatch)>> {
        let mut batches = Vec::new();
        for file in &self.files {
            let mut row = 0;
            for batch in file.batches(columns, (0..file.groups()).collect())? {
                let batch = batch?;
                let rows = batch.num_rows() as u64;
                batches.push((file.path.clone(), row, batch));
                row += rows;
            }
        }
        Ok(batches)
    }

    pub(super) fn files(&self) -> &[PlainFile] {
        &self.files
    }
}

impl PlainFile {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
        let metadata = guarded(path, || ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()))?;
        Ok(Self { path: path.into(), metadata })
    }

    fn schema(&self) -> &Schema {
        self.metadata.schema()
    }

    fn rows(&self) -> u64 {
        self.metadata.metadata().file_metadata().num_rows().try_into().unwrap_or(0)
    }

    /// Number of row groups.
    pub(super) fn groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Rows of a row group.
    pub(super) fn group_rows(&self, group: usize) -> u64 {
        self.metadata.metadata().row_group(group).num_rows().try_into().unwrap_or(0)
    }

    /// The greatest value that the statistics of a row group give for an integer column.
    pub(super) fn group_max(&self, group: usize, column: &str) -> Option<i64> {
        use parquet::file::statistics::Statistics;
        let group = self.metadata.metadata().row_group(group);
        let chunk = group.columns().iter().find(|chunk| chunk.column_path().string() == column)?;
        match chunk.statistics()? {
            Statistics::Int32(s) => s.max_opt().copied().map(i64::from),
            Statistics::Int64(s) => s.max_opt().copied(),
            _ => None,
        }
    }

    fn require(
        &self,
        columns: &[&str],
        accepts: &impl Fn(&str, &DataType) -> std::result::Result<(), String>,
    ) -> Result<()> {
        let path = self.path.display();
        for &column in columns {
            let Ok(field) = self.schema().field_with_name(column) else {
                let found: Vec<&str> = self.schema().fields().iter().map(|f| f.name().as_str()).collect();
                let reason = format!("it is not in the file; map one of: {}", found.join(", "));
                return Err(Error::invalid(format!("{path}, column `{column}`"), reason));
            };
            if let Err(expected) = accepts(column, field.data_type()) {
                let reason = format!("its type is {}, expected {expected}", field.data_type());
                return Err(Error::invalid(format!("{path}, column `{column}`"), reason));
            }
        }
        for group in self.metadata.metadata().row_groups() {
            for chunk in group.columns().iter().filter(|c| columns.contains(&c.column_path().string().as_str())) {
                use Compression::{SNAPPY, UNCOMPRESSED, ZSTD};
                if !matches!(chunk.compression(), SNAPPY | UNCOMPRESSED | ZSTD(_)) {
                    let codec = chunk.compression().to_string();
                    let codec = codec.split('(').next().unwrap_or_default();
                    let reason = format!("compressed with {codec}; write the file again with zstd, snappy or none");
                    return Err(Error::invalid(format!("{path}, column `{}`", chunk.column_path()), reason));
                }
            }
        }
        Ok(())
    }

    /// Decodes some columns of some row groups.
    pub(super) fn batches(
        &self,
        columns: &[&str],
        groups: Vec<usize>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let path = self.path.clone();
        let file = File::open(&path).map_err(|e| Error::io(&path, "open", e))?;
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), columns.iter().copied());
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_batch_size(BATCH_ROWS)
            .with_projection(mask)
            .with_row_groups(groups);
        let mut reader = guarded(&path, || builder.build())?;
        Ok(std::iter::from_fn(move || guarded(&path, || reader.next().transpose()).transpose()))
    }
}
