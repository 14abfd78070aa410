//! `results`: the table of a paper's claims, over every run of the matrix.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use serde::Deserialize;

use super::{Outcome, Stage, StageContext, parse};
use crate::engine::chain;
use crate::engine::plan::OF_RUN;
use crate::results::{self, Claim, Output, Request};

/// Settings as they are written; claims are read one by one, so that an error says in which it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    title: String,
    #[serde(default)]
    introduction: String,
    claims: Vec<toml::Table>,
    heatmaps: Option<HeatmapsOf>,
}

/// Settings of `results`.
#[derive(Debug)]
pub struct ResultsStage {
    /// The heading.
    title: String,
    /// Paragraphs of markdown below it.
    introduction: String,
    /// What the paper says, in the order of the page.
    claims: Vec<Claim>,
    /// Whose rollouts are drawn over the map.
    heatmaps: Option<HeatmapsOf>,
}

/// The table `heatmaps` of the settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeatmapsOf {
    /// The stage of kind `evaluate`.
    evaluation: String,
}

impl Stage for ResultsStage {
    const VERSION: u32 = 2;

    fn parse(stage: &str, table: &toml::Table) -> Result<Self> {
        let Written { title, introduction, claims: written, heatmaps } = parse(stage, table)?;
        ensure!(!written.is_empty(), "stage `{stage}`: claims is empty; write one with [[stage.settings.claims]]");
        let mut claims: Vec<Claim> = Vec::new();
        for (place, table) in written.iter().enumerate() {
            let name = match table.get("table").and_then(|name| name.as_str()) {
                Some(name) => format!("claim `{name}`"),
                None => format!("claim {}", place + 1),
            };
            let own = format!("stage `{stage}`: ");
            let fail = |e: anyhow::Error| {
                let text = chain(&e);
                anyhow!("{own}{name}: {}", text.strip_prefix(&own).unwrap_or(&text))
            };
            let claim: Claim = parse(stage, table).map_err(fail)?;
            ensure!(
                claims.iter().all(|other| other.table != claim.table),
                "{own}{name}: two claims have this table; give each a query of its own, which names its figure and rows"
            );
            results::check(&claim).map_err(fail)?;
            claims.push(claim);
        }
        Ok(ResultsStage { title, introduction, claims, heatmaps })
    }

    fn inputs(&self) -> Vec<String> {
        let claims = self.claims.iter().map(|claim| claim.table.clone());
        claims.chain(self.heatmaps.iter().map(|heatmaps| heatmaps.evaluation.clone())).collect()
    }

    fn run(self, ctx: &StageContext) -> Result<Outcome> {
        let evaluation = self.heatmaps.as_ref().map(|heatmaps| heatmaps.evaluation.as_str());
        let request = Request {
            pipeline: ctx.pipeline,
            title: &self.title,
            introduction: &self.introduction,
            seed: ctx.seed,
            claims: self.claims.iter().map(|claim| (claim, outputs(ctx.inputs, &claim.table))).collect(),
            evaluation: evaluation.map(|stage| (stage, outputs(ctx.inputs, stage))),
        };
        let written = results::write(&request, ctx.dir)?;
        let mut verdicts: BTreeMap<String, f64> = BTreeMap::new();
        for said in written.verdicts {
            *verdicts.entry(said.to_owned()).or_default() += 1.0;
        }
        Ok(Outcome {
            rows: BTreeMap::from([
                ("points".to_owned(), written.points as u64),
                ("summary".to_owned(), written.rows as u64),
            ]),
            figures: verdicts,
        })
    }
}

/// The outputs of an input, of every run that has one: shorter labels first, so that seed=10 follows seed=9.
fn outputs(inputs: &BTreeMap<String, PathBuf>, stage: &str) -> Vec<Output> {
    let of_stage = |(input, dir): (&String, &PathBuf)| {
        let (name, run) = input.split_once(OF_RUN).unwrap_or((input, ""));
        (name == stage).then(|| Output { run: run.to_owned(), dir: dir.clone() })
    };
    let mut found: Vec<Output> = inputs.iter().filter_map(of_stage).collect();
    found.sort_by_key(|output| (output.run.len(), output.run.clone()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(settings: &str) -> String {
        chain(&ResultsStage::parse("results", &settings.parse().unwrap()).unwrap_err())
    }

    #[test]
    fn settings_are_checked_before_anything_runs() {
        let claim = |more: &str| {
            format!("title = 't'\n[[claims]]\ntable = 'shares'\ntitle = 'Shares'\npaper = 'They rise.'\n{more}")
        };
        let stage = ResultsStage::parse("results", &claim("[heatmaps]\nevaluation = 'judge'").parse().unwrap());
        assert_eq!(stage.unwrap().inputs(), ["shares", "judge"]);
        let says = |more: &str, words: &[&str]| {
            let error = error(&claim(more));
            assert!(error.starts_with("stage `results`: claim `shares`: "), "{error}");
            words.iter().for_each(|word| assert!(error.contains(word), "{word}: {error}"));
        };
        says("figur = 'bars'", &["unknown setting `figur`", "did you mean `figure`?"]);
        says("figure = 'pie'", &["unknown variant `pie`", "`bars`", "`curve`", "`none`"]);
        says("holds = 'select wrost > 1 as holds from claim'", &["holds = ", "wrost", "worst"]);
        says("holds = 'select iqm from claim'", &["returns Float64", "one boolean"]);
        says("holds = 'select bool_and(true), true from claim'", &["returns Boolean, Boolean"]);
        says("holds = 'select true from shares'", &["shares"]);
        says("[[claims]]\ntable = 'shares'\ntitle = ''\npaper = ''", &["two claims have this table"]);
        ResultsStage::parse("results", &claim("holds = 'select null as holds'").parse().unwrap()).unwrap();
        assert!(error("title = 't'\nclaims = []").contains("claims is empty"));
        assert!(error("title = 't'\n[[claims]]\ntitle = 'x'").contains("claim 1: settings: missing field `table`"));
    }

    #[test]
    fn runs_come_in_the_order_of_their_numbers() {
        let inputs = ["a@seed=10", "a@seed=9", "ab@seed=1", "b"].map(|input| (input.to_owned(), PathBuf::new()));
        let runs = |stage| outputs(&inputs.clone().into(), stage).into_iter().map(|o| o.run).collect::<Vec<_>>();
        assert_eq!(runs("a"), ["seed=9", "seed=10"]);
        assert_eq!(runs("b"), [""]);
    }
}
