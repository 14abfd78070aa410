//! The few things asked of Polars, with this crate's errors.

use std::path::{Path, PathBuf};

use polars::prelude::{
    DataFrame, DataType, Expr, IntoLazy, LazyFrame, PlRefPath, PolarsError, ScanArgsParquet, coalesce, col, lit,
};

use crate::error::{Error, Result};

/// The columns of `episodes` that the statistics use.
const TEXTS: [&str; 6] = ["source", "map", "player", "policy", "outcome", "action_source"];
const NUMBERS: [&str; 6] = ["num_steps", "hz", "idle_fraction", "distance", "action_entropy", "longest_repeat"];

/// One row an episode: the index with plain types, and `seconds`, `hours`, `speed`, `repeat_fraction`, `played_by`.
pub(super) fn episodes(root: &Path, files: &[PathBuf]) -> Result<DataFrame> {
    let text = |name: &str| col(name).cast(DataType::String);
    let number = |name: &str| col(name).cast(DataType::Float64);
    let mut columns: Vec<Expr> = vec![col("episode_id"), col("action_hash")];
    columns.extend(TEXTS.map(text));
    columns.extend(NUMBERS.map(number));
    let seconds = col("num_steps") / col("hz");
    let frame = scan(root, files)?.select(columns).with_columns([
        seconds.clone().alias("seconds"),
        (seconds.clone() / lit(3600.0)).alias("hours"),
        (col("distance") / seconds).alias("speed"),
        (col("longest_repeat") / col("num_steps")).alias("repeat_fraction"),
        coalesce(&[col("player"), col("policy")]).alias("played_by"),
    ]);
    collect(root, frame)
}

pub(super) fn scan(root: &Path, files: &[PathBuf]) -> Result<LazyFrame> {
    let paths = files.iter().map(|file| PlRefPath::try_from_path(file)).collect::<Result<Vec<_>, _>>();
    let options = ScanArgsParquet { glob: false, ..Default::default() };
    paths.and_then(|paths| LazyFrame::scan_parquet_files(paths.into(), options)).map_err(|e| failed(root, &e))
}

pub(super) fn lazy(frame: &DataFrame) -> LazyFrame {
    frame.clone().lazy()
}

pub(super) fn collect(root: &Path, frame: LazyFrame) -> Result<DataFrame> {
    frame.collect().map_err(|e| failed(root, &e))
}

/// A column as doubles; nulls are left out.
pub(super) fn numbers(frame: &DataFrame, column: &str) -> Result<Vec<f64>> {
    Ok(optional_numbers(frame, column)?.into_iter().flatten().collect())
}

/// A column as doubles, row by row.
pub(super) fn optional_numbers(frame: &DataFrame, column: &str) -> Result<Vec<Option<f64>>> {
    let cast = frame.column(column).and_then(|c| c.cast(&DataType::Float64));
    cast.and_then(|c| Ok(c.f64()?.iter().collect())).map_err(|e| internal(&e))
}

/// A column of ids, row by row.
pub(super) fn ids(frame: &DataFrame, column: &str) -> Result<Vec<i64>> {
    let column = frame.column(column).and_then(|c| Ok(c.i64()?.iter().flatten().collect()));
    column.map_err(|e| internal(&e))
}

/// A column of strings, row by row.
pub(super) fn texts(frame: &DataFrame, column: &str) -> Result<Vec<Option<String>>> {
    let column = frame.column(column).and_then(|c| Ok(c.str()?.iter().map(|s| s.map(str::to_owned)).collect()));
    column.map_err(|e| internal(&e))
}

/// The sum of a column.
pub(super) fn sum(frame: &DataFrame, column: &str) -> Result<f64> {
    Ok(numbers(frame, column)?.iter().sum())
}

fn failed(root: &Path, error: &PolarsError) -> Error {
    Error::data(root, format!("{error}; `playhouse verify` names what is damaged"))
}

fn internal(error: &PolarsError) -> Error {
    Error::Internal(error.to_string())
}
