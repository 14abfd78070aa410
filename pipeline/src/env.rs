//! The arena as an environment for rollouts.
