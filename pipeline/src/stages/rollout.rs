//! `rollout`: a policy plays the arena into a dataset.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use playhouse_agent::{Actor, Compute, EpisodeStart};
use playhouse_schemas::{ActionSource, ActionSpace, Dataset, DatasetSpec, Episode, FrameSpec};
use serde::Deserialize;

use super::record::{Frames, check_map};
use super::{Outcome, Stage, StageContext, parse};
use crate::env::{ArenaEnvironment, Perturbation, derive_seed, purpose_seed};
use crate::progress::Progress;

/// Episodes of one call to the agent, committed together. A resumed stage plays its unfinished chunk again, so that the
/// actions, which are drawn by place in the chunk, stay the same, and so do the files.
const CHUNK: u64 = 128;
/// Episodes played side by side: the policy sees one batch of so many frames.
pub const LANES: usize = 32;

/// Settings of `rollout`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// The stage whose model plays.
    policy: String,
    /// The map to play on.
    map: String,
    /// Episodes to play.
    episodes: u64,
    /// How frames are kept; by default they are rendered again when read.
    #[serde(default = "no_frames")]
    frames: Frames,
    /// Divides the logits: 1 plays as trained, lower is more decided, 0 takes the most probable values.
    #[serde(default = "one")]
    temperature: f32,
    /// Id of the first episode.
    #[serde(default)]
    first_id: i64,
    /// Episodes that share each start.
    #[serde(default = "single")]
    group: u64,
}

fn no_frames() -> Frames {
    Frames::None
}

pub(super) fn one() -> f32 {
    1.0
}

fn single() -> u64 {
    1
}

impl Stage for Rollout {
    const VERSION: u32 = 2;

    fn parse(stage: &str, table: &toml::Table) -> Result<Self> {
        let rollout: Rollout = parse(stage, table)?;
        check_map(stage, &rollout.map)?;
        check_temperature(stage, rollout.temperature)?;
        ensure!(rollout.episodes > 0, "stage `{stage}`: episodes is 0; play at least one");
        ensure!(rollout.first_id >= 0, "stage `{stage}`: first_id is {}; ids start at 0", rollout.first_id);
        ensure!(rollout.group > 0, "stage `{stage}`: group is 0; 1 gives every episode its own start");
        Ok(rollout)
    }

    fn inputs(&self) -> Vec<String> {
        vec![self.policy.clone()]
    }

    fn run(self, ctx: &StageContext) -> Result<Outcome> {
        let spec = DatasetSpec { actions: ActionSpace::gamepad(), frames: self.frames.spec() };
        let dataset = Dataset::create(&ctx.dir.join("data"), &spec)?;
        let seed = purpose_seed(ctx.seed, ctx.name);
        let rollouts = Rollouts {
            model: &ctx.model(&self.policy)?,
            policy: &self.policy,
            map: &self.map,
            episodes: self.episodes,
            first_id: self.first_id,
            starts: derive_seed(seed, 0),
            group: self.group,
            sampling: derive_seed(seed, 1),
            temperature: self.temperature,
            frames: spec.frames.clone(),
            perturbation: None,
            compute: ctx.compute,
        };
        rollouts_into(
            &dataset,
            &rollouts,
            &mut |done| ctx.progress.update(done, self.episodes, "episodes"),
            ctx.progress,
        )?;
        super::dataset_outcome(&dataset)
    }
}

/// Refuses a temperature that is not a number from 0.
pub(super) fn check_temperature(stage: &str, temperature: f32) -> Result<()> {
    let fine = temperature.is_finite() && temperature >= 0.0;
    ensure!(fine, "stage `{stage}`: temperature is {temperature}; it must be 0 or positive; 1 plays as trained");
    Ok(())
}

/// Episodes of one policy that are to be in a dataset.
pub(crate) struct Rollouts<'a> {
    pub model: &'a Path,
    /// The name that the episodes carry.
    pub policy: &'a str,
    pub map: &'a str,
    pub episodes: u64,
    pub first_id: i64,
    /// Decides spawns and headings.
    pub starts: u64,
    /// Episodes that share each start.
    pub group: u64,
    /// Decides the sampled actions.
    pub sampling: u64,
    pub temperature: f32,
    pub frames: Option<FrameSpec>,
    pub perturbation: Option<Perturbation>,
    pub compute: Compute,
}

/// Plays those of the episodes that `dataset` does not hold yet. `report` gets the number finished so far.
pub(crate) fn rollouts_into(
    dataset: &Dataset,
    r: &Rollouts,
    report: &mut dyn FnMut(u64),
    progress: &dyn Progress,
) -> Result<()> {
    let ids = r.first_id..r.first_id + r.episodes as i64;
    // Parts are committed in the order of ids, so what is missing is the tail.
    let kept = dataset.episodes()?.iter().filter(|row| ids.contains(&row.episode_id)).count() as u64;
    if kept == r.episodes {
        return Ok(());
    }
    let lanes = LANES.min(r.episodes as usize);
    let mut actor = Actor::load(r.model, lanes, r.compute)?;
    let mut environments = ArenaEnvironment::lanes(r.map, r.frames.as_ref(), r.perturbation, lanes);
    let mut writer = dataset.writer()?;
    for chunk in kept / CHUNK..r.episodes.div_ceil(CHUNK) {
        let first = chunk * CHUNK;
        let starts: Vec<EpisodeStart> = (first..(first + CHUNK).min(r.episodes))
            .map(|episode| {
                let group = derive_seed(r.starts, episode / r.group);
                EpisodeStart { seed: derive_seed(group, episode), group }
            })
            .collect();
        // Episodes finish in any order, and are written in the order of their ids.
        let mut waiting: BTreeMap<u64, Episode> = BTreeMap::new();
        let mut next = first;
        let mut finish = |index: usize, environment: &mut dyn playhouse_agent::Environment| -> Result<()> {
            waiting.insert(first + index as u64, ArenaEnvironment::take(environment)?);
            while let Some(episode) = waiting.remove(&next) {
                if next >= kept {
                    writer.push(Episode {
                        episode_id: r.first_id + next as i64,
                        policy: Some(r.policy.to_owned()),
                        action_source: ActionSource::Policy,
                        ..episode
                    })?;
                }
                next += 1;
            }
            report(next);
            Ok(())
        };
        actor
            .rollouts(
                &mut environments,
                &starts,
                derive_seed(r.sampling, chunk),
                r.temperature,
                &mut |index, environment, _| finish(index, environment).map_err(playhouse_agent::Error::outside),
                &mut Stopper(progress),
            )
            .with_context(|| format!("rollouts of {}", r.policy))?;
        writer.flush()?;
    }
    writer.finish()?;
    Ok(())
}

/// Listens for a stop only: the episodes that finish are the progress.
struct Stopper<'a>(&'a dyn Progress);

impl playhouse_agent::Observer for Stopper<'_> {
    fn stop(&self) -> bool {
        self.0.stop()
    }
}
