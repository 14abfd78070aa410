//! `reinforce`: REINFORCE in the arena against a reward model.

use anyhow::{Context, Result};
use playhouse_agent::{EpisodeStart, Reinforce, reinforce};
use serde::Deserialize;

use super::record::check_map;
use super::{Outcome, Stage, StageContext, Watch, settings, table};
use crate::env::{ArenaEnvironment, derive_seed, purpose_seed};

/// Settings, without those of [`Reinforce`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    /// The stage whose policy is trained.
    policy: String,
    /// The stage whose reward model judges each episode.
    reward: String,
    /// The stage whose policy the KL divergence is measured to; the trained one's start without it.
    reference: Option<String>,
    /// The map to play on.
    map: String,
}

/// Settings of `reinforce`.
#[derive(Debug)]
pub struct ReinforceStage {
    inputs: Inputs,
    algorithm: Reinforce,
}

impl Stage for ReinforceStage {
    const VERSION: u32 = 2;

    fn parse(stage: &str, table: &toml::Table) -> Result<Self> {
        let (inputs, algorithm) = settings::split::<Inputs, Reinforce>(stage, table)?;
        check_map(stage, &inputs.map)?;
        algorithm.validate().with_context(|| format!("stage `{stage}`"))?;
        Ok(ReinforceStage { inputs, algorithm })
    }

    fn inputs(&self) -> Vec<String> {
        let Inputs { policy, reward, reference, .. } = &self.inputs;
        [policy, reward].into_iter().chain(reference).cloned().collect()
    }

    fn resolved(_settings: &toml::Table) -> String {
        serde_json::json!(Reinforce::default()).to_string()
    }

    fn run(self, ctx: &StageContext) -> Result<Outcome> {
        let ReinforceStage { inputs, algorithm } = self;
        let policy = ctx.model(&inputs.policy)?;
        let reward = ctx.model(&inputs.reward)?;
        let reference = ctx.model(inputs.reference.as_deref().unwrap_or(&inputs.policy))?;
        let seed = ctx.training_seed(algorithm.seed);
        let algorithm = Reinforce { seed, compute: ctx.compute, ..algorithm };
        let mut environments = ArenaEnvironment::lanes(&inputs.map, None, None, algorithm.lanes);
        // Every group of every update has a start of its own; the update's place keeps the streams apart.
        let starts = derive_seed(purpose_seed(ctx.seed, ctx.name), 0);
        let start = |update: u64, group: u64| {
            let group = derive_seed(derive_seed(starts, update), group);
            EpisodeStart { seed: group, group }
        };
        let mut watch = Watch::new(ctx.progress);
        let report =
            reinforce(&policy, &reference, &reward, &mut environments, &start, &algorithm, ctx.dir, &mut watch)?;
        table::write_metrics(&ctx.dir.join("metrics.parquet"), &report.metrics)?;
        Ok(super::training_outcome(&report))
    }
}
