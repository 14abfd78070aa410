//! Linear layer.

use crate::Gemm;

/// x[M,K], w[K,N], b[N] -> x @ w + b, [M,N].
pub fn forward(x: &[f64], w: &[f64], b: &[f64], d: Gemm) -> Vec<f64> {
    let mut y: Vec<f64> = (0..d.m * d.n).map(|i| b[i % d.n]).collect();
    for i in 0..d.m {
        for p in 0..d.k {
            for j in 0..d.n {
                y[i * d.n + j] += x[i * d.k + p] * w[p * d.n + j];
            }
        }
    }
    y
}

/// dy[M,N], x[M,K], w[K,N] -> (dx[M,K], dw[K,N], db[N]).
pub fn backward(dy: &[f64], x: &[f64], w: &[f64], d: Gemm) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; d.n]);
    for i in 0..d.m {
        for j in 0..d.n {
            let g = dy[i * d.n + j];
            db[j] += g;
            for p in 0..d.k {
                dx[i * d.k + p] += g * w[p * d.n + j];
                dw[p * d.n + j] += g * x[i * d.k + p];
            }
        }
    }
    (dx, dw, db)
}
