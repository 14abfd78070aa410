//! Tests of the whole: gradients, golden numbers, resuming, learning, rollouts.

mod emulated;
mod golden;
mod gradients;
mod learning;
mod packed;
mod ranks;
mod resume;
mod rollouts;
mod toys;
