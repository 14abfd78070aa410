//! Small result tables as Parquet: written atomically, read whole, columns found by name.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use playhouse_agent::MetricRow;

use crate::engine::store::write_atomically;

/// Writes `batch` to `path`: temporary name, fsync, rename.
pub fn write(path: &Path, batch: &RecordBatch) -> Result<()> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None)?;
    writer.write(batch)?;
    writer.close()?;
    Ok(write_atomically(path, &bytes)?)
}

/// All rows of the Parquet file at `path`.
pub fn read(path: &Path) -> Result<Vec<RecordBatch>> {
    let open = || -> Result<Vec<RecordBatch>> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()?;
        Ok(reader.collect::<Result<_, _>>()?)
    };
    open().with_context(|| format!("cannot read the table {}", path.display()))
}

/// Rows over all batches.
pub fn rows(batches: &[RecordBatch]) -> u64 {
    batches.iter().map(|batch| batch.num_rows() as u64).sum()
}

/// A column by name as integers; null or missing is an error.
pub fn integers(batches: &[RecordBatch], name: &str) -> Result<Vec<i64>> {
    let mut out = Vec::new();
    for array in columns(batches, name, &DataType::Int64)? {
        let array = array.as_primitive::<Int64Type>();
        if let Some(row) = (0..array.len()).find(|&row| array.is_null(row)) {
            bail!("column `{name}` is null in row {}: give every row an integer", out.len() + row);
        }
        out.extend_from_slice(array.values());
    }
    Ok(out)
}

/// A column by name as numbers; null is `None`.
pub fn numbers(batches: &[RecordBatch], name: &str) -> Result<Vec<Option<f64>>> {
    let mut out = Vec::new();
    for array in columns(batches, name, &DataType::Float64)? {
        out.extend(array.as_primitive::<Float64Type>().iter());
    }
    Ok(out)
}

/// A column by name as text; null is `None`.
pub fn texts(batches: &[RecordBatch], name: &str) -> Result<Vec<Option<String>>> {
    let mut out = Vec::new();
    for array in columns(batches, name, &DataType::Utf8)? {
        out.extend(array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)));
    }
    Ok(out)
}

/// True if the first batch has the column.
pub fn has(batches: &[RecordBatch], name: &str) -> bool {
    batches.first().is_some_and(|batch| batch.column_by_name(name).is_some())
}

fn columns(batches: &[RecordBatch], name: &str, kind: &DataType) -> Result<Vec<ArrayRef>> {
    let column = |batch: &RecordBatch| -> Result<ArrayRef> {
        let Some(array) = batch.column_by_name(name) else {
            let schema = batch.schema();
            let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            bail!("the table has no column `{name}`; it has {}", known.join(", "));
        };
        cast(array, kind).with_context(|| format!("column `{name}` is {}, not {kind}", array.data_type()))
    };
    batches.iter().map(column).collect()
}

/// The rows of `metrics.parquet`: step, name, value.
pub fn write_metrics(path: &Path, metrics: &[MetricRow]) -> Result<()> {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("step", Arc::new(Int64Array::from_iter_values(metrics.iter().map(|row| row.step as i64)))),
        ("name", Arc::new(StringArray::from_iter_values(metrics.iter().map(|row| &row.name)))),
        ("value", Arc::new(Float64Array::from_iter_values(metrics.iter().map(|row| row.value)))),
    ];
    write(path, &RecordBatch::try_from_iter(columns)?)
}

/// Reads what [`write_metrics`] wrote.
pub fn read_metrics(path: &Path) -> Result<Vec<MetricRow>> {
    let batches = read(path)?;
    let steps = integers(&batches, "step")?;
    let names = texts(&batches, "name")?;
    let values = numbers(&batches, "value")?;
    let rows = steps.into_iter().zip(names).zip(values);
    Ok(rows
        .map(|((step, name), value)| MetricRow {
            step: step as u64,
            name: name.unwrap_or_default(),
            value: value.unwrap_or(f64::NAN),
        })
        .collect())
}

/// An integer column for [`RecordBatch::try_from_iter`].
pub fn int_column(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn metrics_survive_a_round_trip_and_leave_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.parquet");
        let rows = vec![
            MetricRow { step: 1, name: "loss".into(), value: 2.5 },
            MetricRow { step: 2, name: "loss".into(), value: -1.0 },
        ];
        write_metrics(&path, &rows).unwrap();
        let back = read_metrics(&path).unwrap();
        assert_eq!(back.len(), 2);
        assert_eq!((back[1].step, back[1].name.as_str(), back[1].value), (2, "loss", -1.0));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn missing_columns_and_nulls_are_named() {
        let batch = RecordBatch::try_from_iter_with_nullable([(
            "episode_id",
            Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef,
            true,
        )])
        .unwrap();
        let error = integers(std::slice::from_ref(&batch), "t_start").unwrap_err().to_string();
        assert_eq!(error, "the table has no column `t_start`; it has episode_id");
        let error = integers(&[batch], "episode_id").unwrap_err().to_string();
        assert!(error.contains("null in row 1"), "{error}");
    }
}
