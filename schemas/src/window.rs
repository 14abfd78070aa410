//! Windows: the rows of a table that says what a training stage sees.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Int64Type};

use crate::error::{Error, Result};

/// Steps `t_start .. t_start + length` of an episode, and how much they count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// The episode.
    pub episode_id: i64,
    /// The first step.
    pub t_start: u32,
    /// Number of steps, 1 or more; training uses at most 32.
    pub length: u32,
    /// Weight in the loss, 0 or more.
    pub weight: f32,
}

/// Reads the result of a window query: the columns `episode_id`, `t_start`, `length` (any integer type) and `weight`
/// (any number type), found by name; other columns are ignored. Row numbers in errors count from 0 over all batches.
///
/// # Errors
/// [`Error::Invalid`] when a column is missing or of another type, and for the first row with a null, a negative or
/// oversized number, an empty window, or a weight that is negative or not finite.
pub fn windows_from_batch(batches: &[RecordBatch]) -> Result<Vec<Window>> {
    let mut windows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        let ids = integers(batch, "episode_id")?;
        let starts = integers(batch, "t_start")?;
        let lengths = integers(batch, "length")?;
        let weights = weights(batch)?;
        let (ids, starts, lengths) =
            (ids.as_primitive::<Int64Type>(), starts.as_primitive::<Int64Type>(), lengths.as_primitive::<Int64Type>());
        let weights = weights.as_primitive::<Float32Type>();
        for i in 0..batch.num_rows() {
            let fault = |reason: String| Err(Error::invalid(format!("windows, row {}", windows.len()), reason));
            for (name, array) in
                [("episode_id", ids as &dyn Array), ("t_start", starts), ("length", lengths), ("weight", weights)]
            {
                if array.is_null(i) {
                    return fault(format!("`{name}` is null, or too large for its type"));
                }
            }
            let (Ok(t_start), Ok(length)) = (u32::try_from(starts.value(i)), u32::try_from(lengths.value(i))) else {
                return fault(format!("t_start {} and length {} must be 0 or more", starts.value(i), lengths.value(i)));
            };
            if length == 0 || t_start.checked_add(length).is_none() {
                return fault(format!("t_start {t_start}, length {length}: a window holds at least one step"));
            }
            let weight = weights.value(i);
            if !weight.is_finite() || weight < 0.0 {
                return fault(format!("weight {weight} must be finite and 0 or more"));
            }
            windows.push(Window { episode_id: ids.value(i), t_start, length, weight });
        }
    }
    Ok(windows)
}

fn column<'a>(batch: &'a RecordBatch, name: &str, fix: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| {
        Error::invalid(format!("windows, column `{name}`"), format!("missing from the query's result; {fix}"))
    })
}

fn integers(batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
    let array = column(batch, name, "a window is (episode_id, t_start, length, weight)")?;
    if !array.data_type().is_integer() {
        return Err(Error::invalid(
            format!("windows, column `{name}`"),
            format!("has type {}, an integer is needed; cast it in the query", array.data_type()),
        ));
    }
    cast(array, &DataType::Int64).map_err(|e| Error::Internal(format!("column `{name}`: {e}")))
}

fn weights(batch: &RecordBatch) -> Result<ArrayRef> {
    let array = column(batch, "weight", "add `1.0 as weight` where every window counts alike")?;
    if !array.data_type().is_numeric() {
        return Err(Error::invalid(
            "windows, column `weight`",
            format!("has type {}, a number is needed; cast it in the query", array.data_type()),
        ));
    }
    cast(array, &DataType::Float32).map_err(|e| Error::Internal(format!("column `weight`: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray, UInt64Array};
    use std::sync::Arc;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn good(t_start: ArrayRef, weight: ArrayRef) -> RecordBatch {
        batch(vec![
            ("weight", weight),
            ("episode_id", Arc::new(Int64Array::from(vec![7, 8])) as ArrayRef),
            ("note", Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef),
            ("t_start", t_start),
            ("length", Arc::new(UInt64Array::from(vec![32, 5])) as ArrayRef),
        ])
    }

    #[test]
    fn columns_are_found_by_name_whatever_their_width() {
        let starts: ArrayRef = Arc::new(Int32Array::from(vec![0, 16]));
        let weights: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 0.5]));
        let one = good(starts, weights);
        let windows = windows_from_batch(&[one.clone(), one]).unwrap();
        assert_eq!(windows.len(), 4);
        assert_eq!(windows[3], Window { episode_id: 8, t_start: 16, length: 5, weight: 0.5 });
    }

    #[test]
    fn a_bad_row_is_numbered_over_all_batches() {
        let starts = || Arc::new(Int32Array::from(vec![0, 16])) as ArrayRef;
        let first = good(starts(), Arc::new(Float64Array::from(vec![1.0, 1.0])));
        let cases: [(RecordBatch, &str); 4] = [
            (good(starts(), Arc::new(Float64Array::from(vec![1.0, f64::NAN]))), "weight NaN"),
            (good(starts(), Arc::new(Float64Array::from(vec![1.0, -1.0]))), "weight -1"),
            (good(starts(), Arc::new(Float64Array::from(vec![Some(1.0), None]))), "`weight` is null"),
            (good(Arc::new(Int32Array::from(vec![0, -1])), Arc::new(Int32Array::from(vec![1, 1]))), "t_start -1"),
        ];
        for (second, expected) in cases {
            let message = windows_from_batch(&[first.clone(), second]).unwrap_err().to_string();
            assert!(message.starts_with("windows, row 3: ") && message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_missing_or_mistyped_column_is_named() {
        let ids = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
        let missing = batch(vec![("episode_id", ids()), ("t_start", ids()), ("length", ids())]);
        assert!(windows_from_batch(&[missing]).unwrap_err().to_string().contains("1.0 as weight"));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["0"]));
        let mistyped = batch(vec![("episode_id", ids()), ("t_start", texts), ("length", ids()), ("weight", ids())]);
        assert!(windows_from_batch(&[mistyped]).unwrap_err().to_string().contains("`t_start`: has type Utf8"));
    }
}
