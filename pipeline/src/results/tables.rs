//! What was aggregated, as tables for SQL.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};

use super::Answer;
use super::aggregate::Row;
use super::points::Point;

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn numbers(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}

fn integers(values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    Arc::new(values.map(|value| value.and_then(|value| i64::try_from(value).ok())).collect::<Int64Array>())
}

/// A name, a column, and whether nulls are allowed.
type Column = (&'static str, ArrayRef, bool);

/// The table `claim`: series, x (text), iqm, low, high, runs, worst, best, worst_low, count, of; the last three null where
/// a run has no counts.
pub fn claim(rows: &[Row]) -> Result<RecordBatch> {
    Ok(RecordBatch::try_from_iter_with_nullable(columns(&rows.iter().collect::<Vec<_>>()))?)
}

/// `summary.parquet`: the tables of all claims, each row with its claim's table before it.
pub(super) fn summary(answers: &[Answer]) -> Result<RecordBatch> {
    let all: Vec<(&str, &Row)> =
        answers.iter().flat_map(|a| a.rows.iter().map(|row| (a.claim.table.as_str(), row))).collect();
    let rows: Vec<&Row> = all.iter().map(|(_, row)| *row).collect();
    let claims: Column = ("claim", texts(all.iter().map(|(claim, _)| *claim)), false);
    Ok(RecordBatch::try_from_iter_with_nullable(std::iter::once(claims).chain(columns(&rows)))?)
}

/// `points.parquet`: a row for each run: claim, run, series, x (text), value, count, of, and Wilson's low and high.
pub(super) fn points(answers: &[Answer]) -> Result<RecordBatch> {
    let all: Vec<(&str, &Point)> =
        answers.iter().flat_map(|a| a.points.iter().map(|point| (a.claim.table.as_str(), point))).collect();
    let points = || all.iter().map(|(_, point)| *point);
    let columns: [Column; 9] = [
        ("claim", texts(all.iter().map(|(claim, _)| *claim)), false),
        ("run", texts(points().map(|point| point.run.as_str())), false),
        ("series", texts(points().map(|point| point.series.as_str())), false),
        ("x", texts(points().map(|point| point.x.as_str())), false),
        ("value", numbers(points().map(|point| Some(point.value))), false),
        ("count", integers(points().map(|point| point.counts.map(|(count, _)| count))), true),
        ("of", integers(points().map(|point| point.counts.map(|(_, of)| of))), true),
        ("low", numbers(points().map(|point| point.share().map(|share| share.low))), true),
        ("high", numbers(points().map(|point| point.share().map(|share| share.high))), true),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn columns(rows: &[&Row]) -> [Column; 11] {
    let number = |get: fn(&Row) -> f64| numbers(rows.iter().map(|row| Some(get(row))));
    [
        ("series", texts(rows.iter().map(|row| row.series.as_str())), false),
        ("x", texts(rows.iter().map(|row| row.x.as_str())), false),
        ("iqm", number(|row| row.iqm), false),
        ("low", number(|row| row.low), false),
        ("high", number(|row| row.high), false),
        ("runs", integers(rows.iter().map(|row| Some(row.runs as u64))), false),
        ("worst", number(|row| row.worst), false),
        ("best", number(|row| row.best), false),
        ("worst_low", numbers(rows.iter().map(|row| row.worst_low)), true),
        ("count", integers(rows.iter().map(|row| row.counts.map(|(count, _)| count))), true),
        ("of", integers(rows.iter().map(|row| row.counts.map(|(_, of)| of))), true),
    ]
}
