//! `results`: claims held against the runs of a matrix, as a page of Markdown.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use playhouse_queries::{Session, SessionOptions};
use serde::Deserialize;

use super::{Outcome, Stage, StageContext, parse};
use crate::results::{Claim, Request, check, write};

/// Settings of `results`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultsStage {
    /// The heading.
    #[serde(default = "heading")]
    title: String,
    /// Paragraphs below it, as Markdown.
    #[serde(default)]
    introduction: String,
    /// The claims, in the order of the page.
    claims: Vec<Claim>,
    /// The stage of kind `evaluate` whose paths are drawn over the map.
    heatmaps: Option<String>,
}

fn heading() -> String {
    "Results".into()
}

impl Stage for ResultsStage {
    const VERSION: u32 = 1;

    fn parse(stage: &str, table: &toml::Table) -> Result<Self> {
        let results: ResultsStage = parse(stage, table)?;
        ensure!(!results.claims.is_empty(), "stage `{stage}`: claims is empty; name the tables to show");
        let session = Session::new(&SessionOptions { threads: Some(1), ..Default::default() })?;
        for (place, claim) in results.claims.iter().enumerate() {
            let twice = results.claims[..place].iter().any(|other| other.table == claim.table);
            ensure!(!twice, "stage `{stage}`: two claims name the table `{}`", claim.table);
            check(claim, &session).with_context(|| format!("stage `{stage}`: claim `{}`", claim.table))?;
        }
        Ok(results)
    }

    fn inputs(&self) -> Vec<String> {
        self.claims.iter().map(|claim| &claim.table).chain(&self.heatmaps).cloned().collect()
    }

    fn run(self, ctx: &StageContext) -> Result<Outcome> {
        let tables = self.claims.iter().map(|claim| folders(ctx, &claim.table)).collect::<Result<Vec<_>>>()?;
        for (stage, (run, dir)) in
            self.claims.iter().zip(&tables).flat_map(|(claim, dirs)| dirs.iter().map(move |d| (&claim.table, d)))
        {
            ensure!(
                dir.join("table.parquet").is_file(),
                "stage `{stage}` {run} has no table.parquet: a claim names a stage of kind query"
            );
        }
        let heatmaps = match &self.heatmaps {
            Some(stage) => folders(ctx, stage)?.into_iter().map(|(_, dir)| dir).collect(),
            None => Vec::new(),
        };
        let request =
            Request { title: &self.title, introduction: &self.introduction, claims: &self.claims, tables, heatmaps };
        let verdicts = write(&request, ctx.session, ctx.dir)?;
        let figures = [("reproduced", verdicts.hold), ("not_reproduced", verdicts.fail), ("undecided", verdicts.open)];
        Ok(Outcome {
            figures: figures.map(|(name, count)| (name.to_owned(), count as f64)).into(),
            ..Outcome::default()
        })
    }
}

/// The folders of an input, run by run: its only one, or those of every run that is gathered.
fn folders(ctx: &StageContext, stage: &str) -> Result<Vec<(String, PathBuf)>> {
    let found: Vec<(String, PathBuf)> = ctx
        .inputs
        .iter()
        .filter_map(|(key, dir)| {
            let (name, run) = key.split_once('@').unwrap_or((key, ""));
            (name == stage).then(|| (run.to_owned(), dir.clone()))
        })
        .collect();
    ensure!(!found.is_empty(), "`{stage}` is not an input of this stage");
    Ok(found)
}
