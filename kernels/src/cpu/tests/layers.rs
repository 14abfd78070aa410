//! Linear layers with their epilogues, GELU, layer scale, layer norm.

use super::super::gelu::gelu_backward_block;
use super::super::simd::simd;
use super::{Lab, everywhere, sum};
use crate::cpu::simd::Level;
use crate::{Backend, Epilogue, Gemm, reference};

const SHAPES: [(usize, usize, usize); 14] = [
    (1, 1, 1),
    (1, 128, 68),
    (5, 3, 7),
    (16, 128, 384),
    (64, 64, 16),
    (63, 17, 33),
    (65, 16, 64),
    (130, 48, 15),
    (256, 128, 68),
    (1100, 16, 64),
    (1030, 64, 16),
    (2100, 5, 31),
    (9, 300, 100),
    (1025, 130, 160),
];

#[test]
fn linear_matches_the_oracle() {
    for (m, k, n) in SHAPES {
        let d = Gemm { m, k, n };
        everywhere(|lab| {
            let (x, xv) = lab.input(m * k);
            let (w, wv) = lab.input(k * n);
            let (b, bv) = lab.input(n);
            let (dy, gv) = lab.input(m * n);
            let (dw, dw0) = lab.input(k * n);
            let (db, db0) = lab.input(n);
            let (before, pv) = lab.input(m * k);
            let (y, dx) = (lab.output(m * n), lab.output(m * k));
            lab.cpu.linear_forward(x, w, b, y, d, Epilogue::None);
            lab.cpu.linear_backward(dy, x, w, Some(dx), None, dw, db, d);
            lab.expect("y", y, &reference::linear::forward(&xv, &wv, &bv, d), k + 1);
            let (rx, rw, rb) = reference::linear::backward(&gv, &xv, &wv, d);
            lab.expect("dx", dx, &rx, n);
            lab.expect("dw", dw, &sum(&dw0, &rw), m);
            lab.expect("db", db, &sum(&db0, &rb), m);
            // Without dx: the same parameter gradients once more.
            lab.cpu.linear_backward(dy, x, w, None, None, dw, db, d);
            lab.expect("dw twice", dw, &sum(&sum(&dw0, &rw), &rw), m);
            // Where x came out of GELU: the gradient of what went in.
            lab.cpu.linear_backward(dy, x, w, Some(dx), Some(before), dw, db, d);
            lab.expect("dx before GELU", dx, &reference::gelu::backward(&rx, &pv), n + 8);
            lab.expect("db of three", db, &sum(&sum(&sum(&db0, &rb), &rb), &rb), 3 * m);
        });
    }
}

fn epilogues(lab: &mut Lab, d: Gemm) {
    let Gemm { m, k, n } = d;
    let (x, xv) = lab.input(m * k);
    let (w, wv) = lab.input(k * n);
    let (b, bv) = lab.input(n);
    let (skip, sv) = lab.input(m * n);
    let (scale, cv) = lab.input(n);
    let outputs: [_; 6] = std::array::from_fn(|_| lab.output(m * n));
    let [gelu, gelu_pre, residual, scaled, scaled_pre, in_place] = outputs;
    let z = reference::linear::forward(&xv, &wv, &bv, d);
    lab.cpu.linear_forward(x, w, b, gelu, d, Epilogue::Gelu { pre: gelu_pre });
    lab.cpu.linear_forward(x, w, b, residual, d, Epilogue::Residual { skip });
    let e = Epilogue::ScaledResidual { skip, scale, pre: scaled_pre };
    lab.cpu.linear_forward(x, w, b, scaled, d, e);
    lab.expect("gelu", gelu, &reference::gelu::forward(&z), k + 8);
    lab.expect("gelu pre", gelu_pre, &z, k + 1);
    lab.expect("residual", residual, &sum(&sv, &z), k + 2);
    lab.expect("scaled", scaled, &reference::layer_scale::forward(&sv, &z, &cv), k + 3);
    lab.expect("scaled pre", scaled_pre, &z, k + 1);
    // The residual stream in place, twice.
    lab.cpu.copy(skip, in_place);
    lab.cpu.linear_forward(x, w, b, in_place, d, Epilogue::Residual { skip: in_place });
    let e = Epilogue::ScaledResidual { skip: in_place, scale, pre: scaled_pre };
    lab.cpu.linear_forward(x, w, b, in_place, d, e);
    let once = sum(&sv, &z);
    lab.expect("in place", in_place, &reference::layer_scale::forward(&once, &z, &cv), 2 * k + 4);
}

#[test]
fn epilogues_match_the_oracle() {
    for (m, k, n) in SHAPES {
        everywhere(|lab| epilogues(lab, Gemm { m, k, n }));
    }
}

#[test]
fn a_row_does_not_depend_on_how_many_rows_there_are() {
    // Rollouts of any number of lanes give the same logits.
    let (k, n) = (128, 68);
    let rows = |m: usize| {
        let mut lab = Lab::new(Level::available()[0], 1);
        let (w, _) = lab.input(k * n);
        let (b, _) = lab.input(n);
        let (x, _) = lab.input(m * k);
        let y = lab.output(m * n);
        lab.cpu.linear_forward(x, w, b, y, Gemm { m, k, n }, Epilogue::None);
        let mut out = vec![0.0; m * n];
        lab.cpu.download(y, &mut out);
        out
    };
    let many = rows(70);
    for m in [1, 2, 7, 16, 64] {
        assert!(rows(m).iter().zip(&many).all(|(a, b)| a.to_bits() == b.to_bits()), "{m} rows");
    }
}

#[test]
fn gelu_backward_matches_the_oracle() {
    for len in [1, 15, 16, 1000, 40_000] {
        everywhere(|lab| {
            let (dy, gv) = lab.input(len);
            let (_, pv) = lab.input(len);
            let pre: Vec<f32> = pv.iter().map(|x| (x * 12.0) as f32).collect();
            let pv: Vec<f64> = pre.iter().map(|x| f64::from(*x)).collect();
            let level = lab.cpu.level;
            gelu_backward_block(level, &pre, lab.cpu.memory.floats(dy));
            lab.expect("dx", dy, &reference::gelu::backward(&gv, &pv), 8);
        });
    }
}

#[test]
fn layer_scale_backward_matches_the_oracle() {
    for (rows, cols) in [(1, 1), (3, 17), (1200, 64), (600, 5)] {
        everywhere(|lab| {
            let (dy, gv) = lab.input(rows * cols);
            let (pre, pv) = lab.input(rows * cols);
            let (scale, sv) = lab.input(cols);
            let (dscale, d0) = lab.input(cols);
            let dpre = lab.output(rows * cols);
            lab.cpu.layer_scale_backward(dy, pre, scale, dpre, dscale, rows, cols);
            let (rp, rs) = reference::layer_scale::backward(&gv, &pv, &sv);
            lab.expect("dpre", dpre, &rp, 1);
            lab.expect("dscale", dscale, &sum(&d0, &rs), rows);
        });
    }
}

fn layer_norm(lab: &mut Lab, rows: usize, cols: usize, offset: f32) {
    let len = rows * cols;
    let (x, xv) = lab.input(len);
    let moved: Vec<f32> = xv.iter().map(|v| *v as f32 + offset).collect();
    lab.cpu.upload(x, &moved);
    let xv: Vec<f64> = moved.iter().map(|v| f64::from(*v)).collect();
    let (g, gv) = lab.input(cols);
    let (b, bv) = lab.input(cols);
    let (dy, dyv) = lab.input(len);
    let (dg, dg0) = lab.input(cols);
    let (db, db0) = lab.input(cols);
    let (stream, s0) = lab.input(len);
    let (y, dx) = (lab.output(len), lab.output(len));
    let (mean, rstd) = (lab.output(rows), lab.output(rows));
    lab.cpu.layer_norm_forward(x, g, b, y, mean, rstd, rows, cols);
    lab.cpu.layer_norm_backward(dy, x, g, mean, rstd, dx, dg, db, rows, cols, false);
    let (ry, rm, rr) = reference::layer_norm::forward(&xv, &gv, &bv);
    // An offset costs its own digits in x - mean; rows of two columns can have an rstd near 300.
    let lost = (1.0 + f64::from(offset.abs())) * rr.iter().fold(1.0f64, |m, r| m.max(*r)).powi(2);
    let n = (cols as f64 + 16.0 * lost * lost) as usize;
    lab.expect("y", y, &ry, n);
    lab.expect("mean", mean, &rm, cols);
    lab.expect("rstd", rstd, &rr, n);
    let (rx, rg, rb) = reference::layer_norm::backward(&dyv, &xv, &gv, &rm, &rr);
    lab.expect("dx", dx, &rx, n);
    lab.expect("dg", dg, &sum(&dg0, &rg), rows + n);
    lab.expect("db", db, &sum(&db0, &rb), rows);
    lab.cpu.layer_norm_backward(dy, x, g, mean, rstd, stream, dg, db, rows, cols, true);
    lab.expect("dx added", stream, &sum(&s0, &rx), n);
}

#[test]
fn layer_norm_matches_the_oracle() {
    for (rows, cols) in [(1, 16), (5, 33), (1030, 16), (300, 64), (17, 128), (600, 7), (3, 1024)] {
        everywhere(|lab| layer_norm(lab, rows, cols, 0.0));
    }
    everywhere(|lab| layer_norm(lab, 40, 32, 30.0));
}

simd! {
    fn exp_all(s: S, x: &mut [f32]) {
        for x in x {
            // SAFETY: one value.
            unsafe { s.store_first(x, 1, s.exp(s.load_first(x, 1))) };
        }
    }
}

#[test]
fn exp_keeps_its_bound() {
    for level in Level::available() {
        let x: Vec<f32> = (0..400_000).map(|i| -87.0 + i as f32 * 4.375e-4).collect();
        let mut y = x.clone();
        exp_all(level, &mut y);
        // The fold below passes over NaN.
        assert!(y.iter().all(|y| y.is_finite()), "{}", level.name());
        let worst = x.iter().zip(&y).map(|(x, y)| {
            let want = f64::from(*x).exp();
            ((f64::from(*y) - want) / want).abs()
        });
        let worst = worst.fold(0.0, f64::max);
        assert!(worst < 2f64.powf(-22.5), "{}: relative error 2^{}", level.name(), worst.log2());
        let mut odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e30, 1e30, 0.0];
        exp_all(level, &mut odd);
        assert!(odd[0].is_nan() && odd[1..].iter().all(|x| x.is_finite() && *x > 0.0), "{odd:?}");
        assert_eq!(odd[5], 1.0);
    }
}
