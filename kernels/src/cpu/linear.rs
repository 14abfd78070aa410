//! Linear layers: rows are cut into blocks; a block's product and its epilogue run while it is in cache.
//!
//! Layouts: x[M,K], w[K,N], b[N], y[M,N], row-major. Backward: dx = dy @ w^T with w packed transposed, and GELU's slope while
//! the block is in cache; dw and db by
//! one of two cuttings, chosen by shape: many rows and a small dw (the encoder) sum row blocks into parts; few rows
//! or a large dw (the transformer) give each task rows of dw.

use super::gelu::{gelu_backward_block, gelu_forward_block};
use super::memory::{NO_BYTES, NONE};
use super::pool::{Split, add_parts};
use super::product::{Right, Start, Strided, multiply, pack, packed_len};
use super::simd::{Level, simd};
use super::{Cpu, check};
use crate::{Epilogue, Gemm, Tensor};

/// Rows of a forward task: a block of x, y and the epilogue's operands stays in L2.
const ROWS: usize = 64;

pub fn forward(cpu: &mut Cpu, x: Tensor, w: Tensor, b: Tensor, y: Tensor, d: Gemm, e: Epilogue) {
    let Gemm { m, k, n } = d;
    check("linear_forward", &[("x", x, m * k), ("w", w, k * n), ("b", b, n), ("y", y, m * n)]);
    // The epilogue's tensors; a skip that is y itself is already in place.
    let (skip, scale, pre) = match e {
        Epilogue::None => (NONE, NONE, NONE),
        Epilogue::Gelu { pre } => (NONE, NONE, pre),
        Epilogue::Residual { skip } => (skip, NONE, NONE),
        Epilogue::ScaledResidual { skip, scale, pre } => (skip, scale, pre),
    };
    for (name, tensor, len) in [("skip", skip, m * n), ("scale", scale, n), ("pre", pre, m * n)] {
        if tensor.len() > 0 {
            check("linear_forward", &[(name, tensor, len)]);
        }
    }
    let skip = if skip.len() > 0 && skip.range() == y.range() { NONE } else { skip };
    let level = cpu.level;
    let (_, [x, w, b, skip, scale], [y, pre]) =
        cpu.memory.views("linear_forward", NO_BYTES, [x, w, b, skip, scale], [y, pre]);
    let packed = cpu.scratch.take(packed_len(level.lanes(), k, n));
    pack(level, w, n, 1, k, n, packed);
    let packed = &*packed;
    let tasks = m.div_ceil(ROWS);
    cpu.pool.run(tasks, m * n * k, [Split(y, ROWS * n), Split(pre, ROWS * n)], |i, [y, pre]| {
        let rows = y.len() / n;
        let a = Strided { data: &x[i * ROWS * k..][..rows * k], row: k, col: 1 };
        let product =
            |start: Start<'_>, c: &mut [f32]| multiply(level, rows, n, k, a, Right::Packed(packed), start, c, n);
        match e {
            Epilogue::None => product(Start::Bias(b), y),
            Epilogue::Gelu { .. } => {
                product(Start::Bias(b), pre);
                gelu_forward_block(level, pre, y);
            }
            Epilogue::Residual { .. } => {
                if !skip.is_empty() {
                    y.copy_from_slice(&skip[i * ROWS * n..][..rows * n]);
                }
                add_rows(level, y, b);
                product(Start::Add, y);
            }
            Epilogue::ScaledResidual { .. } => {
                if !skip.is_empty() {
                    y.copy_from_slice(&skip[i * ROWS * n..][..rows * n]);
                }
                product(Start::Bias(b), pre);
                add_scaled_rows(level, y, pre, scale);
            }
        }
    });
}

simd! {
    /// y[rows,n] += b[n].
    pub fn add_rows(s: S, y: &mut [f32], b: &[f32]) {
        let _ = s;
        for row in y.chunks_exact_mut(b.len()) {
            for (y, b) in row.iter_mut().zip(b) {
                *y += b;
            }
        }
    }
}

simd! {
    /// y[rows,n] += scale[n] * z[rows,n].
    fn add_scaled_rows(s: S, y: &mut [f32], z: &[f32], scale: &[f32]) {
        let _ = s;
        for (row, z) in y.chunks_exact_mut(scale.len()).zip(z.chunks_exact(scale.len())) {
            for ((y, z), c) in row.iter_mut().zip(z).zip(scale) {
                *y += c * z;
            }
        }
    }
}

simd! {
    /// sum[cols] += the sum of the rows of x[rows, stride], columns from .. from + cols.
    pub fn add_column_sums(s: S, x: &[f32], stride: usize, from: usize, sum: &mut [f32]) {
        let _ = s;
        let cols = sum.len();
        for row in x.chunks_exact(stride) {
            for (s, x) in sum.iter_mut().zip(&row[from..from + cols]) {
                *s += x;
            }
        }
    }
}

/// Rows summed in one go before the sum is added to what came before: bounds the rounding error and fits L2.
pub const REDUCE: usize = 512;

/// Rows of dw that one task owns where tasks cut dw.
const SLAB: usize = 16;

/// How the rows of a reduction are cut, given the elements of the result: row blocks with one part each, or none.
pub fn row_blocks(m: usize, result: usize) -> Option<usize> {
    (m >= 2 * REDUCE && result <= 20_000).then(|| (m.div_ceil(REDUCE).div_ceil(32)) * REDUCE)
}

/// part[K*N + N] = x^T @ dy and the column sums of dy, over a block of rows.
pub fn reduce_block(level: Level, x: &[f32], dy: &[f32], k: usize, n: usize, part: &mut [f32]) {
    part.fill(0.0);
    let (dw, db) = part.split_at_mut(k * n);
    for (x, dy) in x.chunks(REDUCE * k).zip(dy.chunks(REDUCE * n)) {
        let a = Strided { data: x, row: 1, col: k };
        multiply(level, k, n, dy.len() / n, a, Right::Rows { data: dy, stride: n }, Start::Add, dw, n);
        add_column_sums(level, dy, n, 0, db);
    }
}

#[expect(clippy::too_many_arguments, reason = "the operator's own")]
pub fn backward(
    cpu: &mut Cpu,
    dy: Tensor,
    x: Tensor,
    w: Tensor,
    dx: Option<Tensor>,
    before: Option<Tensor>,
    dw: Tensor,
    db: Tensor,
    d: Gemm,
) {
    let Gemm { m, k, n } = d;
    assert!(dx.is_some() || before.is_none(), "linear_backward: `before` without dx, whose gradient it changes");
    check("linear_backward", &[("dy", dy, m * n), ("x", x, m * k), ("w", w, k * n), ("dw", dw, k * n), ("db", db, n)]);
    for (name, tensor) in [("dx", dx), ("before", before)] {
        if let Some(tensor) = tensor {
            check("linear_backward", &[(name, tensor, m * k)]);
        }
    }
    let level = cpu.level;
    let reads = [dy, x, w, before.unwrap_or(NONE)];
    let (_, [dy, x, w, before], [dx, dw, db]) =
        cpu.memory.views("linear_backward", NO_BYTES, reads, [dx.unwrap_or(NONE), dw, db]);

    if !dx.is_empty() {
        let packed = cpu.scratch.take(packed_len(level.lanes(), n, k));
        pack(level, w, 1, n, n, k, packed);
        let packed = &*packed;
        cpu.pool.run(m.div_ceil(ROWS), m * n * k, [Split(dx, ROWS * k)], |i, [dx]| {
            let rows = dx.len() / k;
            let a = Strided { data: &dy[i * ROWS * n..][..rows * n], row: n, col: 1 };
            multiply(level, rows, k, n, a, Right::Packed(packed), Start::Zero, dx, k);
            if !before.is_empty() {
                gelu_backward_block(level, &before[i * ROWS * k..][..rows * k], dx);
            }
        });
    }

    if let Some(block) = row_blocks(m, k * n) {
        let (tasks, stride) = (m.div_ceil(block), k * n + n);
        let parts = cpu.scratch.take(tasks * stride);
        cpu.pool.run(tasks, m * n * k, [Split(&mut *parts, stride)], |i, [part]| {
            let rows = i * block..((i + 1) * block).min(m);
            reduce_block(level, &x[rows.start * k..rows.end * k], &dy[rows.start * n..rows.end * n], k, n, part);
        });
        for part in parts.chunks_exact(stride) {
            add_parts(&part[..k * n], k * n, dw);
            add_parts(&part[k * n..], n, db);
        }
    } else {
        cpu.pool.run(k.div_ceil(SLAB), m * n * k, [Split(dw, SLAB * n)], |i, [dw]| {
            let rows = dw.len() / n;
            for (x, dy) in x.chunks(REDUCE * k).zip(dy.chunks(REDUCE * n)) {
                let a = Strided { data: &x[i * SLAB..], row: 1, col: k };
                multiply(level, rows, n, dy.len() / n, a, Right::Rows { data: dy, stride: n }, Start::Add, dw, n);
            }
        });
        let columns = 256;
        cpu.pool.run(n.div_ceil(columns), m * n, [Split(db, columns)], |i, [db]| {
            for dy in dy.chunks(REDUCE * n) {
                add_column_sums(level, dy, n, i * columns, db);
            }
        });
    }
}
