//! Several ranks that train together do what one does alone, but for the rounding of their sums.

use std::path::Path;

use playhouse_kernels::ranks::together;
use playhouse_kernels::{Backend, Ranks, emulator};

use super::golden::{batch, deterministic};
use super::toys::{Bench, BrighterLast, Greys, StopAfter, small_config};
use crate::config::{Head, ModelConfig};
use crate::feed::Batch;
use crate::imitate::Imitation;
use crate::layout::Layout;
use crate::{Compute, Error, Report, Result, Training, imitate, train_reward};

fn settings() -> Training {
    Training {
        steps: 12,
        batch: 5,
        eval_every: 5,
        eval_windows: 4,
        checkpoint_every: 4,
        shift: 1,
        compute: Compute::cpu(1),
        ..Training::default()
    }
}

fn play(t: &Training, ranks: Ranks, dir: &Path, stop_after: u64) -> Result<Report> {
    let config = small_config();
    let (mut train, mut held_out) = (Greys::new(&config, 10, 1), Greys::new(&config, 6, 2));
    let t = Training { ranks: ranks.clone(), ..t.clone() };
    let result = imitate(&config, None, &mut train, Some(&mut held_out), &t, dir, &mut StopAfter(stop_after));
    result.inspect_err(|error| ranks.give_up(&error.to_string()))
}

/// Losses of two runs agree within the rounding of sums in another order, which AdamW's first steps make larger.
fn close(a: &Report, b: &Report) {
    assert_eq!(a.metrics.len(), b.metrics.len());
    for (a, b) in a.metrics.iter().zip(&b.metrics) {
        assert_eq!((a.step, &a.name), (b.step, &b.name));
        assert!((a.value - b.value).abs() <= 1e-3 * a.value.abs().max(1.0), "{a:?} {b:?}");
    }
}

#[test]
fn imitation_on_several_ranks_is_imitation_on_one() {
    for freeze_encoder in [false, true] {
        let t = Training { freeze_encoder, shift: usize::from(!freeze_encoder), ..settings() };
        let dir = || tempfile::tempdir().unwrap();
        let (one, again) = (dir(), dir());
        let alone = play(&t, Ranks::default(), one.path(), u64::MAX).unwrap();
        for size in [2, 3] {
            let shared = dir();
            let reports = together(size, |ranks| play(&t, ranks, shared.path(), u64::MAX).unwrap());
            close(&reports[0], &alone);
            assert!(reports[0].metrics.iter().any(|m| m.name == "held_out/loss"));
            if size == 2 {
                let twice = together(size, |ranks| play(&t, ranks, again.path(), u64::MAX).unwrap());
                assert_eq!(twice[0].metrics, reports[0].metrics);
                assert_eq!(std::fs::read(&twice[0].model).unwrap(), std::fs::read(&reports[0].model).unwrap());
            }
        }
    }
}

/// A rank has its part of a batch and nothing of the others': without their sums its losses would be of other windows.
#[test]
fn a_checkpoint_does_not_know_how_many_ranks_wrote_it() {
    let t = settings();
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let alone = play(&t, Ranks::default(), whole.path(), u64::MAX).unwrap();
    let stopped = together(3, |ranks| play(&t, ranks, cut.path(), 3));
    assert!(stopped.iter().all(|r| matches!(r, Err(Error::Interrupted))), "{stopped:?}");
    let stopped = together(2, |ranks| play(&t, ranks, cut.path(), 4));
    assert!(stopped.iter().all(|r| matches!(r, Err(Error::Interrupted))), "{stopped:?}");
    close(&play(&t, Ranks::default(), cut.path(), u64::MAX).unwrap(), &alone);
}

#[test]
fn rewards_on_several_ranks_are_rewards_on_one() {
    let train = |ranks, dir: &Path| {
        let config = small_config();
        let (mut train, mut held_out) =
            (BrighterLast(Greys::new(&config, 20, 1)), BrighterLast(Greys::new(&config, 8, 2)));
        let t = Training { ranks, ..settings() };
        train_reward(&config, None, &mut train, &mut held_out, &t, dir, &mut ()).unwrap()
    };
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    close(&together(2, |ranks| train(ranks, two.path()))[0], &train(Ranks::default(), one.path()));
}

#[test]
fn what_cannot_be_shared_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let small = Training { batch: 1, ..settings() };
    let errors = together(2, |ranks| play(&small, ranks, dir.path(), u64::MAX).unwrap_err().to_string());
    assert!(errors[0].contains("batch is 1, but each of 2 ranks"), "{}", errors[0]);
    let errors = together(2, |ranks| {
        let t = Training { lr: if ranks.leads() { 0.1 } else { 0.2 }, ..settings() };
        play(&t, ranks, dir.path(), u64::MAX).unwrap_err().to_string()
    });
    assert!(errors.iter().all(|e| e.contains("different settings")), "{errors:?}");
    let errors = together(2, |ranks| {
        let own = tempfile::tempdir().unwrap();
        if ranks.leads() {
            play(&settings(), Ranks::default(), own.path(), 4).unwrap_err();
        }
        play(&settings(), ranks, own.path(), u64::MAX).unwrap_err().to_string()
    });
    assert!(errors.iter().all(|e| e.contains("different checkpoints")), "{errors:?}");
}

/// The gradients of a batch on two emulated GPUs, whose sums arrive as late as they may, are those on one.
#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn gradients_on_two_emulated_gpus_are_those_on_one() {
    let config = ModelConfig { context: 4, ..small_config() };
    let weights = deterministic(&Layout::new(&config, Head::Policy));
    let whole = batch(&config, 3);
    let gradients = |b: Box<dyn Backend>, ranks: &Ranks, batch: Batch| {
        let mut bench = Bench::on(b, &config, &weights, batch);
        bench.l.b.join(ranks).unwrap();
        bench.objective = Imitation::plan(&mut bench.l, bench.batch.windows, ranks);
        // The second time it is a graph that is replayed.
        for _ in 0..3 {
            bench.loss();
        }
        bench.l.gradients()
    };
    let part = |windows: std::ops::Range<usize>| {
        let rows = windows.start * config.context..windows.end * config.context;
        let cut = |values: &[u8], each: usize| values[rows.start * each..rows.end * each].to_vec();
        Batch {
            windows: windows.len(),
            pixels: cut(&whole.pixels, config.frame_bytes()),
            actions: cut(&whole.actions, config.actions.len()),
            weights: whole.weights[rows.clone()].to_vec(),
            ..Batch::default()
        }
    };
    let alone = gradients(emulator::backend(), &Ranks::default(), part(0..3));
    let shared = together(2, |ranks| gradients(emulator::backend(), &ranks, part(ranks.share(3))));
    assert_eq!(shared[0], shared[1]);
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let off = norm(&mut alone.iter().zip(&shared[0]).map(|(a, b)| a - b)) / norm(&mut alone.iter().copied());
    // Only sums are in another order: each activation is of one window and has the same bits.
    assert!(off < 1e-4, "off by {off} of the norm");
}
