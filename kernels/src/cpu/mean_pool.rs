//! Mean over the pixels of an image: x[N,P,C] -> y[N,C].

use super::linear::add_column_sums;
use super::memory::NO_BYTES;
use super::pool::Split;
use super::{Cpu, check};
use crate::Tensor;

/// Images of a task.
const IMAGES: usize = 8;

pub fn forward(cpu: &mut Cpu, x: Tensor, y: Tensor, n: usize, p: usize, c: usize) {
    check("mean_pool_forward", &[("x", x, n * p * c), ("y", y, n * c)]);
    let level = cpu.level;
    let (_, [x], [y]) = cpu.memory.views("mean_pool_forward", NO_BYTES, [x], [y]);
    let over = 1.0 / p as f32;
    cpu.pool.run(n.div_ceil(IMAGES), n * p * c, [Split(y, IMAGES * c)], |i, [y]| {
        for (j, y) in y.chunks_exact_mut(c).enumerate() {
            y.fill(0.0);
            add_column_sums(level, &x[(i * IMAGES + j) * p * c..][..p * c], c, 0, y);
            y.iter_mut().for_each(|y| *y *= over);
        }
    });
}

pub fn backward(cpu: &mut Cpu, dy: Tensor, dx: Tensor, n: usize, p: usize, c: usize) {
    check("mean_pool_backward", &[("dy", dy, n * c), ("dx", dx, n * p * c)]);
    let (_, [dy], [dx]) = cpu.memory.views("mean_pool_backward", NO_BYTES, [dy], [dx]);
    let over = 1.0 / p as f32;
    cpu.pool.run(n, n * p * c, [Split(dx, p * c)], |i, [dx]| {
        for pixel in dx.chunks_exact_mut(c) {
            for (d, g) in pixel.iter_mut().zip(&dy[i * c..]) {
                *d = g * over;
            }
        }
    });
}
