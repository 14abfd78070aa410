//! Launches of `cuda/planes.cu`: mean over pixels, positions.

use super::{Launch, Pointer, launch};

const THREADS: usize = 256;

fn grid(elements: usize) -> usize {
    elements.div_ceil(THREADS)
}

/// y[N,C] of x[N,P,C].
pub fn mean_pool_forward(x: Pointer, y: Pointer, n: usize, p: usize, c: usize) -> Vec<Launch> {
    vec![launch!("mean_pool_forward", [grid(n * c), 1, 1], x, y, n * c, p, c)]
}

/// dx[N,P,C] of dy[N,C].
pub fn mean_pool_backward(dy: Pointer, dx: Pointer, n: usize, p: usize, c: usize) -> Vec<Launch> {
    vec![launch!("mean_pool_backward", [grid(n * p * c), 1, 1], dy, dx, n * p * c, p, c)]
}

/// x[B,T,C] += pos[T,C].
pub fn position_forward(x: Pointer, pos: Pointer, b: usize, t: usize, c: usize) -> Vec<Launch> {
    vec![launch!("position_forward", [grid(b * t * c), 1, 1], x, pos, b * t * c, t * c)]
}

/// dpos[T,C] += sum over B of dx[B,T,C].
pub fn position_backward(dx: Pointer, dpos: Pointer, b: usize, t: usize, c: usize) -> Vec<Launch> {
    vec![launch!("position_backward", [grid(t * c), 1, 1], dx, dpos, b, t * c)]
}
