//! Launches of `cuda/stem.cu`.

use super::{Launch, Pointer, add_rows, launch};
use crate::Stem;

/// Patches and channels of a block.
const PATCHES: usize = 64;
const CHANNELS: usize = 64;

/// Rows of partial sums at most.
const PARTS: usize = 264;

/// y[N,(S/4)^2,C] of pixels u8 [N,S,S,3], w[48,C], b[C].
pub fn forward(pixels: Pointer, w: Pointer, b: Pointer, y: Pointer, d: Stem) -> Vec<Launch> {
    let grid = (d.rows().div_ceil(PATCHES), d.channels.div_ceil(CHANNELS));
    vec![launch!("stem_forward", [grid.0, grid.1, 1], pixels, w, b, y, d.rows(), d.size, d.channels)]
}

fn part_rows(d: Stem) -> usize {
    d.rows().div_ceil(PATCHES).min(PARTS)
}

/// Elements of `parts` for `backward`.
pub fn parts(d: Stem) -> usize {
    part_rows(d) * 49 * d.channels
}

/// dw[48,C] += , db[C] += , from dy[N,(S/4)^2,C].
pub fn backward(dy: Pointer, pixels: Pointer, dw: Pointer, db: Pointer, parts: Pointer, d: Stem) -> Vec<Launch> {
    let (rows, c) = (part_rows(d), d.channels);
    vec![
        launch!("stem_backward", [rows, c.div_ceil(CHANNELS), 1], dy, pixels, parts, d.rows(), d.size, c),
        add_rows(parts, rows, &[(dw, 48 * c), (db, c)]),
    ]
}
