//! 2x2/2 patches: x[N,H,W,C] -> y[N,H/2,W/2,4C], order ky,kx,c. Two pixels of a row are 2C contiguous values on both
//! sides, so the whole operator is copies of that length.

use super::memory::NO_BYTES;
use super::pool::Split;
use super::{Cpu, check};
use crate::{Plane, Tensor};

fn check_even(operator: &str, d: Plane) {
    assert!(d.h.is_multiple_of(2) && d.w.is_multiple_of(2), "{operator}: {}x{} is not even", d.h, d.w);
}

/// Calls f(offset in x, offset in y) for each run of 2C values of one image.
fn runs(d: Plane, mut f: impl FnMut(usize, usize)) {
    for oy in 0..d.h / 2 {
        for ox in 0..d.w / 2 {
            for ky in 0..2 {
                f(((2 * oy + ky) * d.w + 2 * ox) * d.c, ((oy * (d.w / 2) + ox) * 2 + ky) * 2 * d.c);
            }
        }
    }
}

pub fn forward(cpu: &mut Cpu, x: Tensor, y: Tensor, d: Plane) {
    let len = d.elements();
    check_even("patches2_forward", d);
    check("patches2_forward", &[("x", x, len), ("y", y, len)]);
    let (_, [x], [y]) = cpu.memory.views("patches2_forward", NO_BYTES, [x], [y]);
    let plane = d.h * d.w * d.c;
    cpu.pool.run(d.n, len, [Split(y, plane)], |i, [y]| {
        let x = &x[i * plane..][..plane];
        runs(d, |from, to| y[to..to + 2 * d.c].copy_from_slice(&x[from..from + 2 * d.c]));
    });
}

pub fn backward(cpu: &mut Cpu, dy: Tensor, dx: Tensor, d: Plane) {
    let len = d.elements();
    check_even("patches2_backward", d);
    check("patches2_backward", &[("dy", dy, len), ("dx", dx, len)]);
    let (_, [dy], [dx]) = cpu.memory.views("patches2_backward", NO_BYTES, [dy], [dx]);
    let plane = d.h * d.w * d.c;
    cpu.pool.run(d.n, len, [Split(dx, plane)], |i, [dx]| {
        let dy = &dy[i * plane..][..plane];
        runs(d, |to, from| dx[to..to + 2 * d.c].copy_from_slice(&dy[from..from + 2 * d.c]));
    });
}
