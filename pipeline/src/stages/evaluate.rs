//! `evaluate`: every policy plays from the same starts, and what happens is counted.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::record::check_map;
use super::rollout::{check_temperature, one};
use super::{Outcome, Stage, StageContext, parse};
use crate::env::{Perturbation, purpose_seed, start};
use crate::evaluate::{Request, evaluate};

/// Settings of `evaluate`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// The stages whose models play, in the order of the report.
    policies: Vec<String>,
    /// The map to play on.
    map: String,
    /// Rollouts of each policy.
    #[serde(default = "three_hundred")]
    episodes: u64,
    /// The stage whose policy the KL divergence is measured to.
    reference: Option<String>,
    /// The stage whose reward model scores every rollout.
    reward: Option<String>,
    /// Divides the logits: 1 plays as trained.
    #[serde(default = "one")]
    temperature: f32,
    /// Turns the camera of every rollout for a while, to see who finds back: `{ after = 20, steps = 10 }`.
    perturbation: Option<Perturbation>,
}

fn three_hundred() -> u64 {
    300
}

/// Refuses what would turn nothing.
fn check_perturbation(perturbation: Perturbation, map: &str) -> Result<()> {
    let Perturbation { after, steps } = perturbation;
    ensure!(steps > 0, "perturbation.steps is 0, which turns nothing; 10 steps turn the camera by 149 degrees");
    let limit = start(map, 0)?.time_limit();
    ensure!(after < limit, "perturbation.after is {after}, and no rollout on `{map}` takes more than {limit} steps");
    Ok(())
}

impl Stage for Evaluate {
    const VERSION: u32 = 2;

    fn parse(stage: &str, table: &toml::Table) -> Result<Self> {
        // Which of two bare numbers is which, nobody could tell.
        let bare = matches!(table.get("perturbation"), Some(toml::Value::Array(_)));
        ensure!(!bare, "stage `{stage}`: perturbation is a table, as in {{ after = 20, steps = 10 }}");
        let evaluate: Evaluate = parse(stage, table)?;
        check_map(stage, &evaluate.map)?;
        check_temperature(stage, evaluate.temperature)?;
        ensure!(!evaluate.policies.is_empty(), "stage `{stage}`: policies is empty; name the stages to evaluate");
        ensure!(evaluate.episodes > 0, "stage `{stage}`: episodes is 0; 300 give intervals of about 5 points");
        if let Some(perturbation) = evaluate.perturbation {
            check_perturbation(perturbation, &evaluate.map).with_context(|| format!("stage `{stage}`"))?;
        }
        for (place, policy) in evaluate.policies.iter().enumerate() {
            let twice = evaluate.policies[..place].contains(policy);
            ensure!(!twice, "stage `{stage}`: policies names `{policy}` twice");
        }
        Ok(evaluate)
    }

    fn inputs(&self) -> Vec<String> {
        self.policies.iter().chain(&self.reference).chain(&self.reward).cloned().collect()
    }

    fn run(self, ctx: &StageContext) -> Result<Outcome> {
        let model = |stage: &String| -> Result<(String, PathBuf)> { Ok((stage.clone(), ctx.model(stage)?)) };
        let policies: Vec<(String, PathBuf)> = self.policies.iter().map(model).collect::<Result<_>>()?;
        let reference = self.reference.as_deref().map(|stage| ctx.model(stage)).transpose()?;
        let reward = self.reward.as_deref().map(|stage| ctx.model(stage)).transpose()?;
        let request = Request {
            policies: &policies,
            map: &self.map,
            episodes: self.episodes,
            seed: purpose_seed(ctx.seed, ctx.name),
            temperature: self.temperature,
            perturbation: self.perturbation,
            reference: reference.as_deref(),
            reward: reward.as_deref().map(Path::new),
            compute: ctx.compute,
        };
        let evaluation = evaluate(&request, ctx.dir, ctx.progress)?;
        if let Some(Perturbation { after, .. }) = self.perturbation {
            let turned = evaluation.rows.iter().any(|row| row.num_steps > after);
            ensure!(turned, "no rollout took more than {after} steps, so none was turned; lower perturbation.after");
        }
        evaluation.write(ctx.dir)?;
        let rows = [("evaluation".to_owned(), evaluation.rows.len() as u64)].into();
        Ok(Outcome { rows, figures: evaluation.summary().figures() })
    }
}
