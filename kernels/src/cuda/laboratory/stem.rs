use super::{Case, case, sum, sums};
use crate::Stem;
use crate::cuda::{Store::*, stem};
use crate::reference::stem as oracle;
use rand::RngExt;

pub(super) fn cases() -> Vec<Case> {
    let one = |(n, size, channels)| {
        let d = Stem { n, size, channels };
        case(format!("stem {n}x{size}x{size} to {channels}"), move |lab| {
            let mut values: Vec<u8> = (0..n * size * size * 3).map(|_| lab.rng.random()).collect();
            values[..3].copy_from_slice(&[0, 255, 128]);
            let pixels = lab.bytes("pixels", &values);
            // Weights that are exact in bf16: what is left is the kernel's own error.
            let (_, exact) = lab.input("weights", 48 * channels, Bf16);
            let exact: Vec<f32> = exact.into_iter().map(|w| w as f32).collect();
            let ((w, w64), (b, b64)) = (lab.given("w", &exact, F32), lab.input("b", channels, F32));
            let y = lab.output("y", d.rows() * channels, Bf16);
            lab.run(&stem::forward(pixels, w.at, b.at, y.at, d));
            lab.expect(&y, &oracle::forward(&values, &w64, &b64, d), sums(48));

            let (dy, dy64) = lab.input("dy", d.rows() * channels, Bf16);
            let ((dw, dw64), (db, db64)) = (lab.input("dw", 48 * channels, F32), lab.input("db", channels, F32));
            let parts = lab.output("parts", stem::parts(d), F32);
            lab.run(&stem::backward(dy.at, pixels, dw.at, db.at, parts.at, d));
            let (want_dw, want_db) = oracle::backward(&dy64, &values, d);
            lab.expect(&dw, &sum(&dw64, &want_dw), sums(d.rows()));
            lab.expect(&db, &sum(&db64, &want_db), sums(d.rows()));
        })
    };
    [(1, 4, 1), (2, 12, 16), (1, 32, 64), (3, 20, 70)].into_iter().map(one).collect()
}
