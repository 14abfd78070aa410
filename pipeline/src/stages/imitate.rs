//! `pretrain`, `finetune` and `prefer`: behaviour cloning on a table of windows.
//!
//! The three differ only in what they are given: all of the curated play, straight demonstrations on top of a
//! pre-trained model, or a policy's own best rollouts on top of the fine-tuned one.

use anyhow::{Context, Result};
use playhouse_agent::{Training, WindowSource, imitate};
use serde::Deserialize;

use super::{Outcome, Stage, StageContext, Watch, settings, table};
use crate::limits;
use crate::sources::{Role, Windows};

/// Bytes of frames kept in memory for training: an eighth of the machine's memory, a quarter of a gibibyte to four. The 1,500
/// episodes of `jumppad` are 2.3 GB at the size of `tiny`; decoding a frame again takes about a fifth of the time of learning from it.
pub fn training_cache() -> usize {
    limits::memory().map_or(1 << 30, |half| half / 4).clamp(1 << 28, 4 << 30)
}

/// The same for held-out windows.
pub const HELD_OUT_CACHE: usize = 1 << 27;

/// Settings, without those of [`Training`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    /// The dataset stage that the windows point into.
    data: String,
    /// The query with the windows to train on.
    windows: String,
    /// The query with the windows to measure on.
    held_out: Option<String>,
    /// The stage whose model to begin with; without it, weights are random.
    init: Option<String>,
    /// The model's preset; not needed with `init`.
    model: Option<String>,
}

/// Settings of the three imitation kinds.
#[derive(Debug)]
pub struct Imitate {
    inputs: Inputs,
    training: Training,
}

impl Stage for Imitate {
    const VERSION: u32 = 2;

    fn parse(stage: &str, table: &toml::Table) -> Result<Self> {
        let (inputs, training) = settings::split::<Inputs, Training>(stage, table)?;
        super::check_model(stage, inputs.model.as_deref(), inputs.init.as_deref())?;
        training.validate_imitation().with_context(|| format!("stage `{stage}`"))?;
        Ok(Imitate { inputs, training })
    }

    fn inputs(&self) -> Vec<String> {
        let Inputs { data, windows, held_out, init, .. } = &self.inputs;
        [Some(data), Some(windows), held_out.as_ref(), init.as_ref()].into_iter().flatten().cloned().collect()
    }

    fn resolved(settings: &toml::Table) -> String {
        super::training_meaning(settings)
    }

    fn run(self, ctx: &StageContext) -> Result<Outcome> {
        let Imitate { inputs, training } = self;
        let init = inputs.init.as_deref().map(|stage| ctx.model(stage)).transpose()?;
        let config = super::model_config(inputs.model.as_deref(), init.as_deref())?;
        let training = ctx.training(training);
        let data = ctx.dataset(&inputs.data)?;
        let open = |stage: &str, purpose, cache| {
            Windows::from_table(&data, &ctx.query(stage)?, purpose, Role::Whole, config.frame_size, cache)
        };
        let mut train = open(&inputs.windows, "to train on", training_cache())?;
        let measured = |stage| open(stage, "to measure on (`held_out`)", HELD_OUT_CACHE);
        let mut held_out = inputs.held_out.as_deref().map(measured).transpose()?;
        let held_out = held_out.as_mut().map(|windows| windows as &mut dyn WindowSource);
        let windows = train.len() as u64;
        let mut watch = Watch::new(ctx.progress);
        let report = imitate(&config, init.as_deref(), &mut train, held_out, &training, ctx.dir, &mut watch)?;
        if !ctx.ranks.leads() {
            return Ok(Outcome::default());
        }
        table::write_metrics(&ctx.dir.join("metrics.parquet"), &report.metrics)?;
        let mut outcome = super::training_outcome(&report);
        outcome.rows.insert("windows".into(), windows);
        Ok(outcome)
    }
}
