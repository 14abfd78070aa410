//! Causal attention on packed qkv[B,T,3,NH,HS]; a task is a sequence, its heads run one after another in L1.
//!
//! Forward, a head: S = Q K^T / sqrt(HS), P = causal softmax of S (kept), y = P V.
//! Backward: dP = dY V^T, dS = P (dP - rowsum(P dP)) / sqrt(HS), dQ = dS K, dK = dS^T Q, dV = P^T dY.
//! The products take strided views straight into qkv; only K^T and V^T are copied (T x HS values).
//! The square of T is computed in full: at T = 32 the masked half costs less than cutting it would.

use super::memory::NO_BYTES;
use super::pool::{Split, with_local};
use super::product::{Right, Start, Strided, multiply};
use super::simd::{Level, simd};
use super::{Cpu, check};
use crate::{Attention, Tensor};

/// out[HS,T] = the transpose of rows x[t * stride ..][..hs].
fn transpose(x: &[f32], stride: usize, t: usize, hs: usize, out: &mut [f32]) {
    for j in 0..t {
        for (c, v) in x[j * stride..][..hs].iter().enumerate() {
            out[c * t + j] = *v;
        }
    }
}

simd! {
    /// In place: row i of s[T,T] becomes the softmax of its first i + 1 values times `scale`; zero above the diagonal.
    fn causal_softmax(s: S, scores: &mut [f32], t: usize, scale: f32) {
        for (i, row) in scores.chunks_exact_mut(t).enumerate() {
            let (row, masked) = row.split_at_mut(i + 1);
            masked.fill(0.0);
            let mut max = f32::NEG_INFINITY;
            for x in &*row {
                max = if *x > max { *x } else { max };
            }
            for c in (0..row.len()).step_by(S::LANES) {
                let n = (row.len() - c).min(S::LANES);
                let p = row[c..c + n].as_mut_ptr();
                // SAFETY: `n` values from `p` lie in the row.
                unsafe {
                    let x = s.sub(s.load_first(p, n), s.splat(max));
                    s.store_first(p, n, s.exp(s.mul(x, s.splat(scale))));
                }
            }
            let over = 1.0 / row.iter().sum::<f32>();
            for x in row {
                *x *= over;
            }
        }
    }
}

simd! {
    /// In place: dp[T,T] becomes p (dp - rowsum(p dp)) scale.
    fn softmax_backward(s: S, p: &[f32], dp: &mut [f32], t: usize, scale: f32) {
        let _ = s;
        for (p, dp) in p.chunks_exact(t).zip(dp.chunks_exact_mut(t)) {
            let mut dot = 0.0;
            for (p, d) in p.iter().zip(&*dp) {
                dot += p * d;
            }
            for (p, d) in p.iter().zip(dp) {
                *d = p * (*d - dot) * scale;
            }
        }
    }
}

fn work(d: Attention) -> usize {
    2 * d.b * d.heads * d.t * d.t * d.head_size
}

pub fn forward(cpu: &mut Cpu, qkv: Tensor, y: Tensor, probs: Tensor, d: Attention) {
    let Attention { b, t, heads, head_size: hs } = d;
    let width = d.width();
    check(
        "attention_forward",
        &[("qkv", qkv, b * t * 3 * width), ("y", y, b * t * width), ("probs", probs, b * heads * t * t)],
    );
    let level = cpu.level;
    let (_, [qkv], [y, probs]) = cpu.memory.views("attention_forward", NO_BYTES, [qkv], [y, probs]);
    let scale = 1.0 / (hs as f32).sqrt();
    cpu.pool.run(b, work(d), [Split(y, t * width), Split(probs, heads * t * t)], |i, [y, probs]| {
        let qkv = &qkv[i * t * 3 * width..][..t * 3 * width];
        with_local(t * hs, |keys| {
            for (h, p) in probs.chunks_exact_mut(t * t).enumerate() {
                let at = h * hs;
                transpose(&qkv[width + at..], 3 * width, t, hs, keys);
                let q = Strided { data: &qkv[at..], row: 3 * width, col: 1 };
                multiply(level, t, t, hs, q, Right::Rows { data: keys, stride: t }, Start::Zero, p, t);
                causal_softmax(level, p, t, scale);
                let left = Strided { data: p, row: t, col: 1 };
                let v = Right::Rows { data: &qkv[2 * width + at..], stride: 3 * width };
                multiply(level, t, hs, t, left, v, Start::Zero, &mut y[at..], width);
            }
        });
    });
}

pub fn backward(cpu: &mut Cpu, dy: Tensor, qkv: Tensor, probs: Tensor, dqkv: Tensor, d: Attention) {
    let Attention { b, t, heads, head_size: hs } = d;
    let (width, packed) = (d.width(), d.b * d.t * 3 * d.width());
    check(
        "attention_backward",
        &[("dy", dy, b * t * width), ("qkv", qkv, packed), ("probs", probs, b * heads * t * t), ("dqkv", dqkv, packed)],
    );
    let level = cpu.level;
    let (_, [dy, qkv, probs], [dqkv]) = cpu.memory.views("attention_backward", NO_BYTES, [dy, qkv, probs], [dqkv]);
    let scale = 1.0 / (hs as f32).sqrt();
    let stride = 3 * width;
    cpu.pool.run(b, 3 * work(d), [Split(dqkv, t * stride)], |i, [dqkv]| {
        let qkv = &qkv[i * t * stride..][..t * stride];
        let dy = &dy[i * t * width..][..t * width];
        with_local(t * hs + t * t, |local| {
            let (values, ds) = local.split_at_mut(t * hs);
            for h in 0..heads {
                let at = h * hs;
                let p = &probs[(i * heads + h) * t * t..][..t * t];
                transpose(&qkv[2 * width + at..], stride, t, hs, values);
                let grads = Strided { data: &dy[at..], row: width, col: 1 };
                multiply(level, t, t, hs, grads, Right::Rows { data: values, stride: t }, Start::Zero, ds, t);
                softmax_backward(level, p, ds, t, scale);
                let rows = |data| Strided { data, row: t, col: 1 };
                let columns = |data| Strided { data, row: 1, col: t };
                let q = Right::Rows { data: &qkv[at..], stride };
                let k = Right::Rows { data: &qkv[width + at..], stride };
                let g = Right::Rows { data: &dy[at..], stride: width };
                multiply(level, t, hs, t, rows(&*ds), k, Start::Zero, &mut dqkv[at..], stride);
                multiply(level, t, hs, t, columns(&*ds), q, Start::Zero, &mut dqkv[width + at..], stride);
                multiply(level, t, hs, t, columns(p), g, Start::Zero, &mut dqkv[2 * width + at..], stride);
            }
        });
    });
}

simd! {
    /// One head of one lane: y[HS] = softmax(q . keys / sqrt(HS)) . values over the first `scores.len()` timesteps;
    /// key and value j are at `keys[j * stride ..]` and `values[j * stride ..]`.
    fn decode_head(s: S, q: &[f32], keys: &[f32], values: &[f32], stride: usize, scores: &mut [f32], y: &mut [f32]) {
        let (hs, len) = (q.len(), scores.len());
        assert!(len > 0 && y.len() == hs && keys.len().min(values.len()) >= (len - 1) * stride + hs);
        let scale = 1.0 / (hs as f32).sqrt();
        let mut max = f32::NEG_INFINITY;
        for (j, score) in scores.iter_mut().enumerate() {
            let key = keys[j * stride..][..hs].as_ptr();
            let mut dot = s.splat(0.0);
            for c in (0..hs).step_by(S::LANES) {
                let n = (hs - c).min(S::LANES);
                // SAFETY: `n` keeps both reads inside hs values.
                unsafe {
                    let q = s.load_first(q.as_ptr().wrapping_add(c), n);
                    dot = s.fma(q, s.load_first(key.wrapping_add(c), n), dot);
                }
            }
            *score = s.sum(dot);
            max = if *score > max { *score } else { max };
        }
        for c in (0..len).step_by(S::LANES) {
            let n = (len - c).min(S::LANES);
            let p = scores[c..c + n].as_mut_ptr();
            // SAFETY: `n` values from `p` lie in the scores.
            unsafe {
                let x = s.sub(s.load_first(p, n), s.splat(max));
                s.store_first(p, n, s.exp(s.mul(x, s.splat(scale))));
            }
        }
        let over = s.splat(1.0 / scores.iter().sum::<f32>());
        for c in (0..hs).step_by(S::LANES) {
            let n = (hs - c).min(S::LANES);
            // SAFETY: `n` keeps every access inside hs values; value rows were bounded above.
            unsafe {
                let mut acc = s.splat(0.0);
                for (j, p) in scores.iter().enumerate() {
                    acc = s.fma(s.splat(*p), s.load_first(values.as_ptr().wrapping_add(j * stride + c), n), acc);
                }
                s.store_first(y.as_mut_ptr().wrapping_add(c), n, s.mul(acc, over));
            }
        }
    }
}

fn decode_lane(level: Level, qkv: &[f32], cache: &mut [f32], y: &mut [f32], position: usize, d: Attention) {
    let (width, hs) = (d.width(), d.head_size);
    let (keys, values) = cache.split_at_mut(d.t * width);
    keys[position * width..][..width].copy_from_slice(&qkv[width..2 * width]);
    values[position * width..][..width].copy_from_slice(&qkv[2 * width..]);
    with_local(position + 1, |scores| {
        for (h, y) in y.chunks_exact_mut(hs).enumerate() {
            let at = h * hs;
            decode_head(level, &qkv[at..at + hs], &keys[at..], &values[at..], width, scores, y);
        }
    });
}

pub fn decode(cpu: &mut Cpu, qkv: Tensor, cache: Tensor, y: Tensor, positions: &[u32], d: Attention) {
    let (b, width) = (d.b, d.width());
    check(
        "attention_decode",
        &[("qkv", qkv, b * 3 * width), ("cache", cache, b * 2 * d.t * width), ("y", y, b * width)],
    );
    assert_eq!(positions.len(), b, "attention_decode: one position a lane");
    for (lane, position) in positions.iter().enumerate() {
        assert!((*position as usize) < d.t, "attention_decode: position {position} of lane {lane}, capacity {}", d.t);
    }
    let level = cpu.level;
    let (_, [qkv], [cache, y]) = cpu.memory.views("attention_decode", NO_BYTES, [qkv], [cache, y]);
    let work = 2 * b * d.t * width;
    cpu.pool.run(b, work, [Split(cache, 2 * d.t * width), Split(y, width)], |i, [cache, y]| {
        decode_lane(level, &qkv[i * 3 * width..][..3 * width], cache, y, positions[i] as usize, d);
    });
}
