//! Points and cells as Parquet tables.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::aggregate::{Cell, share};
use super::{Claim, Finding};

/// Every run's values: claim, run, series, x, value, count, of, and Wilson's interval.
pub fn points(findings: &[Finding]) -> Result<RecordBatch> {
    let rows: Vec<_> = findings
        .iter()
        .flat_map(|finding| {
            finding.cells.iter().flat_map(|cell| &cell.points).map(|point| (&finding.claim.table, point))
        })
        .collect();
    let shares: Vec<_> = rows.iter().map(|(_, point)| share(point)).collect();
    let number = |get: fn(crate::evaluate::Share) -> f64| -> ArrayRef {
        Arc::new(shares.iter().map(|share| share.map(get)).collect::<Float64Array>())
    };
    let count = |get: fn((u64, u64)) -> u64| -> ArrayRef {
        Arc::new(rows.iter().map(|(_, p)| p.counts.map(|c| get(c) as i64)).collect::<Int64Array>())
    };
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("claim", text(rows.iter().map(|(claim, _)| claim.as_str())), false),
        ("run", text(rows.iter().map(|(_, p)| p.run.as_str())), false),
        ("series", text(rows.iter().map(|(_, p)| p.series.as_str())), false),
        ("x", text(rows.iter().map(|(_, p)| p.x.as_str())), false),
        ("value", Arc::new(Float64Array::from_iter_values(rows.iter().map(|(_, p)| p.value))) as ArrayRef, false),
        ("count", count(|(count, _)| count), true),
        ("of", count(|(_, of)| of), true),
        ("low", number(|share| share.low), true),
        ("high", number(|share| share.high), true),
    ])?)
}

/// Every claim's cells, in the columns of [`of_claim`].
pub fn summary(findings: &[Finding]) -> Result<RecordBatch> {
    let batches: Vec<RecordBatch> =
        findings.iter().map(|finding| of_claim(finding.claim, &finding.cells)).collect::<Result<_>>()?;
    Ok(arrow::compute::concat_batches(&empty_summary().schema(), &batches)?)
}

/// The cells of one claim: claim, series, x, iqm, low, high, runs, worst, best, worst_low, count, of.
pub fn of_claim(claim: &Claim, cells: &[Cell]) -> Result<RecordBatch> {
    let number =
        |get: fn(&Cell) -> Option<f64>| -> ArrayRef { Arc::new(cells.iter().map(get).collect::<Float64Array>()) };
    let whole = |get: fn(&Cell) -> Option<u64>| -> ArrayRef {
        Arc::new(cells.iter().map(|cell| get(cell).map(|n| n as i64)).collect::<Int64Array>())
    };
    let columns = vec![
        text(cells.iter().map(|_| claim.table.as_str())),
        text(cells.iter().map(|cell| cell.series.as_str())),
        text(cells.iter().map(|cell| cell.x.as_str())),
        number(|cell| Some(cell.iqm)),
        number(|cell| cell.interval.map(|(low, _)| low)),
        number(|cell| cell.interval.map(|(_, high)| high)),
        whole(|cell| Some(cell.points.len() as u64)),
        number(|cell| Some(cell.worst())),
        number(|cell| Some(cell.best())),
        number(Cell::worst_low),
        whole(|cell| cell.counts().map(|(count, _)| count)),
        whole(|cell| cell.counts().map(|(_, of)| of)),
    ];
    Ok(RecordBatch::try_new(empty_summary().schema(), columns)?)
}

/// The columns of `summary.parquet` without rows: what a claim's SQL is planned on.
pub fn empty_summary() -> RecordBatch {
    let texts = ["claim", "series", "x"].map(|name| Field::new(name, DataType::Utf8, false));
    let number = |name| Field::new(name, DataType::Float64, true);
    let whole = |name| Field::new(name, DataType::Int64, true);
    let rest = [
        number("iqm"),
        number("low"),
        number("high"),
        whole("runs"),
        number("worst"),
        number("best"),
        number("worst_low"),
        whole("count"),
        whole("of"),
    ];
    RecordBatch::new_empty(Arc::new(Schema::new(texts.into_iter().chain(rest).collect::<Vec<_>>())))
}

fn text<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}
