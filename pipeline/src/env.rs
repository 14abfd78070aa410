//! The arena as an environment: for players that write down what happens, and for replaying what was written.
//!
//! ```text
//!   start seed --> Arena --frame--> player or policy --action--> Arena --> ... --> pad, fall or time limit
//!                    |                                  |
//!                    +---------- Recorder --------------+--> Episode (actions, poses, frames, outcome, spawn, seed)
//!
//!   Replay: (map, seed, actions) --> the same frames, bit for bit
//! ```
//!
//! An episode is fixed by its map, its seed and its actions: the seed alone draws spawn and heading. Episodes of one
//! group share the seed, hence the start, and differ only in the actions that are sampled.

use std::any::Any;

use anyhow::{Context, Result, bail, ensure};
use playhouse_agent::{Environment, EpisodeStart};
use playhouse_arena::{Arena, HZ, Start, StepResult};
use playhouse_schemas::{ActionSource, Episode, FrameSpec, Pose, gamepad};
use serde::Deserialize;

/// The `source` of every episode recorded here.
pub const SOURCE: &str = "arena";

/// A well-mixed seed for item `index` of the stream `seed`; never negative as an i64, so that a column can hold it.
pub fn derive_seed(seed: u64, index: u64) -> u64 {
    // SplitMix64: the increment makes streams, the finaliser mixes.
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) >> 1
}

/// A seed for a named purpose, so that no two stages of a run share their episodes by accident.
pub fn purpose_seed(seed: u64, purpose: &str) -> u64 {
    let hash = blake3::hash(purpose.as_bytes());
    let word = hash.as_bytes()[..8].iter().fold(0u64, |word, &byte| (word << 8) | u64::from(byte));
    derive_seed(seed, word)
}

/// Starts a map at the spawn and heading that `seed` draws.
///
/// # Errors
/// The map is not known.
pub fn start(map: &str, seed: u64) -> Result<Arena> {
    let start = Start { map: map.to_owned(), seed, spawn: None, heading: None };
    Arena::new(&start).with_context(|| format!("map `{map}`"))
}

/// What an episode gathers while it is played.
#[derive(Default)]
pub struct Recorder {
    actions: Vec<u8>,
    poses: Vec<Pose>,
    frames: Vec<Vec<u8>>,
}

impl Recorder {
    /// Keeps the frame that is about to be answered by an action.
    ///
    /// # Errors
    /// The codec refuses the frame.
    pub fn frame(&mut self, spec: &FrameSpec, rgb: &[u8]) -> Result<()> {
        self.frames.push(spec.encode(rgb)?);
        Ok(())
    }

    /// Keeps the pose before the action, and the action.
    pub fn action(&mut self, pose: Pose, action: &[u8]) {
        self.poses.push(pose);
        self.actions.extend_from_slice(action);
    }

    /// Everything recorded so far as one finished episode; the recorder starts anew.
    pub fn finish(&mut self, arena: &Arena, map: &str, seed: u64, last: StepResult) -> Episode {
        let Recorder { actions, poses, frames } = std::mem::take(self);
        Episode {
            episode_id: 0,
            source: SOURCE.into(),
            map: Some(map.to_owned()),
            player: None,
            policy: None,
            spawn: Some(arena.spawn_name().to_owned()),
            outcome: arena.outcome().map(|outcome| outcome.as_str().to_owned()),
            split: None,
            action_source: ActionSource::Policy,
            seed: Some(seed as i64),
            hz: HZ,
            episode_return: None,
            started_at: None,
            actions,
            poses,
            rewards: Vec::new(),
            terminated: last.terminated,
            truncated: last.truncated,
            frames,
        }
    }
}

/// A test of recovery: for a while the camera is turned as fast as it goes, whatever the policy wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Perturbation {
    /// Steps that the policy plays before it.
    pub after: u32,
    /// Steps that it takes: ten of them turn by 149 degrees.
    pub steps: u32,
}

impl Perturbation {
    /// The action at timestep `t` in place of the policy's, if it falls into the perturbation. Odd seeds of the arena turn right.
    fn action(self, t: usize, seed: u64) -> Option<[u8; gamepad::COMPONENTS]> {
        let after = self.after as usize;
        (after..after + self.steps as usize).contains(&t).then(|| {
            let mut action = gamepad::neutral();
            action[gamepad::RIGHT_X] = if seed % 2 == 1 { 2 * gamepad::CENTRE } else { 0 };
            action
        })
    }
}

/// One lane of rollouts on one map. Every start's group is the arena's seed: episodes of a group begin alike.
pub struct ArenaEnvironment {
    map: String,
    /// Store the frames that the policy sees, encoded so.
    frames: Option<FrameSpec>,
    perturbation: Option<Perturbation>,
    episode: Option<Running>,
    finished: Option<Episode>,
}

struct Running {
    arena: Arena,
    seed: u64,
    recorder: Recorder,
    /// What went wrong while observing, told at the next step.
    failed: Option<anyhow::Error>,
}

impl ArenaEnvironment {
    /// An environment on `map` whose episodes carry frames if `frames` says how.
    pub fn new(map: &str, frames: Option<FrameSpec>) -> Self {
        ArenaEnvironment { map: map.to_owned(), frames, perturbation: None, episode: None, finished: None }
    }

    /// As many lanes as asked for.
    pub fn lanes(
        map: &str,
        frames: Option<&FrameSpec>,
        perturbation: Option<Perturbation>,
        lanes: usize,
    ) -> Vec<Box<dyn Environment>> {
        let lane = || ArenaEnvironment { perturbation, ..ArenaEnvironment::new(map, frames.cloned()) };
        (0..lanes).map(|_| Box::new(lane()) as Box<dyn Environment>).collect()
    }

    /// The episode that has just ended, once; its id and policy are the caller's to fill in.
    ///
    /// # Errors
    /// `environment` is another kind of world, or no episode has ended.
    pub fn take(environment: &mut dyn Environment) -> Result<Episode> {
        let any: &mut dyn Any = environment;
        let arena = any.downcast_mut::<ArenaEnvironment>().context("the environment is not the arena")?;
        arena.finished.take().context("the episode has not ended")
    }
}

impl Environment for ArenaEnvironment {
    fn reset(&mut self, start: &EpisodeStart) -> Result<(), playhouse_agent::Error> {
        let arena = self::start(&self.map, start.group).map_err(playhouse_agent::Error::outside)?;
        let recorder = Recorder::default();
        self.episode = Some(Running { arena, seed: start.group, recorder, failed: None });
        self.finished = None;
        Ok(())
    }

    fn observe(&mut self, rgb: &mut [u8]) {
        let Some(running) = &mut self.episode else { return };
        running.arena.render(rgb);
        if let Some(spec) = &self.frames {
            running.failed = running.recorder.frame(spec, rgb).err();
        }
    }

    fn step(&mut self, action: &[u8]) -> Result<bool, playhouse_agent::Error> {
        let Some(running) = &mut self.episode else {
            return Err(playhouse_agent::Error::Input("step before reset".into()));
        };
        if let Some(error) = running.failed.take() {
            return Err(playhouse_agent::Error::outside(error));
        }
        let perturbed = self.perturbation.and_then(|p| p.action(running.recorder.poses.len(), running.seed));
        let action = perturbed.as_ref().map_or(action, |instead| &instead[..]);
        running.recorder.action(running.arena.pose(), action);
        let result = running.arena.step(action);
        let done = result.terminated || result.truncated;
        if done {
            self.finished = Some(running.recorder.finish(&running.arena, &self.map, running.seed, result));
        }
        Ok(done)
    }

    fn label(&self) -> Option<String> {
        let outcome = self.episode.as_ref()?.arena.outcome()?;
        Some(outcome.as_str().to_owned())
    }
}

/// An episode of the arena that can be played again.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The map it was played on.
    pub map: String,
    /// Draws spawn and heading.
    pub seed: u64,
    /// T x 16 buckets.
    pub actions: Vec<u8>,
}

impl Replay {
    const COMPONENTS: usize = playhouse_schemas::gamepad::COMPONENTS;

    /// Timesteps.
    pub fn steps(&self) -> usize {
        self.actions.len() / Self::COMPONENTS
    }

    /// Renders frames `t_start .. t_start + out.len() / frame bytes` into `out`: earlier steps are only simulated.
    ///
    /// # Errors
    /// The window leaves the episode, or the arena ends the episode earlier than the recording did.
    pub fn render(&self, t_start: usize, out: &mut [u8]) -> Result<()> {
        let count = out.len() / playhouse_arena::FRAME_BYTES;
        ensure!(t_start + count <= self.steps(), "frames {t_start}..{} of {} steps", t_start + count, self.steps());
        let mut arena = start(&self.map, self.seed)?;
        let mut frames = out.chunks_exact_mut(playhouse_arena::FRAME_BYTES);
        for (t, action) in self.actions.chunks_exact(Self::COMPONENTS).enumerate() {
            if t >= t_start {
                let Some(frame) = frames.next() else { return Ok(()) };
                arena.render(frame);
            }
            let result = arena.step(action);
            if (result.terminated || result.truncated) && t + 1 < self.steps() {
                bail!(
                    "replayed on map `{}` with seed {}, the episode ends after {} of {} steps: it was recorded by \
                     another version of the arena; record it again, or store frames",
                    self.map,
                    self.seed,
                    t + 1,
                    self.steps()
                );
            }
        }
        Ok(())
    }

    /// Plays the episode without rendering; `visit` sees the arena after every step. Returns the arena at the end.
    ///
    /// # Errors
    /// The map is not known.
    pub fn walk(&self, mut visit: impl FnMut(&Arena)) -> Result<Arena> {
        let mut arena = start(&self.map, self.seed)?;
        for action in self.actions.chunks_exact(Self::COMPONENTS) {
            let result = arena.step(action);
            visit(&arena);
            if result.terminated || result.truncated {
                break;
            }
        }
        Ok(arena)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use playhouse_arena::FRAME_BYTES;
    use playhouse_schemas::gamepad;

    /// Runs straight on until the end; every frame seen on the way.
    fn run(environment: &mut ArenaEnvironment, start: &EpisodeStart) -> (Vec<Vec<u8>>, Episode) {
        environment.reset(start).unwrap();
        let mut action = gamepad::neutral();
        action[gamepad::LEFT_Y] = 10;
        let mut frames = Vec::new();
        loop {
            let mut rgb = vec![0; FRAME_BYTES];
            environment.observe(&mut rgb);
            frames.push(rgb);
            if environment.step(&action).unwrap() {
                return (frames, ArenaEnvironment::take(environment).unwrap());
            }
        }
    }

    #[test]
    fn an_episode_replays_to_the_frames_that_were_seen() {
        let mut environment = ArenaEnvironment::new("skygarden", None);
        let (frames, episode) = run(&mut environment, &EpisodeStart { seed: 1, group: 42 });
        assert_eq!(episode.poses.len(), frames.len());
        assert_eq!(episode.outcome, environment.label());
        let replay = Replay { map: "skygarden".into(), seed: episode.seed.unwrap() as u64, actions: episode.actions };
        let mut out = vec![0; 3 * FRAME_BYTES];
        let from = frames.len() - 3;
        replay.render(from, &mut out).unwrap();
        assert!(out == frames[from..].concat());
        assert!(replay.render(from + 1, &mut out).is_err());
        let arena = replay.walk(|_| {}).unwrap();
        assert_eq!(arena.outcome().map(|o| o.as_str().to_owned()), episode.outcome);
        assert!(ArenaEnvironment::take(&mut environment).is_err(), "an episode is handed out once");
    }

    #[test]
    fn a_group_fixes_the_start_and_a_longer_recording_is_refused() {
        let mut environment = ArenaEnvironment::new("canyon", Some(FrameSpec::default()));
        let (one, episode) = run(&mut environment, &EpisodeStart { seed: 1, group: 7 });
        let (two, _) = run(&mut environment, &EpisodeStart { seed: 2, group: 7 });
        let (other, _) = run(&mut environment, &EpisodeStart { seed: 1, group: 8 });
        assert!(one == two && one[0] != other[0]);
        assert_eq!(episode.frames.len(), one.len());
        let mut actions = episode.actions;
        actions.extend_from_slice(&gamepad::neutral());
        let longer = Replay { map: "canyon".into(), seed: 7, actions };
        let error = longer.render(0, &mut vec![0; longer.steps() * FRAME_BYTES]).unwrap_err().to_string();
        assert!(error.contains("another version of the arena"), "{error}");
    }

    #[test]
    fn a_perturbation_turns_the_camera_for_as_long_as_it_takes() {
        let perturbation = Some(Perturbation { after: 3, steps: 10 });
        let mut lanes = ArenaEnvironment::lanes("skygarden", None, perturbation, 1);
        for (seed, stick, side) in [(7, 10, -1.0), (8, 0, 1.0)] {
            let environment = lanes[0].as_mut();
            environment.reset(&EpisodeStart { seed: 1, group: seed }).unwrap();
            let mut policy = gamepad::neutral();
            policy[gamepad::LEFT_X] = 6;
            while !environment.step(&policy).unwrap() {}
            let episode = ArenaEnvironment::take(environment).unwrap();
            for (t, action) in episode.actions.chunks_exact(gamepad::COMPONENTS).enumerate() {
                let mut wanted = if (3..13).contains(&t) { gamepad::neutral() } else { policy };
                wanted[gamepad::RIGHT_X] = if (3..13).contains(&t) { stick } else { gamepad::CENTRE };
                assert_eq!(action, wanted, "step {t}");
            }
            let (before, after) = (episode.poses[3].yaw, episode.poses[13].yaw);
            let turned = (after - before).to_degrees().rem_euclid(360.0);
            assert!((turned - (side * 149.0f32).rem_euclid(360.0)).abs() < 1.0, "turned by {turned} degrees");
        }
    }

    #[test]
    fn seeds_spread_and_fit_a_column() {
        let seeds: std::collections::HashSet<u64> =
            (0..1000).flat_map(|index| [derive_seed(1, index), derive_seed(2, index)]).collect();
        assert_eq!(seeds.len(), 2000);
        assert!(seeds.iter().all(|seed| i64::try_from(*seed).is_ok()));
        assert_ne!(purpose_seed(1, "play"), purpose_seed(1, "rollouts"));
    }
}
