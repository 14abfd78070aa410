//! What a user can set about REINFORCE.

use serde::{Deserialize, Serialize};

use crate::compute::Compute;
use crate::error::Result;
use crate::settings::{MOST_WINDOWS, at_once, positive, within};

/// Settings of [`reinforce`](crate::reinforce).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reinforce {
    /// Optimiser steps; each plays its own episodes.
    pub updates: u64,
    /// Starts an update.
    pub groups_per_update: usize,
    /// Episodes a start (K): each one's baseline is the mean reward of the other K - 1.
    pub episodes_per_group: usize,
    /// Episodes played at once.
    pub lanes: usize,
    /// Learning rate.
    pub lr: f64,
    /// Updates over which it rises linearly from zero.
    pub warmup: u64,
    /// AdamW's first moment decay.
    pub beta1: f64,
    /// AdamW's second moment decay.
    pub beta2: f64,
    /// Decoupled weight decay, on matrices only.
    pub weight_decay: f64,
    /// The gradient is scaled down to this global norm where it is longer.
    pub clip: f64,
    /// Weight of KL(policy || reference), in nats a timestep, against a standardised reward spread over the episode.
    pub kl: f64,
    /// Training ends when KL(policy || reference) exceeds this many nats a timestep; 0 never ends it.
    pub stop_kl: f64,
    /// Divides advantages by their standard deviation over the update (never by less than 0.1).
    pub normalise_advantages: bool,
    /// Groups whose standardised rewards have a standard deviation below this are left out: they say nothing about what is better.
    pub min_spread: f64,
    /// Starts from which the reference policy is played, K episodes each, to standardise rewards.
    pub calibration_groups: usize,
    /// Mean of the reward over the reference policy's episodes, where it is already known (with `reward_std`).
    pub reward_mean: Option<f64>,
    /// Its standard deviation.
    pub reward_std: Option<f64>,
    /// Leaves the encoder as it is: episodes are then learnt from without encoding them again.
    pub freeze_encoder: bool,
    /// Windows that go through the transformer together; never changes what is computed, only its rounding.
    pub batch: usize,
    /// Decides every action drawn.
    pub seed: u64,
    /// Updates between checkpoints.
    pub checkpoint_every: u64,
    /// What to compute with.
    #[serde(skip)]
    pub compute: Compute,
}

impl Default for Reinforce {
    fn default() -> Self {
        Self {
            updates: 40,
            groups_per_update: 8,
            episodes_per_group: 8,
            lanes: 64,
            lr: 1e-4,
            warmup: 3,
            beta1: 0.9,
            beta2: 0.95,
            weight_decay: 0.0,
            clip: 1.0,
            kl: 0.05,
            stop_kl: 0.0,
            normalise_advantages: true,
            min_spread: 0.01,
            calibration_groups: 8,
            reward_mean: None,
            reward_std: None,
            freeze_encoder: false,
            batch: 32,
            seed: 0,
            checkpoint_every: 5,
            compute: Compute::default(),
        }
    }
}

impl Reinforce {
    /// Checks ranges; names the setting, its value and what would do.
    pub fn validate(&self) -> Result<()> {
        let counts = [
            ("updates", self.updates as f64),
            ("groups_per_update", self.groups_per_update as f64),
            ("checkpoint_every", self.checkpoint_every as f64),
            ("lr", self.lr),
            ("clip", self.clip),
        ];
        for (name, value) in counts {
            positive(name, value)?;
        }
        at_once("lanes", self.lanes, MOST_WINDOWS, "episodes")?;
        at_once("batch", self.batch, MOST_WINDOWS, "windows")?;
        within("episodes_per_group", self.episodes_per_group as f64, 2.0, 4096.0)?;
        within("beta1", self.beta1, 0.0, 0.9999)?;
        within("beta2", self.beta2, 0.0, 0.99999)?;
        within("weight_decay", self.weight_decay, 0.0, 10.0)?;
        within("kl", self.kl, 0.0, 1e3)?;
        within("stop_kl", self.stop_kl, 0.0, 1e6)?;
        within("min_spread", self.min_spread, 0.0, 1e3)?;
        match (self.reward_mean, self.reward_std) {
            (Some(mean), Some(std)) => {
                within("reward_mean", mean, -1e30, 1e30)?;
                positive("reward_std", std)
            }
            (None, None) => positive("calibration_groups", self.calibration_groups as f64),
            _ => Err(crate::Error::Settings("reward_mean and reward_std are given together or not at all".to_owned())),
        }
    }

    /// Learning rate of update `update`, counted from 0.
    pub(crate) fn lr_at(&self, update: u64) -> f64 {
        self.lr * ((update + 1) as f64 / self.warmup.max(1) as f64).min(1.0)
    }
}
