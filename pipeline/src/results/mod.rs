//! Results over several runs: tidy tables, put together across seeds, as a page of Markdown with figures.
//!
//! ```text
//!   run seed=1   claim_stages   series, x, value[, count, of] --+
//!   run seed=2   claim_stages   ...                             +--> points --> cells (interquartile mean, bootstrap)
//!   run seed=3   claim_stages   ...                           --+      |           |          |
//!                                                                      v           v          v
//!                                                          points.parquet  summary.parquet  RESULTS.md, figures/*.svg
//! ```
//!
//! Nothing that is written says when or where it was made, so the same runs give the same bytes.

mod aggregate;
mod figure;
mod markdown;
mod points;
mod tables;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use playhouse_queries::{Params, Session};
use serde::Deserialize;

pub use aggregate::{Cell, iqm};
pub use points::Point;
pub use tables::empty_summary;

use crate::engine::store::write_atomically;
use crate::evaluate::Evaluation;
use crate::report::heatmap::heatmap;
use crate::stages::table;

/// One thing that somebody claims, and the table that says whether it holds here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The query stage: `series`, `x`, `value`, and where values are shares of something counted, `count` and `of`.
    pub table: String,
    /// The heading of its section.
    pub title: String,
    /// What is claimed, in a sentence.
    pub paper: String,
    /// How to read the numbers.
    #[serde(default)]
    pub measures: String,
    /// How it is drawn.
    #[serde(default)]
    pub figure: Figure,
    /// What x is.
    #[serde(default)]
    pub x: String,
    /// What the value is.
    #[serde(default)]
    pub y: String,
    /// Whether x is drawn on a logarithmic scale.
    #[serde(default)]
    pub log_x: bool,
    /// What the values are.
    #[serde(default)]
    pub unit: Unit,
    /// SQL over the table `claim`, with the columns of `summary.parquet`, that returns one boolean, or null where nothing can be said.
    pub holds: Option<String>,
}

/// How a claim is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Figure {
    /// Groups of bars: x is a category.
    #[default]
    Bars,
    /// Curves: x is a number.
    Curve,
    /// Not at all.
    None,
}

/// What values are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Shares of 0 to 1, shown in per cent.
    #[default]
    Share,
    /// Numbers.
    Number,
}

/// The page to write.
pub struct Request<'a> {
    /// The heading.
    pub title: &'a str,
    /// Paragraphs below it, as Markdown.
    pub introduction: &'a str,
    /// In the order of the page.
    pub claims: &'a [Claim],
    /// The folders of each claim's table: the run's name (empty where there is only one run) and the folder.
    pub tables: Vec<Vec<(String, PathBuf)>>,
    /// The folders of the evaluation whose paths are drawn, run by run; may be empty.
    pub heatmaps: Vec<PathBuf>,
}

/// A claim with its figures.
pub(crate) struct Finding<'a> {
    pub claim: &'a Claim,
    pub cells: Vec<Cell>,
    /// Whether it holds; none where that was not asked or cannot be said.
    pub holds: Option<bool>,
}

/// How many claims hold, do not, and are not decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Reproduced.
    pub hold: u64,
    /// Not reproduced.
    pub fail: u64,
    /// Neither.
    pub open: u64,
}

/// Writes `RESULTS.md`, `figures/`, `points.parquet` and `summary.parquet` into `dir`.
///
/// # Errors
/// A table lacks a column or holds what is no value, a claim's SQL does not return one boolean, or the folder cannot be written.
pub fn write(request: &Request, session: &Session, dir: &Path) -> Result<Verdicts> {
    let figures = dir.join("figures");
    std::fs::create_dir_all(&figures).with_context(|| format!("cannot create {}", figures.display()))?;
    let mut findings = Vec::new();
    for (claim, folders) in request.claims.iter().zip(&request.tables) {
        let about = || format!("claim `{}`", claim.table);
        let points = points::read(folders).with_context(about)?;
        ensure!(
            claim.figure != Figure::Curve || points.iter().all(|point| point.x_number().is_some()),
            "claim `{}`: a curve needs numbers for x; draw it as bars",
            claim.table
        );
        let cells = aggregate::cells(&claim.table, points);
        let holds = verdict(claim, &cells, session).with_context(about)?;
        if let Some(svg) = figure::draw(claim, &cells) {
            write_atomically(&figures.join(format!("{}.svg", claim.table)), svg.as_bytes())?;
        }
        findings.push(Finding { claim, cells, holds });
    }
    table::write(&dir.join("points.parquet"), &tables::points(&findings)?)?;
    table::write(&dir.join("summary.parquet"), &tables::summary(&findings)?)?;
    let maps = heatmaps(&request.heatmaps, &figures)?;
    write_atomically(&dir.join("RESULTS.md"), markdown::page(request, &findings, &maps).as_bytes())?;
    let count = |what| findings.iter().filter(|finding| finding.holds == what).count() as u64;
    Ok(Verdicts { hold: count(Some(true)), fail: count(Some(false)), open: count(None) })
}

/// Whether a claim's SQL says that it holds.
fn verdict(claim: &Claim, cells: &[Cell], session: &Session) -> Result<Option<bool>> {
    let Some(sql) = &claim.holds else { return Ok(None) };
    session.register_batches(None, "claim", vec![tables::of_claim(claim, cells)?])?;
    let answer = session.query(sql, &Params::new()).context("its `holds`")?;
    let rows: usize = answer.iter().map(RecordBatch::num_rows).sum();
    let Some(batch) = answer.iter().find(|batch| batch.num_rows() > 0).filter(|_| rows == 1) else {
        anyhow::bail!("its `holds` returned {rows} rows; it must return one boolean");
    };
    boolean(batch.schema().field(0).data_type(), batch.num_columns())?;
    let column = batch.column(0);
    Ok((!column.is_null(0)).then(|| column.as_boolean().value(0)))
}

/// Refuses a verdict that is no boolean.
fn boolean(kind: &DataType, columns: usize) -> Result<()> {
    ensure!(
        columns == 1 && *kind == DataType::Boolean,
        "its `holds` returned {columns} columns, the first of type {kind}; it must return one boolean"
    );
    Ok(())
}

/// Plans a claim's SQL on the columns that it will see, so that a slip shows before anything has run.
///
/// # Errors
/// The SQL cannot be planned, or does not return one boolean.
pub fn check(claim: &Claim, session: &Session) -> Result<()> {
    let Some(sql) = &claim.holds else { return Ok(()) };
    session.register_batches(None, "claim", vec![empty_summary()])?;
    let schema = session.check(sql, &Params::new()).context("its `holds`")?;
    let kind = schema.fields().first().map_or(DataType::Null, |field| field.data_type().clone());
    boolean(&kind, schema.fields().len())
}

/// One map for each policy, with the rollouts of all runs: policies and their files below `figures`.
fn heatmaps(evaluations: &[PathBuf], figures: &Path) -> Result<Vec<(String, String)>> {
    let mut paths: Vec<(String, Vec<Vec<[f32; 2]>>)> = Vec::new();
    let mut map = None;
    for dir in evaluations {
        let evaluation = Evaluation::read(dir)?;
        if map.is_none() {
            let dataset = playhouse_schemas::Dataset::open(&dir.join("data"))?;
            map = dataset.episodes()?.into_iter().find_map(|row| row.map);
        }
        for (row, path) in evaluation.rows.into_iter().zip(evaluation.paths) {
            match paths.iter_mut().find(|(policy, _)| *policy == row.policy) {
                Some((_, all)) => all.push(path),
                None => paths.push((row.policy, vec![path])),
            }
        }
    }
    let Some(map) = map else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for (policy, paths) in paths {
        let file = format!("paths_{policy}.png");
        write_atomically(&figures.join(&file), &heatmap(&map, paths.iter().map(Vec::as_slice))?.png)?;
        files.push((policy, file));
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
