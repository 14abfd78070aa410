//! Causal self-attention.

use crate::Attention;

/// Index of qkv[b, t, part, h, c] in [B,T,3,NH,HS].
fn at(d: Attention, b: usize, t: usize, part: usize, h: usize, c: usize) -> usize {
    (((b * d.t + t) * 3 + part) * d.heads + h) * d.head_size + c
}

/// qkv[B,T,3,NH,HS] -> (y[B,T,NH*HS], probs[B,NH,T,T]).
pub fn forward(qkv: &[f64], d: Attention) -> (Vec<f64>, Vec<f64>) {
    let mut y = vec![0.0; d.b * d.t * d.width()];
    let mut probs = vec![0.0; d.b * d.heads * d.t * d.t];
    let scale = 1.0 / (d.head_size as f64).sqrt();
    for b in 0..d.b {
        for h in 0..d.heads {
            for i in 0..d.t {
                let scores: Vec<f64> = (0..=i)
                    .map(|j| {
                        let dot: f64 =
                            (0..d.head_size).map(|c| qkv[at(d, b, i, 0, h, c)] * qkv[at(d, b, j, 1, h, c)]).sum();
                        dot * scale
                    })
                    .collect();
                let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
                for (j, score) in scores.iter().enumerate() {
                    let p = (score - max).exp() / sum;
                    probs[((b * d.heads + h) * d.t + i) * d.t + j] = p;
                    for c in 0..d.head_size {
                        y[(b * d.t + i) * d.width() + h * d.head_size + c] += p * qkv[at(d, b, j, 2, h, c)];
                    }
                }
            }
        }
    }
    (y, probs)
}

/// dy[B,T,NH*HS], qkv[B,T,3,NH,HS], probs[B,NH,T,T] -> dqkv[B,T,3,NH,HS].
pub fn backward(dy: &[f64], qkv: &[f64], probs: &[f64], d: Attention) -> Vec<f64> {
    let mut dqkv = vec![0.0; qkv.len()];
    let scale = 1.0 / (d.head_size as f64).sqrt();
    for b in 0..d.b {
        for h in 0..d.heads {
            for i in 0..d.t {
                let row = &probs[((b * d.heads + h) * d.t + i) * d.t..][..d.t];
                let g = |c: usize| dy[(b * d.t + i) * d.width() + h * d.head_size + c];
                let dp: Vec<f64> =
                    (0..=i).map(|j| (0..d.head_size).map(|c| g(c) * qkv[at(d, b, j, 2, h, c)]).sum()).collect();
                let dot: f64 = (0..=i).map(|j| row[j] * dp[j]).sum();
                for j in 0..=i {
                    let ds = row[j] * (dp[j] - dot) * scale;
                    for c in 0..d.head_size {
                        dqkv[at(d, b, i, 0, h, c)] += ds * qkv[at(d, b, j, 1, h, c)];
                        dqkv[at(d, b, j, 1, h, c)] += ds * qkv[at(d, b, i, 0, h, c)];
                        dqkv[at(d, b, j, 2, h, c)] += row[j] * g(c);
                    }
                }
            }
        }
    }
    dqkv
}
