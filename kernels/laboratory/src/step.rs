//! `laboratory step`: whole training steps, and all that a peer needs to repeat them.
//!
//! ```text
//! FOLDER/initial.safetensors    the weights before the first step
//!        frames.u8              [B, 32, S, S, 3] of noise
//!        actions.u8             [B, 32, components]
//!        step.json              the shape, the settings of AdamW, the loss and the time of each step
//! ```
//!
//! Every step sees the same batch, so its loss does not depend on the order of the windows. The time of a step is that of the training
//! loop itself, with the upload of the next batch, from one loss to the next.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use playhouse_agent::{
    Compute, Device, ModelConfig, Observer, Schedule, Training, WindowBatch, WindowSource, imitate, write_initial,
};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::json;

use crate::write;

/// Decides weights and data.
const SEED: u64 = 7;

#[derive(Args)]
pub struct StepArgs {
    /// Where weights, data and results go; the folder is made
    folder: PathBuf,
    /// What trains
    #[arg(long, value_enum, default_value_t = On::Cuda)]
    device: On,
    /// The model: tiny, small or paper
    #[arg(long, default_value = "paper")]
    preset: String,
    /// Sequences of 32 frames in a batch
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    sequences: u32,
    /// Steps; the first does not count for the time
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(3..))]
    steps: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum On {
    /// The first GPU, in bf16
    Cuda,
    /// The processor, in f32
    Cpu,
}

impl StepArgs {
    /// Always true: whether the losses are right, the peer says.
    pub fn run(&self) -> Result<bool> {
        let config = ModelConfig::preset(&self.preset)?;
        let device = match self.device {
            On::Cuda => Device::Cuda,
            On::Cpu => Device::Cpu,
        };
        let settings = Training {
            steps: self.steps.into(),
            batch: self.sequences as usize,
            lr: 3e-4,
            warmup: 0,
            schedule: Schedule::Constant,
            checkpoint_every: u64::MAX,
            seed: SEED,
            compute: Compute { device, ..Compute::default() },
            ..Training::default()
        };
        let mut noise = Noise::new(&config, settings.batch);
        self.leave("frames.u8", &noise.frames)?;
        self.leave("actions.u8", &noise.actions)?;
        let initial = self.folder.join("initial.safetensors");
        write_initial(&config, SEED, &initial)?;

        let work = self.folder.join("training");
        // What an earlier call left would be gone on with.
        if work.exists() {
            std::fs::remove_dir_all(&work).with_context(|| format!("{} cannot be removed", work.display()))?;
        }
        std::fs::create_dir_all(&work).with_context(|| format!("{} cannot be made", work.display()))?;
        let mut clock = Clock::default();
        let report = imitate(&config, Some(&initial), &mut noise, None, &settings, &work, &mut clock)?;
        std::fs::remove_dir_all(&work).with_context(|| format!("{} cannot be removed", work.display()))?;
        let series = |name: &str| -> Vec<f64> {
            report.metrics.iter().filter(|row| row.name == name).map(|row| row.value).collect()
        };
        let losses = series("train/loss");
        let seconds = clock.intervals();
        ensure!(seconds.len() + 1 == losses.len(), "{} times of {} steps", seconds.len(), losses.len());
        let mut sorted = seconds.clone();
        sorted.sort_by(f64::total_cmp);
        let (median, fastest, slowest) = (sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1]);
        let frames = settings.batch * config.context;
        println!(
            "{}, {} sequences of {} frames on {device}: {:.1} ms a step ({:.1} to {:.1}), {:.0} frames/s",
            config.name,
            settings.batch,
            config.context,
            1000.0 * median,
            1000.0 * fastest,
            1000.0 * slowest,
            frames as f64 / median
        );
        println!("loss {:.4} at first, {:.4} after {} steps", losses[0], losses[losses.len() - 1], losses.len());
        let results = json!({
            "device": device.to_string(), "config": config, "sequences": self.sequences,
            "lr": settings.lr, "beta1": settings.beta1, "beta2": settings.beta2,
            "weight_decay": settings.weight_decay, "clip": settings.clip,
            "losses": losses, "gradient_norms": series("train/gradient_norm"), "seconds": seconds,
        });
        let path = self.folder.join("step.json");
        write(&path, &results).with_context(|| format!("{} cannot be written", path.display()))?;
        println!("{} and its neighbours are what tests/gpu/step.py reads", path.display());
        Ok(true)
    }

    fn leave(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let about = |path: &Path| format!("{} cannot be written", path.display());
        std::fs::create_dir_all(&self.folder).with_context(|| about(&self.folder))?;
        let path = self.folder.join(name);
        std::fs::write(&path, bytes).with_context(|| about(&path))
    }
}

/// One batch of noise at the model's own frame size.
struct Noise {
    config: ModelConfig,
    frames: Vec<u8>,
    actions: Vec<u8>,
}

impl Noise {
    fn new(config: &ModelConfig, windows: usize) -> Self {
        let mut rng = Pcg64::seed_from_u64(SEED);
        let mut frames = vec![0; windows * config.context * config.frame_bytes()];
        rng.fill_bytes(&mut frames);
        let values = config.cardinalities();
        let rows = (0..windows * config.context).flat_map(|_| &values);
        let actions = rows.map(|values| (rng.next_u64() % *values as u64) as u8).collect();
        Self { config: config.clone(), frames, actions }
    }
}

impl WindowSource for Noise {
    fn len(&self) -> usize {
        self.actions.len() / (self.config.context * self.config.actions.len())
    }

    fn frame_size(&self) -> usize {
        self.config.frame_size
    }

    fn load(&mut self, indices: &[usize], out: &mut WindowBatch) -> playhouse_agent::Result<()> {
        out.clear();
        let steps = self.config.context;
        let (bytes, components) = (steps * self.config.frame_bytes(), steps * self.config.actions.len());
        for index in indices {
            out.frames.extend_from_slice(&self.frames[index * bytes..][..bytes]);
            out.actions.extend_from_slice(&self.actions[index * components..][..components]);
            out.weights.extend(std::iter::repeat_n(1.0, steps));
        }
        Ok(())
    }
}

/// When each step's loss was there.
#[derive(Default)]
struct Clock {
    steps: Vec<Instant>,
}

impl Clock {
    /// Seconds from each step's loss to the next.
    fn intervals(&self) -> Vec<f64> {
        self.steps.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }
}

impl Observer for Clock {
    fn progress(&mut self, _done: u64, _total: u64, message: &str) {
        if message.starts_with("loss ") {
            self.steps.push(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_leave_what_a_peer_needs() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let steps = StepArgs {
            folder: folder.path().to_owned(),
            device: On::Cpu,
            preset: "tiny".into(),
            sequences: 2,
            steps: 4,
        };
        assert!(steps.run().unwrap());
        let length = |name: &str| std::fs::metadata(place(name)).unwrap().len();
        assert_eq!([length("frames.u8"), length("actions.u8")], [2 * 32 * 64 * 64 * 3, 2 * 32 * 16]);
        let bytes = std::fs::read(place("step.json")).unwrap();
        let results: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let numbers = |name: &str| -> Vec<f64> {
            results[name].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
        };
        // Noise cannot be told apart yet: twelve buttons and four sticks of eleven buckets by chance.
        let (losses, chance) = (numbers("losses"), 12.0 * 2f64.ln() + 4.0 * 11f64.ln());
        assert!((losses[0] - chance).abs() < 1.0 && losses[3] < losses[0], "{losses:?}, {chance} by chance");
        assert_eq!((losses.len(), numbers("seconds").len()), (4, 3));
        // A second call begins anew.
        assert!(steps.run().unwrap());
        assert!(!place("training").exists() && place("initial.safetensors").exists());
    }
}
