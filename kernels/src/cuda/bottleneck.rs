//! Launches of `cuda/bottleneck.cu`.

use super::{Launch, Pointer, add_rows, launch};

/// Kernels for one number of channels. Blocks at most are what an H200 (132 multiprocessors) runs at once: a block reads all weights, then
/// takes rows in turns. On the way back each leaves a row of parts.
struct Instance {
    channels: usize,
    forward: &'static str,
    forward_blocks: usize,
    backward: &'static str,
    backward_blocks: usize,
    /// Rows that a block of the backward pass takes at once.
    backward_rows: usize,
}

const INSTANCES: [Instance; 2] = [
    Instance {
        channels: 32,
        forward: "bottleneck_forward_32",
        forward_blocks: 660,
        backward: "bottleneck_backward_32",
        backward_blocks: 264,
        backward_rows: 64,
    },
    Instance {
        channels: 64,
        forward: "bottleneck_forward_64",
        forward_blocks: 396,
        backward: "bottleneck_backward_64",
        backward_blocks: 132,
        backward_rows: 32,
    },
];

/// Rows that a block of the forward pass takes at once.
const FORWARD_ROWS: usize = 128;

/// Addresses of parameters, or of their gradients.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    pub g: Pointer,
    pub b: Pointer,
    /// As parameters bf16, as gradients f32; and `w2`.
    pub w1: Pointer,
    pub b1: Pointer,
    pub w2: Pointer,
    pub b2: Pointer,
    pub scale: Pointer,
}

/// Steps of sixteen channels of whose weights a thread of the backward pass keeps its share in registers. (This and `backward_rows` stand in
/// the kernels, too; if they differ, what a block carves is not what it is given, and the emulated device says so.)
const KEPT: usize = 3;

fn instance(c: usize) -> &'static Instance {
    INSTANCES.iter().find(|i| i.channels == c).unwrap_or_else(|| panic!("a bottleneck of {c} channels: see `fits`"))
}

/// Whether there are kernels for so many channels. Above 64 the weights' gradients do not fit the registers of a block, and products
/// by cuBLASLt with their epilogues move little beside what they compute.
pub fn fits(c: usize) -> bool {
    INSTANCES.iter().any(|i| i.channels == c)
}

/// Blocks for so many tiles, `most` at once: as few as need no more turns.
fn blocks(tiles: usize, most: usize) -> usize {
    tiles.div_ceil(tiles.div_ceil(most).max(1))
}

/// Bytes of arrays of so many elements each, carved one after another.
fn carved(arrays: &[(usize, usize)]) -> u32 {
    arrays.iter().map(|(size, count)| (size * count).next_multiple_of(16) as u32).sum()
}

/// Blocks of the forward pass.
pub fn forward_blocks(rows: usize, c: usize) -> usize {
    blocks(rows.div_ceil(FORWARD_ROWS), instance(c).forward_blocks)
}

/// y[R,C] of x[R,C] and skip[R,C], by so many blocks.
pub fn forward(
    x: Pointer,
    skip: Pointer,
    w: Parameters,
    y: Pointer,
    rows: usize,
    c: usize,
    blocks: usize,
) -> Vec<Launch> {
    let (i, hidden) = (instance(c), 4 * c);
    let Parameters { g, b, w1, b1, w2, b2, scale } = w;
    let launch = launch!(i.forward, [blocks, 1, 1], x, skip, g, b, w1, b1, w2, b2, scale, y, rows);
    let shared = carved(&[(2, c * (hidden + 8)), (2, hidden * (c + 8)), (4, c), (4, c), (4, hidden), (4, c), (4, c)]);
    vec![Launch { shared, ..launch }]
}

/// Blocks of the backward pass, and rows of its `parts`.
pub fn backward_blocks(rows: usize, c: usize) -> usize {
    let i = instance(c);
    blocks(rows.div_ceil(i.backward_rows), i.backward_blocks)
}

/// Elements of a row of `parts`: both matrices, the hidden bias, and four vectors.
fn width(c: usize) -> usize {
    8 * c * c + 8 * c
}

/// Elements of `parts` for `backward` by so many blocks.
pub fn parts(c: usize, blocks: usize) -> usize {
    blocks * width(c)
}

/// dx[R,C] = , and the gradients of all parameters += , from dy[R,C], by so many blocks.
#[expect(clippy::too_many_arguments, reason = "the operator's own")]
pub fn backward(
    dy: Pointer,
    x: Pointer,
    w: Parameters,
    dx: Pointer,
    gradients: Parameters,
    parts: Pointer,
    rows: usize,
    c: usize,
    blocks: usize,
) -> Vec<Launch> {
    let (i, hidden) = (instance(c), 4 * c);
    let Parameters { g, b, w1, b1, w2, b2, scale } = w;
    let launch = launch!(i.backward, [blocks, 1, 1], dy, x, g, b, w1, b1, w2, b2, scale, dx, parts, rows);
    let tile = i.backward_rows * (c + 8);
    let shared = carved(&[
        (2, 2 * tile),
        (2, 2 * tile),
        (2, tile),
        (2, c * (hidden + 8)),
        (2, hidden * (i.backward_rows + 8)),
        (4, tile),
        (4, i.backward_rows),
        (4, i.backward_rows),
        (16, (c / 16).saturating_sub(KEPT) * 2 * hidden),
    ]);
    let Parameters { g, b, w1, b1, w2, b2, scale } = gradients;
    let matrix = c * hidden;
    let add = [(w1, matrix), (w2, matrix), (b1, hidden), (b2, c), (scale, c), (g, c), (b, c)];
    vec![Launch { shared, ..launch }, add_rows(parts, blocks, &add)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_take_equal_turns() {
        // The paper's first stage, 1,024 images at once: 660 blocks need thirteen turns, and 631 need no more.
        assert_eq!(forward_blocks(1024 * 32 * 32, 32), 631);
        for (tiles, most) in [(1, 4), (4, 4), (5, 4), (9, 4), (4096, 660), (1025, 132)] {
            let blocks = blocks(tiles, most);
            assert!(blocks <= most && tiles.div_ceil(blocks) == tiles.div_ceil(most), "{tiles} of {most}: {blocks}");
        }
        assert_eq!(blocks(0, 4), 0);
    }
}
