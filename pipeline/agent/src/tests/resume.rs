//! A run that was interrupted anywhere ends with the same bytes and the same metrics as one that was not.

use std::path::Path;

use playhouse_kernels::device::Device;

use super::learning::{Presses, fresh_policy, reinforcement, starts};
use super::toys::{BrighterLast, Button, Greys, StopAfter, small_config};
use crate::config::Head;
use crate::environment::Environment;
use crate::files::Checkpoint;
use crate::layout::Layout;
use crate::report::Observer;
use crate::{Compute, Error, Reinforce, Report, Result, Training, imitate, reinforce_with, train_reward};

fn settings() -> Training {
    Training {
        steps: 17,
        batch: 3,
        eval_every: 5,
        eval_windows: 4,
        checkpoint_every: 4,
        compute: Compute::cpu(2),
        ..Training::default()
    }
}

fn same(a: &Report, b: &Report) {
    assert_eq!((a.metrics.len(), a.kept_step), (b.metrics.len(), b.kept_step));
    for (a, b) in a.metrics.iter().zip(&b.metrics) {
        assert_eq!((a.step, &a.name, a.value.to_bits()), (b.step, &b.name, b.value.to_bits()));
    }
    assert_eq!(std::fs::read(&a.model).unwrap(), std::fs::read(&b.model).unwrap());
}

fn clone_play(t: &Training, dir: &Path, fuse: Option<usize>, o: &mut dyn Observer) -> Result<Report> {
    let config = small_config();
    let mut train = Greys::new(&config, 10, 1);
    train.fuse = fuse;
    let mut held_out = Greys::new(&config, 6, 2);
    imitate(&config, None, &mut train, Some(&mut held_out), t, dir, o)
}

#[test]
fn imitation_resumes_bit_for_bit() {
    for freeze_encoder in [false, true] {
        let t = Training { freeze_encoder, ..settings() };
        let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let expected = clone_play(&t, whole.path(), None, &mut ()).unwrap();
        // Stopped on request, after encoding where there is any.
        let reports = if freeze_encoder { 10 + 4 + 7 } else { 7 };
        let stopped = clone_play(&t, cut.path(), None, &mut StopAfter(reports));
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
        assert!(cut.path().join("checkpoint.safetensors").exists());
        // Then killed between two checkpoints: everything since the last one is lost.
        if !freeze_encoder {
            assert!(matches!(clone_play(&t, cut.path(), Some(8), &mut ()), Err(Error::Outside(_))));
        }
        same(&clone_play(&t, cut.path(), None, &mut ()).unwrap(), &expected);
        // And once more, when it is already done.
        same(&clone_play(&t, cut.path(), None, &mut ()).unwrap(), &expected);
    }
}

#[test]
fn another_thread_count_changes_nothing_and_other_settings_are_a_conflict() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = clone_play(&Training { compute: Compute::cpu(1), ..settings() }, a.path(), None, &mut ()).unwrap();
    let two = clone_play(&Training { compute: Compute::cpu(2), ..settings() }, b.path(), None, &mut ()).unwrap();
    same(&one, &two);
    let other = clone_play(&Training { lr: 0.5, ..settings() }, b.path(), None, &mut ());
    assert!(matches!(&other, Err(Error::Conflict { reason, .. }) if reason.contains("settings.lr")), "{other:?}");
}

/// Another device rounds otherwise: going on there would not end with the same bytes.
#[test]
fn a_checkpoint_of_one_device_is_refused_by_another() {
    let layout = Layout::new(&small_config(), Head::Policy);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let run = |device| Compute { device, ..Compute::cpu(1) }.mark(serde_json::json!({ "settings": { "lr": 0.1 } }));
    for (made, other) in [(Device::Cuda, Device::Cpu), (Device::Cpu, Device::Cuda)] {
        let [weights, m, v] = std::array::from_fn(|_| vec![0.0; layout.len()]);
        let checkpoint = Checkpoint { run: run(made), weights, m, v, ..Checkpoint::default() };
        checkpoint.write(&path, &layout).unwrap();
        assert!(Checkpoint::read(&path, &layout, &run(made)).unwrap().is_some());
        let refused = Checkpoint::read(&path, &layout, &run(other)).err();
        assert!(matches!(&refused, Some(Error::Conflict { reason, .. }) if reason.contains("device")), "{refused:?}");
    }
}

fn prefer(t: &Training, dir: &Path, fuse: Option<usize>, o: &mut dyn Observer) -> Result<Report> {
    let config = small_config();
    let mut train = Greys::new(&config, 20, 1);
    train.fuse = fuse;
    let mut held_out = BrighterLast(Greys::new(&config, 12, 2));
    train_reward(&config, None, &mut BrighterLast(train), &mut held_out, t, dir, o)
}

#[test]
fn reward_training_resumes_bit_for_bit() {
    let t = Training { patience: 2, ..settings() };
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = prefer(&t, whole.path(), None, &mut ()).unwrap();
    assert!(matches!(prefer(&t, cut.path(), Some(60), &mut ()), Err(Error::Outside(_))));
    assert!(matches!(prefer(&t, cut.path(), None, &mut StopAfter(3)), Err(Error::Interrupted)));
    same(&prefer(&t, cut.path(), None, &mut ()).unwrap(), &expected);
}

fn align(r: &Reinforce, dir: &Path, fuse: Option<usize>, o: &mut dyn Observer) -> Result<Report> {
    let policy = fresh_policy(dir);
    let mut environments: Vec<Box<dyn Environment>> = Button::boxes(8);
    if fuse.is_some() {
        let first: &mut dyn std::any::Any = environments[0].as_mut();
        first.downcast_mut::<Button>().unwrap().fuse = fuse;
    }
    reinforce_with(&policy, &policy, &mut Presses, &mut environments, &starts, r, dir, o)
}

#[test]
fn reinforce_resumes_bit_for_bit() {
    let r = Reinforce { updates: 5, checkpoint_every: 2, ..reinforcement() };
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = align(&r, whole.path(), None, &mut ()).unwrap();
    assert!(matches!(align(&r, cut.path(), Some(150), &mut ()), Err(Error::Outside(_))));
    // Stopped in the middle of an update: the finished ones are saved.
    assert!(matches!(align(&r, cut.path(), None, &mut StopAfter(60)), Err(Error::Interrupted)));
    same(&align(&r, cut.path(), None, &mut ()).unwrap(), &expected);
}
