//! Layer normalisation over the columns of x[rows,cols].
//!
//! With xh = (x - mean) rstd: y = xh g + b, and
//! dx = rstd (dy g - mean(dy g) - xh mean(dy g xh)), dg = sum of dy xh, db = sum of dy.
//! The variance is that of x - mean (two passes over a row in L1): no cancellation.
//!
//! With a `width`, rows are the pixels of pictures so wide, and y and dy are 2x2 patches: [N,H/2,W/2,4C], order ky,kx,c, where x is
//! [N,H,W,C]. With 0 their rows lie as those of x. A pair of lines is the same stretch of memory in both, so tasks are of whole pairs.

use super::linear::REDUCE;
use super::memory::NO_BYTES;
use super::pool::{Split, add_parts};
use super::simd::simd;
use super::{Cpu, check};
use crate::Tensor;

/// Added to the variance.
const EPS: f32 = 1e-5;

/// Rows of a forward task, about.
const ROWS: usize = 256;

/// Rows of a task: `most`, or as many pairs of lines as fit into them, and at least one.
fn cut(most: usize, width: usize) -> usize {
    let pair = (2 * width).max(1);
    (most / pair).max(1) * pair
}

/// Where this row of x lies in y, in rows of C; both are counted from the beginning of one pair of lines.
fn placed(row: usize, width: usize) -> usize {
    if width == 0 {
        return row;
    }
    let (line, column) = (row / width, row % width);
    (line / 2 * (width / 2) + column / 2) * 4 + line % 2 * 2 + column % 2
}

simd! {
    /// The forward pass over rows of length g.len().
    fn forward_block(
        s: S, x: &[f32], g: &[f32], b: &[f32], y: &mut [f32], mean: &mut [f32], rstd: &mut [f32], width: usize,
    ) {
        let cols = g.len();
        assert!(x.len() == y.len() && x.len() == mean.len() * cols && rstd.len() == mean.len() && b.len() == cols);
        assert!(width == 0 || width.is_multiple_of(2) && mean.len().is_multiple_of(2 * width));
        let over = 1.0 / cols as f32;
        for (row, (mean, rstd)) in mean.iter_mut().zip(rstd).enumerate() {
            let x = x.as_ptr().wrapping_add(row * cols);
            let y = y.as_mut_ptr().wrapping_add(placed(row, width) * cols);
            // SAFETY: the lengths asserted above, with which rows of y are those of x in another order; `n` keeps every access inside
            // the row.
            unsafe {
                let mut sum = s.splat(0.0);
                for c in (0..cols).step_by(S::LANES) {
                    let n = (cols - c).min(S::LANES);
                    sum = s.add(sum, s.load_first(x.wrapping_add(c), n));
                }
                let m = s.sum(sum) * over;
                let mut squares = s.splat(0.0);
                for c in (0..cols).step_by(S::LANES) {
                    let n = (cols - c).min(S::LANES);
                    let v = s.sub(s.load_first(x.wrapping_add(c), n), s.splat(m));
                    if n == S::LANES {
                        squares = s.fma(v, v, squares);
                    } else {
                        // The lanes past the row hold -m, which must not count.
                        let mut lanes = [0.0f32; 16];
                        s.store_first(lanes.as_mut_ptr(), n, s.mul(v, v));
                        squares = s.add(squares, s.load(lanes.as_ptr()));
                    }
                }
                let r = 1.0 / (s.sum(squares) * over + EPS).sqrt();
                for c in (0..cols).step_by(S::LANES) {
                    let n = (cols - c).min(S::LANES);
                    let xh = s.mul(s.sub(s.load_first(x.wrapping_add(c), n), s.splat(m)), s.splat(r));
                    let v = s.fma(
                        xh,
                        s.load_first(g.as_ptr().wrapping_add(c), n),
                        s.load_first(b.as_ptr().wrapping_add(c), n),
                    );
                    s.store_first(y.wrapping_add(c), n, v);
                }
                *mean = m;
                *rstd = r;
            }
        }
    }
}

simd! {
    /// The backward pass over rows of length g.len(); part[2,cols] = this block's dg, db.
    fn backward_block(
        s: S, dy: &[f32], x: &[f32], g: &[f32], mean: &[f32], rstd: &[f32], dx: &mut [f32], part: &mut [f32],
        width: usize, add: bool,
    ) {
        let cols = g.len();
        assert!(dy.len() == x.len() && dx.len() == x.len() && x.len() == mean.len() * cols);
        assert!(rstd.len() == mean.len() && part.len() == 2 * cols);
        assert!(width == 0 || width.is_multiple_of(2) && mean.len().is_multiple_of(2 * width));
        part.fill(0.0);
        let over = 1.0 / cols as f32;
        let (dg, db) = part.split_at_mut(cols);
        for (row, (m, r)) in mean.iter().zip(rstd).enumerate() {
            let at = row * cols;
            let (x, dy) = (x.as_ptr().wrapping_add(at), dy.as_ptr().wrapping_add(placed(row, width) * cols));
            let dx = dx.as_mut_ptr().wrapping_add(at);
            let (m, r) = (s.splat(*m), s.splat(*r));
            // SAFETY: the lengths asserted above, with which rows of dy are those of x in another order; `n` keeps every access inside
            // the row or the part. Lanes past the row are zero in dy, so they add nothing to either sum.
            unsafe {
                let (mut sum, mut dot) = (s.splat(0.0), s.splat(0.0));
                for c in (0..cols).step_by(S::LANES) {
                    let n = (cols - c).min(S::LANES);
                    let grad = s.load_first(dy.wrapping_add(c), n);
                    let xh = s.mul(s.sub(s.load_first(x.wrapping_add(c), n), m), r);
                    let scaled = s.mul(grad, s.load_first(g.as_ptr().wrapping_add(c), n));
                    sum = s.add(sum, scaled);
                    dot = s.fma(scaled, xh, dot);
                    let p = dg.as_mut_ptr().wrapping_add(c);
                    s.store_first(p, n, s.fma(grad, xh, s.load_first(p, n)));
                    let p = db.as_mut_ptr().wrapping_add(c);
                    s.store_first(p, n, s.add(grad, s.load_first(p, n)));
                }
                let (sum, dot) = (s.splat(s.sum(sum) * over), s.splat(s.sum(dot) * over));
                for c in (0..cols).step_by(S::LANES) {
                    let n = (cols - c).min(S::LANES);
                    let xh = s.mul(s.sub(s.load_first(x.wrapping_add(c), n), m), r);
                    let scaled = s.mul(s.load_first(dy.wrapping_add(c), n), s.load_first(g.as_ptr().wrapping_add(c), n));
                    let mut v = s.mul(r, s.sub(s.sub(scaled, sum), s.mul(xh, dot)));
                    let p = dx.wrapping_add(c);
                    if add {
                        v = s.add(v, s.load_first(p, n));
                    }
                    s.store_first(p, n, v);
                }
            }
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the operator's own")]
pub fn forward(
    cpu: &mut Cpu,
    operator: &'static str,
    x: Tensor,
    g: Tensor,
    b: Tensor,
    y: Tensor,
    mean: Tensor,
    rstd: Tensor,
    rows: usize,
    cols: usize,
    width: usize,
) {
    let len = rows * cols;
    check(
        operator,
        &[("x", x, len), ("g", g, cols), ("b", b, cols), ("y", y, len), ("mean", mean, rows), ("rstd", rstd, rows)],
    );
    let level = cpu.level;
    let (_, [x, g, b], [y, mean, rstd]) = cpu.memory.views(operator, NO_BYTES, [x, g, b], [y, mean, rstd]);
    let step = cut(ROWS, width);
    let outputs = [Split(y, step * cols), Split(mean, step), Split(rstd, step)];
    cpu.pool.run(rows.div_ceil(step), 4 * len, outputs, |i, [y, mean, rstd]| {
        forward_block(level, &x[i * step * cols..][..y.len()], g, b, y, mean, rstd, width);
    });
}

#[expect(clippy::too_many_arguments, reason = "the operator's own")]
pub fn backward(
    cpu: &mut Cpu,
    operator: &'static str,
    dy: Tensor,
    x: Tensor,
    g: Tensor,
    mean: Tensor,
    rstd: Tensor,
    dx: Tensor,
    dg: Tensor,
    db: Tensor,
    rows: usize,
    cols: usize,
    width: usize,
    accumulate: bool,
) {
    let len = rows * cols;
    check(
        operator,
        &[
            ("dy", dy, len),
            ("x", x, len),
            ("g", g, cols),
            ("mean", mean, rows),
            ("rstd", rstd, rows),
            ("dx", dx, len),
            ("dg", dg, cols),
            ("db", db, cols),
        ],
    );
    let level = cpu.level;
    let (_, [dy, x, g, mean, rstd], [dx, dg, db]) =
        cpu.memory.views(operator, NO_BYTES, [dy, x, g, mean, rstd], [dx, dg, db]);
    let step = cut(REDUCE, width);
    let tasks = rows.div_ceil(step);
    let parts = cpu.scratch.take(tasks * 2 * cols);
    let outputs = [Split(dx, step * cols), Split(&mut *parts, 2 * cols)];
    cpu.pool.run(tasks, 8 * len, outputs, |i, [dx, part]| {
        let (row, at) = (i * step, i * step * cols);
        let (rows, len) = (dx.len() / cols, dx.len());
        let (mean, rstd) = (&mean[row..row + rows], &rstd[row..row + rows]);
        backward_block(level, &dy[at..at + len], &x[at..at + len], g, mean, rstd, dx, part, width, accumulate);
    });
    for part in parts.chunks_exact(2 * cols) {
        add_parts(&part[..cols], cols, dg);
        add_parts(&part[cols..], cols, db);
    }
}
