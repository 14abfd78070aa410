//! `reward`: a Bradley-Terry reward model from preference pairs, and its scores for whole datasets.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Float32Array, RecordBatch, StringArray};
use playhouse_agent::{ModelConfig, PairSource, Training, score, train_reward};
use serde::Deserialize;

use super::imitate::{HELD_OUT_CACHE, training_cache};
use super::{Outcome, Stage, StageContext, Watch, settings, table};
use crate::sources::{Pairs, Windows};

/// Settings, without those of [`Training`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    /// The dataset stage that the pairs point into.
    data: String,
    /// The query with the pairs to train on.
    pairs: String,
    /// The query with the pairs to measure on.
    held_out: String,
    /// The stage whose encoder and transformer to begin with; without it, weights are random.
    init: Option<String>,
    /// The model's preset; not needed with `init`.
    model: Option<String>,
    /// Dataset stages whose episodes get a reward each.
    #[serde(default)]
    score: Vec<String>,
}

/// Settings of `reward`.
#[derive(Debug)]
pub struct Reward {
    inputs: Inputs,
    training: Training,
}

impl Stage for Reward {
    const VERSION: u32 = 2;

    fn parse(stage: &str, table: &toml::Table) -> Result<Self> {
        let (inputs, training) = settings::split::<Inputs, Training>(stage, table)?;
        super::check_model(stage, inputs.model.as_deref(), inputs.init.as_deref())?;
        training.validate().with_context(|| format!("stage `{stage}`"))?;
        Ok(Reward { inputs, training })
    }

    fn inputs(&self) -> Vec<String> {
        let Inputs { data, pairs, held_out, init, score, .. } = &self.inputs;
        [data, pairs, held_out].into_iter().chain(init).chain(score).cloned().collect()
    }

    fn resolved(settings: &toml::Table) -> String {
        super::training_meaning(settings)
    }

    fn run(self, ctx: &StageContext) -> Result<Outcome> {
        let Reward { inputs, training } = self;
        let init = inputs.init.as_deref().map(|stage| ctx.model(stage)).transpose()?;
        let config = super::model_config(inputs.model.as_deref(), init.as_deref())?;
        let training = ctx.training(training);
        let data = ctx.dataset(&inputs.data)?;
        let open = |stage: &str, cache| Pairs::from_table(&data, &ctx.query(stage)?, config.frame_size, cache);
        let mut train = open(&inputs.pairs, training_cache())?;
        let mut held_out = open(&inputs.held_out, HELD_OUT_CACHE)?;
        let pairs = train.len() as u64;
        let mut watch = Watch::new(ctx.progress);
        let report = train_reward(&config, init.as_deref(), &mut train, &mut held_out, &training, ctx.dir, &mut watch)?;
        drop((train, held_out));
        if !ctx.ranks.leads() {
            return Ok(Outcome::default());
        }
        table::write_metrics(&ctx.dir.join("metrics.parquet"), &report.metrics)?;
        let mut outcome = super::training_outcome(&report);
        outcome.rows.insert("pairs".into(), pairs);
        let scored = write_scores(ctx, &inputs.score, &config, &report.model)?;
        outcome.rows.insert("scores".into(), scored);
        Ok(outcome)
    }
}

/// Writes `scores.parquet`: dataset, episode_id, reward, in the order of the datasets and of their ids.
fn write_scores(ctx: &StageContext, datasets: &[String], config: &ModelConfig, model: &std::path::Path) -> Result<u64> {
    let (mut names, mut ids, mut rewards) = (Vec::new(), Vec::new(), Vec::new());
    for stage in datasets {
        let (mut endings, rows) = Windows::endings(&ctx.dataset(stage)?, config.frame_size)?;
        let scores = score(model, &mut endings, ctx.compute, &mut Watch::part(ctx.progress, stage, 0, 0))?;
        names.extend(std::iter::repeat_n(stage.as_str(), rows.len()));
        ids.extend(rows.iter().map(|row| row.episode_id));
        rewards.extend(scores);
    }
    let count = ids.len() as u64;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("dataset", Arc::new(StringArray::from(names))),
        ("episode_id", table::int_column(ids)),
        ("reward", Arc::new(Float32Array::from(rewards))),
    ];
    table::write(&ctx.dir.join("scores.parquet"), &RecordBatch::try_from_iter(columns)?)?;
    Ok(count)
}
