//! Playing and learning see the same policy.

use std::collections::BTreeMap;

use super::learning::fresh_policy;
use super::toys::Button;
use crate::compute::Compute;
use crate::environment::EpisodeStart;
use crate::files::ModelFile;
use crate::model::{Input, Model, Pass};
use crate::reinforce::windows::{count, learnt, seen};
use crate::softmax::log_softmax;
use crate::{Actor, Trajectory};

fn play(lanes: usize, threads: usize, temperature: f32) -> BTreeMap<usize, Trajectory> {
    let dir = tempfile::tempdir().unwrap();
    let mut actor = Actor::load(&fresh_policy(dir.path()), lanes, Compute::cpu(threads)).unwrap();
    let starts: Vec<EpisodeStart> = (0..13).map(|i| EpisodeStart { seed: 100 + 7 * i, group: i }).collect();
    let mut all = BTreeMap::new();
    let mut done = |index: usize, env: &mut dyn crate::Environment, trajectory: Trajectory| {
        assert!(env.label().is_some());
        assert!(all.insert(index, trajectory).is_none());
        Ok(())
    };
    actor.rollouts(&mut Button::boxes(lanes), &starts, 42, temperature, &mut done, &mut ()).unwrap();
    all
}

#[test]
fn lanes_and_threads_do_not_change_what_happens() {
    let all = play(5, 2, 1.0);
    assert_eq!(all.len(), 13);
    assert!(all.values().any(|t| t.steps > 16), "some contexts hop");
    for (lanes, threads) in [(1, 1), (3, 2), (20, 1)] {
        for (index, t) in play(lanes, threads, 1.0) {
            assert_eq!(t.actions, all[&index].actions, "episode {index} with {lanes} lanes");
            assert_eq!(t.frames, all[&index].frames);
        }
    }
    assert_eq!(play(4, 2, 0.0), play(4, 1, 0.0));
    assert_ne!(play(4, 2, 0.0)[&0].actions, all[&0].actions);
}

#[test]
fn log_probs_of_a_rollout_are_those_of_its_training_windows() {
    let dir = tempfile::tempdir().unwrap();
    let file = ModelFile::read(&fresh_policy(dir.path())).unwrap();
    let config = file.config.clone();
    let mut b = Compute::cpu(2).backend().unwrap();
    let model = Model::from_file(b.as_mut(), &file);
    let pass = Pass::plan(b.as_mut(), &config, 1, false);
    let logits = b.alloc(config.context * config.logits(), playhouse_kernels::Kind::Activation);
    let mut compared = 0;
    for t in play(3, 2, 1.0).values() {
        for window in 0..count(t.steps, config.context) {
            let seen = seen(window, t.steps, config.context);
            let mut pixels = t.frames[seen.start * config.frame_bytes()..seen.end * config.frame_bytes()].to_vec();
            pixels.resize(config.context * config.frame_bytes(), 0);
            pass.upload_pixels(b.as_mut(), 0, &pixels);
            b.wait_uploads();
            let hidden = pass.forward(b.as_mut(), &model.w, Input::Pixels(0), 1);
            model.head_forward(b.as_mut(), hidden, logits, config.context);
            let mut values = vec![0.0; logits.len()];
            b.download(logits, &mut values);
            for step in learnt(window, t.steps, config.context) {
                let row = &values[(step - seen.start) * config.logits()..];
                let action = &t.actions[step * 3..step * 3 + 3];
                let (mut offset, mut total, mut log_probs) = (0, 0.0, Vec::new());
                for (&bucket, &k) in action.iter().zip(&config.cardinalities()) {
                    log_softmax(&row[offset..offset + k], &mut log_probs);
                    total += log_probs[usize::from(bucket)];
                    offset += k;
                }
                let own = f64::from(t.log_probs[step]);
                assert!((total - own).abs() < 1e-4, "step {step} of {}: {own} played, {total} learnt", t.steps);
                compared += 1;
            }
        }
    }
    assert!(compared > 100);
}
