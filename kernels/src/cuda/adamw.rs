//! Launches of `cuda/adamw.cu`.

use super::{Launch, Pointer, launch};
use crate::AdamW;

const THREADS: usize = 256;

/// Blocks that share the sum of squares at most.
const PARTS: usize = 1024;

/// Elements of `parts` for `grad_norm` of n gradients.
pub fn parts(n: usize) -> usize {
    n.div_ceil(THREADS).clamp(1, PARTS)
}

/// norm[1] = the Euclidean norm of g[n].
pub fn grad_norm(g: Pointer, parts: Pointer, norm: Pointer, n: usize) -> Vec<Launch> {
    let blocks = self::parts(n);
    vec![launch!("grad_norm_parts", [blocks, 1, 1], g, parts, n), launch!("grad_norm", [1, 1, 1], parts, norm, blocks)]
}

/// What the device reads anew each step: the learning rate and the two bias corrections.
pub fn step(d: AdamW) -> [f32; 3] {
    let correct = |beta: f32| (1.0 / (1.0 - f64::from(beta).powf(d.step as f64))) as f32;
    [d.lr, correct(d.beta1), correct(d.beta2)]
}

/// One step over n parameters; `half` is their bf16 copy, `step` the device's copy of [`step`].
#[expect(clippy::too_many_arguments, reason = "the operator's own")]
pub fn adamw(
    p: Pointer,
    g: Pointer,
    m: Pointer,
    v: Pointer,
    half: Pointer,
    norm: Pointer,
    step: Pointer,
    d: AdamW,
    n: usize,
) -> Vec<Launch> {
    let (beta1, beta2, eps, weight_decay, clip) = (d.beta1, d.beta2, d.eps, d.weight_decay, d.clip);
    vec![launch!(
        "adamw",
        [n.div_ceil(THREADS), 1, 1],
        p,
        g,
        m,
        v,
        half,
        norm,
        step,
        beta1,
        beta2,
        eps,
        weight_decay,
        clip,
        n
    )]
}
