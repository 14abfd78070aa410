//! The tables of a claim, one of each run, as rows; what is wrong with one is said with its run.

use anyhow::{Context, Result, bail, ensure};

use super::{Claim, Figure, Output, Unit};
use crate::evaluate::Share;
use crate::stages::table;

/// Columns that every table has.
const NEEDED: [&str; 3] = ["series", "x", "value"];

/// How far a value may be from count / of: a division of its own, possibly in single precision.
const TOLERANCE: f64 = 1e-6;

/// What one run says of one series at one x.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The run, as `seed=1`; empty where there is only one.
    pub run: String,
    /// The series.
    pub series: String,
    /// The place in the series; numbers as they print.
    pub x: String,
    /// The value: finite.
    pub value: f64,
    /// Where the value is a share: how many, of how many.
    pub counts: Option<(u64, u64)>,
}

impl Point {
    /// Wilson's interval of the run alone.
    pub fn share(&self) -> Option<Share> {
        self.counts.map(|(count, of)| Share::new(count, of))
    }
}

/// Every run's rows, run by run.
pub fn read(claim: &Claim, outputs: &[Output]) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for output in outputs {
        let about = || match output.run.as_str() {
            "" => "its table".to_owned(),
            run => format!("its table of the run {run}"),
        };
        points.extend(read_one(claim, output).with_context(about)?);
    }
    Ok(points)
}

fn read_one(claim: &Claim, output: &Output) -> Result<Vec<Point>> {
    let path = output.dir.join("table.parquet");
    ensure!(path.exists(), "stage `{}` leaves no table; name a stage of kind `query`", claim.table);
    let batches = table::read(&path)?;
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let schema = first.schema();
    let missing: Vec<&str> = NEEDED.into_iter().filter(|name| !table::has(&batches, name)).collect();
    if !missing.is_empty() {
        let has: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        bail!(
            "it has no column {}; it has {}. A claim's query selects series, x, value, and count and of where value = count / of",
            missing.join(" and none "),
            has.join(", ")
        );
    }
    let counted = table::has(&batches, "count");
    ensure!(
        counted == table::has(&batches, "of"),
        "of the columns `count` and `of` it has only one; give both or none"
    );
    let series = table::texts(&batches, "series")?;
    let x = match schema.field_with_name("x")?.data_type().is_numeric() {
        true => table::numbers(&batches, "x")?.into_iter().map(|x| x.map(|x| x.to_string())).collect(),
        false => table::texts(&batches, "x")?,
    };
    let values = table::numbers(&batches, "value")?;
    let column = |name| if counted { table::numbers(&batches, name) } else { Ok(vec![None; series.len()]) };
    let (counts, ofs) = (column("count")?, column("of")?);
    let mut points: Vec<Point> = Vec::with_capacity(series.len());
    for (row, ((series, x), value)) in series.into_iter().zip(x).zip(values).enumerate() {
        let (Some(series), Some(x)) = (series, x) else {
            bail!("series or x is null in row {row}; give every row both");
        };
        let place = format!("series `{series}`, x `{x}`");
        let value = value.filter(|value| value.is_finite());
        let value = value.with_context(|| {
            format!("{place}: the value is null, infinite or not a number; filter such rows, or give them a value")
        })?;
        let counts = match (counts[row], ofs[row]) {
            (None, None) => None,
            (Some(count), Some(of)) => Some(whole(count, of).with_context(|| place.clone())?),
            _ => bail!("{place}: of `count` and `of` one is null; give both or none"),
        };
        if let Some((count, of)) = counts {
            let share = count as f64 / of as f64;
            ensure!(
                (share - value).abs() < TOLERANCE,
                "{place}: value is {value}, and count / of = {count} / {of} is not"
            );
        }
        if claim.unit == Unit::Share {
            ensure!(
                (0.0..=1.0).contains(&value),
                "{place}: {value} is no share; use shares from 0 to 1, or unit = \"number\""
            );
        }
        if claim.figure == Figure::Curve {
            let at = x.parse::<f64>().ok().filter(|at| at.is_finite());
            let at = at.with_context(|| format!("{place}: a curve needs numbers as x; use figure = \"bars\""))?;
            ensure!(
                at > 0.0 || !claim.log_x,
                "{place}: a logarithmic axis begins above 0; take log_x away or filter it"
            );
        }
        ensure!(
            !points.iter().any(|known| known.series == series && known.x == x),
            "{place}: there are two rows of it; aggregate in the query, so that a run has one"
        );
        points.push(Point { run: output.run.clone(), series, x, value, counts });
    }
    Ok(points)
}

/// A count and what it is out of, as whole numbers.
fn whole(count: f64, of: f64) -> Result<(u64, u64)> {
    let fits = |number: f64| number >= 0.0 && number == number.trunc() && number < 9e15;
    ensure!(fits(count) && fits(of), "count {count} of {of} are not whole numbers from 0 up");
    ensure!(of > 0.0, "count {count} of 0 is no share; filter rows without rollouts");
    ensure!(count <= of, "count {count} is more than of {of}; are the columns swapped?");
    Ok((count as u64, of as u64))
}
