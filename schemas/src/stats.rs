//! What curation asks of an episode most often, computed once when it is written.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::action::{ActionSpace, Kind};
use crate::episode::Episode;
use crate::prepared::by_component;

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
        Self::of(episode, &by_component(&episode.actions, space.len()), space)
    }

    /// The same, where `components` are the actions as `[C, T]`.
    pub(crate) fn of(episode: &Episode, components: &[u8], space: &ActionSpace) -> Self {
        let width = space.len().max(1);
        let steps = episode.actions.len() / width;
        let runs = Runs::new(&episode.actions, width, &space.neutral());
        let (distance, net_displacement) = travelled(episode);
        Self {
            idle_fraction: (runs.neutral as f64 / steps.max(1) as f64) as f32,
            distance,
            net_displacement,
            action_entropy: runs.entropy(steps),
            presses: space.buttons().map(|i| presses(&components[i * steps..(i + 1) * steps])).collect(),
            mean_stick_deflection: mean_deflection(&episode.actions, space),
            longest_repeat: runs.longest.try_into().unwrap_or(i32::MAX),
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

/// What whole actions do: how long one stays, and how often each occurs.
struct Runs<'a> {
    counts: HashMap<&'a [u8], u32, BuildHasherDefault<ActionHasher>>,
    /// Steps of the longest run.
    longest: usize,
    /// Steps with the action of a controller that nobody touches.
    neutral: usize,
}

impl<'a> Runs<'a> {
    fn new(actions: &'a [u8], width: usize, neutral: &[u8]) -> Self {
        let mut runs = Self { counts: HashMap::default(), longest: 0, neutral: 0 };
        let mut rest = actions.chunks_exact(width).peekable();
        while let Some(action) = rest.next() {
            let mut length = 1;
            while rest.next_if(|next| *next == action).is_some() {
                length += 1;
            }
            *runs.counts.entry(action).or_default() += length as u32;
            runs.longest = runs.longest.max(length);
            if action == neutral {
                runs.neutral += length;
            }
        }
        runs
    }

    fn entropy(&self, steps: usize) -> f32 {
        // Summed in the order of the counts: a hash map's own order is not to change the last bit.
        let mut counts: Vec<u32> = self.counts.values().copied().collect();
        counts.sort_unstable();
        let total = steps as f64;
        let bits: f64 = counts.iter().map(|&n| f64::from(n) / total * (total / f64::from(n)).log2()).sum();
        bits as f32
    }
}

/// A hash of a few bytes, several times as fast as the standard library's. Whoever makes its values collide slows down the
/// statistics of the episode in question, and nothing else.
#[derive(Default)]
struct ActionHasher(u64);

impl ActionHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for ActionHasher {
    fn write(&mut self, bytes: &[u8]) {
        let words = bytes.chunks_exact(8);
        let rest = words.remainder();
        for word in words {
            self.mix(word.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)));
        }
        if !rest.is_empty() {
            self.mix(rest.iter().rev().fold(1, |sum, &byte| sum << 8 | u64::from(byte)));
        }
    }

    /// All keys of a map are of one length.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// How often a column of bytes 0 and 1 goes from 0 to 1, the first step included.
fn presses(column: &[u8]) -> i32 {
    let first = column.first().map_or(0, |&down| i32::from(down));
    // Sums of at most 255 bytes, which fit a byte, are what the compiler makes wide instructions of.
    let edges = column.get(1..).unwrap_or_default().chunks(255).zip(column.chunks(255));
    let later: i32 = edges
        .map(|(now, before)| i32::from(now.iter().zip(before).fold(0u8, |sum, (now, before)| sum + (now & !before))))
        .sum();
    first + later
}

fn mean_deflection(actions: &[u8], space: &ActionSpace) -> f32 {
    let axes = space.components.iter().enumerate().filter(|(_, c)| c.kind == Kind::Axis);
    // What each bucket adds, by axis.
    let axes: Vec<(usize, [f64; 256])> =
        axes.map(|(i, c)| (i, std::array::from_fn(|b| f64::from(c.centre(b as u8).abs())))).collect();
    let steps = actions.len() / space.len().max(1);
    if axes.is_empty() || steps == 0 {
        return 0.0;
    }
    let mut sum = 0.0;
    for action in actions.chunks_exact(space.len()) {
        for (i, adds) in &axes {
            sum += adds[usize::from(action[*i])];
        }
    }
    (sum / (steps * axes.len()) as f64) as f32
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
