//! Launches of `cuda/layer_norm.cu`.

use super::{Launch, Pointer, add_rows, launch};

/// The instance for C columns: (largest C, forward, backward, lanes of a row).
const INSTANCES: [(usize, &str, &str, usize); 6] = [
    (32, "layer_norm_forward_32", "layer_norm_backward_32", 4),
    (64, "layer_norm_forward_64", "layer_norm_backward_64", 8),
    (128, "layer_norm_forward_128", "layer_norm_backward_128", 16),
    (256, "layer_norm_forward_256", "layer_norm_backward_256", 32),
    (512, "layer_norm_forward_512", "layer_norm_backward_512", 32),
    (1024, "layer_norm_forward_1024", "layer_norm_backward_1024", 32),
];

const THREADS: usize = 128;

/// Blocks of the backward pass at most: each leaves one row of partial sums.
const PARTS: usize = 264;

fn instance(cols: usize) -> Option<&'static (usize, &'static str, &'static str, usize)> {
    INSTANCES.iter().find(|(most, ..)| cols.is_multiple_of(8) && cols <= *most)
}

/// y, mean, rstd of x[rows,cols]. With a `width`, rows are the pixels of pictures so wide, and y is 2x2 patches of them; with 0 it is
/// in x's order.
#[expect(clippy::too_many_arguments, reason = "the operator's own")]
pub fn forward(
    x: Pointer,
    g: Pointer,
    b: Pointer,
    y: Pointer,
    mean: Pointer,
    rstd: Pointer,
    rows: usize,
    cols: usize,
    width: usize,
) -> Vec<Launch> {
    let (kernel, lanes) =
        instance(cols).map_or(("layer_norm_forward_any", 32), |(_, forward, _, lanes)| (*forward, *lanes));
    let grid = rows.div_ceil(THREADS / lanes);
    vec![launch!(kernel, [grid, 1, 1], x, g, b, y, mean, rstd, rows, cols, width)]
}

fn backward_blocks(rows: usize, cols: usize) -> usize {
    let rows_of_a_block = instance(cols).map_or(1, |(.., lanes)| THREADS / lanes);
    rows.div_ceil(rows_of_a_block).min(PARTS)
}

/// Elements of `parts` for `backward`.
pub fn parts(rows: usize, cols: usize) -> usize {
    backward_blocks(rows, cols) * 2 * cols
}

/// dx = (or += where `accumulate`), dg += , db += . dy is as `forward` with this `width` lays y out.
#[expect(clippy::too_many_arguments, reason = "the operator's own")]
pub fn backward(
    dy: Pointer,
    x: Pointer,
    g: Pointer,
    mean: Pointer,
    rstd: Pointer,
    dx: Pointer,
    dg: Pointer,
    db: Pointer,
    parts: Pointer,
    rows: usize,
    cols: usize,
    width: usize,
    accumulate: bool,
) -> Vec<Launch> {
    let blocks = backward_blocks(rows, cols);
    let mut launches = match instance(cols) {
        Some((_, _, kernel, _)) => {
            vec![launch!(kernel, [blocks, 1, 1], dy, x, g, mean, rstd, dx, parts, rows, cols, width, accumulate)]
        }
        None => vec![
            launch!(
                "layer_norm_backward_any_parameters",
                [cols.div_ceil(THREADS), blocks, 1],
                dy,
                x,
                mean,
                rstd,
                parts,
                rows,
                cols,
                width
            ),
            launch!(
                "layer_norm_backward_any",
                [rows.div_ceil(THREADS / 32), 1, 1],
                dy,
                x,
                g,
                mean,
                rstd,
                dx,
                rows,
                cols,
                width,
                accumulate
            ),
        ],
    };
    launches.push(add_rows(parts, blocks, &[(dg, cols), (db, cols)]));
    launches
}
