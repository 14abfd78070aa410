//! What surrounds matrix products, pooling, positions, and what is elementwise.

use super::{Case, Lab, Tensor, case, sum, sums};
use crate::Plane;
use crate::cuda::{Store::*, elementary, linear, planes};
use crate::reference::{gelu, layer_scale, mean_pool, position};
use rand::RngExt;

/// Rows of single elements and of eights; of one block and of several, and of more rows than one block sums.
const SHAPES: [(usize, usize); 6] = [(1, 1), (3, 40), (600, 5), (7, 257), (600, 40), (5, 264)];

/// z[M,N] and b[N], b and their sum in f64.
fn product(lab: &mut Lab<'_>, m: usize, n: usize) -> (Tensor, Tensor, Vec<f64>, Vec<f64>) {
    let ((z, z64), (b, b64)) = (lab.input("z", m * n, Bf16), lab.input("b", n, F32));
    let biased = z64.iter().enumerate().map(|(i, z)| z + b64[i % n]).collect();
    (z, b, b64, biased)
}

pub(super) fn cases() -> Vec<Case> {
    let linear = SHAPES.into_iter().flat_map(|(m, n)| [epilogues(m, n), gradients(m, n)]);
    let planes =
        [(1, 2, 2, 1), (2, 4, 6, 5), (3, 8, 8, 32)].into_iter().map(|(n, h, w, c)| planes(Plane { n, h, w, c }));
    linear.chain(planes).chain([1, 256, 700].into_iter().map(elementary)).collect()
}

fn epilogues(m: usize, n: usize) -> Case {
    case(format!("linear {m}x{n}"), move |lab| {
        let (z, b, b64, biased) = product(lab, m, n);
        let (skip, skip64) = lab.input("skip", m * n, Bf16);
        let (scale, scale64) = lab.input("scale", n, F32);
        let y = lab.output("y", m * n, Bf16);
        let pre = lab.output("pre", m * n, Bf16);
        lab.run(&linear::epilogue(z.at, b.at, y.at, linear::Epilogue::Bias, m, n));
        lab.expect(&y, &biased, sums(1));
        lab.run(&linear::epilogue(z.at, b.at, y.at, linear::Epilogue::Gelu { pre: pre.at }, m, n));
        lab.expect(&pre, &biased, sums(1));
        lab.expect(&y, &gelu::forward(&biased), sums(1));
        // In place over z, then over the residual stream.
        lab.run(&linear::epilogue(z.at, b.at, z.at, linear::Epilogue::Residual { skip: skip.at }, m, n));
        lab.expect(&z, &sum(&biased, &skip64), sums(1));
        let (z, z64) = lab.input("pre", m * n, Bf16);
        lab.run(&linear::scale(z.at, skip.at, scale.at, skip.at, m, n));
        lab.expect(&skip, &layer_scale::forward(&skip64, &z64, &scale64), sums(1));
        let (exact, exact64) = lab.input("exact", m * n, F32);
        lab.run(&linear::bias_exact(exact.at, b.at, m, n));
        let want: Vec<f64> = exact64.iter().enumerate().map(|(i, z)| z + b64[i % n]).collect();
        lab.expect(&exact, &want, sums(1));
    })
}

fn gradients(m: usize, n: usize) -> Case {
    case(format!("linear backward {m}x{n}"), move |lab| {
        let (dy, dy64) = lab.input("dy", m * n, Bf16);
        // Out to where GELU's slope is 0 or 1.
        let wide: Vec<f32> = (0..m * n).map(|_| lab.rng.random_range(-8.0..8.0)).collect();
        let (pre, pre64) = lab.given("pre", &wide, Bf16);
        let (scale, scale64) = lab.input("scale", n, F32);
        let ((dscale, dscale64), (db, db64)) = (lab.input("dscale", n, F32), lab.input("db", n, F32));
        let dpre = lab.output("dpre", m * n, Bf16);
        let parts = lab.output("parts", linear::parts(m, n), F32);
        lab.run(&linear::layer_scale_backward(dy.at, pre.at, scale.at, dpre.at, dscale.at, parts.at, m, n));
        let (want, want_scale) = layer_scale::backward(&dy64, &pre64, &scale64);
        lab.expect(&dpre, &want, sums(1));
        lab.expect(&dscale, &sum(&dscale64, &want_scale), sums(m));
        lab.run(&linear::bias_backward(dy.at, db.at, parts.at, m, n));
        let mut want = db64;
        dy64.iter().enumerate().for_each(|(i, g)| want[i % n] += g);
        lab.expect(&db, &want, sums(m));
        lab.run(&linear::gelu_backward(dy.at, pre.at, m * n));
        lab.expect(&dy, &gelu::backward(&dy64, &pre64), sums(1));
    })
}

fn planes(d: Plane) -> Case {
    let Plane { n, h, w, c } = d;
    case(format!("planes {n}x{h}x{w}x{c}"), move |lab| {
        let (x, x64) = lab.input("x", d.elements(), Bf16);
        let dx = lab.output("dx", d.elements(), Bf16);
        let pooled = lab.output("pooled", n * c, Bf16);
        lab.run(&planes::mean_pool_forward(x.at, pooled.at, n, h * w, c));
        lab.expect(&pooled, &mean_pool::forward(&x64, h * w, c), sums(h * w));
        let (dy, dy64) = lab.input("dy", n * c, Bf16);
        lab.run(&planes::mean_pool_backward(dy.at, dx.at, n, h * w, c));
        lab.expect(&dx, &mean_pool::backward(&dy64, h * w, c), sums(1));

        let ((pos, pos64), (dpos, dpos64)) = (lab.input("pos", h * w * c, F32), lab.input("dpos", h * w * c, F32));
        lab.run(&planes::position_backward(x.at, dpos.at, n, h * w, c));
        lab.expect(&dpos, &sum(&dpos64, &position::backward(&x64, h * w * c)), sums(n));
        lab.run(&planes::position_forward(x.at, pos.at, n, h * w, c));
        lab.expect(&x, &position::forward(&x64, &pos64), sums(1));
    })
}

fn elementary(n: usize) -> Case {
    case(format!("elementary {n}"), move |lab| {
        for store in [Bf16, F32] {
            let ((src, src64), (dst, dst64)) = (lab.input("src", n, store), lab.input("dst", n, store));
            lab.run(&elementary::add_scaled(src.at, dst.at, -0.5, n, store));
            let want: Vec<f64> = dst64.iter().zip(&src64).map(|(d, s)| d - 0.5 * s).collect();
            lab.expect(&dst, &want, sums(1));
            lab.run(&elementary::fill(dst.at, 0.25, n, store));
            lab.expect(&dst, &vec![0.25; n], sums(0));
        }
        let (exact, exact64) = lab.input("exact", n, F32);
        let half = lab.output("half", n, Bf16);
        lab.run(&elementary::round(exact.at, half.at, n));
        lab.expect(&half, &exact64, sums(0));
    })
}
