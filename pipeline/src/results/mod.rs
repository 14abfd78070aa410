//! A paper's table of results, from the tidy tables that the queries of every run leave.
//!
//! ```text
//!   <claim>@seed=1 .. table.parquet     series, x, value [, count, of]
//!        |
//!   points      a row for each run, series and x
//!        |
//!   aggregate   a row for each series and x: interquartile mean over runs, bootstrap interval, worst and best run
//!        |              |            |
//!   figure (SVG)    markdown      verdict: the claim's own SQL over the aggregated rows, as the table `claim`
//! ```
//!
//! Nothing in what is written depends on the time, on the machine or on where the home lies: same seeds, same bytes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::engine::store::write_atomically;
use crate::stages::table;

mod aggregate;
mod figure;
mod heatmaps;
mod markdown;
mod points;
mod tables;
#[cfg(test)]
mod tests;
mod verdict;

pub use verdict::check;

use aggregate::{Row, aggregate};
use heatmaps::Heatmaps;
use points::Point;
use verdict::Verdict;

/// One thing that a paper says, and how these runs answer it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The query stage: columns `series` (text), `x` (text or number), `value` (number), and optionally `count` and `of`
    /// (whole numbers, value = count / of).
    pub table: String,
    /// The heading.
    pub title: String,
    /// What the paper says, in one sentence; empty where it says nothing of this.
    #[serde(default)]
    pub paper: String,
    /// How to read the numbers.
    #[serde(default)]
    pub measures: String,
    /// What `holds` asks, in words.
    #[serde(default)]
    pub asks: String,
    /// How it is drawn.
    #[serde(default)]
    pub figure: Figure,
    /// What `x` is.
    #[serde(default)]
    pub x: String,
    /// What `value` is.
    #[serde(default)]
    pub y: String,
    /// Curves: a logarithmic axis.
    #[serde(default)]
    pub log_x: bool,
    /// How values are written.
    #[serde(default)]
    pub unit: Unit,
    /// SQL over the aggregated rows, the table `claim`: one row with one boolean, null where it cannot be decided.
    pub holds: Option<String>,
}

/// How a claim is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Figure {
    /// A group of bars for each series, a bar for each `x`.
    #[default]
    Bars,
    /// A line for each series over the numbers `x`.
    Curve,
    /// Not at all.
    None,
}

/// How values are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// As they are.
    #[default]
    Number,
    /// As percentages, on an axis from 0 to 1.
    Share,
}

/// A run of the matrix and a folder in it.
#[derive(Debug, Clone)]
pub struct Output {
    /// As `seed=1`; empty where there is only one run.
    pub run: String,
    /// The folder of a stage's output.
    pub dir: PathBuf,
}

/// What is asked for, and where the tables are.
pub struct Request<'a> {
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The heading.
    pub title: &'a str,
    /// Paragraphs below it, in markdown.
    pub introduction: &'a str,
    /// The seed, where there is only one run.
    pub seed: u64,
    /// The claims and their tables' outputs, one of each run.
    pub claims: Vec<(&'a Claim, Vec<Output>)>,
    /// A stage of kind `evaluate` and its outputs, one of each run.
    pub evaluation: Option<(&'a str, Vec<Output>)>,
}

/// A claim with its numbers.
struct Answer<'a> {
    claim: &'a Claim,
    points: Vec<Point>,
    rows: Vec<Row>,
    verdict: Verdict,
}

impl Answer<'_> {
    /// The verdict in the words that fit the claim.
    fn said(&self) -> &'static str {
        self.verdict.of(!self.claim.paper.trim().is_empty())
    }

    /// Whether there is something to draw, and it is to be drawn.
    fn has_figure(&self) -> bool {
        self.claim.figure != Figure::None && !self.rows.is_empty()
    }
}

/// What was written.
pub struct Written {
    /// Rows of `points.parquet`.
    pub points: usize,
    /// Rows of `summary.parquet`.
    pub rows: usize,
    /// What is said of each claim, in their order.
    pub verdicts: Vec<&'static str>,
}

/// Writes `RESULTS.md`, `figures/`, `summary.parquet` and `points.parquet` into `dir`.
///
/// # Errors
/// A table that cannot be read or understood, SQL that does not answer with one boolean: which claim's, and what to do.
pub fn write(request: &Request, dir: &Path) -> Result<Written> {
    let mut answers = Vec::new();
    for (claim, outputs) in &request.claims {
        let about = || format!("claim `{}`", claim.table);
        let points = points::read(claim, outputs).with_context(about)?;
        let rows = aggregate(&claim.table, &points);
        let verdict = verdict::decide(claim, &rows).with_context(about)?;
        answers.push(Answer { claim, points, rows, verdict });
    }
    let figures = dir.join("figures");
    std::fs::create_dir_all(&figures).with_context(|| format!("cannot create {}", figures.display()))?;
    for answer in answers.iter().filter(|answer| answer.has_figure()) {
        let path = figures.join(format!("{}.svg", answer.claim.table));
        write_atomically(&path, figure::draw(answer).as_bytes())?;
    }
    let heatmaps = match &request.evaluation {
        Some((stage, outputs)) => Some(Heatmaps::draw(stage, outputs, &figures)?),
        None => None,
    };
    table::write(&dir.join("points.parquet"), &tables::points(&answers)?)?;
    table::write(&dir.join("summary.parquet"), &tables::summary(&answers)?)?;
    write_atomically(&dir.join("RESULTS.md"), markdown::page(request, &answers, heatmaps.as_ref()).as_bytes())?;
    Ok(Written {
        points: answers.iter().map(|answer| answer.points.len()).sum(),
        rows: answers.iter().map(|answer| answer.rows.len()).sum(),
        verdicts: answers.iter().map(Answer::said).collect(),
    })
}

/// Values in the order in which they first appear, each once.
fn distinct<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

impl Unit {
    /// A value as people read it: `69.7%`, or four digits that matter.
    fn shown(self, value: f64) -> String {
        match self {
            Unit::Share => format!("{}%", self.bare(value)),
            Unit::Number => self.bare(value),
        }
    }

    /// The same without its sign for the unit, as it stands inside an interval.
    fn bare(self, value: f64) -> String {
        match (self, value.abs()) {
            (Unit::Share, _) => format!("{:.1}", 100.0 * value),
            (Unit::Number, size) if value == value.trunc() && size < 1e15 => format!("{value:.0}"),
            (Unit::Number, size) if !(0.001..1e15).contains(&size) => format!("{value:.2e}"),
            (Unit::Number, size) => {
                let decimals = (3 - size.log10().floor() as i32).max(0) as usize;
                let text = format!("{value:.decimals$}");
                match text.contains('.') {
                    true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                    false => text,
                }
            }
        }
    }
}
