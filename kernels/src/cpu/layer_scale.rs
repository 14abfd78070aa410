//! Layer scale, backward: y = skip + scale[cols] * pre[rows,cols]. The forward is an epilogue of the linear layer.

use super::linear::REDUCE;
use super::memory::NO_BYTES;
use super::pool::{Split, add_parts};
use super::simd::simd;
use super::{Cpu, check};
use crate::Tensor;

simd! {
    /// dpre[rows,cols] = scale * dy; part[cols] = column sums of dy * pre.
    fn backward_block(s: S, dy: &[f32], pre: &[f32], scale: &[f32], dpre: &mut [f32], part: &mut [f32]) {
        let _ = s;
        part.fill(0.0);
        let cols = scale.len();
        for ((dy, pre), dpre) in dy.chunks_exact(cols).zip(pre.chunks_exact(cols)).zip(dpre.chunks_exact_mut(cols)) {
            for ((((g, z), c), d), p) in dy.iter().zip(pre).zip(scale).zip(dpre).zip(&mut *part) {
                *d = g * c;
                *p += g * z;
            }
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the operator's own")]
pub fn backward(
    cpu: &mut Cpu,
    dy: Tensor,
    pre: Tensor,
    scale: Tensor,
    dpre: Tensor,
    dscale: Tensor,
    rows: usize,
    cols: usize,
) {
    let len = rows * cols;
    check(
        "layer_scale_backward",
        &[("dy", dy, len), ("pre", pre, len), ("scale", scale, cols), ("dpre", dpre, len), ("dscale", dscale, cols)],
    );
    let level = cpu.level;
    let (_, [dy, pre, scale], [dpre, dscale]) =
        cpu.memory.views("layer_scale_backward", NO_BYTES, [dy, pre, scale], [dpre, dscale]);
    let tasks = rows.div_ceil(REDUCE);
    let parts = cpu.scratch.take(tasks * cols);
    let step = REDUCE * cols;
    cpu.pool.run(tasks, 2 * len, [Split(dpre, step), Split(&mut *parts, cols)], |i, [dpre, part]| {
        let range = i * step..i * step + dpre.len();
        backward_block(level, &dy[range.clone()], &pre[range], scale, dpre, part);
    });
    add_parts(parts, cols, dscale);
}
