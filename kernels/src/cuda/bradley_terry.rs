//! Launch of `cuda/bradley_terry.cu`.

use super::{Launch, Pointer, launch};

const THREADS: usize = 128;

/// dscores[P,2] and loss[P] of scores[P,2] and label[P]; all f32.
pub fn bradley_terry(
    scores: Pointer,
    label: Pointer,
    centering: f32,
    dscores: Pointer,
    loss: Pointer,
    pairs: usize,
) -> Vec<Launch> {
    vec![launch!("bradley_terry", [pairs.div_ceil(THREADS), 1, 1], scores, label, centering, dscores, loss, pairs)]
}
