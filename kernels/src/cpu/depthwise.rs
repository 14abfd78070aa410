//! Depthwise 7x7 convolution on channels-last planes, zero padding of 3.
//!
//! Channels lie on the SIMD lanes; R outputs along W share one accumulator each:
//!
//! ```text
//!   input row iy   x0 x1 x2 x3 x4 x5 x6 x7 ...      each xi (one vector of channels) is loaded once and
//!                   \  \  |  |  |  /  /             feeds up to 7 of the R accumulators: 7 + R - 1 loads
//!   7 weights      w0 w1 w2 w3 w4 w5 w6             and 7 weight loads for 7 R multiply-adds
//!   outputs        acc0 acc1 ... acc(R-1)
//! ```
//!
//! Whether a tile touches the left or the right edge is a compile-time constant, so that products with the padding
//! are never formed (at 4x4 two thirds of them would be) and the inner loop has no branch. Rows outside the image
//! are skipped. Backward-data is the same code with the weights read backwards. Backward-weight keeps R values of dy
//! in registers, slides along x and feeds 7 accumulators, one for each kx.
//!
//! One core of a Xeon at 2.5 GHz with AVX-512: forward 93-115 GFLOP/s, backward (data and weights) 55-76, padding
//! counted as work (`cargo run -p playhouse-kernels --example operators depthwise`). Lost on the way: a template for
//! partial vectors of channels and for tiles of 4 in the middle of a row doubled the compile time for shapes no model
//! has; those now go column by column.

use super::memory::NO_BYTES;
use super::pool::{Split, add_parts};
use super::simd::{Simd, simd};
use super::{Cpu, check};
use crate::{Plane, Tensor};

/// Window side.
const SIDE: usize = 7;
/// Taps of the window.
const TAPS: usize = SIDE * SIDE;

/// Repeats a block with a literal, so that accumulators indexed by it stay in registers whatever the optimiser's mood.
macro_rules! unroll {
    ($i:ident in [$($n:literal)*] $body:block) => {
        $({
            let $i: usize = $n;
            $body
        })*
    };
}

/// Width of the next tile of a row and which edges it touches: (outputs, left, right). A tile of 1 checks bounds; it
/// fills what is left over at odd widths, slowly.
fn next_tile(x: usize, w: usize) -> (usize, bool, bool) {
    let rest = w - x;
    let inside = x == 0 || x >= 3;
    if inside && (rest == 8 || rest >= 11) {
        (8, x == 0, rest == 8)
    } else if inside && rest == 4 {
        (4, x == 0, true)
    } else {
        (1, true, true)
    }
}

/// One row of one tile for one vector of channels. All pointers are at the vector's first channel.
#[derive(Clone, Copy)]
struct Row {
    /// The tile's first column in an input row.
    x: *const f32,
    /// Elements from pixel to pixel.
    c: usize,
}

/// acc[r] += sum over kx of x[r + kx - 3] * w[kx] inside the row.
///
/// # Safety
/// The row is valid from column -3 (0 where LEFT) to R + 2 (R - 1 where RIGHT); `w` for 7 rows `w_step` apart.
#[inline(always)]
unsafe fn convolve<S: Simd, const R: usize, const LEFT: bool, const RIGHT: bool>(
    s: S,
    row: Row,
    w: *const f32,
    w_step: isize,
    acc: &mut [S::V; R],
) {
    // SAFETY: the caller's promise; columns outside it are skipped by constants.
    unsafe {
        let mut weights = [s.splat(0.0); SIDE];
        unroll!(kx in [0 1 2 3 4 5 6] {
            weights[kx] = s.load(w.wrapping_offset(kx as isize * w_step));
        });
        // Column i - 3 relative to the tile.
        unroll!(i in [0 1 2 3 4 5 6 7 8 9 10 11 12 13] {
            if i < R + SIDE - 1 && !(LEFT && i < 3) && !(RIGHT && i >= R + 3) {
                let x = s.load(row.x.wrapping_add(i * row.c).wrapping_sub(3 * row.c));
                unroll!(r in [0 1 2 3 4 5 6 7] {
                    if r < R && i >= r && i - r < SIDE {
                        acc[r] = s.fma(x, weights[i - r], acc[r]);
                    }
                });
            }
        });
    }
}

/// What a pass over a plane needs besides the tile: raw, because it is the innermost loop. Checked in `convolve_planes`.
#[derive(Clone, Copy)]
struct Pass {
    h: usize,
    w: usize,
    c: usize,
    lanes: usize,
    /// First tap, at the vector's first channel.
    taps: *const f32,
    /// Elements from tap to tap; negative to read them backwards.
    tap_step: isize,
    /// Null: no bias.
    bias: *const f32,
    /// Sums are added to what is there.
    accumulate: bool,
}

/// R outputs of row `oy` from column `ox`, over all rows of the window.
///
/// # Safety
/// `input` and `output` are planes of the pass at the vector's first channel; the tile lies in the row, and its
/// neighbours of 3 columns too except past the edges named.
#[inline(always)]
unsafe fn output_tile<S: Simd, const R: usize, const LEFT: bool, const RIGHT: bool>(
    s: S,
    p: Pass,
    input: *const f32,
    output: *mut f32,
    oy: usize,
    ox: usize,
) {
    // SAFETY: rows first..=last are inside the plane; columns by the caller's promise.
    unsafe {
        let mut acc = [s.splat(0.0); R];
        if !p.bias.is_null() {
            acc = [s.load(p.bias); R];
        }
        for iy in oy.saturating_sub(3)..(oy + 4).min(p.h) {
            let ky = iy + 3 - oy;
            let row = Row { x: input.wrapping_add((iy * p.w + ox) * p.c), c: p.c };
            let taps = p.taps.wrapping_offset((ky * SIDE) as isize * p.tap_step);
            convolve::<S, R, LEFT, RIGHT>(s, row, taps, p.tap_step, &mut acc);
        }
        unroll!(r in [0 1 2 3 4 5 6 7] {
            if r < R {
                let at = output.wrapping_add((oy * p.w + ox + r) * p.c);
                s.store(at, if p.accumulate { s.add(s.load(at), acc[r]) } else { acc[r] });
            }
        });
    }
}

/// One output column, any width: bounds checked at run time.
///
/// # Safety
/// `input` and `output` are planes of the pass at the vector's first channel.
#[inline(always)]
unsafe fn output_column<S: Simd>(s: S, p: Pass, input: *const f32, output: *mut f32, oy: usize, ox: usize) {
    // SAFETY: only rows and columns inside the plane are touched.
    unsafe {
        let mut acc = if p.bias.is_null() { s.splat(0.0) } else { s.load_first(p.bias, p.lanes) };
        for iy in oy.saturating_sub(3)..(oy + 4).min(p.h) {
            for ix in ox.saturating_sub(3)..(ox + 4).min(p.w) {
                let tap = ((iy + 3 - oy) * SIDE + ix + 3 - ox) as isize;
                let w = s.load_first(p.taps.wrapping_offset(tap * p.tap_step), p.lanes);
                acc = s.fma(s.load_first(input.wrapping_add((iy * p.w + ix) * p.c), p.lanes), w, acc);
            }
        }
        let at = output.wrapping_add((oy * p.w + ox) * p.c);
        s.store_first(at, p.lanes, if p.accumulate { s.add(s.load_first(at, p.lanes), acc) } else { acc });
    }
}

/// One vector of channels of one plane. FULL: the vector has all its lanes; otherwise column by column.
///
/// # Safety
/// As [`output_column`].
#[inline(always)]
unsafe fn convolve_plane<S: Simd, const FULL: bool>(s: S, p: Pass, input: *const f32, output: *mut f32) {
    for oy in 0..p.h {
        let mut ox = 0;
        while ox < p.w {
            let (size, left, right) = if FULL { next_tile(ox, p.w) } else { (1, true, true) };
            // SAFETY: `next_tile` gives tiles inside the row and names the edges within 3 columns.
            unsafe {
                match (size, left, right) {
                    (8, false, false) => output_tile::<S, 8, false, false>(s, p, input, output, oy, ox),
                    (8, true, false) => output_tile::<S, 8, true, false>(s, p, input, output, oy, ox),
                    (8, false, true) => output_tile::<S, 8, false, true>(s, p, input, output, oy, ox),
                    (8, true, true) => output_tile::<S, 8, true, true>(s, p, input, output, oy, ox),
                    (4, false, true) => output_tile::<S, 4, false, true>(s, p, input, output, oy, ox),
                    (4, true, true) => output_tile::<S, 4, true, true>(s, p, input, output, oy, ox),
                    _ => output_column(s, p, input, output, oy, ox),
                }
            }
            ox += size;
        }
    }
}

/// Which of the two convolutions.
#[derive(Clone, Copy)]
enum Way<'a> {
    Forward {
        bias: &'a [f32],
    },
    /// With the taps read backwards.
    Backward {
        accumulate: bool,
    },
}

simd! {
    /// output[n,h,w,c] = , or += , bias + window sums of input[n,h,w,c] with taps w[49,c].
    fn convolve_planes(s: S, input: &[f32], w: &[f32], way: Way<'_>, output: &mut [f32], d: Plane) {
        assert!(input.len() >= d.elements() && output.len() >= d.elements() && w.len() >= TAPS * d.c);
        let (bias, flip, accumulate) = match way {
            Way::Forward { bias } => (Some(bias), false, false),
            Way::Backward { accumulate } => (None, true, accumulate),
        };
        assert!(bias.is_none_or(|b| b.len() >= d.c));
        let plane = d.h * d.w * d.c;
        for n in 0..d.n {
            for c in (0..d.c).step_by(S::LANES) {
                let p = Pass {
                    h: d.h,
                    w: d.w,
                    c: d.c,
                    lanes: (d.c - c).min(S::LANES),
                    taps: w.as_ptr().wrapping_add(c + if flip { (TAPS - 1) * d.c } else { 0 }),
                    tap_step: if flip { -(d.c as isize) } else { d.c as isize },
                    bias: bias.map_or(std::ptr::null(), |b| b.as_ptr().wrapping_add(c)),
                    accumulate,
                };
                let input = input.as_ptr().wrapping_add(n * plane + c);
                let output = output.as_mut_ptr().wrapping_add(n * plane + c);
                // SAFETY: lengths asserted above; `lanes` keeps the last vector inside its pixel.
                unsafe {
                    if p.lanes == S::LANES {
                        convolve_plane::<S, true>(s, p, input, output);
                    } else {
                        convolve_plane::<S, false>(s, p, input, output);
                    }
                }
            }
        }
    }
}

/// acc[kx] += sum over the tile's R columns of x[column + kx - 3] * dy[column], for one row of x and one of dy.
///
/// # Safety
/// `x` as in [`convolve`]; `dy` is valid for R columns.
#[inline(always)]
unsafe fn correlate<S: Simd, const R: usize, const LEFT: bool, const RIGHT: bool>(
    s: S,
    x: Row,
    dy: *const f32,
    acc: &mut [S::V; SIDE],
) {
    // SAFETY: the caller's promise; columns outside it are skipped by constants.
    unsafe {
        let mut grads = [s.splat(0.0); R];
        unroll!(r in [0 1 2 3 4 5 6 7] {
            if r < R {
                grads[r] = s.load(dy.wrapping_add(r * x.c));
            }
        });
        unroll!(i in [0 1 2 3 4 5 6 7 8 9 10 11 12 13] {
            if i < R + SIDE - 1 && !(LEFT && i < 3) && !(RIGHT && i >= R + 3) {
                let v = s.load(x.x.wrapping_add(i * x.c).wrapping_sub(3 * x.c));
                unroll!(r in [0 1 2 3 4 5 6 7] {
                    if r < R && i >= r && i - r < SIDE {
                        acc[i - r] = s.fma(v, grads[r], acc[i - r]);
                    }
                });
            }
        });
    }
}

/// Adds one plane's share of the tap gradients of one vector of channels to part[49,C] (at its first channel), and the
/// column sums of dy to part[49]. FULL as in [`convolve_plane`].
///
/// # Safety
/// `x` and `dy` are planes, `part` is [50,C], all at the vector's first channel.
#[inline(always)]
unsafe fn correlate_plane<S: Simd, const FULL: bool>(s: S, p: Pass, x: *const f32, dy: *const f32, part: *mut f32) {
    // SAFETY: rows and columns stay inside the planes; `next_tile` names the edges within 3 columns.
    unsafe {
        for ky in 0..SIDE {
            let mut acc = [s.splat(0.0); SIDE];
            for oy in 3usize.saturating_sub(ky)..(p.h + 3).saturating_sub(ky).min(p.h) {
                let iy = oy + ky - 3;
                let mut ox = 0;
                while ox < p.w {
                    let (size, left, right) = if FULL { next_tile(ox, p.w) } else { (1, true, true) };
                    let row = Row { x: x.wrapping_add((iy * p.w + ox) * p.c), c: p.c };
                    let dy = dy.wrapping_add((oy * p.w + ox) * p.c);
                    match (size, left, right) {
                        (8, false, false) => correlate::<S, 8, false, false>(s, row, dy, &mut acc),
                        (8, true, false) => correlate::<S, 8, true, false>(s, row, dy, &mut acc),
                        (8, false, true) => correlate::<S, 8, false, true>(s, row, dy, &mut acc),
                        (8, true, true) => correlate::<S, 8, true, true>(s, row, dy, &mut acc),
                        (4, false, true) => correlate::<S, 4, false, true>(s, row, dy, &mut acc),
                        (4, true, true) => correlate::<S, 4, true, true>(s, row, dy, &mut acc),
                        _ => {
                            let g = s.load_first(dy, p.lanes);
                            unroll!(kx in [0 1 2 3 4 5 6] {
                                if ox + kx >= 3 && ox + kx - 3 < p.w {
                                    let v = row.x.wrapping_add(kx * p.c).wrapping_sub(3 * p.c);
                                    acc[kx] = s.fma(s.load_first(v, p.lanes), g, acc[kx]);
                                }
                            });
                        }
                    }
                    ox += size;
                }
            }
            unroll!(kx in [0 1 2 3 4 5 6] {
                let out = part.wrapping_add((ky * SIDE + kx) * p.c);
                s.store_first(out, p.lanes, s.add(s.load_first(out, p.lanes), acc[kx]));
            });
        }
        let (mut even, mut odd) = (s.splat(0.0), s.splat(0.0));
        for pixel in (0..p.h * p.w).step_by(2) {
            let here = dy.wrapping_add(pixel * p.c);
            even = s.add(even, s.load_first(here, p.lanes));
            if pixel + 1 < p.h * p.w {
                odd = s.add(odd, s.load_first(here.wrapping_add(p.c), p.lanes));
            }
        }
        let out = part.wrapping_add(TAPS * p.c);
        let sum = s.add(even, odd);
        s.store_first(out, p.lanes, s.add(s.load_first(out, p.lanes), sum));
    }
}

simd! {
    /// part[50,C] = tap gradients [49,C] and bias gradient [C] of the planes x and dy [n,h,w,c].
    fn correlate_planes(s: S, x: &[f32], dy: &[f32], part: &mut [f32], d: Plane) {
        assert!(x.len() >= d.elements() && dy.len() >= d.elements() && part.len() >= (TAPS + 1) * d.c);
        part.fill(0.0);
        let plane = d.h * d.w * d.c;
        for n in 0..d.n {
            for c in (0..d.c).step_by(S::LANES) {
                let lanes = (d.c - c).min(S::LANES);
                let none = std::ptr::null();
                let p = Pass { h: d.h, w: d.w, c: d.c, lanes, taps: none, tap_step: 0, bias: none, accumulate: true };
                let x = x.as_ptr().wrapping_add(n * plane + c);
                let dy = dy.as_ptr().wrapping_add(n * plane + c);
                let part = part.as_mut_ptr().wrapping_add(c);
                // SAFETY: lengths asserted above; `lanes` keeps the last vector inside its pixel.
                unsafe {
                    if lanes == S::LANES {
                        correlate_plane::<S, true>(s, p, x, dy, part);
                    } else {
                        correlate_plane::<S, false>(s, p, x, dy, part);
                    }
                }
            }
        }
    }
}

/// Images of one task: at most 32 tasks, so that the partial sums stay small.
fn images(d: Plane) -> usize {
    d.n.div_ceil(32).max(1)
}

pub fn forward(cpu: &mut Cpu, x: Tensor, w: Tensor, b: Tensor, y: Tensor, d: Plane) {
    let len = d.elements();
    check("depthwise_forward", &[("x", x, len), ("w", w, TAPS * d.c), ("b", b, d.c), ("y", y, len)]);
    let level = cpu.level;
    let (_, [x, w, b], [y]) = cpu.memory.views("depthwise_forward", NO_BYTES, [x, w, b], [y]);
    let (block, plane) = (images(d), d.h * d.w * d.c);
    cpu.pool.run(d.n.div_ceil(block), len * TAPS, [Split(y, block * plane)], |i, [y]| {
        let d = Plane { n: y.len() / plane, ..d };
        convolve_planes(level, &x[i * block * plane..], w, Way::Forward { bias: b }, y, d);
    });
}

#[expect(clippy::too_many_arguments, reason = "the operator's own")]
pub fn backward(
    cpu: &mut Cpu,
    dy: Tensor,
    x: Tensor,
    w: Tensor,
    dx: Tensor,
    dw: Tensor,
    db: Tensor,
    d: Plane,
    accumulate: bool,
) {
    let (len, taps) = (d.elements(), TAPS * d.c);
    check(
        "depthwise_backward",
        &[("dy", dy, len), ("x", x, len), ("w", w, taps), ("dx", dx, len), ("dw", dw, taps), ("db", db, d.c)],
    );
    let level = cpu.level;
    let (_, [dy, x, w], [dx, dw, db]) = cpu.memory.views("depthwise_backward", NO_BYTES, [dy, x, w], [dx, dw, db]);
    let (block, plane, stride) = (images(d), d.h * d.w * d.c, taps + d.c);
    let tasks = d.n.div_ceil(block);
    let parts = cpu.scratch.take(tasks * stride);
    let outputs = [Split(dx, block * plane), Split(&mut *parts, stride)];
    cpu.pool.run(tasks, 2 * len * TAPS, outputs, |i, [dx, part]| {
        let d = Plane { n: dx.len() / plane, ..d };
        let at = i * block * plane;
        convolve_planes(level, &dy[at..], w, Way::Backward { accumulate }, dx, d);
        correlate_planes(level, &x[at..], &dy[at..], part, d);
    });
    for part in parts.chunks_exact(stride) {
        add_parts(&part[..taps], taps, dw);
        add_parts(&part[taps..], d.c, db);
    }
}
