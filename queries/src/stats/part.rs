//! The files of a dataset's parts: what their footers say, and ranges of their rows.
//!
//! A footer holds the least and greatest value of every column, so some faults are found in a whole dataset without
//! reading a row of it. Of the rows, only the pages that hold what is asked for are read.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, BooleanArray, Float32Array, Int32Array, Int64Array, RecordBatch, UInt8Array};
use arrow::datatypes::{DataType, Float32Type, Int32Type, Int64Type, SchemaRef, UInt8Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::statistics::Statistics;
use playhouse_schemas::storage::{Source, fault_in};
use playhouse_schemas::{ActionSpace, Table};

use super::frame;
use crate::error::{Error, Result};

/// Where and how the player stands, in the order in which the columns are read.
pub(super) const POSE: [&str; 5] = ["pos_x", "pos_y", "pos_z", "yaw", "pitch"];

/// What the footer of a file of `steps` or `frames` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Footer {
    pub(super) rows: u64,
    /// Least and greatest value of each component, in the action space's order; none where the file does not say.
    pub(super) components: Vec<Option<(u8, u8)>>,
    /// The first telemetry column that holds an infinite value. (NaN leaves no trace in a footer.)
    pub(super) infinite: Option<&'static str>,
}

/// A Parquet file, opened for reading rows.
pub(super) struct RowFile {
    path: PathBuf,
    source: Source,
    metadata: ArrowReaderMetadata,
}

impl RowFile {
    /// Opens a file of `table` and checks that it has the columns that are read here, with the right types. `pages` is
    /// for reading some of its rows: then its page index is read too.
    pub(super) fn open(path: &Path, table: Table, actions: &ActionSpace, pages: bool) -> Result<Self> {
        let policy = if pages { PageIndexPolicy::Optional } else { PageIndexPolicy::Skip };
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_offset_index_policy(policy);
        let source = Source::at(path).map_err(Error::of_file)?;
        let footer = source.for_footer()?;
        let metadata = guarded(path, || ArrowReaderMetadata::load(&footer, options))?;
        check_columns(path, table, actions, metadata.schema())?;
        Ok(Self { path: path.to_owned(), source, metadata })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> u64 {
        self.metadata.metadata().file_metadata().num_rows().try_into().unwrap_or(0)
    }

    /// What the footer says about a file of `steps`.
    pub(super) fn footer(&self, actions: &ActionSpace) -> Footer {
        let components = actions.components.iter().map(|c| self.span(&c.name, small)).collect();
        let infinite = POSE
            .into_iter()
            .chain(["reward"])
            .find(|name| self.span(name, float).is_some_and(|(low, high)| low.is_infinite() || high.is_infinite()));
        Footer { rows: self.rows(), components, infinite }
    }

    /// The least and greatest value of a column over all row groups, if each of them says.
    fn span<T: PartialOrd + Copy>(&self, column: &str, of: fn(&Statistics) -> Option<(T, T)>) -> Option<(T, T)> {
        let mut span: Option<(T, T)> = None;
        for group in self.metadata.metadata().row_groups() {
            let chunk = group.columns().iter().find(|chunk| chunk.column_path().string() == column)?;
            let (low, high) = of(chunk.statistics()?)?;
            span = Some(match span {
                None => (low, high),
                Some((a, b)) => (if low < a { low } else { a }, if high > b { high } else { b }),
            });
        }
        span
    }

    /// Decodes columns of all rows, or of some ranges of them in ascending order, a batch at a time.
    pub(super) fn batches(
        &self,
        columns: &[&str],
        ranges: Option<&[Range<u64>]>,
        batch_rows: usize,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
        let schema = self.metadata.parquet_schema();
        let mask = ProjectionMask::columns(schema, columns.iter().copied());
        let leaves: Vec<usize> = (0..schema.num_columns()).filter(|leaf| mask.leaf_included(*leaf)).collect();
        let source = self.source.expecting(self.metadata.metadata(), Some(&leaves), ranges);
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(source, self.metadata.clone())
            .with_projection(mask)
            .with_batch_size(batch_rows);
        if let Some(ranges) = ranges {
            let rows = self.rows();
            let within = ranges.iter().map(|r| r.start.min(rows) as usize..r.end.min(rows) as usize);
            builder = builder.with_row_selection(RowSelection::from_consecutive_ranges(within, rows as usize));
        }
        let mut reader = guarded(&self.path, || builder.build())?;
        let path = self.path.clone();
        Ok(std::iter::from_fn(move || guarded(&path, || reader.next().transpose()).transpose()))
    }
}

/// A batch's columns by name, with an error that names the file. None of them may hold nulls, but for telemetry.
pub(super) struct Columns<'a> {
    pub(super) path: &'a Path,
    pub(super) batch: &'a RecordBatch,
}

impl<'a> Columns<'a> {
    fn get<A: Array>(&self, name: &str, downcast: impl Fn(&'a dyn Array) -> Option<&'a A>) -> Result<&'a A> {
        let column = self.batch.column_by_name(name).and_then(|column| downcast(column.as_ref()));
        column.ok_or_else(|| Error::data(self.path, format!("column `{name}` is missing or of another type")))
    }

    fn whole<A: Array>(&self, name: &str, downcast: impl Fn(&'a dyn Array) -> Option<&'a A>) -> Result<&'a A> {
        let column = self.get(name, downcast)?;
        match column.null_count() {
            0 => Ok(column),
            nulls => Err(Error::data(
                self.path,
                format!(
                    "column `{name}` holds {nulls} nulls, which it may not; write the file again with values there"
                ),
            )),
        }
    }

    pub(super) fn ids(&self) -> Result<&'a Int64Array> {
        self.whole("episode_id", |a| a.as_primitive_opt::<Int64Type>())
    }

    pub(super) fn times(&self) -> Result<&'a Int32Array> {
        self.whole("t", |a| a.as_primitive_opt::<Int32Type>())
    }

    pub(super) fn button(&self, name: &str) -> Result<&'a BooleanArray> {
        self.whole(name, |a| a.as_boolean_opt())
    }

    pub(super) fn axis(&self, name: &str) -> Result<&'a UInt8Array> {
        self.whole(name, |a| a.as_primitive_opt::<UInt8Type>())
    }

    /// May hold nulls.
    pub(super) fn float(&self, name: &str) -> Result<&'a Float32Array> {
        self.get(name, |a| a.as_primitive_opt::<Float32Type>())
    }
}

fn small(statistics: &Statistics) -> Option<(u8, u8)> {
    match statistics {
        Statistics::Boolean(values) => Some((u8::from(*values.min_opt()?), u8::from(*values.max_opt()?))),
        Statistics::Int32(values) => {
            let value = |value: &i32| u8::try_from(*value).ok();
            Some((value(values.min_opt()?)?, value(values.max_opt()?)?))
        }
        _ => None,
    }
}

fn float(statistics: &Statistics) -> Option<(f32, f32)> {
    match statistics {
        Statistics::Float(values) => Some((*values.min_opt()?, *values.max_opt()?)),
        _ => None,
    }
}

/// The columns of a table that are read here. A file may have others.
fn read_columns(table: Table, actions: &ActionSpace) -> Vec<&str> {
    match table {
        Table::Episodes => frame::COLUMNS.to_vec(),
        Table::Steps => step_columns(actions),
        Table::Frames => vec!["episode_id", "t", "image"],
    }
}

/// The columns of `steps` that are read here.
pub(super) fn step_columns(actions: &ActionSpace) -> Vec<&str> {
    let components = actions.components.iter().map(|c| c.name.as_str());
    ["episode_id", "t"].into_iter().chain(components).chain(POSE).chain(["reward"]).collect()
}

fn check_columns(path: &Path, table: Table, actions: &ActionSpace, found: &SchemaRef) -> Result<()> {
    let schema = table.schema(actions);
    for name in read_columns(table, actions) {
        let Ok(expected) = schema.field_with_name(name) else { continue };
        match found.field_with_name(name) {
            Err(_) => {
                let others = found.fields().iter().map(|field| field.name().as_str());
                let near = crate::error::nearest(name, others);
                let hint = near.first().map(|near| format!(" (it has `{near}`)")).unwrap_or_default();
                let message = format!(
                    "column `{name}` of the table `{}` is missing{hint}; all files of a dataset have the same columns",
                    table.name()
                );
                return Err(Error::data(path, message));
            }
            Ok(field) if same(field.data_type(), expected.data_type()) => {}
            Ok(field) => {
                let message = format!(
                    "column `{name}` is {}, and {} in the table `{}`; write the file again with that type",
                    field.data_type(),
                    plain(expected.data_type()),
                    table.name()
                );
                return Err(Error::data(path, message));
            }
        }
    }
    Ok(())
}

/// Dictionaries are stored as what they hold; which fields of a struct may be null does not matter for reading.
fn same(found: &DataType, expected: &DataType) -> bool {
    match (found, plain(expected)) {
        (DataType::Struct(found), DataType::Struct(expected)) => {
            expected.iter().all(|e| found.iter().any(|f| f.name() == e.name() && f.data_type() == e.data_type()))
        }
        (found, expected) => found == expected,
    }
}

fn plain(expected: &DataType) -> &DataType {
    match expected {
        DataType::Dictionary(_, values) => values,
        other => other,
    }
}

/// Runs a call into the parquet crate, some of whose decoders panic on a damaged page: that is the file's fault.
fn guarded<T, E>(path: &Path, call: impl FnOnce() -> std::result::Result<T, E>) -> Result<T>
where
    ParquetError: From<E>,
{
    let damaged = |reason: String| Error::data(path, format!("{reason}; `playhouse verify` names what is damaged"));
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|e| match fault_in(e.into()) {
            Ok(fault) => fault.into(),
            Err(e) => damaged(format!("not readable as Parquet ({e})")),
        }),
        Err(_) => Err(damaged("a page is damaged, its decoder gave up".to_owned())),
    }
}
