//! 2x2/2 patches.

use crate::Plane;

/// For each element of y[N,H/2,W/2,4C] (order ky,kx,c), the index of its element of x[N,H,W,C].
fn sources(d: Plane) -> Vec<usize> {
    let mut sources = Vec::new();
    for n in 0..d.n {
        for oy in 0..d.h / 2 {
            for ox in 0..d.w / 2 {
                for (ky, kx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    for c in 0..d.c {
                        sources.push(((n * d.h + 2 * oy + ky) * d.w + 2 * ox + kx) * d.c + c);
                    }
                }
            }
        }
    }
    sources
}

/// x[N,H,W,C] -> y[N,H/2,W/2,4C].
pub fn forward(x: &[f64], d: Plane) -> Vec<f64> {
    sources(d).into_iter().map(|i| x[i]).collect()
}

/// dy[N,H/2,W/2,4C] -> dx[N,H,W,C].
pub fn backward(dy: &[f64], d: Plane) -> Vec<f64> {
    let mut dx = vec![0.0; d.elements()];
    for (g, i) in dy.iter().zip(sources(d)) {
        dx[i] = *g;
    }
    dx
}
