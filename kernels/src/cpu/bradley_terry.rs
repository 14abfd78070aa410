//! The reward model's loss on pairs. Scalar code: a batch has tens of pairs.

use super::memory::NO_BYTES;
use super::{Cpu, check};
use crate::Tensor;

/// ln(1 + e^x) without overflow.
fn softplus(x: f32) -> f32 {
    let positive = if x > 0.0 { x } else { 0.0 * x };
    positive + (-x.abs()).exp().ln_1p()
}

pub fn bradley_terry(cpu: &mut Cpu, scores: Tensor, label: Tensor, centering: f32, dscores: Tensor, loss: Tensor) {
    let pairs = label.len();
    let name = "bradley_terry";
    check(name, &[("scores", scores, 2 * pairs), ("dscores", dscores, 2 * pairs), ("loss", loss, pairs)]);
    let (_, [scores, label], [dscores, loss]) = cpu.memory.views(name, NO_BYTES, [scores, label], [dscores, loss]);
    let over = 1.0 / pairs as f32;
    for (i, loss) in loss.iter_mut().enumerate() {
        let (chosen, rejected, label) = (scores[2 * i], scores[2 * i + 1], label[i]);
        let (d, sum) = (chosen - rejected, chosen + rejected);
        *loss = label * softplus(-d) + (1.0 - label) * softplus(d) + centering * sum * sum;
        let slope = 1.0 / (1.0 + (-d).exp()) - label;
        dscores[2 * i] = (slope + 2.0 * centering * sum) * over;
        dscores[2 * i + 1] = (-slope + 2.0 * centering * sum) * over;
    }
}
