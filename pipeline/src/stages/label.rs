//! `label`: a SQL rule gives its verdict on pairs, in the table that people's verdicts have too.
//!
//! The rule is a query that returns one row a pair:
//!
//! ```text
//!   left_episode_id  left_t_start  left_length  right_episode_id  right_t_start  right_length  verdict
//! ```
//!
//! with the verdict `left`, `right`, `tie` or `skip` (incomparable). It may read the pairs and the data by their stage
//! names.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{ArrayRef, BooleanArray, Float32Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, TimeUnit};
use playhouse_queries::{Params, library};
use serde::Deserialize;

use super::{Outcome, Stage, StageContext, parse, table};

/// Columns of a window on either side of a pair.
const WINDOW: [&str; 3] = ["episode_id", "t_start", "length"];

/// Settings of `label`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// The dataset stage that the pairs point into.
    data: String,
    /// The query with the pairs.
    pairs: String,
    /// The rule: SQL, or the name of a query in the library.
    rule: String,
    /// Who is said to have judged.
    #[serde(default = "rule")]
    annotator: String,
}

fn rule() -> String {
    "rule".into()
}

impl Stage for Label {
    const VERSION: u32 = 1;

    fn parse(stage: &str, table: &toml::Table) -> Result<Self> {
        let mut label: Label = parse(stage, table)?;
        if let Some(text) = library::get(&label.rule) {
            label.rule = text.to_owned();
        }
        playhouse_queries::inspect(&label.rule).with_context(|| format!("stage `{stage}`: rule"))?;
        Ok(label)
    }

    fn inputs(&self) -> Vec<String> {
        vec![self.data.clone(), self.pairs.clone()]
    }

    fn resolved(settings: &toml::Table) -> String {
        let rule = settings.get("rule").and_then(|rule| rule.as_str()).unwrap_or_default();
        library::get(rule).unwrap_or(rule).to_owned()
    }

    fn run(self, ctx: &StageContext) -> Result<Outcome> {
        let batches = ctx.session.query(&self.rule, &Params::new()).context("rule")?;
        let judged = judgments(&batches, &self.annotator).context("rule")?;
        table::write(&ctx.dir.join("judgments.parquet"), &judged.table)?;
        let rows = [("judgments".to_owned(), judged.table.num_rows() as u64)].into();
        let figures = [("left".to_owned(), judged.left), ("tie".to_owned(), judged.tie)].into();
        Ok(Outcome { rows, figures })
    }
}

#[derive(Debug)]
struct Judged {
    table: RecordBatch,
    /// Share of pairs whose left side won.
    left: f64,
    /// Share of ties.
    tie: f64,
}

fn judgments(batches: &[RecordBatch], annotator: &str) -> Result<Judged> {
    ensure!(table::rows(batches) > 0, "it returns no pair; loosen the query that makes the pairs");
    let verdicts = table::texts(batches, "verdict")?;
    let first = |row: usize, verdict: Option<&str>| -> Result<Option<f32>> {
        match verdict {
            Some("left") => Ok(Some(1.0)),
            Some("right") => Ok(Some(0.0)),
            Some("tie") => Ok(Some(0.5)),
            Some("skip") => Ok(None),
            other => bail!("row {row}: verdict is {other:?}, expected left, right, tie or skip"),
        }
    };
    let p_left: Vec<Option<f32>> =
        verdicts.iter().enumerate().map(|(row, verdict)| first(row, verdict.as_deref())).collect::<Result<_>>()?;
    let rows = verdicts.len();
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));

    let mut columns: Vec<(String, ArrayRef, bool)> = vec![
        ("judgment_id".into(), table::int_column(0..rows as i64), false),
        ("pair_id".into(), table::int_column(0..rows as i64), false),
    ];
    for side in ["left", "right"] {
        for column in WINDOW {
            let name = format!("{side}_{column}");
            let values = Int64Array::from(table::integers(batches, &name)?);
            columns.push((name, Arc::new(values), false));
        }
    }
    columns.extend([
        ("shown_swapped".into(), Arc::new(BooleanArray::from(vec![false; rows])) as ArrayRef, false),
        ("verdict".into(), Arc::new(StringArray::from(verdicts)), false),
        ("p_left".into(), Arc::new(Float32Array::from(p_left.clone())), true),
        ("annotator".into(), Arc::new(StringArray::from(vec![annotator; rows])), false),
        // A rule takes no time and changes no mind.
        ("shown_at".into(), new_null_array(&time, rows), true),
        ("decided_at".into(), new_null_array(&time, rows), true),
        ("undone_by".into(), new_null_array(&DataType::Int64, rows), true),
    ]);
    let share = |p: f32| p_left.iter().filter(|value| **value == Some(p)).count() as f64 / rows as f64;
    Ok(Judged { table: RecordBatch::try_from_iter_with_nullable(columns)?, left: share(1.0), tie: share(0.5) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(verdicts: &[&str]) -> RecordBatch {
        let names =
            ["left_episode_id", "left_t_start", "left_length", "right_episode_id", "right_t_start", "right_length"];
        let ids: ArrayRef = table::int_column(0..verdicts.len() as i64);
        let mut columns: Vec<(&str, ArrayRef)> = names.iter().map(|name| (*name, Arc::clone(&ids))).collect();
        columns.push(("verdict", Arc::new(StringArray::from(verdicts.to_vec()))));
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn verdicts_become_probabilities() {
        let judged = judgments(&[batch(&["left", "right", "tie", "skip"])], "rule").unwrap();
        assert_eq!((judged.left, judged.tie), (0.25, 0.25));
        let p_left = table::numbers(&[judged.table], "p_left").unwrap();
        assert_eq!(p_left, [Some(1.0), Some(0.0), Some(0.5), None]);
    }

    #[test]
    fn an_unknown_verdict_is_named_with_its_row() {
        let error = judgments(&[batch(&["left", "both"])], "rule").unwrap_err().to_string();
        assert!(error.contains("row 1") && error.contains("both"), "{error}");
    }
}
