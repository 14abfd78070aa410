//! Launches of `cuda/linear.cu`: what surrounds a matrix product. M rows, N columns.

use super::{Launch, Pointer, add_rows, launch};

const THREADS: usize = 256;

/// Elements of a thread where N is a multiple of it; one elsewhere.
const WIDTH: usize = 8;

/// Threads of a block at most that are neighbours in a row; the others have other rows.
const SIDE: usize = 32;

/// Rows of partial sums at most, and rows at least that a thread adds for one of them.
const PARTS: usize = 256;
const ROUNDS: usize = 16;

/// The kernel for rows of `n` elements, and what a thread takes of them.
macro_rules! instance {
    ($name:literal, $n:expr) => {
        if $n.is_multiple_of(WIDTH) { (concat!($name, "_8"), WIDTH) } else { (concat!($name, "_any"), 1) }
    };
}

/// Blocks of a pass without sums.
fn blocks(elements: usize, width: usize) -> usize {
    (elements / width).div_ceil(THREADS)
}

/// How a sum over rows is cut.
struct Cut {
    /// Threads of a block that are neighbours in a row.
    side: usize,
    /// Blocks in a row.
    across: usize,
    /// Rows of blocks, and of `parts`.
    down: usize,
}

fn cut(m: usize, n: usize) -> Cut {
    let groups = if n.is_multiple_of(WIDTH) { n / WIDTH } else { n };
    let side = groups.next_power_of_two().min(SIDE);
    Cut { side, across: groups.div_ceil(side), down: m.div_ceil(THREADS / side * ROUNDS).min(PARTS) }
}

/// How z becomes y. Tensors as in [`crate::Epilogue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Epilogue {
    /// y = z + b.
    Bias,
    /// pre = z + b, y = gelu(pre).
    Gelu { pre: Pointer },
    /// y = skip + z + b.
    Residual { skip: Pointer },
}

/// y[M,N] of the product z[M,N] and b[N].
pub fn epilogue(z: Pointer, b: Pointer, y: Pointer, e: Epilogue, m: usize, n: usize) -> Vec<Launch> {
    let (name, width) = match e {
        Epilogue::Bias => instance!("linear_bias", n),
        Epilogue::Gelu { .. } => instance!("linear_gelu", n),
        Epilogue::Residual { .. } => instance!("linear_residual", n),
    };
    let x = blocks(m * n, width);
    vec![match e {
        Epilogue::Bias => launch!(name, [x, 1, 1], z, b, y, m * n, n),
        Epilogue::Gelu { pre } => launch!(name, [x, 1, 1], z, b, pre, y, m * n, n),
        Epilogue::Residual { skip } => launch!(name, [x, 1, 1], z, b, skip, y, m * n, n),
    }]
}

/// y[M,N] += b[N], where y is f32.
pub fn bias_exact(y: Pointer, b: Pointer, m: usize, n: usize) -> Vec<Launch> {
    vec![launch!("linear_bias_exact", [blocks(m * n, 1), 1, 1], y, b, m * n, n)]
}

/// y[M,N] = skip + scale[N] pre.
pub fn scale(pre: Pointer, skip: Pointer, scale: Pointer, y: Pointer, m: usize, n: usize) -> Vec<Launch> {
    let (name, width) = instance!("linear_scale", n);
    vec![launch!(name, [blocks(m * n, width), 1, 1], pre, skip, scale, y, m * n, n)]
}

/// dx[len] *= gelu'(pre).
pub fn gelu_backward(dx: Pointer, pre: Pointer, len: usize) -> Vec<Launch> {
    let (name, width) = instance!("gelu_backward", len);
    vec![launch!(name, [blocks(len, width), 1, 1], dx, pre, len)]
}

/// Elements of `parts` for `layer_scale_backward` and `bias_backward`.
pub fn parts(m: usize, n: usize) -> usize {
    cut(m, n).down * n
}

/// dpre[M,N] = , dscale[N] += .
#[expect(clippy::too_many_arguments, reason = "the operator's own")]
pub fn layer_scale_backward(
    dy: Pointer,
    pre: Pointer,
    scale: Pointer,
    dpre: Pointer,
    dscale: Pointer,
    parts: Pointer,
    m: usize,
    n: usize,
) -> Vec<Launch> {
    let ((name, _), Cut { side, across, down }) = (instance!("layer_scale_backward", n), cut(m, n));
    vec![
        launch!(name, [across, down, 1], dy, pre, scale, dpre, parts, m, n, side),
        add_rows(parts, down, &[(dscale, n)]),
    ]
}

/// db[N] += column sums of dy[M,N].
pub fn bias_backward(dy: Pointer, db: Pointer, parts: Pointer, m: usize, n: usize) -> Vec<Launch> {
    let ((name, _), Cut { side, across, down }) = (instance!("bias_backward", n), cut(m, n));
    vec![launch!(name, [across, down, 1], dy, parts, m, n, side), add_rows(parts, down, &[(db, n)])]
}
