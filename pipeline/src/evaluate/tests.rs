//! An evaluation from end to end, with a model that has hardly learnt anything.

use std::path::{Path, PathBuf};

use playhouse_agent::{Component, Compute, ModelConfig, Readout, Training, imitate};

use super::*;
use crate::progress::Silent;
use crate::stages::record_into;

/// A model small enough to make in a second, in `dir/model.safetensors`.
pub fn small_model(dir: &Path, seed: u64) -> PathBuf {
    let data = dir.join("play");
    let settings = "map = 'skygarden'\nepisodes = 2\nframes = 'none'".parse().unwrap();
    record_into(&data, &settings, 1, 2, &Silent).unwrap();
    let actions = ActionSpace::gamepad().components;
    let config = ModelConfig {
        name: "smallest".into(),
        frame_size: 32,
        dims: vec![4],
        depths: vec![1],
        readout: Readout::Mean,
        width: 8,
        layers: 1,
        heads: 1,
        ffn: 8,
        context: 32,
        actions: actions.iter().map(|c| Component { name: c.name.clone(), values: c.cardinality.into() }).collect(),
    };
    let windows = vec![Window { episode_id: 0, t_start: 0, length: 8, weight: 1.0 }];
    let mut source = Windows::open(&data, windows, Role::Whole, 32, 0).unwrap();
    let training = Training { steps: 1, batch: 1, seed, compute: Compute::cpu(2), ..Training::default() };
    let run = dir.join(format!("model-{seed}"));
    std::fs::create_dir_all(&run).unwrap();
    imitate(&config, None, &mut source, None, &training, &run, &mut ()).unwrap().model
}

/// Evaluates two such models into `dir`.
pub fn small_evaluation(dir: &Path, episodes: u64) -> Evaluation {
    let policies = [("first".to_owned(), small_model(dir, 1)), ("second".to_owned(), small_model(dir, 2))];
    let request = Request {
        policies: &policies,
        map: "skygarden",
        episodes,
        seed: 9,
        temperature: 1.0,
        perturbation: None,
        reference: Some(&policies[0].1),
        reward: None,
        compute: Compute::cpu(2),
    };
    evaluate(&request, dir, &Silent).unwrap()
}

#[test]
fn policies_start_alike_and_every_rollout_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let evaluation = small_evaluation(dir.path(), 6);
    let (first, second) = evaluation.rows.split_at(6);
    assert_eq!(second.len(), 6);
    for (a, b) in first.iter().zip(second) {
        assert_eq!((a.policy.as_str(), b.policy.as_str()), ("first", "second"));
        assert_eq!((a.spawn.as_str(), a.episode_id + IDS), (b.spawn.as_str(), b.episode_id));
    }
    for (row, path) in evaluation.rows.iter().zip(&evaluation.paths) {
        assert_eq!(path.len(), row.num_steps as usize + 1);
        assert_eq!(row.time_to_pad.is_some(), PADS.contains(&row.outcome.as_str()));
        assert!((0.0..=1.0).contains(&row.wall_fraction));
    }
    assert!(first.iter().all(|row| row.kl.is_some_and(|kl| kl.abs() < 1e-6)), "a policy is no way from itself");
    assert!(second.iter().all(|row| row.kl.is_some_and(|kl| kl > 0.0)));
    assert_eq!(evaluation.summary().policies[1].pads.none.of, 6);

    evaluation.write(dir.path()).unwrap();
    let back = Evaluation::read(dir.path()).unwrap();
    assert_eq!(back.rows, evaluation.rows);
    assert_eq!(back.paths, evaluation.paths);
}

#[test]
fn a_second_evaluation_finds_everything_there() {
    let dir = tempfile::tempdir().unwrap();
    let once = small_evaluation(dir.path(), 3);
    let parts = || std::fs::read_dir(dir.path().join("data/episodes")).unwrap().count();
    let before = parts();
    let twice = small_evaluation(dir.path(), 3);
    assert_eq!((once.rows, before), (twice.rows, parts()));
}

#[test]
fn windows_of_a_rollout_count_each_step_once() {
    for steps in [1, 15, 16, 17, 32, 33, 48, 49, 200] {
        let row = Row {
            policy: "p".into(),
            episode_id: 4,
            spawn: "s".into(),
            outcome: "fall".into(),
            num_steps: steps,
            hz: 10.0,
            time_to_pad: None,
            wall_fraction: 0.0,
            fell: true,
            reward: None,
            kl: None,
        };
        let mut seen = vec![0; steps as usize];
        for window in cut(&row) {
            let from = if window.t_start == 0 { 0 } else { window.t_start + 16 };
            (from..window.t_start + window.length).for_each(|t| seen[t as usize] += 1);
        }
        assert!(seen.iter().all(|count| *count == 1), "{steps}: {seen:?}");
    }
}
