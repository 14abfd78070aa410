//! The matrix product under every operator that has one: C[m,n] = bias + A[m,k] @ B[k,n], or C += A @ B.
//!
//! ```text
//!            B panel [k, 2 vectors]            one tile: ROWS x 2 accumulators stay in registers over all of k;
//!           +-----------+                      each step loads 2 vectors of B and broadcasts ROWS values of A
//!  A row i  | b0     b1 |
//!  -------> | acc    acc|   ROWS = 8 with 16 lanes (AVX-512), 4 with 8 lanes (AVX2, portable)
//!           +-----------+
//! ```
//!
//! A is addressed by two strides, so A and A^T are the same code; B is read in rows, packed into panels when it is a
//! weight (which also transposes it for free). An element of C is the sum over k in order, whatever tile it falls in:
//! the result does not depend on m, on the cutting into tasks, or on threads.
//!
//! History: the `gemm` crate came first. On a Xeon at 2.5 GHz with AVX-512, one core, busy machine, November 2026
//! (`cargo run -p playhouse-kernels --example operators linear` prints the first column):
//!
//! ```text
//!                       this    gemm 0.19  GFLOP/s
//!  65536 x 16 x 64      40      22         bound by writing y
//!  16384 x 32 x 128     53      28
//!  4096 x 256 x 64      53      38
//!  256 x 512 x 128      104     37
//!  16 x 128 x 512       68      34         a rollout of 16 lanes
//! ```
//!
//! Its packing pays off at large K and N only, and it has no place for a bias or a sum.

use super::simd::{Simd, simd};

/// How to read a matrix A: element (i, p) at `data[i * row + p * col]`.
#[derive(Clone, Copy)]
pub struct Strided<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub col: usize,
}

/// How to read a matrix B[k,n].
#[derive(Clone, Copy)]
pub enum Right<'a> {
    /// Row p starts at `data[p * stride]`.
    Rows { data: &'a [f32], stride: usize },
    /// Panels made by [`pack`].
    Packed(&'a [f32]),
}

/// What an element of C starts from.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    Zero,
    Bias(&'a [f32]),
    /// C itself: C += A @ B.
    Add,
}

/// Values that [`pack`] needs for B[k,n].
pub fn packed_len(lanes: usize, k: usize, n: usize) -> usize {
    k * n.next_multiple_of(lanes)
}

simd! {
    /// Packs B[k,n] into panels of two vectors (the last may be one), rows of a panel next to each other, short
    /// vectors filled with zeros. Element (p, j) of B is read at `b[p * row + j * col]`.
    pub fn pack(s: S, b: &[f32], row: usize, col: usize, k: usize, n: usize, out: &mut [f32]) {
        let _ = s;
        let mut out = out;
        for j in (0..n).step_by(2 * S::LANES) {
            let width = (n - j).min(2 * S::LANES);
            let padded = width.next_multiple_of(S::LANES);
            let (panel, rest) = out.split_at_mut(k * padded);
            out = rest;
            if col == 1 {
                for (p, line) in panel.chunks_exact_mut(padded).enumerate() {
                    line[..width].copy_from_slice(&b[p * row + j..][..width]);
                    line[width..].fill(0.0);
                }
            } else {
                for (p, line) in panel.chunks_exact_mut(padded).enumerate() {
                    for (q, x) in line.iter_mut().enumerate() {
                        *x = if q < width { b[p * row + (j + q) * col] } else { 0.0 };
                    }
                }
            }
        }
    }
}

/// Where a tile is: raw, because it is the innermost loop. `multiply` has checked every bound.
#[derive(Clone, Copy)]
struct Tile {
    k: usize,
    a: *const f32,
    row: usize,
    col: usize,
    b: *const f32,
    b_stride: usize,
    /// Null: no bias.
    bias: *const f32,
    c: *mut f32,
    c_stride: usize,
    /// Columns of the last vector that exist in C.
    last: usize,
    add: bool,
}

/// One tile: M rows, V vectors wide. PARTIAL: B has only `last` columns in its last vector.
///
/// # Safety
/// A, B, bias and C are valid for the tile's rows, columns and k.
#[expect(clippy::needless_range_loop, reason = "rows and vectors of the tile are numbers here")]
#[inline(always)]
unsafe fn tile<S: Simd, const M: usize, const V: usize, const PARTIAL: bool>(s: S, t: Tile) {
    // SAFETY: the caller's promise covers every address below; the last vector is cut to `last` where it is short.
    unsafe {
        let mut acc = [[s.splat(0.0); V]; M];
        if !t.bias.is_null() {
            for j in 0..V {
                let p = t.bias.wrapping_add(j * S::LANES);
                let bias = if j + 1 == V { s.load_first(p, t.last) } else { s.load(p) };
                for row in &mut acc {
                    row[j] = bias;
                }
            }
        }
        let mut a = t.a;
        let mut b = t.b;
        for _ in 0..t.k {
            let mut right = [s.splat(0.0); V];
            for j in 0..V {
                let p = b.wrapping_add(j * S::LANES);
                right[j] = if PARTIAL && j + 1 == V { s.load_first(p, t.last) } else { s.load(p) };
            }
            for i in 0..M {
                let left = s.splat(*a.wrapping_add(i * t.row));
                for j in 0..V {
                    acc[i][j] = s.fma(left, right[j], acc[i][j]);
                }
            }
            a = a.wrapping_add(t.col);
            b = b.wrapping_add(t.b_stride);
        }
        for i in 0..M {
            for j in 0..V {
                let p = t.c.wrapping_add(i * t.c_stride + j * S::LANES);
                let short = j + 1 == V && t.last < S::LANES;
                let mut v = acc[i][j];
                if t.add {
                    v = s.add(v, if short { s.load_first(p, t.last) } else { s.load(p) });
                }
                if short { s.store_first(p, t.last, v) } else { s.store(p, v) }
            }
        }
    }
}

/// All rows of one panel.
///
/// # Safety
/// As [`tile`], for `m` rows.
#[inline(always)]
unsafe fn panel<S: Simd, const V: usize, const PARTIAL: bool>(s: S, m: usize, mut t: Tile) {
    let mut left = m;
    while left > 0 {
        let rows = if S::LANES == 16 && left >= 8 {
            8
        } else if left >= 4 {
            4
        } else {
            1
        };
        // SAFETY: the tile covers rows that are still left of the caller's m.
        unsafe {
            match rows {
                8 => tile::<S, 8, V, PARTIAL>(s, t),
                4 => tile::<S, 4, V, PARTIAL>(s, t),
                _ => tile::<S, 1, V, PARTIAL>(s, t),
            }
        }
        t.a = t.a.wrapping_add(rows * t.row);
        t.c = t.c.wrapping_add(rows * t.c_stride);
        left -= rows;
    }
}

simd! {
    /// C[m,n] = start + A[m,k] @ B[k,n]; row i of C starts at `c[i * c_stride]`.
    pub fn multiply(
        s: S, m: usize, n: usize, k: usize, a: Strided<'_>, b: Right<'_>, start: Start<'_>, c: &mut [f32], c_stride: usize,
    ) {
        if m == 0 || n == 0 {
            return;
        }
        assert!(c.len() >= (m - 1) * c_stride + n, "product: C is short");
        assert!(k == 0 || a.data.len() > (m - 1) * a.row + (k - 1) * a.col, "product: A is short");
        match b {
            Right::Rows { data, stride } => assert!(k == 0 || data.len() >= (k - 1) * stride + n, "product: B is short"),
            Right::Packed(data) => assert!(data.len() >= packed_len(S::LANES, k, n), "product: packed B is short"),
        }
        if let Start::Bias(bias) = start {
            assert!(bias.len() >= n, "product: bias is short");
        }
        for j in (0..n).step_by(2 * S::LANES) {
            let width = (n - j).min(2 * S::LANES);
            let vectors = width.div_ceil(S::LANES);
            let last = width - (vectors - 1) * S::LANES;
            let (b, b_stride, partial) = match b {
                Right::Rows { data, stride } => (data.as_ptr().wrapping_add(j), stride, last < S::LANES),
                Right::Packed(data) => (data.as_ptr().wrapping_add(j * k), vectors * S::LANES, false),
            };
            let t = Tile {
                k,
                a: a.data.as_ptr(),
                row: a.row,
                col: a.col,
                b,
                b_stride,
                bias: if let Start::Bias(bias) = start { bias.as_ptr().wrapping_add(j) } else { std::ptr::null() },
                c: c.as_mut_ptr().wrapping_add(j),
                c_stride,
                last,
                add: matches!(start, Start::Add),
            };
            // SAFETY: the assertions above bound every row and column that the tiles touch; packed panels are padded
            // to whole vectors, so only rows of an unpacked B are read partially.
            unsafe {
                match (vectors, partial) {
                    (1, false) => panel::<S, 1, false>(s, m, t),
                    (1, true) => panel::<S, 1, true>(s, m, t),
                    (_, false) => panel::<S, 2, false>(s, m, t),
                    (_, true) => panel::<S, 2, true>(s, m, t),
                }
            }
        }
    }
}
