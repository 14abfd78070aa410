//! Frames a second, and a core-second, of training and of playing a preset:
//! `cargo run -p playhouse-agent --example training -- [preset] [threads] [steps]`.
//!
//! Data are noise and the world costs nothing, so what is timed is the agent alone. Core-seconds (user and system time of this process)
//! are the figure to compare on a busy machine.

use std::time::Instant;

use playhouse_agent::{
    Actor, Compute, Environment, EpisodeStart, ModelConfig, Reinforce, Result, RewardFn, SOURCE_FRAME, Training,
    Trajectory, WindowBatch, WindowSource, imitate, reinforce_with,
};

/// Windows of noise at the model's own frame size.
struct Noise {
    config: ModelConfig,
    bytes: Vec<u8>,
}

impl WindowSource for Noise {
    fn len(&self) -> usize {
        256
    }
    fn frame_size(&self) -> usize {
        self.config.frame_size
    }
    fn load(&mut self, indices: &[usize], out: &mut WindowBatch) -> Result<()> {
        out.clear();
        let (t, heads) = (self.config.context, self.config.actions.len());
        for index in indices {
            out.frames.extend_from_slice(&self.bytes[index * 97..][..t * self.config.frame_bytes()]);
            out.actions.extend((0..t * heads).map(|i| (i * index % 2) as u8));
            out.weights.extend(std::iter::repeat_n(1.0, t));
        }
        Ok(())
    }
}

/// A world of flat frames and episodes of 100 steps.
struct Flat(usize);

impl Environment for Flat {
    fn reset(&mut self, start: &EpisodeStart) -> Result<()> {
        self.0 = (start.seed % 17) as usize;
        Ok(())
    }
    fn observe(&mut self, rgb: &mut [u8]) {
        rgb[..SOURCE_FRAME * 3].fill(self.0 as u8);
    }
    fn step(&mut self, _action: &[u8]) -> Result<bool> {
        self.0 += 1;
        Ok(self.0 >= 100)
    }
}

/// Rewards that differ.
struct ByFirstAction;

impl RewardFn for ByFirstAction {
    fn rewards(&mut self, trajectories: &[Trajectory]) -> Result<Vec<f32>> {
        Ok(trajectories.iter().map(|t| f32::from(t.actions[0]) + f32::from(t.actions[12])).collect())
    }
}

/// User and system time of this process in seconds, where the kernel tells (fields 14 and 15 of /proc/self/stat, in hundredths).
fn core_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    fields.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn timed<R>(what: &str, frames: impl FnOnce(&R) -> f64, work: impl FnOnce() -> Result<R>) -> Result<R> {
    let (wall, cpu) = (Instant::now(), core_seconds());
    let result = work()?;
    let (wall, cpu) = (wall.elapsed().as_secs_f64(), core_seconds() - cpu);
    let frames = frames(&result);
    println!("{what}: {:.0} frames/s, {:.0} frames per core-second ({frames} frames)", frames / wall, frames / cpu);
    Ok(result)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| arguments.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let config = ModelConfig::preset(arguments.first().map_or("tiny", String::as_str))?;
    let (threads, steps) = (number(1, 2), number(2, 20));
    let dir = std::env::temp_dir().join(format!("playhouse-speed-{}", std::process::id()));
    let noise = || {
        let len = 256 * 97 + config.context * config.frame_bytes();
        Noise { config: config.clone(), bytes: (0..len).map(|i| (i * i / 7) as u8).collect() }
    };
    let t = Training {
        steps: steps as u64,
        batch: 8,
        compute: Compute::cpu(threads),
        checkpoint_every: u64::MAX,
        ..Training::default()
    };
    let frames = (steps * t.batch * config.context) as f64;
    let policy =
        timed("imitation", |_| frames, || imitate(&config, None, &mut noise(), None, &t, &dir.join("a"), &mut ()))?
            .model;
    let frozen = Training { freeze_encoder: true, ..t.clone() };
    timed(
        "imitation, frozen encoder (each window about once)",
        |_| frames,
        || imitate(&config, Some(&policy), &mut noise(), None, &frozen, &dir.join("b"), &mut ()),
    )?;
    let mut worlds: Vec<Box<dyn Environment>> = (0..64).map(|_| Box::new(Flat(0)) as Box<dyn Environment>).collect();
    let starts: Vec<EpisodeStart> = (0..64).map(|i| EpisodeStart { seed: i, group: i }).collect();
    timed(
        "rollouts of 64 lanes",
        |steps| *steps as f64,
        || {
            let mut steps = 0;
            let mut done = |_: usize, _: &mut dyn Environment, t: Trajectory| {
                steps += t.steps;
                Ok(())
            };
            Actor::load(&policy, 64, Compute::cpu(threads))?.rollouts(
                &mut worlds,
                &starts,
                1,
                1.0,
                &mut done,
                &mut (),
            )?;
            Ok(steps)
        },
    )?;
    for freeze_encoder in [false, true] {
        let r = Reinforce {
            updates: 2,
            freeze_encoder,
            reward_mean: Some(0.0),
            reward_std: Some(1.0),
            compute: Compute::cpu(threads),
            ..Reinforce::default()
        };
        let steps = |report: &playhouse_agent::Report| {
            report.metrics.iter().filter(|m| m.name == "episode_length").map(|m| m.value * 64.0).sum()
        };
        let dir = dir.join(format!("c{freeze_encoder}"));
        let start = |update, group| EpisodeStart { seed: update * 64 + group, group };
        timed(&format!("reinforce, frozen encoder {freeze_encoder}"), steps, || {
            reinforce_with(&policy, &policy, &mut ByFirstAction, &mut worlds, &start, &r, &dir, &mut ())
        })?;
    }
    let _ = std::fs::remove_dir_all(dir);
    Ok(())
}
