//! The patch stem: normalised 4x4/4 patches, then a linear layer.

use super::linear;
use crate::{Gemm, Stem};

/// pixels u8 [N,S,S,3] -> patches [N*(S/4)^2, 48] of p/127.5 - 1, order ky,kx,c.
pub fn patches(pixels: &[u8], d: Stem) -> Vec<f64> {
    let side = d.size / 4;
    let mut out = Vec::new();
    for n in 0..d.n {
        for py in 0..side {
            for px in 0..side {
                for ky in 0..4 {
                    for kx in 0..4 {
                        for c in 0..3 {
                            let pixel = (n * d.size + py * 4 + ky) * d.size + px * 4 + kx;
                            out.push(f64::from(pixels[pixel * 3 + c]) / 127.5 - 1.0);
                        }
                    }
                }
            }
        }
    }
    out
}

/// pixels, w[48,C], b[C] -> y[N,(S/4)^2,C].
pub fn forward(pixels: &[u8], w: &[f64], b: &[f64], d: Stem) -> Vec<f64> {
    linear::forward(&patches(pixels, d), w, b, Gemm { m: d.rows(), k: 48, n: d.channels })
}

/// dy[N,(S/4)^2,C], pixels -> (dw[48,C], db[C]).
pub fn backward(dy: &[f64], pixels: &[u8], d: Stem) -> (Vec<f64>, Vec<f64>) {
    let w = vec![0.0; 48 * d.channels];
    let gemm = Gemm { m: d.rows(), k: 48, n: d.channels };
    let (_, dw, db) = linear::backward(dy, &patches(pixels, d), &w, gemm);
    (dw, db)
}
