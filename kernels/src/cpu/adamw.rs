//! AdamW with global-norm clipping, one pass over p, g, m, v.

use super::memory::NO_BYTES;
use super::pool::Split;
use super::simd::simd;
use super::{BLOCK, Cpu, check};
use crate::{AdamW, Tensor};

/// The step's numbers, resolved.
#[derive(Clone, Copy)]
struct Step {
    /// Factor of the gradient (clipping).
    scale: f32,
    beta1: f32,
    beta2: f32,
    /// 1 / (1 - beta1^t).
    correct1: f32,
    /// 1 / (1 - beta2^t).
    correct2: f32,
    lr: f32,
    eps: f32,
    /// 1 - lr * weight_decay.
    keep: f32,
}

simd! {
    /// One step over a block.
    fn step_block(s: S, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], k: Step) {
        let _ = s;
        for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * k.scale;
            *m = k.beta1 * *m + (1.0 - k.beta1) * g;
            *v = k.beta2 * *v + (1.0 - k.beta2) * (g * g);
            *p = *p * k.keep - k.lr * (*m * k.correct1) / ((*v * k.correct2).sqrt() + k.eps);
        }
    }
}

pub fn adamw(cpu: &mut Cpu, p: Tensor, g: Tensor, m: Tensor, v: Tensor, norm: Tensor, d: AdamW) {
    let len = p.len();
    check("adamw", &[("g", g, len), ("m", m, len), ("v", v, len), ("norm", norm, 1)]);
    assert!(d.step > 0, "adamw: the first step is 1");
    let level = cpu.level;
    let (_, [g, norm], [p, m, v]) = cpu.memory.views("adamw", NO_BYTES, [g, norm], [p, m, v]);
    let ratio = d.clip / (norm[0] + 1e-6);
    let correct = |beta: f32| (1.0 / (1.0 - f64::from(beta).powf(d.step as f64))) as f32;
    let k = Step {
        // A NaN norm stays NaN and reaches the weights, where training looks for it.
        scale: if ratio > 1.0 { 1.0 } else { ratio },
        beta1: d.beta1,
        beta2: d.beta2,
        correct1: correct(d.beta1),
        correct2: correct(d.beta2),
        lr: d.lr,
        eps: d.eps,
        keep: 1.0 - d.lr * d.weight_decay,
    };
    let outputs = [Split(p, BLOCK), Split(m, BLOCK), Split(v, BLOCK)];
    cpu.pool.run(len.div_ceil(BLOCK), 8 * len, outputs, |i, [p, m, v]| {
        step_block(level, p, &g[i * BLOCK..], m, v, k);
    });
}
