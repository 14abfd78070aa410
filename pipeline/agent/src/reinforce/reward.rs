//! Where REINFORCE gets its rewards from.

use std::path::Path;

use crate::compute::Compute;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::feed::Batch;
use crate::files::ModelFile;
use crate::predict::Scorer;
use crate::rollout::Trajectory;

/// Judges finished episodes. One number an episode, higher is better; its scale does not matter.
pub trait RewardFn {
    /// The rewards of `trajectories`, in their order.
    fn rewards(&mut self, trajectories: &[Trajectory]) -> Result<Vec<f32>>;
}

/// A reward model's score of an episode's last window: its last 32 timesteps, or all of a shorter one.
pub(crate) struct ModelReward {
    scorer: Scorer,
    /// The policy's embeddings are the reward model's: nothing has to be encoded.
    shares_encoder: bool,
}

impl ModelReward {
    /// Loads a reward model that sees what `policy` sees. With `frozen`, the policy's encoder stays as it is in its file.
    pub fn load(path: &Path, policy: &ModelFile, frozen: bool, compute: Compute) -> Result<Self> {
        let file = crate::model::read_model(path, crate::Head::Reward)?;
        let (own, theirs) = (&file.config, &policy.config);
        if own.frame_size != theirs.frame_size || own.context != theirs.context {
            return Err(Error::Input(format!(
                "the reward model sees {} frames of {}, the policy {} of {}: they must agree",
                own.context, own.frame_size, theirs.context, theirs.frame_size
            )));
        }
        let shares_encoder = frozen && same_encoder(&file, policy);
        Ok(Self { scorer: Scorer::new(&file, compute)?, shares_encoder })
    }
}

/// Whether two models embed frames alike, bit for bit.
pub(crate) fn same_encoder(a: &ModelFile, b: &ModelFile) -> bool {
    let encoder = |m: &ModelFile| m.layout.parameters().iter().filter(|p| p.encoder).cloned().collect::<Vec<_>>();
    let (own, theirs) = (encoder(a), encoder(b));
    own.len() == theirs.len()
        && own.iter().zip(&theirs).all(|(p, q)| p.name == q.name && a.values[p.range()] == b.values[q.range()])
}

impl RewardFn for ModelReward {
    fn rewards(&mut self, trajectories: &[Trajectory]) -> Result<Vec<f32>> {
        let config = self.scorer.config().clone();
        let mut rewards = Vec::with_capacity(trajectories.len());
        for group in trajectories.chunks(self.scorer.capacity()) {
            let mut batch = Batch { windows: group.len(), ..Batch::default() };
            for trajectory in group {
                append_last_window(trajectory, &config, self.shares_encoder, &mut batch);
            }
            rewards.extend(self.scorer.score(&batch)?);
        }
        Ok(rewards)
    }
}

fn append_last_window(trajectory: &Trajectory, config: &ModelConfig, embedded: bool, batch: &mut Batch) {
    let (t, bytes, d) = (config.context, config.frame_bytes(), config.width);
    let first = trajectory.steps.saturating_sub(t);
    let real = trajectory.steps - first;
    let windows = batch.weights.len() / t + 1;
    if embedded {
        batch.embeddings.extend_from_slice(&trajectory.embeddings[first * d..]);
        batch.embeddings.resize(windows * t * d, 0.0);
    } else {
        batch.pixels.extend_from_slice(&trajectory.frames[first * bytes..]);
        batch.pixels.resize(windows * t * bytes, 0);
    }
    batch.weights.extend((0..t).map(|i| if i < real { 1.0 } else { 0.0 }));
}
