//! Learned positions: x[B,T,C] += pos[T,C].

use super::linear::add_rows;
use super::memory::NO_BYTES;
use super::{Cpu, check};
use crate::Tensor;

pub fn forward(cpu: &mut Cpu, x: Tensor, pos: Tensor, b: usize, t: usize, c: usize) {
    check("add_position_forward", &[("x", x, b * t * c), ("pos", pos, t * c)]);
    let level = cpu.level;
    let (_, [pos], [x]) = cpu.memory.views("add_position_forward", NO_BYTES, [pos], [x]);
    add_rows(level, x, pos);
}

pub fn backward(cpu: &mut Cpu, dx: Tensor, dpos: Tensor, b: usize, t: usize, c: usize) {
    check("add_position_backward", &[("dx", dx, b * t * c), ("dpos", dpos, t * c)]);
    let level = cpu.level;
    let (_, [dx], [dpos]) = cpu.memory.views("add_position_backward", NO_BYTES, [dx], [dpos]);
    super::linear::add_column_sums(level, dx, t * c, 0, dpos);
}
