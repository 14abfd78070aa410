//! Launches of `cuda/frames.cu`.

use super::{Launch, Pointer, launch};

/// Images of a block: a warp each.
const IMAGES: usize = 4;

/// pixels u8 [N,S,S,3] of packed [N] images, `bytes` with their table.
pub fn decode(packed: Pointer, pixels: Pointer, n: usize, size: usize, bytes: usize) -> Vec<Launch> {
    vec![launch!("frames_decode", [n.div_ceil(IMAGES), 1, 1], packed, pixels, n, size, bytes / 4)]
}
