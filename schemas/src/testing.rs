//! Episodes for this crate's tests.

use crate::{ActionSource, ActionSpace, Codec, DatasetSpec, Episode, FrameSpec, Pose};

/// The gamepad without frames.
pub fn bare_spec() -> DatasetSpec {
    DatasetSpec { actions: ActionSpace::gamepad(), frames: None }
}

/// The gamepad with small raw frames, whose bytes tests can predict.
pub fn raw_spec() -> DatasetSpec {
    let frames = FrameSpec { width: 4, height: 4, codec: Codec::Raw, resize: None };
    DatasetSpec { actions: ActionSpace::gamepad(), frames: Some(frames) }
}

/// A small deterministic generator, so that tests need no other crate.
pub fn noise(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// An episode of `steps` steps without frames; everything in it depends on the id alone.
pub fn episode(episode_id: i64, steps: usize) -> Episode {
    let space = ActionSpace::gamepad();
    let mut draw = noise(episode_id as u64 + 1);
    let actions = (0..steps).flat_map(|_| space.cardinalities()).map(|k| draw(k as u64) as u8).collect();
    let pose = |t: usize| Pose { x: t as f32, y: episode_id as f32, z: 0.5, yaw: 0.1, pitch: -0.25 };
    Episode {
        episode_id,
        source: "test".into(),
        map: Some("skygarden".into()),
        player: Some(format!("player-{}", episode_id % 3)),
        policy: None,
        spawn: Some("north".into()),
        outcome: Some(["left", "middle", "fall"][episode_id as usize % 3].into()),
        split: None,
        action_source: ActionSource::Scripted,
        seed: Some(episode_id * 11),
        hz: 10.0,
        episode_return: None,
        started_at: Some(1_700_000_000_000_000 + episode_id),
        actions,
        poses: (0..steps).map(pose).collect(),
        rewards: Vec::new(),
        terminated: true,
        truncated: false,
        frames: Vec::new(),
    }
}

/// The same with raw frames: every byte of frame `t` is `episode_id + t`.
pub fn framed(episode_id: i64, steps: usize) -> Episode {
    let frames = (0..steps).map(|t| vec![(episode_id as usize + t) as u8; 48]).collect();
    Episode { frames, ..episode(episode_id, steps) }
}
