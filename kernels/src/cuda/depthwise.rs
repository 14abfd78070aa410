//! Launches of `cuda/depthwise.cu`.

use super::{Launch, Pointer, add_rows, launch};
use crate::Plane;

/// Kernels of one tile.
struct Instance {
    forward: &'static str,
    backward: &'static str,
    taps: &'static str,
    /// Height and width of the tile of an image, forward and backward to the data.
    tile: (usize, usize),
    /// And backward to the taps.
    taps_tile: (usize, usize),
}

macro_rules! instance {
    ($name:literal, $tile:expr, $taps_tile:expr) => {
        Instance {
            forward: concat!("depthwise_forward_", $name),
            backward: concat!("depthwise_backward_", $name),
            taps: concat!("depthwise_taps_", $name),
            tile: $tile,
            taps_tile: $taps_tile,
        }
    };
}

/// By the width of the tile, the widest first.
const INSTANCES: [Instance; 4] = [
    instance!("32", (8, 32), (4, 32)),
    instance!("16", (16, 16), (8, 16)),
    instance!("8", (8, 8), (8, 8)),
    instance!("4", (4, 4), (4, 4)),
];

/// Channels of a block.
const CHANNELS: usize = 32;
const THREADS_ANY: usize = 256;

/// Rows of partial sums at most. A row is 50 C floats, and a block with fewer than a few tiles only adds rows.
const PARTS: usize = 256;

/// The widest tile of which the image fills more than half.
fn instance(d: Plane) -> Option<&'static Instance> {
    let fits = |i: &&Instance| d.w > i.tile.1 / 2 || i.tile.1 == 4;
    if d.c.is_multiple_of(8) { INSTANCES.iter().find(fits) } else { None }
}

fn tiles(d: Plane, tile: (usize, usize)) -> usize {
    d.n * d.h.div_ceil(tile.0) * d.w.div_ceil(tile.1)
}

fn part_rows(d: Plane) -> usize {
    instance(d).map_or(d.n, |i| tiles(d, i.taps_tile)).min(PARTS)
}

/// Elements of `parts` for `backward`.
pub fn parts(d: Plane) -> usize {
    part_rows(d) * 50 * d.c
}

/// y[N,H,W,C] of x[N,H,W,C], w[49,C], b[C].
pub fn forward(x: Pointer, w: Pointer, b: Pointer, y: Pointer, d: Plane) -> Vec<Launch> {
    vec![match instance(d) {
        Some(i) => launch!(i.forward, [tiles(d, i.tile), d.c.div_ceil(CHANNELS), 1], x, w, b, y, d.h, d.w, d.c),
        None => {
            let len = d.elements();
            launch!("depthwise_forward_any", [len.div_ceil(THREADS_ANY), 1, 1], x, w, b, y, len, d.h, d.w, d.c)
        }
    }]
}

/// dw[49,C] += , db[C] += ; dx = , or += where `accumulate`, from dy.
#[expect(clippy::too_many_arguments, reason = "the operator's own")]
pub fn backward(
    dy: Pointer,
    x: Pointer,
    w: Pointer,
    dx: Pointer,
    dw: Pointer,
    db: Pointer,
    parts: Pointer,
    d: Plane,
    accumulate: bool,
) -> Vec<Launch> {
    let (len, rows, taps) = (d.elements(), part_rows(d), 49 * d.c);
    let [data, sums] = match instance(d) {
        Some(i) => {
            let groups = d.c.div_ceil(CHANNELS);
            let all = tiles(d, i.taps_tile);
            [
                launch!(i.backward, [tiles(d, i.tile), groups, 1], dy, w, dx, d.h, d.w, d.c, accumulate),
                launch!(i.taps, [rows, groups, 1], dy, x, parts, all, d.h, d.w, d.c),
            ]
        }
        None => [
            launch!(
                "depthwise_backward_any",
                [len.div_ceil(THREADS_ANY), 1, 1],
                dy,
                w,
                dx,
                len,
                d.h,
                d.w,
                d.c,
                accumulate
            ),
            launch!(
                "depthwise_taps_any",
                [(50 * d.c).div_ceil(THREADS_ANY), rows, 1],
                dy,
                x,
                parts,
                d.n,
                d.h,
                d.w,
                d.c
            ),
        ],
    };
    vec![data, sums, add_rows(parts, rows, &[(dw, taps), (db, d.c)])]
}
