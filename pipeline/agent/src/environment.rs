//! What the agent plays in.

use std::any::Any;

use crate::error::Result;

/// Where an episode starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpisodeStart {
    /// Decides everything the environment draws.
    pub seed: u64,
    /// Episodes of one group start alike (same place, same heading): the baseline of REINFORCE compares within it.
    pub group: u64,
}

/// A world that shows 128 x 128 RGB frames and takes an action a frame.
///
/// The order of calls is `reset`, then `observe` and `step` in turn until `step` returns true. `Any` is a supertrait so that the caller who
/// made an environment can get its own type back: `(environment as &mut dyn Any).downcast_mut::<Mine>()`.
pub trait Environment: Any + Send {
    /// Starts an episode. The same start and the same actions give the same frames.
    fn reset(&mut self, start: &EpisodeStart) -> Result<()>;

    /// Writes the current frame, `[128, 128, 3]` RGB.
    fn observe(&mut self, rgb: &mut [u8]);

    /// Takes one action (a bucket a component). True: the episode is over.
    fn step(&mut self, action: &[u8]) -> Result<bool>;

    /// The true outcome of a finished episode, for metrics only: training never sees it.
    fn label(&self) -> Option<String> {
        None
    }
}
