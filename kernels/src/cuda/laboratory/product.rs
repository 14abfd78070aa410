//! Matrix products: the emulated device's plain loops, and cuBLASLt on a GPU, with what they fuse.

use super::{Case, case, sum, sums};
use crate::Gemm;
use crate::cuda::linear::Epilogue;
use crate::cuda::{Fused, Operand, Pointer, Product, Store, Store::*};
use crate::reference::{gelu, linear};

/// Rows, inner size and columns: one element, one column (a reward model's head), odd sizes, more than a tile, an encoder block.
const SHAPES: [(usize, usize, usize); 6] =
    [(1, 1, 1), (3, 40, 1), (17, 33, 9), (64, 48, 68), (130, 64, 96), (256, 64, 256)];

pub(super) fn cases() -> Vec<Case> {
    SHAPES.into_iter().map(|(m, k, n)| one(Gemm { m, k, n })).collect()
}

/// [rows, cols] as it lies, and its transpose.
fn transpose(values: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    (0..rows * cols).map(|i| values[i % rows * cols + i / rows]).collect()
}

fn one(d: Gemm) -> Case {
    let Gemm { m, k, n } = d;
    case(format!("product {m}x{k}x{n}"), move |lab| {
        let ((x, x64), (w, w64)) = (lab.input("x", m * k, Bf16), lab.input("w", k * n, Bf16));
        let want = linear::forward(&x64, &w64, &vec![0.0; n], d);
        let plain = |at: Pointer| Operand { at, transposed: false };
        let turned = |at: Pointer| Operand { at, transposed: true };
        let product = |left, right, out, store: Store| Product { left, right, out, store, accumulate: false, m, k, n };
        for store in [Bf16, F32] {
            let y = lab.output("y", m * n, store);
            lab.multiply(&product(plain(x.at), plain(w.at), y.at, store), None);
            lab.expect(&y, &want, sums(k));
        }
        // As backward passes read them: the weights', then the inputs' transposes.
        let (from, from64) = lab.input("w_transposed", k * n, Bf16);
        let y = lab.output("y", m * n, Bf16);
        lab.multiply(&product(plain(x.at), turned(from.at), y.at, Bf16), None);
        let want_dx = linear::forward(&x64, &transpose(&from64, n, k), &vec![0.0; n], d);
        lab.expect(&y, &want_dx, sums(k));
        // Through GELU: its slope comes of what went into it, over which y may not be written.
        let (before, before64) = lab.input("before", m * n, Bf16);
        let fused = Some(Fused::GeluBackward { pre: before.at });
        if lab.multiply(&product(plain(x.at), turned(from.at), y.at, Bf16), fused) {
            // A hyperbolic tangent of the hardware's is off by up to 2^-11, and between -1 and 1 a slope by half as much.
            lab.expect(&y, &gelu::backward(&want_dx, &before64), sums(k).after(1.0));
            lab.expect(&before, &before64, sums(0));
        }
        let (from, from64) = lab.input("x_transposed", m * k, Bf16);
        let (y, y64) = lab.input("dw", m * n, F32);
        let left = turned(from.at);
        lab.multiply(&Product { accumulate: true, ..product(left, plain(w.at), y.at, F32) }, None);
        let added = linear::forward(&transpose(&from64, k, m), &w64, &vec![0.0; n], d);
        lab.expect(&y, &sum(&y64, &added), sums(k));

        let (b, b64) = lab.input("b", n, Bf16);
        let biased = linear::forward(&x64, &w64, &b64, d);
        let (skip, skip64) = lab.input("skip", m * n, Bf16);
        let (y, pre) = (lab.output("y", m * n, Bf16), lab.output("pre", m * n, Bf16));
        let plain = product(plain(x.at), plain(w.at), y.at, Bf16);
        let with = |epilogue| Some(Fused::Forward { bias: b.at, epilogue });
        if lab.multiply(&plain, with(Epilogue::Bias)) {
            lab.expect(&y, &biased, sums(k + 1));
        }
        if lab.multiply(&plain, with(Epilogue::Gelu { pre: pre.at })) {
            lab.expect(&pre, &biased, sums(k + 1));
            // A hyperbolic tangent of the hardware's is off by up to 2^-11.
            lab.expect(&y, &gelu::forward(&biased), sums(k + 1).after(1.0));
        }
        if lab.multiply(&plain, with(Epilogue::Residual { skip: skip.at })) {
            lab.expect(&y, &sum(&biased, &skip64), sums(k + 2));
        }
    })
}
