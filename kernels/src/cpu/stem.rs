//! The patch stem: u8 pixels, normalised to p/127.5 - 1 on the way into 4x4/4 patches, then a matrix product.
//!
//! Patches of a block of rows are unpacked into a thread's own buffer (L2) and multiplied at once; the backward pass
//! unpacks them again instead of keeping 12 times the pixels' bytes.

use super::linear::{REDUCE, reduce_block};
use super::pool::{Split, add_parts, with_local};
use super::product::{Right, Start, Strided, multiply, pack, packed_len};
use super::simd::{Level, simd};
use super::{Cpu, check, check_bytes};
use crate::{Bytes, Stem, Tensor};

/// Pixels of a patch times 3.
const PATCH: usize = 48;
/// Patches of a forward task.
const ROWS: usize = 256;

simd! {
    /// out[rows,48] = the normalised patches from..from + rows of pixels [N,S,S,3].
    fn unpack(s: S, pixels: &[u8], size: usize, from: usize, out: &mut [f32]) {
        let _ = s;
        let side = size / 4;
        for (i, patch) in out.chunks_exact_mut(PATCH).enumerate() {
            let (image, at) = ((from + i) / (side * side), (from + i) % (side * side));
            let corner = ((image * size + at / side * 4) * size + at % side * 4) * 3;
            for (ky, line) in patch.chunks_exact_mut(12).enumerate() {
                let row = &pixels[corner + ky * size * 3..][..12];
                for (x, p) in line.iter_mut().zip(row) {
                    *x = f32::from(*p) * (1.0 / 127.5) - 1.0;
                }
            }
        }
    }
}

fn check_pixels(operator: &str, pixels: Bytes, d: Stem) {
    assert!(d.size.is_multiple_of(4), "{operator}: image side {} is not a multiple of 4", d.size);
    check_bytes(operator, "pixels", pixels, d.n * d.size * d.size * 3);
}

fn with_patches<R>(level: Level, pixels: &[u8], d: Stem, from: usize, rows: usize, f: impl FnOnce(&[f32]) -> R) -> R {
    with_local(rows * PATCH, |patches| {
        unpack(level, pixels, d.size, from, patches);
        f(patches)
    })
}

pub fn forward(cpu: &mut Cpu, pixels: Bytes, w: Tensor, b: Tensor, y: Tensor, d: Stem) {
    let (rows, c) = (d.rows(), d.channels);
    check_pixels("stem_forward", pixels, d);
    check("stem_forward", &[("w", w, PATCH * c), ("b", b, c), ("y", y, rows * c)]);
    let level = cpu.level;
    let (pixels, [w, b], [y]) = cpu.memory.views("stem_forward", pixels, [w, b], [y]);
    let packed = cpu.scratch.take(packed_len(level.lanes(), PATCH, c));
    pack(level, w, c, 1, PATCH, c, packed);
    let packed = &*packed;
    cpu.pool.run(rows.div_ceil(ROWS), rows * PATCH * c, [Split(y, ROWS * c)], |i, [y]| {
        let rows = y.len() / c;
        with_patches(level, pixels, d, i * ROWS, rows, |patches| {
            let a = Strided { data: patches, row: PATCH, col: 1 };
            multiply(level, rows, c, PATCH, a, Right::Packed(packed), Start::Bias(b), y, c);
        });
    });
}

pub fn backward(cpu: &mut Cpu, dy: Tensor, pixels: Bytes, dw: Tensor, db: Tensor, d: Stem) {
    let (rows, c) = (d.rows(), d.channels);
    check_pixels("stem_backward", pixels, d);
    check("stem_backward", &[("dy", dy, rows * c), ("dw", dw, PATCH * c), ("db", db, c)]);
    let level = cpu.level;
    let (pixels, [dy], [dw, db]) = cpu.memory.views("stem_backward", pixels, [dy], [dw, db]);
    let stride = (PATCH + 1) * c;
    let tasks = rows.div_ceil(REDUCE);
    let parts = cpu.scratch.take(tasks * stride);
    cpu.pool.run(tasks, rows * PATCH * c, [Split(&mut *parts, stride)], |i, [part]| {
        let from = i * REDUCE;
        let rows = REDUCE.min(rows - from);
        with_patches(level, pixels, d, from, rows, |patches| {
            reduce_block(level, patches, &dy[from * c..][..rows * c], PATCH, c, part);
        });
    });
    for part in parts.chunks_exact(stride) {
        add_parts(&part[..PATCH * c], PATCH * c, dw);
        add_parts(&part[PATCH * c..], c, db);
    }
}
