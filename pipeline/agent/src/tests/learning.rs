//! Each kind of training learns something that can be learnt.

use std::path::{Path, PathBuf};

use super::toys::{BrighterLast, Button, Greys, grey, small_config};
use crate::config::Head;
use crate::environment::EpisodeStart;
use crate::files::ModelFile;
use crate::layout::Layout;
use crate::{
    Actor, Compute, Error, MetricRow, Reinforce, Report, Result, RewardFn, Training, Trajectory, WindowBatch,
    WindowSource, evaluate_loss, imitate, reinforce_with, score, train_reward,
};

fn training() -> Training {
    Training {
        steps: 160,
        batch: 4,
        lr: 5e-3,
        warmup: 10,
        eval_every: 80,
        eval_windows: 8,
        compute: Compute::cpu(2),
        ..Training::default()
    }
}

/// A policy that has learnt nothing.
pub fn fresh_policy(dir: &Path) -> PathBuf {
    let config = small_config();
    let layout = Layout::new(&config, Head::Policy);
    let values = layout.initial(11);
    let path = dir.join("fresh.safetensors");
    ModelFile { config, head: Head::Policy, layout, values }.write(&path).unwrap();
    path
}

#[test]
fn imitation_gets_far_below_the_prior() {
    let dir = tempfile::tempdir().unwrap();
    let config = small_config();
    let (mut train, mut held_out) = (Greys::new(&config, 24, 1), Greys::new(&config, 8, 2));
    let report = imitate(&config, None, &mut train, Some(&mut held_out), &training(), dir.path(), &mut ()).unwrap();
    let (loss, prior) = (report.last("held_out/loss").unwrap(), report.last("held_out/prior_loss").unwrap());
    assert!(prior > 2.5 && loss < 0.5 * prior, "loss {loss}, prior {prior}");
    assert_eq!(report.metrics.iter().filter(|m| m.name == "held_out/loss/stick").count(), 2);
    // The model file says the same.
    let again = evaluate_loss(&report.model, &mut held_out, Compute::cpu(2), &mut ()).unwrap();
    assert!((again[0].1 - loss).abs() < 1e-4, "{again:?} {loss}");
}

#[test]
fn a_frozen_encoder_stays_and_the_rest_learns() {
    let dir = tempfile::tempdir().unwrap();
    let config = small_config();
    let init = fresh_policy(dir.path());
    let settings = Training { freeze_encoder: true, ..training() };
    let mut train = Greys::new(&config, 24, 1);
    let mut held_out = Greys::new(&config, 8, 2);
    let report =
        imitate(&config, Some(&init), &mut train, Some(&mut held_out), &settings, dir.path(), &mut ()).unwrap();
    let (before, after) = (ModelFile::read(&init).unwrap(), ModelFile::read(&report.model).unwrap());
    for p in before.layout.parameters() {
        assert_eq!(p.encoder, before.values[p.range()] == after.values[p.range()], "{}", p.name);
    }
    let (loss, prior) = (report.last("held_out/loss").unwrap(), report.last("held_out/prior_loss").unwrap());
    assert!(loss < 0.7 * prior, "loss {loss}, prior {prior}");
}

#[test]
fn a_reward_model_learns_what_is_preferred() {
    let dir = tempfile::tempdir().unwrap();
    let config = small_config();
    let init = fresh_policy(dir.path());
    let (mut train, mut held_out) =
        (BrighterLast(Greys::new(&config, 64, 1)), BrighterLast(Greys::new(&config, 40, 2)));
    let settings = Training { eval_windows: 20, label_noise: 0.05, ..training() };
    let report = train_reward(&config, Some(&init), &mut train, &mut held_out, &settings, dir.path(), &mut ()).unwrap();
    let last = |name: &str| report.last(name).unwrap();
    assert!(last("held_out/accuracy") >= 0.9, "{}", last("held_out/accuracy"));
    assert!(last("held_out/loss") < 0.4 && last("held_out/ece") < 0.3);
    assert_eq!(last("held_out/pairs"), 20.0);

    // Scores of whole windows agree with the preference, whatever they are batched with.
    let mut windows = Greys::new(&config, 40, 2);
    let scores = score(&report.model, &mut windows, Compute::cpu(2), &mut ()).unwrap();
    assert_eq!(scores.len(), 40);
    let mut one = Greys::new(&config, 1, 2);
    assert!((score(&report.model, &mut one, Compute::cpu(2), &mut ()).unwrap()[0] - scores[0]).abs() < 1e-4);
    assert!(score(&init, &mut windows, Compute::cpu(2), &mut ()).is_err(), "a policy is no reward model");
}

#[test]
fn early_stopping_keeps_the_best_weights() {
    let dir = tempfile::tempdir().unwrap();
    let config = small_config();
    let (mut train, mut held_out) = (BrighterLast(Greys::new(&config, 8, 1)), BrighterLast(Greys::new(&config, 40, 2)));
    // Four pairs are learnt by heart: the held-out loss turns round.
    let settings = Training { steps: 400, eval_every: 10, eval_windows: 20, patience: 3, ..training() };
    let report = train_reward(&config, None, &mut train, &mut held_out, &settings, dir.path(), &mut ()).unwrap();
    let losses: Vec<&MetricRow> = report.metrics.iter().filter(|m| m.name == "held_out/loss").collect();
    let best = losses.iter().min_by(|a, b| a.value.total_cmp(&b.value)).unwrap();
    assert!(losses.len() < 40, "it stopped before the end");
    assert_eq!(losses[losses.len() - 4], *best, "{losses:?}");
    assert_eq!((report.kept_step, report.last("kept_step")), (best.step, Some(best.step as f64)));
    // A run that is over knows it from its checkpoint.
    let again = train_reward(&config, None, &mut train, &mut held_out, &settings, dir.path(), &mut ()).unwrap();
    assert_eq!((again.kept_step, again.metrics), (report.kept_step, report.metrics));
}

/// [`Greys`] whose every frame asks for another action than there: whoever learns those does worse and worse here.
struct Contrary(Greys);

impl WindowSource for Contrary {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn load(&mut self, indices: &[usize], out: &mut WindowBatch) -> Result<()> {
        self.0.load(indices, out)?;
        for action in out.actions.chunks_exact_mut(3) {
            action.copy_from_slice(&grey((usize::from(action[2]) + 1) % 5).1);
        }
        Ok(())
    }
}

#[test]
fn the_step_that_is_named_is_the_one_whose_weights_were_kept() {
    let dir = tempfile::tempdir().unwrap();
    let config = small_config();
    let (mut train, mut held_out) = (Greys::new(&config, 24, 1), Contrary(Greys::new(&config, 8, 2)));
    let settings = Training { eval_every: 10, patience: 8, ..training() };
    let report = imitate(&config, None, &mut train, Some(&mut held_out), &settings, dir.path(), &mut ()).unwrap();
    let kept = report.metrics.iter().find(|m| m.step == report.kept_step && m.name == "held_out/loss").unwrap().value;
    let last = report.last("held_out/loss").unwrap();
    assert!(kept < last - 0.1, "kept {kept}, last {last}");
    let held = evaluate_loss(&report.model, &mut held_out, Compute::cpu(2), &mut ()).unwrap()[0].1;
    assert!((held - kept).abs() < 1e-4, "the file has {held}, kept were {kept}, the last were {last}");
    // Without patience the last weights stay, and no metric needs to say so.
    let dir = tempfile::tempdir().unwrap();
    let settings = Training { steps: 20, ..training() };
    let report = imitate(&config, None, &mut train, Some(&mut held_out), &settings, dir.path(), &mut ()).unwrap();
    assert_eq!((report.kept_step, report.last("kept_step")), (20, None));
}

#[test]
fn imitation_refuses_settings_of_reward_training() {
    let dir = tempfile::tempdir().unwrap();
    let config = small_config();
    let mut train = Greys::new(&config, 8, 1);
    let bad = [
        ("label_noise", Training { label_noise: 0.1, ..training() }),
        ("centering", Training { centering: 0.0, ..training() }),
    ];
    for (name, settings) in bad {
        let refused = imitate(&config, None, &mut train, None, &settings, dir.path(), &mut ());
        assert!(matches!(&refused, Err(Error::Settings(message)) if message.contains(name)), "{refused:?}");
    }
}

/// Share of timesteps in which the first component was pressed.
pub struct Presses;

impl RewardFn for Presses {
    fn rewards(&mut self, trajectories: &[Trajectory]) -> Result<Vec<f32>> {
        let share =
            |t: &Trajectory| t.actions.chunks_exact(3).map(|action| f32::from(action[0])).sum::<f32>() / t.steps as f32;
        Ok(trajectories.iter().map(share).collect())
    }
}

pub fn starts(update: u64, group: u64) -> EpisodeStart {
    EpisodeStart { seed: update * 1000 + group * 17 + 5, group }
}

pub fn reinforcement() -> Reinforce {
    Reinforce {
        updates: 12,
        groups_per_update: 4,
        episodes_per_group: 6,
        lanes: 8,
        lr: 1e-2,
        kl: 0.01,
        batch: 6,
        calibration_groups: 4,
        checkpoint_every: 4,
        compute: Compute::cpu(2),
        ..Reinforce::default()
    }
}

fn align(dir: &Path, settings: &Reinforce) -> Report {
    let policy = fresh_policy(dir);
    reinforce_with(&policy, &policy, &mut Presses, &mut Button::boxes(8), &starts, settings, dir, &mut ()).unwrap()
}

#[test]
fn reinforce_learns_to_press_the_button() {
    for freeze_encoder in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let report = align(dir.path(), &Reinforce { freeze_encoder, ..reinforcement() });
        let rewards: Vec<f64> = report.metrics.iter().filter(|m| m.name == "reward/mean").map(|m| m.value).collect();
        assert!(rewards[0] < 0.65 && rewards[11] > 0.8, "{rewards:?}");
        assert!(report.last("label/mostly").unwrap() > 0.8);
        assert!(report.last("kl/step").unwrap() > 0.05);
        let policy = ModelFile::read(&dir.path().join("fresh.safetensors")).unwrap();
        let after = ModelFile::read(&report.model).unwrap();
        let stem = policy.layout.get("encoder.stem.w").range();
        assert_eq!(policy.values[stem.clone()] == after.values[stem], freeze_encoder);
        Actor::load(&report.model, 2, Compute::cpu(1)).unwrap();
    }
}

#[test]
fn a_strong_kl_holds_the_policy_and_a_budget_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let held = align(dir.path(), &Reinforce { kl: 100.0, ..reinforcement() });
    assert!(held.last("kl/step").unwrap() < 0.05, "{:?}", held.last("kl/step"));
    let dir = tempfile::tempdir().unwrap();
    let budget = align(dir.path(), &Reinforce { stop_kl: 0.02, ..reinforcement() });
    let updates = budget.metrics.iter().filter(|m| m.name == "kl/step").count();
    assert!((2..12).contains(&updates), "{updates}");
    assert!(budget.last("kl/step").unwrap() > 0.02);
}
