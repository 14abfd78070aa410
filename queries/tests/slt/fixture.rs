//! A dataset of 26 episodes whose every value follows from its id by a rule that can be done by hand.
//!
//! ```text
//! id 0..=23   num_steps 20 + 7 * (id % 8)      outcome left middle right fall timeout middle, repeating
//!             spawn s0..s3 by id % 4           player ann, ben or cleo by id % 3
//!             walks forward at (1 + id % 5) / 10 metres a step; jumps (a) every (3 + id) steps
//!             right stick 5 + ((id + t / 4) % 3 - 1)
//! id 24       the actions of 3 again           a duplicate
//! id 25       48 steps of nothing              idle
//! ```
//!
//! Two writers, so that there are two parts: ids 0 to 11 and 12 to 25.

use std::path::Path;

use playhouse_schemas::{ActionSource, ActionSpace, Dataset, DatasetSpec, Episode, Pose, gamepad};
use tempfile::TempDir;

const OUTCOMES: [&str; 6] = ["left", "middle", "right", "fall", "timeout", "middle"];
const PLAYERS: [&str; 3] = ["ann", "ben", "cleo"];

pub fn dataset() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let dataset = create(folder.path());
    for ids in [0..12, 12..26] {
        let mut writer = dataset.writer().unwrap();
        for id in ids {
            writer.push(episode(id)).unwrap();
        }
        writer.finish().unwrap();
    }
    folder
}

/// An empty dataset of gamepad play without frames.
pub fn create(root: &Path) -> Dataset {
    Dataset::create(root, &DatasetSpec { actions: ActionSpace::gamepad(), frames: None }).unwrap()
}

pub fn episode(id: i64) -> Episode {
    let kind = id as usize;
    let steps = if id == 25 { 48 } else { 20 + 7 * (acted_as(id) % 8) };
    let speed = if id == 25 { 0.0 } else { (1 + acted_as(id) % 5) as f32 / 10.0 };
    let pose = |t: usize| Pose { x: 1.0, y: speed * t as f32, z: 0.0, yaw: 0.0, pitch: 0.0 };
    Episode {
        episode_id: id,
        source: "fixture".to_owned(),
        map: Some("skygarden".to_owned()),
        player: Some(PLAYERS[kind % 3].to_owned()),
        policy: None,
        spawn: Some(format!("s{}", kind % 4)),
        outcome: Some(OUTCOMES[kind % 6].to_owned()),
        split: None,
        action_source: ActionSource::Scripted,
        seed: Some(id),
        hz: 10.0,
        episode_return: None,
        started_at: None,
        actions: (0..steps).flat_map(|t| action(id, t)).collect(),
        poses: (0..steps).map(pose).collect(),
        rewards: Vec::new(),
        terminated: OUTCOMES[kind % 6] != "timeout",
        truncated: OUTCOMES[kind % 6] == "timeout",
        frames: Vec::new(),
    }
}

/// Episode 24 repeats what 3 did.
fn acted_as(id: i64) -> usize {
    if id == 24 { 3 } else { id as usize }
}

fn action(id: i64, t: usize) -> [u8; gamepad::COMPONENTS] {
    let mut action = gamepad::neutral();
    if id == 25 {
        return action;
    }
    let id = acted_as(id);
    action[gamepad::A] = u8::from(t.is_multiple_of(3 + id));
    action[gamepad::LEFT_Y] = 10;
    action[gamepad::RIGHT_X] = 4 + ((id + t / 4) % 3) as u8;
    action
}
