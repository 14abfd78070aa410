//! What single runs measured.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::stages::table;

/// One value of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The run, as `seed=1`; empty where there is only one.
    pub run: String,
    /// Which curve, or which group of bars.
    pub series: String,
    /// Where on it, as text.
    pub x: String,
    /// What was measured.
    pub value: f64,
    /// Where the value is a share: how many of how many.
    pub counts: Option<(u64, u64)>,
}

impl Point {
    /// x as a number, if it is one.
    pub fn x_number(&self) -> Option<f64> {
        self.x.parse().ok().filter(|x: &f64| x.is_finite())
    }
}

/// The tidy tables in `folders`, run by run.
pub fn read(folders: &[(String, PathBuf)]) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for (run, dir) in folders {
        let path = dir.join("table.parquet");
        let of_run = if run.is_empty() { String::new() } else { format!(" of run {run}") };
        points.extend(read_one(run, &path).with_context(|| format!("{}{of_run}", path.display()))?);
    }
    Ok(points)
}

fn read_one(run: &str, path: &Path) -> Result<Vec<Point>> {
    let batches = table::read(path)?;
    if table::rows(&batches) == 0 {
        return Ok(Vec::new());
    }
    for column in ["series", "x", "value"] {
        ensure!(table::has(&batches, column), "it has no column `{column}`; a claim's table has series, x and value");
    }
    let counted = match (table::has(&batches, "count"), table::has(&batches, "of")) {
        (true, true) => Some((table::integers(&batches, "count")?, table::integers(&batches, "of")?)),
        (false, false) => None,
        _ => bail!("of the columns `count` and `of` it has only one"),
    };
    let (series, xs) = (table::texts(&batches, "series")?, table::texts(&batches, "x")?);
    let values = table::numbers(&batches, "value")?;
    let mut points: Vec<Point> = Vec::with_capacity(values.len());
    for (row, ((series, x), value)) in series.into_iter().zip(xs).zip(values).enumerate() {
        let (Some(series), Some(x)) = (series, x) else { bail!("row {row} has no series or no x") };
        let value = value.filter(|value| value.is_finite());
        let value = value.with_context(|| format!("row {row} ({series}, {x}): the value is null or not a number"))?;
        let counts = match &counted {
            Some((count, of)) => Some(check_counts(count[row], of[row], value, &series, &x)?),
            None => None,
        };
        ensure!(
            !points.iter().any(|point| point.series == series && point.x == x),
            "row {row}: there are two values for {series}, {x}"
        );
        points.push(Point { run: run.to_owned(), series, x, value, counts });
    }
    Ok(points)
}

fn check_counts(count: i64, of: i64, value: f64, series: &str, x: &str) -> Result<(u64, u64)> {
    let counts = u64::try_from(count).ok().zip(u64::try_from(of).ok()).filter(|(count, of)| *of > 0 && count <= of);
    let counts = counts.with_context(|| format!("{series}, {x}: {count} of {of} is no share"))?;
    let share = count as f64 / of as f64;
    ensure!((share - value).abs() < 1e-6, "{series}, {x}: the value is {value}, but {count} of {of} is {share}");
    Ok(counts)
}
