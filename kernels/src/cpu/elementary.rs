//! fill, copy, add_scaled.

use super::memory::NO_BYTES;
use super::pool::Split;
use super::simd::simd;
use super::{BLOCK, Cpu, check};
use crate::Tensor;

pub fn fill(cpu: &mut Cpu, x: Tensor, value: f32) {
    let (_, [], [x]) = cpu.memory.views("fill", NO_BYTES, [], [x]);
    x.fill(value);
}

pub fn copy(cpu: &mut Cpu, src: Tensor, dst: Tensor) {
    check("copy", &[("src", src, dst.len())]);
    let (_, [src], [dst]) = cpu.memory.views("copy", NO_BYTES, [src], [dst]);
    dst.copy_from_slice(src);
}

simd! {
    /// dst += alpha * src.
    fn add_scaled_block(s: S, src: &[f32], dst: &mut [f32], alpha: f32) {
        let _ = s;
        for (d, x) in dst.iter_mut().zip(src) {
            *d += alpha * x;
        }
    }
}

pub fn add_scaled(cpu: &mut Cpu, src: Tensor, dst: Tensor, alpha: f32) {
    let len = dst.len();
    check("add_scaled", &[("src", src, len)]);
    let level = cpu.level;
    let (_, [src], [dst]) = cpu.memory.views("add_scaled", NO_BYTES, [src], [dst]);
    cpu.pool.run(len.div_ceil(BLOCK), len, [Split(dst, BLOCK)], |i, [dst]| {
        add_scaled_block(level, &src[i * BLOCK..], dst, alpha);
    });
}
