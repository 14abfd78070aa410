//! Rollouts of checkpoints and what they say.
//!
//! ```text
//!   starts (one seed an episode, the same for every policy)
//!      |
//!   policy k plays --> data/ (actions, no frames; ids k * 1,000,000 + i)
//!      |                  |
//!      |                  +-- replayed without rendering: walls touched, the path over the map
//!      |                  +-- last 32 steps, rendered: the reward model's score
//!      |                  +-- the first 32 of each policy, rendered: exact KL to the reference policy
//!      v
//!   evaluation.parquet (a row a rollout)   paths.parquet   summary.parquet
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, RecordBatch, StringArray};
use playhouse_agent::{Compute, ModelConfig, divergence, score};
use playhouse_schemas::{ActionSpace, Dataset, DatasetSpec, EpisodeRow, Window};
use rayon::prelude::*;

pub mod summary;
#[cfg(test)]
pub(crate) mod tests;
pub mod wilson;

pub use summary::{PADS, Pads, PolicySummary, Row, SpawnSummary, Summary, Times};
pub use wilson::Share;

use crate::env::{Perturbation, derive_seed};
use crate::progress::Progress;
use crate::sources::{CONTEXT, Role, Windows, open_replay};
use crate::stages::{Rollouts, Watch, rollouts_into, table};

/// Rollouts of each policy whose KL divergence is computed: rendering and two models take a while.
const COMPARED: usize = 32;

/// Bytes of rendered frames kept while policies are compared: neighbouring windows share half of theirs.
const FRAMES_KEPT: usize = 1 << 27;

/// Ids of one policy's rollouts begin at its place times this.
pub const IDS: i64 = 1_000_000;

/// What to evaluate, and how.
pub struct Request<'a> {
    /// Names and model files.
    pub policies: &'a [(String, PathBuf)],
    /// The map to play on.
    pub map: &'a str,
    /// Rollouts of each policy.
    pub episodes: u64,
    /// Decides starts and sampled actions.
    pub seed: u64,
    /// Divides the logits.
    pub temperature: f32,
    /// What interferes with every rollout, if anything.
    pub perturbation: Option<Perturbation>,
    /// The policy that the KL divergence is measured to.
    pub reference: Option<&'a Path>,
    /// The reward model that scores every rollout.
    pub reward: Option<&'a Path>,
    /// Device and threads to use.
    pub compute: Compute,
}

/// Every rollout of an evaluation.
#[derive(Debug, Clone, Default)]
pub struct Evaluation {
    /// One row a rollout, by policy and id.
    pub rows: Vec<Row>,
    /// Where each rollout went: positions before the first and after every action, in metres.
    pub paths: Vec<Vec<[f32; 2]>>,
}

/// Evaluates one model with default settings, as JSON: the summary of its only policy.
///
/// # Errors
/// As for [`evaluate`].
pub fn evaluate_model(
    model: &Path,
    map: &str,
    episodes: u64,
    seed: u64,
    temperature: f32,
    compute: Compute,
    progress: &dyn Progress,
) -> Result<serde_json::Value> {
    let scratch = tempfile::Builder::new().prefix("playhouse-evaluate-").tempdir()?;
    let name = model.file_stem().and_then(|stem| stem.to_str()).unwrap_or("model").to_owned();
    let policies = [(name, model.to_owned())];
    let request = Request {
        policies: &policies,
        map,
        episodes,
        seed,
        temperature,
        perturbation: None,
        reference: None,
        reward: None,
        compute,
    };
    let summary = evaluate(&request, scratch.path(), progress)?.summary();
    Ok(serde_json::to_value(&summary.policies[0])?)
}

/// Plays what is missing of the evaluation in `dir`, then measures all of it.
///
/// # Errors
/// A model cannot be read, or the folder cannot be written.
pub fn evaluate(request: &Request, dir: &Path, progress: &dyn Progress) -> Result<Evaluation> {
    ensure!(request.episodes < IDS as u64, "{} rollouts a policy; at most {} fit", request.episodes, IDS - 1);
    let spec = DatasetSpec { actions: ActionSpace::gamepad(), frames: None };
    let root = dir.join("data");
    let dataset = Dataset::create(&root, &spec)?;
    let total = request.episodes * request.policies.len() as u64;
    for (place, (name, model)) in request.policies.iter().enumerate() {
        let before = place as u64 * request.episodes;
        let rollouts = Rollouts {
            model,
            policy: name,
            map: request.map,
            episodes: request.episodes,
            first_id: place as i64 * IDS,
            starts: derive_seed(request.seed, 0),
            group: 1,
            sampling: derive_seed(request.seed, 1 + place as u64),
            temperature: request.temperature,
            frames: None,
            perturbation: request.perturbation,
            compute: request.compute,
        };
        let message = format!("rollouts of {name}");
        rollouts_into(&dataset, &rollouts, &mut |done| progress.update(before + done, total, &message), progress)?;
    }
    let mut evaluation = measure(&dataset)?;
    if let Some(reference) = request.reference {
        for (name, model) in request.policies {
            evaluation.compare(&root, name, model, reference, request.compute, progress)?;
        }
    }
    if let Some(model) = request.reward {
        let (mut endings, _) = Windows::endings(&root, ModelConfig::read(model)?.frame_size)?;
        let scores = score(model, &mut endings, request.compute, &mut Watch::part(progress, "reward", 0, 0))?;
        for (row, score) in evaluation.rows.iter_mut().zip(scores) {
            row.reward = Some(score);
        }
    }
    Ok(evaluation)
}

/// A rollout as windows whose weighted steps do not overlap.
fn cut(row: &Row) -> impl Iterator<Item = Window> + use<> {
    let (episode_id, steps) = (row.episode_id, row.num_steps);
    let half = CONTEXT as u32 / 2;
    // The last window has to reach past the half that is only context.
    let starts = (0..steps.saturating_sub(half).max(1)).step_by(half as usize);
    starts.map(move |t_start| Window { episode_id, t_start, length: (steps - t_start).min(2 * half), weight: 1.0 })
}

/// Replays every rollout of `dataset` for what its rows do not tell.
fn measure(dataset: &Dataset) -> Result<Evaluation> {
    let mut episodes = dataset.episodes()?;
    episodes.sort_by_key(|row| row.episode_id);
    let measured: Vec<(Row, Vec<[f32; 2]>)> =
        episodes.par_iter().map(|row| measure_one(dataset, row)).collect::<Result<_>>()?;
    let (rows, paths) = measured.into_iter().unzip();
    Ok(Evaluation { rows, paths })
}

fn measure_one(dataset: &Dataset, row: &EpisodeRow) -> Result<(Row, Vec<[f32; 2]>)> {
    let replay = open_replay(dataset, row)?;
    let start = crate::env::start(&replay.map, replay.seed)?.pose();
    let mut path = vec![[start.x, start.y]];
    let mut touching = 0u32;
    let arena = replay.walk(|arena| {
        let pose = arena.pose();
        path.push([pose.x, pose.y]);
        touching += u32::from(arena.touching_wall());
    })?;
    let (id, steps) = (row.episode_id, row.num_steps);
    let Some(outcome) = arena.outcome() else {
        bail!("episode {id} does not end when it is replayed: the rollouts are of another version; delete them");
    };
    let outcome = outcome.as_str();
    ensure!(
        row.outcome.as_deref() == Some(outcome) && path.len() == steps as usize + 1,
        "episode {id} ends with {outcome} when it is replayed, not with {:?}: delete its stage and run again",
        row.outcome
    );
    let measured = Row {
        policy: row.policy.clone().with_context(|| format!("episode {id} names no policy"))?,
        episode_id: id,
        spawn: arena.spawn_name().to_owned(),
        outcome: outcome.to_owned(),
        num_steps: steps,
        hz: row.hz,
        time_to_pad: PADS.contains(&outcome).then(|| steps as f32 / row.hz),
        wall_fraction: touching as f32 / steps.max(1) as f32,
        fell: outcome == "fall",
        reward: None,
        kl: None,
    };
    Ok((measured, path))
}

impl Evaluation {
    /// Fills in the KL divergence of one policy's first rollouts.
    fn compare(
        &mut self,
        root: &Path,
        policy: &str,
        model: &Path,
        reference: &Path,
        compute: Compute,
        progress: &dyn Progress,
    ) -> Result<()> {
        if model == reference {
            self.rows.iter_mut().filter(|row| row.policy == policy).for_each(|row| row.kl = Some(0.0));
            return Ok(());
        }
        let own = self.rows.iter().enumerate().filter(|(_, row)| row.policy == policy).take(COMPARED);
        // Cut as for REINFORCE: every step counts in one window, where it is seen as it was in the rollout.
        let windows: Vec<(usize, Window)> = own.flat_map(|(place, row)| cut(row).map(move |w| (place, w))).collect();
        let side = ModelConfig::read(model)?.frame_size;
        let just_windows = windows.iter().map(|(_, window)| *window).collect();
        let mut source = Windows::open(root, just_windows, Role::Rollout, side, FRAMES_KEPT)?;
        let mut watch = Watch::part(progress, &format!("KL of {policy}:"), 0, 0);
        let means = divergence(model, reference, &mut source, compute, &mut watch)?;
        let mut sums: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
        for ((place, window), mean) in windows.iter().zip(means) {
            let steps = source.weighted(window) as f64;
            let sum = sums.entry(*place).or_default();
            *sum = (sum.0 + mean * steps, sum.1 + steps);
        }
        for (place, (sum, steps)) in sums {
            self.rows[place].kl = Some((sum / steps) as f32);
        }
        Ok(())
    }

    /// Counts it.
    pub fn summary(&self) -> Summary {
        Summary::of(&self.rows)
    }

    /// Writes `evaluation.parquet`, `paths.parquet` and `summary.parquet` into `dir`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        table::write(&dir.join("evaluation.parquet"), &self.rows_batch()?)?;
        table::write(&dir.join("paths.parquet"), &self.paths_batch()?)?;
        table::write(&dir.join("summary.parquet"), &summary_batch(&self.summary())?)
    }

    /// Reads what [`Evaluation::write`] wrote.
    ///
    /// # Errors
    /// A file is missing or lacks a column.
    pub fn read(dir: &Path) -> Result<Self> {
        let batches = table::read(&dir.join("evaluation.parquet"))?;
        let text = |name| -> Result<Vec<String>> {
            Ok(table::texts(&batches, name)?.into_iter().map(Option::unwrap_or_default).collect())
        };
        let number = |name| -> Result<Vec<Option<f32>>> {
            Ok(table::numbers(&batches, name)?.into_iter().map(|value| value.map(|value| value as f32)).collect())
        };
        let ids = table::integers(&batches, "episode_id")?;
        let steps = table::integers(&batches, "num_steps")?;
        let (policies, spawns, outcomes) = (text("policy")?, text("spawn")?, text("outcome")?);
        let hz = number("hz")?;
        let (times, walls) = (number("time_to_pad")?, number("wall_fraction")?);
        let (rewards, kls) = (number("reward")?, number("kl")?);
        let row = |i: usize| Row {
            policy: policies[i].clone(),
            episode_id: ids[i],
            spawn: spawns[i].clone(),
            outcome: outcomes[i].clone(),
            num_steps: steps[i] as u32,
            hz: hz[i].unwrap_or(playhouse_arena::HZ),
            time_to_pad: times[i],
            wall_fraction: walls[i].unwrap_or(0.0),
            fell: outcomes[i] == "fall",
            reward: rewards[i],
            kl: kls[i],
        };
        let rows: Vec<Row> = (0..ids.len()).map(row).collect();
        let paths = read_paths(&dir.join("paths.parquet"), &ids)?;
        Ok(Evaluation { rows, paths })
    }

    fn rows_batch(&self) -> Result<RecordBatch> {
        let rows = &self.rows;
        let text = |get: fn(&Row) -> &str| Arc::new(StringArray::from_iter_values(rows.iter().map(get))) as ArrayRef;
        let number =
            |get: fn(&Row) -> Option<f32>| Arc::new(rows.iter().map(get).collect::<Float32Array>()) as ArrayRef;
        let fell: BooleanArray = rows.iter().map(|row| Some(row.fell)).collect();
        let steps = Int32Array::from_iter_values(rows.iter().map(|row| row.num_steps as i32));
        Ok(RecordBatch::try_from_iter_with_nullable([
            ("policy", text(|row| &row.policy), false),
            ("episode_id", table::int_column(rows.iter().map(|row| row.episode_id)), false),
            ("spawn", text(|row| &row.spawn), false),
            ("outcome", text(|row| &row.outcome), false),
            ("num_steps", Arc::new(steps) as ArrayRef, false),
            ("hz", number(|row| Some(row.hz)), false),
            ("time_to_pad", number(|row| row.time_to_pad), true),
            ("wall_fraction", number(|row| Some(row.wall_fraction)), false),
            ("fell", Arc::new(fell) as ArrayRef, false),
            ("reward", number(|row| row.reward), true),
            ("kl", number(|row| row.kl), true),
        ])?)
    }

    fn paths_batch(&self) -> Result<RecordBatch> {
        let rollouts = self.rows.iter().zip(&self.paths);
        let points: Vec<(&Row, usize, [f32; 2])> =
            rollouts.flat_map(|(row, path)| path.iter().enumerate().map(move |(t, at)| (row, t, *at))).collect();
        let axis = |axis: usize| Arc::new(Float32Array::from_iter_values(points.iter().map(|p| p.2[axis]))) as ArrayRef;
        Ok(RecordBatch::try_from_iter([
            ("policy", Arc::new(StringArray::from_iter_values(points.iter().map(|p| &p.0.policy))) as ArrayRef),
            ("episode_id", table::int_column(points.iter().map(|p| p.0.episode_id))),
            ("t", Arc::new(Int32Array::from_iter_values(points.iter().map(|p| p.1 as i32)))),
            ("x", axis(0)),
            ("y", axis(1)),
        ])?)
    }
}

fn read_paths(path: &Path, ids: &[i64]) -> Result<Vec<Vec<[f32; 2]>>> {
    let batches = table::read(path)?;
    let places: BTreeMap<i64, usize> = ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let mut paths = vec![Vec::new(); ids.len()];
    let points = table::integers(&batches, "episode_id")?;
    let points = points.into_iter().zip(table::numbers(&batches, "x")?).zip(table::numbers(&batches, "y")?);
    for ((id, x), y) in points {
        if let (Some(place), Some(x), Some(y)) = (places.get(&id), x, y) {
            paths[*place].push([x as f32, y as f32]);
        }
    }
    Ok(paths)
}

/// One row for each policy, spawn (null for all of them) and pad: count, share and interval.
fn summary_batch(summary: &Summary) -> Result<RecordBatch> {
    let mut keys: Vec<(&str, Option<&str>, &str)> = Vec::new();
    let mut shares: Vec<Share> = Vec::new();
    for policy in &summary.policies {
        let by_spawn = policy.spawns.iter().map(|spawn| (Some(spawn.spawn.as_str()), &spawn.pads));
        for (spawn, pads) in std::iter::once((None, &policy.pads)).chain(by_spawn) {
            for (pad, share) in pads.entries() {
                keys.push((&policy.policy, spawn, pad));
                shares.push(share);
            }
        }
    }
    let number = |get: fn(&Share) -> f64| Arc::new(Float64Array::from_iter_values(shares.iter().map(get))) as ArrayRef;
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("policy", Arc::new(StringArray::from_iter_values(keys.iter().map(|key| key.0))) as ArrayRef, false),
        ("spawn", Arc::new(keys.iter().map(|key| key.1).collect::<StringArray>()) as ArrayRef, true),
        ("pad", Arc::new(StringArray::from_iter_values(keys.iter().map(|key| key.2))) as ArrayRef, false),
        ("count", table::int_column(shares.iter().map(|share| share.count as i64)), false),
        ("rollouts", table::int_column(shares.iter().map(|share| share.of as i64)), false),
        ("share", number(|share| share.share), false),
        ("low", number(|share| share.low), false),
        ("high", number(|share| share.high), false),
    ])?)
}
