//! Launches of `cuda/linear.cu`: what surrounds a matrix product. M rows, N columns.

use super::{Launch, Pointer, add_rows, launch};

const THREADS: usize = 256;

/// Rows of blocks of a pass without sums: CUDA's limit.
const ROWS: usize = 65_535;

/// Rows of partial sums at most.
const PARTS: usize = 256;

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
    let (x, rows) = (n.div_ceil(THREADS), m.min(ROWS));
    vec![match e {
        Epilogue::Bias => launch!("linear_bias", [x, rows, 1], z, b, y, m, n),
        Epilogue::Gelu { pre } => launch!("linear_gelu", [x, rows, 1], z, b, pre, y, m, n),
        Epilogue::Residual { skip } => launch!("linear_residual", [x, rows, 1], z, b, skip, y, m, n),
    }]
}

/// y[M,N] += b[N], where y is f32.
pub fn bias_exact(y: Pointer, b: Pointer, m: usize, n: usize) -> Vec<Launch> {
    vec![launch!("linear_bias_exact", [n.div_ceil(THREADS), m.min(ROWS), 1], y, b, m, n)]
}

/// y[M,N] = skip + scale[N] pre.
pub fn scale(pre: Pointer, skip: Pointer, scale: Pointer, y: Pointer, m: usize, n: usize) -> Vec<Launch> {
    vec![launch!("linear_scale", [n.div_ceil(THREADS), m.min(ROWS), 1], pre, skip, scale, y, m, n)]
}

/// Elements of `parts` for `layer_scale_backward` and `bias_backward`.
pub fn parts(m: usize, n: usize) -> usize {
    m.min(PARTS) * n
}

/// dx[len] *= gelu'(pre).
pub fn gelu_backward(dx: Pointer, pre: Pointer, len: usize) -> Vec<Launch> {
    vec![launch!("gelu_backward", [len.div_ceil(THREADS), 1, 1], dx, pre, len)]
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
    let rows = m.min(PARTS);
    vec![
        launch!("layer_scale_backward", [n.div_ceil(THREADS), rows, 1], dy, pre, scale, dpre, parts, m, n),
        add_rows(parts, dscale, rows, n, n, 0),
    ]
}

/// db[N] += column sums of dy[M,N].
pub fn bias_backward(dy: Pointer, db: Pointer, parts: Pointer, m: usize, n: usize) -> Vec<Launch> {
    let rows = m.min(PARTS);
    vec![launch!("bias_backward", [n.div_ceil(THREADS), rows, 1], dy, parts, m, n), add_rows(parts, db, rows, n, n, 0)]
}
