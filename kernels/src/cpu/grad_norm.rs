//! The Euclidean norm of a gradient: f32 squares on SIMD lanes over blocks, blocks added in f64.

use super::memory::NO_BYTES;
use super::pool::Split;
use super::simd::simd;
use super::{BLOCK, Cpu, check};
use crate::Tensor;

simd! {
    /// Sum of squares.
    fn squares(s: S, x: &[f32]) -> f32 {
        let (mut a, mut b) = (s.splat(0.0), s.splat(0.0));
        let mut pairs = x.chunks_exact(2 * S::LANES);
        for x in &mut pairs {
            // SAFETY: the chunk has 2 LANES values.
            unsafe {
                let (u, v) = (s.load(x.as_ptr()), s.load(x.as_ptr().wrapping_add(S::LANES)));
                a = s.fma(u, u, a);
                b = s.fma(v, v, b);
            }
        }
        let mut sum = s.sum(s.add(a, b));
        for x in pairs.remainder() {
            sum += x * x;
        }
        sum
    }
}

pub fn grad_norm(cpu: &mut Cpu, g: Tensor, out: Tensor) {
    let len = g.len();
    check("grad_norm", &[("out", out, 1)]);
    let level = cpu.level;
    let (_, [g], [out]) = cpu.memory.views("grad_norm", NO_BYTES, [g], [out]);
    let tasks = len.div_ceil(BLOCK);
    let parts = cpu.scratch.take(tasks);
    cpu.pool.run(tasks, len, [Split(&mut *parts, 1)], |i, [part]| {
        part[0] = squares(level, &g[i * BLOCK..len.min((i + 1) * BLOCK)]);
    });
    let total: f64 = parts.iter().map(|p| f64::from(*p)).sum();
    out[0] = total.sqrt() as f32;
}
