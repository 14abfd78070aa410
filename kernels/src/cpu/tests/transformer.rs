//! Positions and attention.

use super::{Lab, everywhere, sum};
use crate::{Attention, Backend, Tensor, reference};

#[test]
fn positions_match_the_oracle() {
    for (b, t, c) in [(1, 1, 1), (3, 32, 128), (5, 7, 33)] {
        everywhere(|lab| {
            let (x, xv) = lab.input(b * t * c);
            let (pos, pv) = lab.input(t * c);
            let (dx, gv) = lab.input(b * t * c);
            let (dpos, d0) = lab.input(t * c);
            lab.cpu.add_position_forward(x, pos, b, t, c);
            lab.cpu.add_position_backward(dx, dpos, b, t, c);
            lab.expect("x", x, &reference::position::forward(&xv, &pv), 1);
            lab.expect("dpos", dpos, &sum(&d0, &reference::position::backward(&gv, t * c)), b);
        });
    }
}

const SHAPES: [Attention; 8] = [
    Attention { b: 1, t: 1, heads: 1, head_size: 1 },
    Attention { b: 3, t: 32, heads: 4, head_size: 32 },
    Attention { b: 2, t: 32, heads: 2, head_size: 64 },
    Attention { b: 1, t: 32, heads: 2, head_size: 128 },
    Attention { b: 2, t: 5, heads: 3, head_size: 20 },
    Attention { b: 1, t: 17, heads: 1, head_size: 33 },
    Attention { b: 2, t: 50, heads: 2, head_size: 8 },
    Attention { b: 1, t: 16, heads: 4, head_size: 32 },
];

/// Scales q and k: scores of several hundred overflow a softmax that does not subtract their maximum.
const LARGE: f32 = 30.0;

/// Packed q, k and v, with q and k `scale` times as large.
fn packed(lab: &mut Lab, rows: usize, width: usize, scale: f32) -> (Tensor, Vec<f64>) {
    let (tensor, values) = lab.input(rows * 3 * width);
    let scaled = |(i, x): (usize, &f64)| *x as f32 * if i % (3 * width) < 2 * width { scale } else { 1.0 };
    let values: Vec<f32> = values.iter().enumerate().map(scaled).collect();
    lab.cpu.upload(tensor, &values);
    (tensor, values.into_iter().map(f64::from).collect())
}

/// Rounding is relative to the scores, which grow with the square of the scale, and the square root of this is taken.
fn terms(d: Attention, scale: f32) -> usize {
    (d.head_size + d.t) * scale.powi(4) as usize
}

fn prefill(lab: &mut Lab, d: Attention, scale: f32) {
    let (qkv, qv) = packed(lab, d.b * d.t, d.width(), scale);
    let (dy, gv) = lab.input(d.b * d.t * d.width());
    let y = lab.output(d.b * d.t * d.width());
    let probs = lab.output(d.b * d.heads * d.t * d.t);
    let dqkv = lab.output(d.b * d.t * 3 * d.width());
    lab.cpu.attention_forward(qkv, y, probs, d);
    lab.cpu.attention_backward(dy, qkv, probs, dqkv, d);
    let (ry, rp) = reference::attention::forward(&qv, d);
    let n = terms(d, scale);
    lab.expect("y", y, &ry, n);
    lab.expect("probs", probs, &rp, n);
    lab.expect("dqkv", dqkv, &reference::attention::backward(&gv, &qv, &rp, d), 2 * n);
}

#[test]
fn attention_matches_the_oracle() {
    for d in SHAPES {
        everywhere(|lab| prefill(lab, d, 1.0));
    }
    everywhere(|lab| prefill(lab, SHAPES[1], LARGE));
}

/// Feeds a whole sequence timestep by timestep; lane i starts i timesteps late, so positions differ between lanes.
fn decode(lab: &mut Lab, d: Attention, scale: f32) {
    let (steps, width) = (d.t + d.b - 1, d.width());
    let qkv_rows: Vec<_> = (0..d.b * d.t).map(|_| packed(lab, 1, width, scale)).collect();
    let (step, _) = lab.input(d.b * 3 * width);
    let cache = lab.cpu.alloc(d.b * 2 * d.t * width, crate::Kind::Activation);
    let y = lab.output(d.b * width);
    let whole: Vec<f64> = qkv_rows.iter().flat_map(|(_, values)| values.clone()).collect();
    let (want, _) = reference::attention::forward(&whole, d);
    for now in 0..steps {
        // Late lanes and finished lanes repeat their first or last timestep.
        let positions: Vec<u32> = (0..d.b).map(|i| now.saturating_sub(i).min(d.t - 1) as u32).collect();
        let mut expected = Vec::new();
        for (lane, position) in positions.iter().enumerate() {
            let row = lane * d.t + *position as usize;
            lab.cpu.copy(qkv_rows[row].0, step.slice(lane * 3 * width, 3 * width));
            expected.extend_from_slice(&want[row * width..][..width]);
        }
        lab.cpu.attention_decode(step, cache, y, &positions, d);
        lab.expect("y", y, &expected, terms(d, scale));
    }
}

#[test]
fn decoding_step_by_step_is_attention_over_the_whole_sequence() {
    for d in SHAPES {
        everywhere(|lab| decode(lab, d, 1.0));
    }
    everywhere(|lab| decode(lab, SHAPES[1], LARGE));
}
