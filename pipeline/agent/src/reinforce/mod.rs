//! REINFORCE with a terminal learned reward, leave-one-out baselines and an exact KL to a reference policy.
//!
//! ```text
//! once      the reference plays                -> mean and std of its rewards
//! update    G starts x K episodes are played   -> trajectories, embeddings
//!           reward function                    -> standardised rewards -> advantages within each start's group
//!           policy gradient + KL               -> one AdamW step
//! ```

mod advantage;
mod reward;
mod settings;
mod update;
pub(crate) mod windows;

use std::path::Path;

use self::advantage::{advantages, mean_std};
use self::reward::{ModelReward, same_encoder};
use self::update::{Lesson, Sums, Update};
use crate::config::Head;
use crate::decoder::Decoder;
use crate::environment::{Environment, EpisodeStart};
use crate::error::{Error, Result};
use crate::files::{Checkpoint, ModelFile};
use crate::learner::{Hyper, Learner};
use crate::model::{Model, read_model};
use crate::report::{MetricRow, Observer, Report};
use crate::rng;
use crate::rollout::{Sampling, Stage, Trajectory, pool};

pub use self::reward::RewardFn;
pub use self::settings::Reinforce;

/// Aligns `policy` with a reward model, on episodes it plays itself.
///
/// `reference` is the policy to stay close to (usually the same file as `policy`); `reward` a reward model. `starts(update, group)` says where
/// the episodes of a group begin; update 0 is the calibration, training updates count from 1. The run lives in `dir` as for
/// [`imitate`](crate::imitate), and is resumable like it.
///
/// Metrics, one row an update: `reward/mean`, `reward/std` (as the reward function gives them), `reward/standardised`, `label/<outcome>` (true
/// outcomes' shares; never used for training), `kl/step`, `kl/episode`, `entropy` (nats a timestep), `episode_length`, `groups_used` (share),
/// `loss`, `gradient_norm`, `lr`; at step 0 `reward/reference_mean` and `reward/reference_std`.
#[expect(clippy::too_many_arguments, reason = "three models, a world, settings, a place and an observer")]
pub fn reinforce(
    policy: &Path,
    reference: &Path,
    reward: &Path,
    environments: &mut [Box<dyn Environment>],
    starts: &dyn Fn(u64, u64) -> EpisodeStart,
    settings: &Reinforce,
    dir: &Path,
    observer: &mut dyn Observer,
) -> Result<Report> {
    let file = read_model(policy, Head::Policy)?;
    let mut reward = ModelReward::load(reward, &file, settings.freeze_encoder, settings.compute)?;
    reinforce_with(policy, reference, &mut reward, environments, starts, settings, dir, observer)
}

/// [`reinforce`] with any reward function.
#[expect(clippy::too_many_arguments, reason = "as for reinforce")]
pub fn reinforce_with(
    policy: &Path,
    reference: &Path,
    reward: &mut dyn RewardFn,
    environments: &mut [Box<dyn Environment>],
    starts: &dyn Fn(u64, u64) -> EpisodeStart,
    settings: &Reinforce,
    dir: &Path,
    observer: &mut dyn Observer,
) -> Result<Report> {
    settings.validate()?;
    let policy = read_model(policy, Head::Policy)?;
    let reference = read_model(reference, Head::Policy)?;
    let mut run = Run::plan(&policy, &reference, settings)?;
    let identity = serde_json::json!({ "kind": "reinforce", "model": policy.config, "settings": settings });
    let identity = settings.compute.mark(identity);
    let path = dir.join("checkpoint.safetensors");
    let mut state = Checkpoint { run: identity.clone(), ..Checkpoint::default() };
    let mut progress = Progress { stopped: false, mean: 0.0, std: 1.0 };
    match Checkpoint::read(&path, &run.l.model.layout, &identity)? {
        Some(found) => {
            let [steps, stopped, mean, std] = found.numbers.get("reinforce").map_or(&[][..], Vec::as_slice) else {
                return Err(Error::corrupt(path, "the checkpoint lacks REINFORCE's numbers: delete it to start over"));
            };
            progress = Progress { stopped: *stopped > 0.0, mean: *mean, std: *std };
            run.l.restore(&found, *steps as u64);
            state.step = found.step;
            state.metrics = found.metrics;
        }
        None => {
            run.l.b.upload(run.l.model.weights, &policy.values);
            (progress.mean, progress.std) = run.calibrate(reward, environments, starts, observer)?;
            for (name, value) in [("reward/reference_mean", progress.mean), ("reward/reference_std", progress.std)] {
                state.metrics.push(MetricRow { step: 0, name: name.to_owned(), value });
            }
            run.save(&path, &mut state, &progress)?;
        }
    }

    while state.step < settings.updates && !progress.stopped {
        let outcome = run.update(state.step, &progress, reward, environments, starts, observer);
        let metrics = match outcome {
            Err(Error::Interrupted) => {
                run.save(&path, &mut state, &progress)?;
                return Err(Error::Interrupted);
            }
            other => other?,
        };
        state.step += 1;
        let kl = metrics.iter().find(|(name, _)| name == "kl/step").map_or(0.0, |(_, kl)| *kl);
        progress.stopped = settings.stop_kl > 0.0 && kl > settings.stop_kl;
        state.metrics.extend(metrics.into_iter().map(|(name, value)| MetricRow { step: state.step, name, value }));
        let last = state.step == settings.updates || progress.stopped;
        let stopping = observer.stop();
        if last || stopping || state.step.is_multiple_of(settings.checkpoint_every) {
            run.save(&path, &mut state, &progress)?;
        }
        if stopping && !last {
            return Err(Error::Interrupted);
        }
    }

    let model = dir.join("model.safetensors");
    run.l.model.to_file(run.l.b.as_mut()).write(&model)?;
    Ok(Report { model, metrics: state.metrics, kept_step: state.step })
}

/// The part of the state that is not weights.
struct Progress {
    /// The KL budget is spent.
    stopped: bool,
    /// Of the reference's rewards.
    mean: f64,
    std: f64,
}

/// Everything planned: one device with the learner, the reference, the players' contexts and the update.
struct Run<'a> {
    settings: &'a Reinforce,
    l: Learner,
    reference: Model,
    shared_encoder: bool,
    decoder: Decoder,
    update: Update,
    pool: rayon::ThreadPool,
}

/// The episodes of one update.
struct Episodes {
    trajectories: Vec<Trajectory>,
    labels: Vec<Option<String>>,
}

impl<'a> Run<'a> {
    fn plan(policy: &ModelFile, reference: &ModelFile, settings: &'a Reinforce) -> Result<Self> {
        let named = |file: &ModelFile| crate::ModelConfig { name: String::new(), ..file.config.clone() };
        if named(policy) != named(reference) {
            return Err(Error::Input("the policy and the reference are models of different shapes".to_owned()));
        }
        let mut l = Learner::plan(settings.compute.backend()?, &policy.config, Head::Policy);
        let b = l.b.as_mut();
        let shared_encoder = settings.freeze_encoder && same_encoder(policy, reference);
        let episodes = settings.groups_per_update.max(settings.calibration_groups) * settings.episodes_per_group;
        let decoder = Decoder::plan(b, &policy.config, settings.lanes.min(episodes));
        let update = Update::plan(b, &policy.config, settings.batch, settings.freeze_encoder);
        let reference = Model::from_file(b, reference);
        Ok(Self { settings, l, reference, shared_encoder, decoder, update, pool: pool(settings.compute)? })
    }

    fn save(&mut self, path: &Path, state: &mut Checkpoint, progress: &Progress) -> Result<()> {
        self.l.save_into(state);
        let numbers = vec![self.l.step as f64, f64::from(u8::from(progress.stopped)), progress.mean, progress.std];
        state.numbers.insert("reinforce".to_owned(), numbers);
        state.write(path, &self.l.model.layout)
    }

    /// Mean and standard deviation of the rewards of the reference's episodes.
    fn calibrate(
        &mut self,
        reward: &mut dyn RewardFn,
        environments: &mut [Box<dyn Environment>],
        starts: &dyn Fn(u64, u64) -> EpisodeStart,
        o: &mut dyn Observer,
    ) -> Result<(f64, f64)> {
        if let (Some(mean), Some(std)) = (self.settings.reward_mean, self.settings.reward_std) {
            return Ok((mean, std));
        }
        let groups = self.settings.calibration_groups;
        let episodes = self.play(0, groups, true, environments, starts, o)?;
        let rewards = checked_rewards(reward, &episodes.trajectories)?;
        let (mean, std) = mean_std(&rewards);
        if std < 1e-9 {
            return Err(Error::Input(format!(
                "the reward function gives all {} episodes of the reference policy the same reward, {mean}: there is nothing to learn from it",
                rewards.len()
            )));
        }
        Ok((mean, std))
    }

    /// Plays `groups` groups of the update numbered `number` (0 is the calibration).
    fn play(
        &mut self,
        number: u64,
        groups: usize,
        by_reference: bool,
        environments: &mut [Box<dyn Environment>],
        starts: &dyn Fn(u64, u64) -> EpisodeStart,
        o: &mut dyn Observer,
    ) -> Result<Episodes> {
        let k = self.settings.episodes_per_group;
        let starts: Vec<EpisodeStart> =
            (0..groups as u64).flat_map(|group| std::iter::repeat_n(starts(number, group), k)).collect();
        let mut episodes =
            Episodes { trajectories: vec![Trajectory::default(); starts.len()], labels: vec![None; starts.len()] };
        let sampling =
            Sampling { seed: rng::mix(self.settings.seed, &[2, number]), temperature: 1.0, keep_embeddings: true };
        let model = if by_reference { &self.reference } else { &self.l.model };
        let mut stage = Stage { b: self.l.b.as_mut(), model, decoder: &mut self.decoder, pool: &self.pool };
        let mut keep = |index: usize, environment: &mut dyn Environment, trajectory: Trajectory| {
            episodes.labels[index] = environment.label();
            episodes.trajectories[index] = trajectory;
            Ok(())
        };
        let mut o = Within { inner: o, number, updates: self.settings.updates };
        stage.play(environments, &starts, sampling, &mut keep, &mut o)?;
        Ok(episodes)
    }

    /// One update; its metrics.
    fn update(
        &mut self,
        done: u64,
        progress: &Progress,
        reward: &mut dyn RewardFn,
        environments: &mut [Box<dyn Environment>],
        starts: &dyn Fn(u64, u64) -> EpisodeStart,
        o: &mut dyn Observer,
    ) -> Result<Vec<(String, f64)>> {
        let s = self.settings;
        let episodes = self.play(done + 1, s.groups_per_update, false, environments, starts, o)?;
        let raw = checked_rewards(reward, &episodes.trajectories)?;
        let rewards: Vec<f64> = raw.iter().map(|r| (r - progress.mean) / progress.std).collect();
        let advantages = advantages(&rewards, s.episodes_per_group, s.min_spread, s.normalise_advantages);
        let used: Vec<bool> =
            advantages.used.iter().flat_map(|&used| std::iter::repeat_n(used, s.episodes_per_group)).collect();
        self.l.zero_gradients();
        let lesson = Lesson {
            trajectories: &episodes.trajectories,
            advantages: &advantages.values,
            used: &used,
            kl: s.kl,
            freeze_encoder: s.freeze_encoder,
            shared_encoder: self.shared_encoder,
        };
        let sums = self.update.learn(&mut self.l, &self.reference, &lesson);
        let lr = s.lr_at(done);
        let mut metrics = Vec::new();
        let mut add = |name: &str, value: f64| metrics.push((name.to_owned(), value));
        if sums.steps > 0.0 {
            if !sums.loss.is_finite() {
                return Err(Error::Diverged { step: done, what: "the loss", value: sums.loss });
            }
            self.l.optimise(Hyper {
                lr,
                beta1: s.beta1,
                beta2: s.beta2,
                weight_decay: s.weight_decay,
                clip: s.clip,
                freeze_encoder: s.freeze_encoder,
            });
            let Sums { steps, loss, kl, entropy } = sums;
            add("loss", loss);
            add("gradient_norm", self.l.gradient_norm()?);
            add("kl/step", kl / steps);
            add("kl/episode", kl / used.iter().filter(|used| **used).count() as f64);
            add("entropy", entropy / steps);
        }
        let (mean, std) = mean_std(&raw);
        add("reward/mean", mean);
        add("reward/std", std);
        add("reward/standardised", mean_std(&rewards).0);
        add("lr", lr);
        add(
            "groups_used",
            mean_std(&advantages.used.iter().map(|&used| f64::from(u8::from(used))).collect::<Vec<_>>()).0,
        );
        let count = episodes.trajectories.len() as f64;
        add("episode_length", episodes.trajectories.iter().map(|t| t.steps as f64).sum::<f64>() / count);
        let labels: std::collections::BTreeSet<&String> = episodes.labels.iter().flatten().collect();
        for label in labels {
            let share = episodes.labels.iter().flatten().filter(|l| *l == label).count() as f64 / count;
            add(&format!("label/{label}"), share);
        }
        Ok(metrics)
    }
}

/// Rewards as f64; one that is missing or not finite is the reward function's fault, and is said so.
fn checked_rewards(reward: &mut dyn RewardFn, trajectories: &[Trajectory]) -> Result<Vec<f64>> {
    let rewards = reward.rewards(trajectories)?;
    if rewards.len() != trajectories.len() {
        let (found, wanted) = (rewards.len(), trajectories.len());
        return Err(Error::Input(format!("the reward function returned {found} rewards for {wanted} episodes")));
    }
    match rewards.iter().position(|r| !r.is_finite()) {
        Some(i) => Err(Error::Input(format!("the reward of episode {i} is {}", rewards[i]))),
        None => Ok(rewards.into_iter().map(f64::from).collect()),
    }
}

/// Reports the episodes of one update as a part of the whole.
struct Within<'a> {
    inner: &'a mut dyn Observer,
    number: u64,
    updates: u64,
}

impl Observer for Within<'_> {
    fn progress(&mut self, done: u64, total: u64, message: &str) {
        let message = match self.number {
            0 => format!("calibration: {message}"),
            n => format!("update {n}/{}: {message}", self.updates),
        };
        self.inner.progress(self.number * total + done, (self.updates + 1) * total, &message);
    }

    fn stop(&self) -> bool {
        self.inner.stop()
    }
}
