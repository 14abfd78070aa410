//! The few things asked of Polars, with this crate's errors.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use playhouse_schemas::storage::{is_local, read_each};
use playhouse_schemas::{ActionSpace, Kind};
use polars::prelude::{
    DataFrame, DataType, Expr, IntoLazy, LazyFrame, NULL, ParquetReader, PlRefPath, PolarsError, ScanArgsParquet,
    SerReader, coalesce, col, lit, when,
};

use crate::error::{Error, Result};

/// The columns of `episodes` that the statistics use, beside `presses_<button>`.
pub(super) const COLUMNS: [&str; 15] = [
    "episode_id",
    "action_hash",
    "source",
    "map",
    "player",
    "policy",
    "outcome",
    "action_source",
    "num_steps",
    "hz",
    "idle_fraction",
    "distance",
    "action_entropy",
    "mean_stick_deflection",
    "longest_repeat",
];
/// Of these, the ids; the texts; the rest are numbers.
const IDS: usize = 2;
const TEXTS: usize = 8;

/// Columns `presses_<button>` of `episodes`.
pub(super) fn press_columns(actions: &ActionSpace) -> impl Iterator<Item = String> {
    let buttons = actions.components.iter().filter(|c| c.kind == Kind::Button);
    buttons.map(|c| format!("presses_{}", c.name))
}

/// One row an episode: the index with plain types, and `seconds`, `hours`, `speed`, `repeat_fraction`, `played_by`,
/// `presses` (of all buttons, a minute).
pub(super) fn episodes(root: &Path, files: &[PathBuf], actions: &ActionSpace) -> Result<DataFrame> {
    let number = |name: &str| col(name).cast(DataType::Float64);
    let presses: Vec<String> = press_columns(actions).collect();
    let mut columns: Vec<Expr> = COLUMNS[..IDS].iter().map(|name| col(*name)).collect();
    columns.extend(COLUMNS[IDS..TEXTS].iter().map(|name| col(*name).cast(DataType::String)));
    columns.extend(COLUMNS[TEXTS..].iter().map(|name| number(name)));
    columns.extend(presses.iter().map(|name| number(name)));
    let all = presses.iter().fold(lit(0.0), |sum, name| sum + col(name.as_str()));
    // A rate that cannot be has no seconds: it would make the hours of a whole dataset infinite.
    let seconds = when(col("hz").gt(lit(0.0))).then(col("num_steps") / col("hz")).otherwise(lit(NULL));
    let frame = scan(root, files)?.select(columns).with_columns([
        seconds.clone().alias("seconds"),
        (seconds.clone() / lit(3600.0)).alias("hours"),
        (col("distance") / seconds.clone()).alias("speed"),
        (col("longest_repeat") / col("num_steps")).alias("repeat_fraction"),
        (all / seconds * lit(60.0)).alias("presses"),
        coalesce(&[col("player"), col("policy")]).alias("played_by"),
    ]);
    collect(root, frame)
}

fn scan(root: &Path, files: &[PathBuf]) -> Result<LazyFrame> {
    let options = ScanArgsParquet { glob: false, ..Default::default() };
    if !is_local(root) {
        // Of a bucket, the index is fetched whole: hundreds of bytes an episode.
        let mut whole = DataFrame::empty();
        for contents in read_each(files) {
            let part = ParquetReader::new(Cursor::new(contents?)).finish();
            whole = part.and_then(|part| whole.vstack(&part)).map_err(|e| failed(root, &e))?;
        }
        return Ok(whole.lazy());
    }
    let paths = files.iter().map(|file| PlRefPath::try_from_path(file)).collect::<Result<Vec<_>, _>>();
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
    let column = frame.column(column).and_then(|c| Ok(c.i64()?.iter().map(Option::unwrap_or_default).collect()));
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

/// Columns and types are checked before Polars sees a file: what it cannot read is damaged.
fn failed(root: &Path, error: &PolarsError) -> Error {
    let reason = match error {
        PolarsError::IO { error, .. } => error.to_string(),
        PolarsError::ComputeError(_) | PolarsError::SchemaMismatch(_) | PolarsError::ColumnNotFound(_) => {
            "a page or footer cannot be decoded".to_owned()
        }
        other => return internal(other),
    };
    let message = format!("the table `episodes` is not readable ({reason}); `playhouse verify` names what is damaged");
    Error::data(root, message)
}

fn internal(error: &PolarsError) -> Error {
    Error::Internal(error.to_string())
}
