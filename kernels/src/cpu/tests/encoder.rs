//! Stem, depthwise convolution, norm as patches, pooling.

use super::super::linear::REDUCE;
use super::{Lab, everywhere, sum};
use crate::{Backend, Plane, Stem, Tensor, reference};

fn stem(lab: &mut Lab, d: Stem) {
    let (pixels, p) = lab.bytes(d.n * d.size * d.size * 3, |_| 255);
    let (w, wv) = lab.input(48 * d.channels);
    let (b, bv) = lab.input(d.channels);
    let (dy, gv) = lab.input(d.rows() * d.channels);
    let (dw, dw0) = lab.input(48 * d.channels);
    let (db, db0) = lab.input(d.channels);
    let y = lab.output(d.rows() * d.channels);
    lab.cpu.stem_forward(pixels, w, b, y, d);
    lab.cpu.stem_backward(dy, pixels, dw, db, d);
    lab.expect("y", y, &reference::stem::forward(&p, &wv, &bv, d), 49);
    let (rw, rb) = reference::stem::backward(&gv, &p, d);
    lab.expect("dw", dw, &sum(&dw0, &rw), d.rows());
    lab.expect("db", db, &sum(&db0, &rb), d.rows());
}

#[test]
fn stem_matches_the_oracle() {
    for (n, size, channels) in [(1, 4, 1), (2, 16, 16), (3, 12, 33), (9, 64, 16), (1, 8, 96)] {
        everywhere(|lab| stem(lab, Stem { n, size, channels }));
    }
}

fn depthwise(lab: &mut Lab, d: Plane) {
    let (x, xv) = lab.input(d.elements());
    let (w, wv) = lab.input(49 * d.c);
    let (b, bv) = lab.input(d.c);
    let (dy, gv) = lab.input(d.elements());
    let (dw, dw0) = lab.input(49 * d.c);
    let (db, db0) = lab.input(d.c);
    let (stream, _) = lab.input(d.elements());
    let [y, dx, same] = std::array::from_fn(|_| lab.output(d.elements()));
    lab.cpu.depthwise_forward(x, w, b, y, d);
    lab.cpu.depthwise_backward(dy, x, w, dx, dw, db, d, false);
    lab.expect("y", y, &reference::depthwise::forward(&xv, &wv, &bv, d), 50);
    let (rx, rw, rb) = reference::depthwise::backward(&gv, &xv, &wv, d);
    lab.expect("dx", dx, &rx, 49);
    lab.expect("dw", dw, &sum(&dw0, &rw), d.n * d.h * d.w);
    lab.expect("db", db, &sum(&db0, &rb), d.n * d.h * d.w);
    // Added to the residual stream: the bits of the gradient, then of one addition.
    lab.cpu.copy(stream, same);
    lab.cpu.add_scaled(dx, same, 1.0);
    lab.cpu.depthwise_backward(dy, x, w, stream, dw, db, d, true);
    let [mut added, mut want] = [vec![0.0; d.elements()], vec![0.0; d.elements()]];
    lab.cpu.download(stream, &mut added);
    lab.cpu.download(same, &mut want);
    assert!(added.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()), "{d:?}: dx added");
}

#[test]
fn depthwise_matches_the_oracle_at_every_width() {
    // Every way a row can be cut into tiles, and rows shorter than the window.
    for w in 1..=24 {
        everywhere(|lab| depthwise(lab, Plane { n: 1, h: 3, w, c: 16 }));
    }
}

#[test]
fn depthwise_matches_the_oracle_at_the_models_planes() {
    for (n, h, w, c) in [(2, 16, 16, 16), (3, 8, 8, 32), (35, 4, 4, 64), (1, 32, 32, 32)] {
        everywhere(|lab| depthwise(lab, Plane { n, h, w, c }));
    }
}

#[test]
fn depthwise_matches_the_oracle_at_odd_channels() {
    for c in [1, 3, 7, 8, 9, 15, 17, 24, 31, 40] {
        everywhere(|lab| depthwise(lab, Plane { n: 2, h: 9, w: 13, c }));
    }
    everywhere(|lab| depthwise(lab, Plane { n: 33, h: 1, w: 1, c: 5 }));
    everywhere(|lab| depthwise(lab, Plane { n: 1, h: 40, w: 2, c: 20 }));
}

fn norm_patches2(lab: &mut Lab, d: Plane) {
    let (rows, c, len) = (d.rows(), d.c, d.elements());
    let (x, xv) = lab.input(len);
    let (g, gv) = lab.input(c);
    let (b, bv) = lab.input(c);
    let (dy, dyv) = lab.input(len);
    let (dg, dg0) = lab.input(c);
    let (db, db0) = lab.input(c);
    let [y, dx, plain_y, plain_dx] = std::array::from_fn(|_| lab.output(len));
    let [plain_dg, plain_db] = std::array::from_fn(|_| lab.output(c));
    let [mean, rstd] = std::array::from_fn(|_| lab.output(rows));
    lab.cpu.copy(dg, plain_dg);
    lab.cpu.copy(db, plain_db);
    lab.cpu.norm_patches2_forward(x, g, b, y, mean, rstd, d);
    lab.cpu.norm_patches2_backward(dy, x, g, mean, rstd, dx, dg, db, d);
    let (in_order, rm, rr) = reference::layer_norm::forward(&xv, &gv, &bv);
    // Rows of few columns can have a large rstd.
    let n = c + 16 * rr.iter().fold(1.0f64, |m, r| m.max(*r)).powi(4) as usize;
    lab.expect("y", y, &reference::patches2::forward(&in_order, d), n);
    lab.expect("mean", mean, &rm, c);
    lab.expect("rstd", rstd, &rr, n);
    let dyv = reference::patches2::backward(&dyv, d);
    let (rx, rg, rb) = reference::layer_norm::backward(&dyv, &xv, &gv, &rm, &rr);
    lab.expect("dx", dx, &rx, n);
    lab.expect("dg", dg, &sum(&dg0, &rg), rows + n);
    lab.expect("db", db, &sum(&db0, &rb), rows);
    // The very values of the norm in order, and of its patches; of sums where tasks are cut alike, as at the model's planes.
    lab.cpu.upload(dy, &dyv.iter().map(|v| *v as f32).collect::<Vec<f32>>());
    lab.cpu.layer_norm_forward(x, g, b, plain_y, mean, rstd, rows, c);
    lab.cpu.layer_norm_backward(dy, x, g, mean, rstd, plain_dx, plain_dg, plain_db, rows, c, false);
    let mut read = |tensor: Tensor| {
        let mut values = vec![0.0; tensor.len()];
        lab.cpu.download(tensor, &mut values);
        values.into_iter().map(f64::from).collect::<Vec<f64>>()
    };
    assert!(read(y) == reference::patches2::forward(&read(plain_y), d), "{d:?}: y");
    assert!(read(dx) == read(plain_dx), "{d:?}: dx");
    if REDUCE.is_multiple_of(2 * d.w) {
        assert!(read(dg) == read(plain_dg) && read(db) == read(plain_db), "{d:?}: dg or db");
    }
}

#[test]
fn norm_patches2_matches_the_oracle() {
    for (n, h, w, c) in [(3, 32, 32, 32), (5, 16, 16, 16), (17, 8, 8, 32)] {
        everywhere(|lab| norm_patches2(lab, Plane { n, h, w, c }));
    }
    // Pictures that tasks do not divide; pairs of lines that are longer than a task; odd channels.
    for (n, h, w, c) in [(3, 14, 30, 8), (2, 4, 300, 5), (1, 2, 2, 17), (5, 6, 4, 33), (2, 2, 6, 1024)] {
        everywhere(|lab| norm_patches2(lab, Plane { n, h, w, c }));
    }
}

#[test]
fn mean_pool_matches_the_oracle() {
    for (n, p, c) in [(1, 1, 1), (19, 16, 64), (3, 7, 33)] {
        everywhere(|lab| {
            let (x, xv) = lab.input(n * p * c);
            let (dy, gv) = lab.input(n * c);
            let (y, dx) = (lab.output(n * c), lab.output(n * p * c));
            lab.cpu.mean_pool_forward(x, y, n, p, c);
            lab.cpu.mean_pool_backward(dy, dx, n, p, c);
            lab.expect("y", y, &reference::mean_pool::forward(&xv, p, c), p);
            lab.expect("dx", dx, &reference::mean_pool::backward(&gv, p, c), 0);
        });
    }
}
