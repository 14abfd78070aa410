//! Every backward oracle against finite differences of its forward oracle.
//!
//! The loss is L = sum of r * y with random r, so that dy = r. Central differences with step h = 1e-5 are off by
//! about h^2 and by 1e-16 / h: far below the 1e-6 allowed.

use super::*;
use crate::{Attention, Gemm, Plane, Stem};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

fn random(seed: u64, len: usize) -> Vec<f64> {
    let mut rng = Pcg64::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `gradient` must be the derivative of `loss` at x, in every coordinate.
#[track_caller]
fn derivative(name: &str, x: &[f64], gradient: &[f64], loss: impl Fn(&[f64]) -> f64) {
    const H: f64 = 1e-5;
    assert_eq!(x.len(), gradient.len(), "{name}");
    let mut moved = x.to_vec();
    for i in 0..x.len() {
        moved[i] = x[i] + H;
        let above = loss(&moved);
        moved[i] = x[i] - H;
        let below = loss(&moved);
        moved[i] = x[i];
        let want = (above - below) / (2.0 * H);
        assert!(want.is_finite() && gradient[i].is_finite(), "{name}[{i}]: not finite");
        let slack = 1e-6 * want.abs().max(1.0);
        assert!((want - gradient[i]).abs() < slack, "{name}[{i}] = {}, slope {want}", gradient[i]);
    }
}

#[test]
fn linear_and_stem() {
    let d = Gemm { m: 3, k: 4, n: 5 };
    let (x, w, b, r) = (random(1, 12), random(2, 20), random(3, 5), random(4, 15));
    let (dx, dw, db) = linear::backward(&r, &x, &w, d);
    derivative("dx", &x, &dx, |x| dot(&r, &linear::forward(x, &w, &b, d)));
    derivative("dw", &w, &dw, |w| dot(&r, &linear::forward(&x, w, &b, d)));
    derivative("db", &b, &db, |b| dot(&r, &linear::forward(&x, &w, b, d)));

    let d = Stem { n: 2, size: 8, channels: 3 };
    let pixels: Vec<u8> = (0..d.n * 192).map(|i| (i * 37 % 256) as u8).collect();
    let (w, b, r) = (random(5, 144), random(6, 3), random(7, d.rows() * 3));
    let (dw, db) = stem::backward(&r, &pixels, d);
    derivative("stem dw", &w, &dw, |w| dot(&r, &stem::forward(&pixels, w, &b, d)));
    derivative("stem db", &b, &db, |b| dot(&r, &stem::forward(&pixels, &w, b, d)));
}

#[test]
fn depthwise_convolution() {
    let d = Plane { n: 2, h: 5, w: 4, c: 2 };
    let (x, w, b) = (random(1, d.elements()), random(2, 98), random(3, 2));
    let r = random(4, d.elements());
    let (dx, dw, db) = depthwise::backward(&r, &x, &w, d);
    derivative("dx", &x, &dx, |x| dot(&r, &depthwise::forward(x, &w, &b, d)));
    derivative("dw", &w, &dw, |w| dot(&r, &depthwise::forward(&x, w, &b, d)));
    derivative("db", &b, &db, |b| dot(&r, &depthwise::forward(&x, &w, b, d)));
}

#[test]
fn patches_and_pooling() {
    let d = Plane { n: 2, h: 4, w: 2, c: 3 };
    let (x, r) = (random(1, 48), random(2, 48));
    derivative("patches", &x, &patches2::backward(&r, d), |x| dot(&r, &patches2::forward(x, d)));
    let r = random(3, 6);
    let dx = mean_pool::backward(&r, 8, 3);
    derivative("pool", &x, &dx, |x| dot(&r, &mean_pool::forward(x, 8, 3)));
}

#[test]
fn elementwise_and_norms() {
    let (x, r) = (random(1, 24).iter().map(|x| x * 4.0).collect::<Vec<_>>(), random(2, 24));
    derivative("gelu", &x, &gelu::backward(&r, &x), |x| dot(&r, &gelu::forward(x)));

    let (skip, scale) = (random(3, 24), random(4, 6));
    let (dpre, dscale) = layer_scale::backward(&r, &x, &scale);
    derivative("dpre", &x, &dpre, |x| dot(&r, &layer_scale::forward(&skip, x, &scale)));
    derivative("dscale", &scale, &dscale, |s| dot(&r, &layer_scale::forward(&skip, &x, s)));

    let (g, b) = (random(5, 6), random(6, 6));
    let (_, mean, rstd) = layer_norm::forward(&x, &g, &b);
    let (dx, dg, db) = layer_norm::backward(&r, &x, &g, &mean, &rstd);
    derivative("norm dx", &x, &dx, |x| dot(&r, &layer_norm::forward(x, &g, &b).0));
    derivative("norm dg", &g, &dg, |g| dot(&r, &layer_norm::forward(&x, g, &b).0));
    derivative("norm db", &b, &db, |b| dot(&r, &layer_norm::forward(&x, &g, b).0));

    let pos = random(7, 12);
    let dpos = position::backward(&r, 12);
    derivative("dpos", &pos, &dpos, |p| dot(&r, &position::forward(&x, p)));
}

#[test]
fn inverted_bottleneck() {
    let (c, rows) = (3, 4);
    let p = bottleneck::Parameters {
        g: random(1, c),
        b: random(2, c),
        w1: random(3, 4 * c * c),
        b1: random(4, 4 * c),
        w2: random(5, 4 * c * c),
        b2: random(6, c),
        scale: random(7, c),
    };
    let (x, skip, r) = (random(8, rows * c), random(9, rows * c), random(10, rows * c));
    let (dx, d) = bottleneck::backward(&r, &x, &p);
    derivative("dx", &x, &dx, |x| dot(&r, &bottleneck::forward(x, &skip, &p)));
    macro_rules! parameters {
        ($($name:ident)+) => {$(
            derivative(stringify!($name), &p.$name, &d.$name, |moved| {
                let p = bottleneck::Parameters { $name: moved.to_vec(), ..p.clone() };
                dot(&r, &bottleneck::forward(&x, &skip, &p))
            });
        )+};
    }
    parameters!(g b w1 b1 w2 b2 scale);
}

#[test]
fn causal_attention() {
    let d = Attention { b: 2, t: 5, heads: 2, head_size: 3 };
    let (qkv, r) = (random(1, d.b * d.t * 3 * d.width()), random(2, d.b * d.t * d.width()));
    let (_, probs) = attention::forward(&qkv, d);
    let dqkv = attention::backward(&r, &qkv, &probs, d);
    derivative("dqkv", &qkv, &dqkv, |q| dot(&r, &attention::forward(q, d).0));
}

#[test]
fn losses() {
    let heads = [2, 5, 1];
    let (logits, other) = (random(1, 32), random(2, 32));
    let (weight, beta) = (random(3, 4), random(4, 4));
    let actions = [0, 4, 0, 1, 0, 0, 1, 2, 0, 0, 3, 0];
    for r in [None, Some(other.as_slice())] {
        let b = r.map(|_| beta.as_slice());
        let loss = |x: &[f64]| {
            let out = policy_loss::policy_loss(x, r, &actions, &weight, b, &heads);
            dot(&weight, &out.nll) + b.map_or(0.0, |b| dot(b, &out.kl))
        };
        let out = policy_loss::policy_loss(&logits, r, &actions, &weight, b, &heads);
        derivative("dlogits", &logits, &out.dlogits, loss);
    }

    let (scores, label) = (random(5, 6), [1.0, 0.5, 0.25]);
    let mean = |s: &[f64]| bradley_terry::bradley_terry(s, &label, 0.1).0.iter().sum::<f64>() / 3.0;
    derivative("dscores", &scores, &bradley_terry::bradley_terry(&scores, &label, 0.1).1, mean);
}
