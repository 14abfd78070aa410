//! The visual agent: a ConvNeXt encoder of frames under a causal transformer over time, and how it learns.
//!
//! ```text
//! frames u8 [B,T,S,S,3]                                                    B windows of T = 32 timesteps, 10 a second
//!   | encoder: one embedding a frame                 [B,T,d]
//!   | transformer: causal over T                     [B,T,d]
//!   | head      policy -> logits of 16 components    [B,T,68]
//!               reward -> one score a window         [B]
//!
//! imitate       windows of play        -> a policy          pre-training, fine-tuning, preference fine-tuning (ReST)
//! train_reward  pairs of windows       -> a reward model    Bradley-Terry
//! Actor         a policy, environments -> trajectories      rollouts
//! reinforce     policy, reward model, environments -> an aligned policy
//! ```
//!
//! Forward and backward are written out by hand over the operators of `playhouse-kernels`, in memory that is planned before the first
//! step. There is no autograd: `encoder.rs` and `transformer.rs` each show the forward pass above the backward pass.
//!
//! Everything is a function of its inputs and a seed. Every run can be killed at any instant and called again with the same arguments:
//! it continues from its last checkpoint and ends with the same bytes (see [`imitate`]).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod compute;
mod config;
mod decoder;
mod encoder;
mod environment;
mod error;
mod feed;
mod files;
mod frames;
mod frozen;
mod imitate;
mod layout;
mod learner;
mod model;
mod packed;
mod pairs;
mod predict;
mod reinforce;
mod report;
mod reward;
mod rng;
mod rollout;
mod sampler;
mod settings;
mod shifted;
mod softmax;
mod source;
#[cfg(test)]
mod tests;
mod train;
mod transformer;
mod view;

pub use compute::Compute;
pub use config::{Component, Head, ModelConfig, Readout, SOURCE_FRAME};
pub use environment::{Environment, EpisodeStart};
pub use error::{Error, Result};
pub use frames::{shrink, shrink_source};
pub use imitate::imitate;
pub use model::write_initial;
pub use packed::PackedFrames;
pub use playhouse_kernels::device::Device;
pub use playhouse_kernels::{Ranks, RanksError};
pub use predict::{divergence, evaluate_loss, score};
pub use reinforce::{Reinforce, RewardFn, reinforce, reinforce_with};
pub use report::{KEPT_STEP, MetricRow, Observer, Report};
pub use reward::train_reward;
pub use rollout::{Actor, Trajectory};
pub use settings::{Schedule, Training};
pub use source::{PairSource, WindowBatch, WindowSource};
