use super::{Case, Lab, Tensor, case, sum, sums};
use crate::cuda::{Store, Store::*, bottleneck};
use crate::reference::bottleneck as oracle;

/// Rows, channels and blocks: one row, what fills no tile, more than a tile of each pass; then so few blocks that they take turns, as they
/// do at the agent's sizes, up to a last tile that only some of them have.
const SHAPES: [(usize, usize, usize); 8] =
    [(1, 32, 1), (70, 32, 2), (200, 32, 4), (700, 32, 2), (1, 64, 1), (33, 64, 2), (150, 64, 5), (500, 64, 3)];

pub(super) fn cases() -> Vec<Case> {
    SHAPES.into_iter().map(|(rows, c, blocks)| one(rows, c, blocks)).collect()
}

/// Every parameter on the device and in f64; matrices such that a layer's results are as large as what it is given.
fn parameters(lab: &mut Lab<'_>, c: usize, kinds: Store, name: &str) -> ([Tensor; 7], oracle::Parameters) {
    let small = |values: Vec<f64>, n: usize| -> Vec<f32> {
        values.into_iter().map(|x| (x / (n as f64).sqrt()) as f32).collect()
    };
    let mut given = |what: &str, len: usize, store: Store, inputs: usize| {
        let name = format!("{name}{what}");
        let (_, drawn) = lab.input(&name, len, F32);
        lab.given(&name, &small(drawn, inputs), store)
    };
    let (g, g64) = given("g", c, F32, 1);
    let (b, b64) = given("b", c, F32, 1);
    let (w1, w1_64) = given("w1", 4 * c * c, kinds, c);
    let (b1, b1_64) = given("b1", 4 * c, F32, 1);
    let (w2, w2_64) = given("w2", 4 * c * c, kinds, 4 * c);
    let (b2, b2_64) = given("b2", c, F32, 1);
    let (scale, scale64) = given("scale", c, F32, 1);
    let exact = oracle::Parameters { g: g64, b: b64, w1: w1_64, b1: b1_64, w2: w2_64, b2: b2_64, scale: scale64 };
    ([g, b, w1, b1, w2, b2, scale], exact)
}

fn at([g, b, w1, b1, w2, b2, scale]: &[Tensor; 7]) -> bottleneck::Parameters {
    bottleneck::Parameters { g: g.at, b: b.at, w1: w1.at, b1: b1.at, w2: w2.at, b2: b2.at, scale: scale.at }
}

fn one(rows: usize, c: usize, blocks: usize) -> Case {
    case(format!("bottleneck {rows}x{c}, {blocks} blocks"), move |lab| {
        let (w, w64) = parameters(lab, c, Bf16, "");
        let ((x, x64), (skip, skip64)) = (lab.input("x", rows * c, Bf16), lab.input("skip", rows * c, Bf16));
        let y = lab.output("y", rows * c, Bf16);
        lab.run(&bottleneck::forward(x.at, skip.at, at(&w), y.at, rows, c, blocks));
        // The normalised row and what comes after GELU.
        lab.expect(&y, &oracle::forward(&x64, &skip64, &w64), sums(4 * c).after(2.0));

        let (dy, dy64) = lab.input("dy", rows * c, Bf16);
        let (gradients, before) = parameters(lab, c, F32, "d");
        let (dx, parts) = (lab.output("dx", rows * c, Bf16), lab.output("parts", bottleneck::parts(c, blocks), F32));
        lab.run(&bottleneck::backward(dy.at, x.at, at(&w), dx.at, at(&gradients), parts.at, rows, c, blocks));
        let (want_dx, want) = oracle::backward(&dy64, &x64, &w64);
        // The normalised row, scale W2 and what comes before GELU.
        lab.expect(&dx, &want_dx, sums(4 * c).after(3.0));
        let [g, b, w1, b1, w2, b2, scale] = &gradients;
        let mut expect = |tensor: &Tensor, before: &[f64], want: &[f64], roundings: f64| {
            lab.expect(tensor, &sum(before, want), sums(rows).after(roundings));
        };
        expect(g, &before.g, &want.g, 3.0);
        expect(b, &before.b, &want.b, 3.0);
        expect(w1, &before.w1, &want.w1, 3.0);
        expect(b1, &before.b1, &want.b1, 2.0);
        expect(w2, &before.w2, &want.w2, 2.0);
        expect(b2, &before.b2, &want.b2, 0.0);
        expect(scale, &before.scale, &want.scale, 2.0);
    })
}
