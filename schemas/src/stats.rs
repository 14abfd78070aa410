//! What curation asks of an episode most often, computed once when it is written.

use std::collections::HashMap;

use crate::action::{ActionSpace, Kind};
use crate::episode::Episode;

/// Statistics of one episode: the last columns of the table `episodes`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EpisodeStats {
    /// Share of steps at which nothing was pressed and every stick was at rest, 0..=1.
    pub idle_fraction: f32,
    /// Length of the path walked, metres; none without poses.
    pub distance: Option<f32>,
    /// Straight line from the first to the last position, metres; none without poses.
    pub net_displacement: Option<f32>,
    /// Shannon entropy of the episode's whole actions, bits: 0 when one action was repeated throughout.
    pub action_entropy: f32,
    /// How often each button went from up to down (down at the first step counts), in the action space's order.
    pub presses: Vec<i32>,
    /// Mean absolute deflection over all steps and axes, 0 (at rest) to 1.
    pub mean_stick_deflection: f32,
    /// The longest run of one unchanged action, steps.
    pub longest_repeat: i32,
    /// First 8 bytes (little endian) of the BLAKE3 hash of the actions: equal for equal play, whatever the frames.
    pub action_hash: i64,
}

impl EpisodeStats {
    /// Computes them. `episode.actions` must be valid in `space`.
    pub fn compute(episode: &Episode, space: &ActionSpace) -> Self {
        let actions: Vec<&[u8]> = episode.actions.chunks_exact(space.len().max(1)).collect();
        let steps = actions.len().max(1) as f64;
        let neutral = space.neutral();
        let (distance, net_displacement) = travelled(episode);
        Self {
            idle_fraction: (actions.iter().filter(|a| **a == neutral).count() as f64 / steps) as f32,
            distance,
            net_displacement,
            action_entropy: entropy(&actions),
            presses: presses(&actions, space),
            mean_stick_deflection: mean_deflection(&actions, space),
            longest_repeat: longest_repeat(&actions),
            action_hash: action_hash(&episode.actions),
        }
    }
}

/// The column `action_hash` of an episode with these actions (`[T, C]` buckets): equal play, equal hash.
pub fn action_hash(actions: &[u8]) -> i64 {
    hash_prefix(&blake3::hash(actions))
}

/// The column `action_hash` for the hash of an episode's actions.
pub(crate) fn hash_prefix(hash: &blake3::Hash) -> i64 {
    let mut prefix = [0; 8];
    prefix.copy_from_slice(&hash.as_bytes()[..8]);
    i64::from_le_bytes(prefix)
}

fn travelled(episode: &Episode) -> (Option<f32>, Option<f32>) {
    let apart = |a: &crate::Pose, b: &crate::Pose| {
        let (x, y, z) = (f64::from(b.x - a.x), f64::from(b.y - a.y), f64::from(b.z - a.z));
        (x * x + y * y + z * z).sqrt()
    };
    match (episode.poses.first(), episode.poses.last()) {
        (Some(first), Some(last)) => {
            let path: f64 = episode.poses.windows(2).map(|p| apart(&p[0], &p[1])).sum();
            (Some(path as f32), Some(apart(first, last) as f32))
        }
        _ => (None, None),
    }
}

fn entropy(actions: &[&[u8]]) -> f32 {
    let mut counts: HashMap<&[u8], u32> = HashMap::new();
    for action in actions {
        *counts.entry(action).or_default() += 1;
    }
    // Summed in the order of the counts: a hash map's own order would change the last bit from run to run.
    let mut counts: Vec<u32> = counts.into_values().collect();
    counts.sort_unstable();
    let total = actions.len() as f64;
    let bits: f64 = counts.iter().map(|&n| f64::from(n) / total * (total / f64::from(n)).log2()).sum();
    bits as f32
}

fn presses(actions: &[&[u8]], space: &ActionSpace) -> Vec<i32> {
    let buttons = space.components.iter().enumerate().filter(|(_, c)| c.kind == Kind::Button);
    buttons
        .map(|(i, _)| {
            let mut down = false;
            let mut count = 0;
            for action in actions {
                count += i32::from(action[i] == 1 && !down);
                down = action[i] == 1;
            }
            count
        })
        .collect()
}

fn mean_deflection(actions: &[&[u8]], space: &ActionSpace) -> f32 {
    let axes: Vec<_> = space.components.iter().enumerate().filter(|(_, c)| c.kind == Kind::Axis).collect();
    let samples = actions.len() * axes.len();
    if samples == 0 {
        return 0.0;
    }
    let sum: f64 =
        actions.iter().flat_map(|action| axes.iter().map(|(i, c)| f64::from(c.centre(action[*i]).abs()))).sum();
    (sum / samples as f64) as f32
}

fn longest_repeat(actions: &[&[u8]]) -> i32 {
    let runs = actions.chunk_by(|a, b| a == b);
    runs.map(|run| run.len()).max().unwrap_or(0).try_into().unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::gamepad;
    use crate::testing::episode;

    #[test]
    fn figures_of_a_known_episode() {
        let space = ActionSpace::gamepad();
        let mut e = episode(0, 8);
        e.actions = [gamepad::neutral(); 8].concat();
        let at = |t: usize, i: usize| t * gamepad::COMPONENTS + i;
        for t in [0, 1, 4, 5] {
            e.actions[at(t, gamepad::A)] = 1;
        }
        e.actions[at(7, gamepad::LEFT_Y)] = 10;
        for (t, pose) in e.poses.iter_mut().enumerate() {
            // Three metres north and back again.
            *pose = crate::Pose { y: [0.0, 1.0, 2.0, 3.0, 2.0, 1.0, 0.5, 0.0][t], ..Default::default() };
        }
        let stats = EpisodeStats::compute(&e, &space);
        assert_eq!(stats.idle_fraction, 3.0 / 8.0);
        assert_eq!((stats.distance, stats.net_displacement), (Some(6.0), Some(0.0)));
        assert_eq!(stats.presses[gamepad::A], 2);
        assert_eq!(stats.presses.iter().sum::<i32>(), 2);
        assert_eq!(stats.longest_repeat, 2);
        assert_eq!(stats.mean_stick_deflection, 1.0 / 32.0);
        // Counts 4 (A), 3 (neutral), 1 (forward) of 8.
        let expected = 0.5 + 3.0 / 8.0 * (8f32 / 3.0).log2() + 3.0 / 8.0;
        assert!((stats.action_entropy - expected).abs() < 1e-6);
    }

    #[test]
    fn the_hash_is_of_the_actions_alone() {
        let space = ActionSpace::gamepad();
        let first = episode(1, 20);
        let mut same_play = Episode { episode_id: 2, map: None, poses: Vec::new(), ..first.clone() };
        let hash = EpisodeStats::compute(&first, &space).action_hash;
        assert_eq!(EpisodeStats::compute(&same_play, &space).action_hash, hash);
        assert_eq!(EpisodeStats::compute(&same_play, &space).distance, None);
        same_play.actions[0] ^= 1;
        assert_ne!(EpisodeStats::compute(&same_play, &space).action_hash, hash);
    }
}
