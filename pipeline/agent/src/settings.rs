//! What a user can set about training.

use playhouse_kernels::Ranks;
use serde::{Deserialize, Serialize};

use crate::compute::Compute;
use crate::error::{Error, Result};

/// Windows that are computed on together. Their frames alone are 24 GiB at the size of `tiny`; a typing error of some more digits
/// would end the program where it asks for memory.
pub(crate) const MOST_WINDOWS: usize = 1 << 16;

/// How the learning rate moves after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Half a cosine down to a tenth.
    #[default]
    Cosine,
    /// Stays.
    Constant,
}

/// Settings of imitation and of reward training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Training {
    /// Optimiser steps.
    pub steps: u64,
    /// Windows (imitation) or pairs (reward) a step.
    pub batch: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Steps over which the learning rate rises linearly from zero.
    pub warmup: u64,
    /// How it moves afterwards.
    pub schedule: Schedule,
    /// Decoupled weight decay, on matrices only.
    pub weight_decay: f64,
    /// AdamW's first moment decay.
    pub beta1: f64,
    /// AdamW's second moment decay.
    pub beta2: f64,
    /// The gradient is scaled down to this global norm where it is longer.
    pub clip: f64,
    /// Decides the initial weights and the order of the data.
    pub seed: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Steps between evaluations on held-out windows or pairs; 0 evaluates at the end only.
    pub eval_every: u64,
    /// At most this many held-out windows or pairs are used, always the same.
    pub eval_windows: usize,
    /// Leaves the encoder as it was initialised, so that each frame is encoded once.
    pub freeze_encoder: bool,
    /// The frames of a window are moved by up to this many of the model's pixels, each way, differently whenever the window
    /// is seen. Not with `freeze_encoder`, which sees each frame once.
    pub shift: usize,
    /// Reward only: share of labels assumed to be uniformly random (Christiano et al. 2017 take 0.1).
    pub label_noise: f64,
    /// Reward only: weight of the squared sum of a pair's scores, which pins their free constant (arXiv 2312.09244).
    pub centering: f64,
    /// Keep the weights of the evaluation with the lowest held-out loss, and stop after this many without a better one; 0 trains to the
    /// end and keeps the last.
    pub patience: u64,
    /// What to compute with.
    #[serde(skip)]
    pub compute: Compute,
    /// The processes that share every batch. Their number changes the last digits only: sums are rounded in another order.
    #[serde(skip)]
    pub ranks: Ranks,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            steps: 1000,
            batch: 8,
            lr: 1e-3,
            warmup: 50,
            schedule: Schedule::Cosine,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.95,
            clip: 1.0,
            seed: 0,
            checkpoint_every: 100,
            eval_every: 0,
            eval_windows: 64,
            freeze_encoder: false,
            shift: 0,
            label_noise: 0.0,
            centering: 0.01,
            patience: 0,
            compute: Compute::default(),
            ranks: Ranks::default(),
        }
    }
}

impl Training {
    /// Checks the ranges of reward training; names the setting, its value and what would do.
    pub fn validate(&self) -> Result<()> {
        self.validate_with(MOST_WINDOWS / 2, "pairs of windows")
    }

    /// Checks ranges, with at most `most` of what a batch holds.
    fn validate_with(&self, most: usize, what: &str) -> Result<()> {
        positive("steps", self.steps as f64)?;
        at_once("batch", self.batch, most, what)?;
        positive("lr", self.lr)?;
        positive("clip", self.clip)?;
        positive("checkpoint_every", self.checkpoint_every as f64)?;
        within("weight_decay", self.weight_decay, 0.0, 10.0)?;
        within("beta1", self.beta1, 0.0, 0.9999)?;
        within("beta2", self.beta2, 0.0, 0.99999)?;
        within("shift", self.shift as f64, 0.0, if self.freeze_encoder { 0.0 } else { 16.0 })?;
        if self.batch < self.ranks.size() {
            let (batch, ranks) = (self.batch, self.ranks.size());
            return Err(Error::Settings(format!(
                "batch is {batch}, but each of {ranks} ranks needs one of it at least"
            )));
        }
        within("label_noise", self.label_noise, 0.0, 0.9)?;
        within("centering", self.centering, 0.0, 10.0)
    }

    /// As [`Training::validate`], for imitation; also refuses what it would ignore.
    pub fn validate_imitation(&self) -> Result<()> {
        self.validate_with(MOST_WINDOWS, "windows")?;
        let default = Self::default();
        let of_rewards =
            [("label_noise", self.label_noise, default.label_noise), ("centering", self.centering, default.centering)];
        match of_rewards.into_iter().find(|(_, value, default)| value != default) {
            Some((name, value, _)) => {
                Err(Error::Settings(format!("{name} is {value}, but only reward training knows it: leave it out here")))
            }
            None => Ok(()),
        }
    }

    /// The most windows or pairs of a batch that one rank has.
    pub(crate) fn most_of_batch(&self) -> usize {
        self.batch.div_ceil(self.ranks.size())
    }

    /// Learning rate of step `step` (counted from 0).
    pub fn lr_at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.lr * (step + 1) as f64 / self.warmup as f64;
        }
        match self.schedule {
            Schedule::Constant => self.lr,
            Schedule::Cosine => {
                let span = self.steps.saturating_sub(self.warmup).max(1) as f64;
                let progress = ((step - self.warmup) as f64 / span).min(1.0);
                self.lr * (0.55 + 0.45 * (std::f64::consts::PI * progress).cos())
            }
        }
    }
}

pub(crate) fn positive(name: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::Settings(format!("{name} is {value}, but must be positive")))
}

/// Checks how many of something are in memory together.
pub(crate) fn at_once(name: &str, value: usize, most: usize, what: &str) -> Result<()> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::Settings(format!("{name} is {value}, but must be 1 to {most} {what}")))
}

pub(crate) fn within(name: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::Settings(format!("{name} is {value}, but must lie between {low} and {high}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reinforce;

    #[test]
    fn the_schedule_rises_and_falls_to_a_tenth() {
        let t = Training { steps: 110, warmup: 10, lr: 1.0, ..Training::default() };
        assert_eq!(t.lr_at(0), 0.1);
        assert_eq!(t.lr_at(9), 1.0);
        assert_eq!(t.lr_at(10), 1.0);
        assert!((t.lr_at(60) - 0.55).abs() < 1e-12);
        assert!((t.lr_at(110) - 0.1).abs() < 1e-12);
        assert_eq!(Training { schedule: Schedule::Constant, ..t }.lr_at(99), 1.0);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let bad = Training { lr: f64::NAN, ..Training::default() };
        assert!(bad.validate().unwrap_err().to_string().contains("lr is NaN"));
        let bad = Training { label_noise: 2.0, ..Training::default() };
        assert!(bad.validate().unwrap_err().to_string().contains("label_noise"));
    }

    #[test]
    fn a_batch_that_no_memory_holds_is_refused() {
        let of = |batch: usize| Training { batch, ..Training::default() };
        of(1 << 16).validate_imitation().unwrap();
        of(1 << 15).validate().unwrap();
        for batch in [0, (1 << 16) + 1, 100_000_000, i64::MAX as usize] {
            let message = of(batch).validate_imitation().unwrap_err().to_string();
            assert!(message.ends_with(&format!("batch is {batch}, but must be 1 to 65536 windows")), "{message}");
        }
        // A pair is two windows.
        let message = of((1 << 15) + 1).validate().unwrap_err().to_string();
        assert!(message.ends_with("batch is 32769, but must be 1 to 32768 pairs of windows"), "{message}");
        for (name, many) in [
            ("batch", Reinforce { batch: usize::MAX, ..Reinforce::default() }),
            ("lanes", Reinforce { lanes: 100_000_000, ..Reinforce::default() }),
        ] {
            let message = many.validate().unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("must be 1 to 65536"), "{message}");
        }
    }
}
