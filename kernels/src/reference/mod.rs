//! Plain-loop oracles in f64, one file an operator: what each operator means.
//!
//! They return new vectors and take shapes as plain numbers. Backward oracles return *this call's* gradients; adding
//! them to what was there is the operator's business. Tests of other crates and of other devices use them too.

pub mod adamw;
pub mod attention;
pub mod bottleneck;
pub mod bradley_terry;
pub mod depthwise;
pub mod frames;
pub mod gelu;
pub mod layer_norm;
pub mod layer_scale;
pub mod linear;
pub mod mean_pool;
pub mod patches2;
pub mod policy_loss;
pub mod position;
pub mod stem;
#[cfg(test)]
mod tests;
