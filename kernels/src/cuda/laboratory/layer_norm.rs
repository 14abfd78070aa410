use super::{Case, Lab, case, sum, sums};
use crate::Plane;
use crate::cuda::{Store::*, layer_norm};
use crate::reference::{layer_norm as oracle, patches2};

/// Every instance at its edges, rows that do not fill a block, and columns that fit no instance.
const SHAPES: [(usize, usize); 12] = [
    (70, 32),
    (1, 8),
    (33, 40),
    (16, 64),
    (9, 96),
    (8, 128),
    (5, 256),
    (6, 384),
    (3, 1024),
    (5, 1),
    (7, 13),
    (2, 1032),
];

/// Planes of every instance and of none; one has more rows than the backward pass takes at once.
const PLANES: [Plane; 10] = [
    Plane { n: 1, h: 2, w: 2, c: 8 },
    Plane { n: 3, h: 4, w: 6, c: 32 },
    Plane { n: 2, h: 6, w: 10, c: 64 },
    Plane { n: 1, h: 2, w: 14, c: 104 },
    Plane { n: 9, h: 8, w: 16, c: 256 },
    Plane { n: 2, h: 4, w: 6, c: 384 },
    Plane { n: 1, h: 4, w: 4, c: 1024 },
    Plane { n: 2, h: 6, w: 4, c: 1 },
    Plane { n: 3, h: 8, w: 14, c: 13 },
    Plane { n: 2, h: 2, w: 4, c: 1032 },
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, cols) in SHAPES {
        for accumulate in [false, true] {
            let adds = if accumulate { ", added" } else { "" };
            cases.push(case(format!("layer_norm {rows}x{cols}{adds}"), move |lab| {
                norm(lab, rows, cols, None, accumulate);
            }));
        }
    }
    for d in PLANES {
        let Plane { n, h, w, c } = d;
        cases.push(case(format!("norm_patches2 {n}x{h}x{w}x{c}"), move |lab| norm(lab, d.rows(), c, Some(d), false)));
    }
    cases
}

/// Forward and backward, y and dy in x's order or as the patches of a plane.
fn norm(lab: &mut Lab<'_>, rows: usize, cols: usize, patches: Option<Plane>, accumulate: bool) {
    let width = patches.map_or(0, |d| d.w);
    let (x, x64) = lab.input("x", rows * cols, Bf16);
    let (g, g64) = lab.input("g", cols, F32);
    let (b, b64) = lab.input("b", cols, F32);
    let y = lab.output("y", rows * cols, Bf16);
    let [mean, rstd] = ["mean", "rstd"].map(|name| lab.output(name, rows, F32));
    lab.run(&layer_norm::forward(x.at, g.at, b.at, y.at, mean.at, rstd.at, rows, cols, width));
    let (in_order, mean64, rstd64) = oracle::forward(&x64, &g64, &b64);
    let want = patches.map_or(in_order.clone(), |d| patches2::forward(&in_order, d));
    lab.expect(&mean, &mean64, sums(cols));
    lab.expect(&rstd, &rstd64, sums(cols));
    lab.expect(&y, &want, sums(cols));

    let (dy, given) = lab.input("dy", rows * cols, Bf16);
    let dy64 = patches.map_or(given.clone(), |d| patches2::backward(&given, d));
    let (dx, dx64) = if accumulate {
        lab.input("dx", rows * cols, Bf16)
    } else {
        (lab.output("dx", rows * cols, Bf16), vec![0.0; rows * cols])
    };
    let ((dg, dg64), (db, db64)) = (lab.input("dg", cols, F32), lab.input("db", cols, F32));
    let parts = lab.output("parts", layer_norm::parts(rows, cols), F32);
    lab.run(&layer_norm::backward(
        dy.at, x.at, g.at, mean.at, rstd.at, dx.at, dg.at, db.at, parts.at, rows, cols, width, accumulate,
    ));
    let (want_dx, want_dg, want_db) = oracle::backward(&dy64, &x64, &g64, &mean64, &rstd64);
    lab.expect(&dx, &sum(&dx64, &want_dx), sums(cols));
    lab.expect(&dg, &sum(&dg64, &want_dg), sums(rows));
    lab.expect(&db, &sum(&db64, &want_db), sums(rows));
}
