use super::{Case, case, sum, sums};
use crate::Plane;
use crate::cuda::{Store::*, depthwise};
use crate::reference::depthwise as oracle;

/// Every tile, filled exactly, cut at its edges and repeated; channels that fill a block's 32, or not; the fallback.
const SHAPES: [(usize, usize, usize, usize); 9] = [
    (1, 8, 32, 32),
    (2, 9, 35, 8),
    (2, 16, 16, 32),
    (1, 17, 13, 40),
    (3, 8, 8, 32),
    (2, 4, 4, 64),
    (1, 1, 1, 8),
    (2, 5, 3, 3),
    (1, 3, 9, 50),
];

pub(super) fn cases() -> Vec<Case> {
    let one = |(n, h, w, c)| {
        let d = Plane { n, h, w, c };
        case(format!("depthwise {n}x{h}x{w}x{c}"), move |lab| {
            let (x, x64) = lab.input("x", d.elements(), Bf16);
            let (taps, w64) = lab.input("w", 49 * c, F32);
            let (b, b64) = lab.input("b", c, F32);
            let y = lab.output("y", d.elements(), Bf16);
            lab.run(&depthwise::forward(x.at, taps.at, b.at, y.at, d));
            lab.expect(&y, &oracle::forward(&x64, &w64, &b64, d), sums(50));

            let (dy, dy64) = lab.input("dy", d.elements(), Bf16);
            let dx = lab.output("dx", d.elements(), Bf16);
            let ((dw, dw64), (db, db64)) = (lab.input("dw", 49 * c, F32), lab.input("db", c, F32));
            let parts = lab.output("parts", depthwise::parts(d), F32);
            let backward =
                |dx, accumulate| depthwise::backward(dy.at, x.at, taps.at, dx, dw.at, db.at, parts.at, d, accumulate);
            lab.run(&backward(dx.at, false));
            let (want_dx, want_dw, want_db) = oracle::backward(&dy64, &x64, &w64, d);
            lab.expect(&dx, &want_dx, sums(49));
            lab.expect(&dw, &sum(&dw64, &want_dw), sums(n * h * w));
            lab.expect(&db, &sum(&db64, &want_db), sums(n * h * w));
            // As a part of the residual stream's gradient.
            let (stream, stream64) = lab.input("stream", d.elements(), Bf16);
            lab.run(&backward(stream.at, true));
            lab.expect(&stream, &sum(&stream64, &want_dx), sums(50));
        })
    };
    SHAPES.into_iter().map(one).collect()
}
