//! Launches of `cuda/bottleneck.cu`.

use super::{Launch, Pointer, launch};

/// Kernels for one number of channels.
struct Instance {
    channels: usize,
    forward: &'static str,
    backward: &'static str,
    /// Rows that a block of the backward pass takes at once.
    rows: usize,
    /// Blocks of the backward pass at most: what an H200 runs at once (132 multiprocessors). Each leaves a row of parts.
    blocks: usize,
}

const INSTANCES: [Instance; 2] = [
    Instance {
        channels: 32,
        forward: "bottleneck_forward_32",
        backward: "bottleneck_backward_32",
        rows: 64,
        blocks: 264,
    },
    Instance {
        channels: 64,
        forward: "bottleneck_forward_64",
        backward: "bottleneck_backward_64",
        rows: 32,
        blocks: 132,
    },
];

/// Rows of a block of the forward pass.
const FORWARD_ROWS: usize = 128;
/// Blocks of the forward pass at most: each reads all weights once, then takes rows in turns.
const FORWARD_BLOCKS: usize = 660;

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

/// Steps of sixteen channels of whose weights a thread of the backward pass keeps its share in registers.
const KEPT: usize = 3;

fn instance(c: usize) -> &'static Instance {
    INSTANCES.iter().find(|i| i.channels == c).unwrap_or_else(|| panic!("a bottleneck of {c} channels: see `fits`"))
}

/// Whether there are kernels for so many channels. Above 64 the weights' gradients do not fit the registers of a block, and products
/// by cuBLASLt with their epilogues move little beside what they compute.
pub fn fits(c: usize) -> bool {
    INSTANCES.iter().any(|i| i.channels == c)
}

/// Bytes of arrays of so many elements each, carved one after another.
fn carved(arrays: &[(usize, usize)]) -> u32 {
    arrays.iter().map(|(size, count)| (size * count).next_multiple_of(16) as u32).sum()
}

/// y[R,C] of x[R,C] and skip[R,C].
pub fn forward(x: Pointer, skip: Pointer, w: Parameters, y: Pointer, rows: usize, c: usize) -> Vec<Launch> {
    let (i, hidden) = (instance(c), 4 * c);
    let blocks = rows.div_ceil(FORWARD_ROWS).min(FORWARD_BLOCKS);
    let Parameters { g, b, w1, b1, w2, b2, scale } = w;
    let launch = launch!(i.forward, [blocks, 1, 1], x, skip, g, b, w1, b1, w2, b2, scale, y, rows);
    let shared = carved(&[(2, c * (hidden + 8)), (2, hidden * (c + 8)), (4, c), (4, c), (4, hidden), (4, c), (4, c)]);
    vec![Launch { shared, ..launch }]
}

fn backward_blocks(rows: usize, i: &Instance) -> usize {
    rows.div_ceil(i.rows).min(i.blocks)
}

/// Elements of a row of `parts`: both matrices, the hidden bias, and four vectors.
fn width(c: usize) -> usize {
    8 * c * c + 8 * c
}

/// Elements of `parts` for `backward`.
pub fn parts(rows: usize, c: usize) -> usize {
    backward_blocks(rows, instance(c)) * width(c)
}

/// dx[R,C] = , and the gradients of all parameters += , from dy[R,C].
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
) -> Vec<Launch> {
    let (i, hidden) = (instance(c), 4 * c);
    let blocks = backward_blocks(rows, i);
    let Parameters { g, b, w1, b1, w2, b2, scale } = w;
    let launch = launch!(i.backward, [blocks, 1, 1], dy, x, g, b, w1, b1, w2, b2, scale, dx, parts, rows);
    let tile = i.rows * (c + 8);
    let shared = carved(&[
        (2, 2 * tile),
        (2, 2 * tile),
        (2, tile),
        (2, c * (hidden + 8)),
        (2, hidden * (i.rows + 8)),
        (4, tile),
        (4, i.rows),
        (4, i.rows),
        (16, (c / 16).saturating_sub(KEPT) * 2 * hidden),
    ]);
    let Parameters { g, b, w1, b1, w2, b2, scale } = gradients;
    let add = launch!("bottleneck_add", [width(c) / 32, 1, 1], parts, w1, w2, b1, b2, scale, g, b, blocks, c);
    vec![Launch { shared, ..launch }, add]
}
