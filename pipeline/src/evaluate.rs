//! Rollouts of a checkpoint and what they say.
