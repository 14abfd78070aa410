//! Playing: many episodes at once, one policy step for all of them at a time.
//!
//! ```text
//! device    encode + decode 64 frames          encode + decode 64 frames
//!                     \ logits                /
//! threads              sample, step, render ..   one task a lane
//! ```
//!
//! What happens in an episode depends on its start, the sampling seed and its index, never on the lane it runs in: the draw for timestep t
//! of start k comes from (seed, k, t).

use std::path::Path;
use std::time::Instant;

use playhouse_kernels::Backend;
use rayon::prelude::*;

use crate::compute::Compute;
use crate::config::{Head, ModelConfig, SOURCE_FRAME};
use crate::decoder::Decoder;
use crate::environment::{Environment, EpisodeStart};
use crate::error::{Error, Result};
use crate::frames::shrink_source;
use crate::model::{Model, read_model};
use crate::report::Observer;
use crate::rng;
use crate::softmax::log_softmax;

/// One episode as it was played: T timesteps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trajectory {
    /// Frames as the model saw them, `[T, S, S, 3]` with S its `frame_size`.
    pub frames: Vec<u8>,
    /// Actions taken, `[T, components]`.
    pub actions: Vec<u8>,
    /// ln pi(action) of each timestep under the policy itself (temperature 1), `[T]`.
    pub log_probs: Vec<f32>,
    /// Embeddings of the frames, `[T, d]`, where they were asked for; else empty.
    pub embeddings: Vec<f32>,
    /// T.
    pub steps: usize,
}

/// A policy that plays.
pub struct Actor {
    b: Box<dyn Backend>,
    model: Model,
    decoder: Decoder,
    pool: rayon::ThreadPool,
}

impl Actor {
    /// Loads a policy, with memory for `lanes` episodes at once.
    pub fn load(model: &Path, lanes: usize, compute: Compute) -> Result<Self> {
        if lanes == 0 {
            return Err(Error::Settings("lanes is 0, but at least one episode must run at a time".to_owned()));
        }
        let file = read_model(model, Head::Policy)?;
        let mut b = compute.backend()?;
        let model = Model::from_file(b.as_mut(), &file);
        let decoder = Decoder::plan(b.as_mut(), &file.config, lanes);
        Ok(Self { b, model, decoder, pool: pool(compute)? })
    }

    /// The policy's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    /// Plays every start to its end, at most `lanes` at once, and hands each finished episode to `done` with its index, its environment (as
    /// the episode left it) and its trajectory. Episodes finish in an order of their own.
    ///
    /// Actions are drawn from softmax(logits / `temperature`) for each component; 0 takes the most probable.
    pub fn rollouts(
        &mut self,
        environments: &mut [Box<dyn Environment>],
        starts: &[EpisodeStart],
        seed: u64,
        temperature: f32,
        done: &mut dyn FnMut(usize, &mut dyn Environment, Trajectory) -> Result<()>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let sampling = Sampling { seed, temperature, keep_embeddings: false };
        let mut stage = Stage { b: self.b.as_mut(), model: &self.model, decoder: &mut self.decoder, pool: &self.pool };
        stage.play(environments, starts, sampling, done, observer)
    }
}

/// Threads for environments.
pub(crate) fn pool(compute: Compute) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new().num_threads(compute.threads()).build().map_err(Error::outside)
}

/// How actions are drawn, and what is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampling {
    pub seed: u64,
    pub temperature: f32,
    pub keep_embeddings: bool,
}

/// A policy with everything it needs to play, borrowed from whoever owns it.
pub(crate) struct Stage<'a> {
    pub b: &'a mut dyn Backend,
    pub model: &'a Model,
    pub decoder: &'a mut Decoder,
    pub pool: &'a rayon::ThreadPool,
}

/// One running episode.
struct Lane {
    start: usize,
    trajectory: Trajectory,
    /// The frame at 128 x 128, on its way to the model's size.
    rgb: Vec<u8>,
    action: Vec<u8>,
    over: bool,
}

impl Stage<'_> {
    /// See [`Actor::rollouts`].
    pub fn play(
        &mut self,
        environments: &mut [Box<dyn Environment>],
        starts: &[EpisodeStart],
        sampling: Sampling,
        done: &mut dyn FnMut(usize, &mut dyn Environment, Trajectory) -> Result<()>,
        o: &mut dyn Observer,
    ) -> Result<()> {
        if !(sampling.temperature >= 0.0 && sampling.temperature.is_finite()) {
            let temperature = sampling.temperature;
            return Err(Error::Settings(format!("temperature is {temperature}, but must be 0 or positive")));
        }
        let mut active = self.decoder.capacity().min(environments.len()).min(starts.len());
        if active == 0 && !starts.is_empty() {
            return Err(Error::Input("there are episodes to play, but no environment to play them in".to_owned()));
        }
        let config = &self.model.config;
        let (frame_bytes, width) = (config.frame_bytes(), config.logits());
        let player = Player { config, cardinalities: config.cardinalities(), sampling };
        let lane = |start| Lane {
            start,
            trajectory: Trajectory::default(),
            rgb: vec![0; SOURCE_FRAME * SOURCE_FRAME * 3],
            action: vec![0; config.actions.len()],
            over: true,
        };
        let mut lanes: Vec<Lane> = (0..active).map(lane).collect();
        let mut frames = vec![0; active * frame_bytes];
        let mut logits = vec![0.0; active * width];
        let mut embeddings = vec![0.0; if sampling.keep_embeddings { active * config.width } else { 0 }];
        let (mut next, mut finished, mut steps) = (active, 0u64, 0u64);
        let began = Instant::now();
        self.decoder.start(active);
        self.open(&player, starts, environments, &mut lanes, &mut frames, active)?;
        while active > 0 {
            if o.stop() {
                return Err(Error::Interrupted);
            }
            self.decoder.step(self.b, self.model, &frames[..active * frame_bytes], &mut logits[..active * width]);
            if sampling.keep_embeddings {
                self.decoder.embeddings(self.b, &mut embeddings[..active * config.width]);
                for (lane, embedding) in lanes.iter_mut().zip(embeddings.chunks_exact(config.width)) {
                    lane.trajectory.embeddings.extend_from_slice(embedding);
                }
            }
            self.pool.install(|| {
                (&mut lanes[..active], &mut environments[..active])
                    .into_par_iter()
                    .zip(frames[..active * frame_bytes].par_chunks_exact_mut(frame_bytes))
                    .zip(logits[..active * width].par_chunks_exact(width))
                    .with_max_len(1)
                    .try_for_each(|(((lane, env), frame), logits)| player.advance(lane, env.as_mut(), logits, frame))
            })?;
            steps += active as u64;

            let mut i = 0;
            let mut opened = false;
            while i < active {
                if !lanes[i].over {
                    i += 1;
                    continue;
                }
                let trajectory = std::mem::take(&mut lanes[i].trajectory);
                done(lanes[i].start, environments[i].as_mut(), trajectory)?;
                finished += 1;
                if next < starts.len() {
                    lanes[i].start = next;
                    next += 1;
                    self.decoder.reset(i);
                    opened = true;
                    i += 1;
                } else {
                    active -= 1;
                    lanes.swap(i, active);
                    environments.swap(i, active);
                    frames.copy_within(active * frame_bytes..(active + 1) * frame_bytes, i * frame_bytes);
                    self.decoder.swap_remove(self.b, i);
                }
            }
            if opened {
                self.open(&player, starts, environments, &mut lanes, &mut frames, active)?;
            }
            let rate = steps as f64 / began.elapsed().as_secs_f64().max(1e-9);
            o.progress(finished, starts.len() as u64, &format!("{active} playing, {rate:.0} frames/s"));
        }
        Ok(())
    }

    /// Resets every lane whose episode is over, and takes its first frame.
    fn open(
        &self,
        player: &Player,
        starts: &[EpisodeStart],
        environments: &mut [Box<dyn Environment>],
        lanes: &mut [Lane],
        frames: &mut [u8],
        active: usize,
    ) -> Result<()> {
        let frame_bytes = player.config.frame_bytes();
        self.pool.install(|| {
            (&mut lanes[..active], &mut environments[..active])
                .into_par_iter()
                .zip(frames[..active * frame_bytes].par_chunks_exact_mut(frame_bytes))
                .with_max_len(1)
                .filter(|((lane, _), _)| lane.over)
                .try_for_each(|((lane, env), frame)| {
                    lane.over = false;
                    env.reset(&starts[lane.start])?;
                    player.look(lane, env.as_mut(), frame);
                    Ok(())
                })
        })
    }
}

/// What all lanes share while they advance.
struct Player<'a> {
    config: &'a ModelConfig,
    cardinalities: Vec<usize>,
    sampling: Sampling,
}

impl Player<'_> {
    /// Takes the current frame.
    fn look(&self, lane: &mut Lane, environment: &mut dyn Environment, frame: &mut [u8]) {
        environment.observe(&mut lane.rgb);
        shrink_source(&lane.rgb, frame, self.config.frame_size);
    }

    /// Acts on `logits`, and takes the next frame unless the episode is over.
    fn advance(
        &self,
        lane: &mut Lane,
        environment: &mut dyn Environment,
        logits: &[f32],
        frame: &mut [u8],
    ) -> Result<()> {
        let trajectory = &mut lane.trajectory;
        let log_prob = self.sample(logits, lane.start, trajectory.steps, &mut lane.action)?;
        trajectory.frames.extend_from_slice(frame);
        trajectory.actions.extend_from_slice(&lane.action);
        trajectory.log_probs.push(log_prob as f32);
        trajectory.steps += 1;
        lane.over = environment.step(&lane.action)?;
        if !lane.over {
            self.look(lane, environment, frame);
        }
        Ok(())
    }

    /// Draws an action; returns its log-probability at temperature 1.
    fn sample(&self, logits: &[f32], start: usize, t: usize, action: &mut [u8]) -> Result<f64> {
        let mut rng = rng::at(self.sampling.seed, &[start as u64, t as u64]);
        let (mut offset, mut total) = (0, 0.0);
        let mut log_probs = Vec::with_capacity(16);
        for (bucket, &values) in action.iter_mut().zip(&self.cardinalities) {
            log_softmax(&logits[offset..offset + values], &mut log_probs);
            let draw = rng::uniform(&mut rng);
            let chosen = choose(&log_probs, self.sampling.temperature, draw);
            total += log_probs[chosen];
            *bucket = chosen as u8;
            offset += values;
        }
        if total.is_finite() {
            return Ok(total);
        }
        Err(Error::Input(format!(
            "the policy's output at timestep {t} of episode {start} is not finite: a broken model"
        )))
    }
}

/// The value whose share of softmax(log_probs / temperature) `draw` in [0, 1) falls into; at temperature 0 the most probable, the first
/// among equals.
fn choose(log_probs: &[f64], temperature: f32, draw: f64) -> usize {
    let best = (0..log_probs.len()).fold(0, |best, i| if log_probs[i] > log_probs[best] { i } else { best });
    if temperature == 0.0 {
        return best;
    }
    let weight = |i: usize| ((log_probs[i] - log_probs[best]) / f64::from(temperature)).exp();
    let mut left = draw * (0..log_probs.len()).map(weight).sum::<f64>();
    for i in 0..log_probs.len() {
        left -= weight(i);
        if left < 0.0 {
            return i;
        }
    }
    best // Only rounding leads here.
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_tempered_shares() {
        let log_probs = [0.1f64.ln(), 0.6f64.ln(), 0.3f64.ln()];
        let shares = |temperature: f32| {
            let mut counts = [0usize; 3];
            for i in 0..10_000 {
                counts[choose(&log_probs, temperature, (i as f64 + 0.5) / 10_000.0)] += 1;
            }
            counts
        };
        assert_eq!(shares(1.0), [1000, 6000, 3000]);
        // Temperature 0.5 squares the probabilities: 0.01, 0.36, 0.09 of 0.46.
        assert_eq!(shares(0.5).map(|n| (n as f64 / 100.0).round()), [2.0, 78.0, 20.0]);
        assert_eq!(shares(0.0), [0, 10_000, 0]);
    }
}
