//! Depthwise 7x7 convolution, channels last, zero padding of 3.

use crate::Plane;

/// Calls f(output pixel, input pixel, tap) for every product of one image, pixels counted in the batch.
fn products(d: Plane, mut f: impl FnMut(usize, usize, usize)) {
    for n in 0..d.n {
        for oy in 0..d.h {
            for ox in 0..d.w {
                for ky in 0..7 {
                    for kx in 0..7 {
                        let (iy, ix) = (oy + ky, ox + kx);
                        if iy >= 3 && iy < d.h + 3 && ix >= 3 && ix < d.w + 3 {
                            let output = (n * d.h + oy) * d.w + ox;
                            f(output, (n * d.h + iy - 3) * d.w + ix - 3, ky * 7 + kx);
                        }
                    }
                }
            }
        }
    }
}

/// x[N,H,W,C], w[49,C], b[C] -> y[N,H,W,C].
pub fn forward(x: &[f64], w: &[f64], b: &[f64], d: Plane) -> Vec<f64> {
    let mut y: Vec<f64> = (0..d.elements()).map(|i| b[i % d.c]).collect();
    products(d, |output, input, tap| {
        for c in 0..d.c {
            y[output * d.c + c] += x[input * d.c + c] * w[tap * d.c + c];
        }
    });
    y
}

/// dy[N,H,W,C], x[N,H,W,C], w[49,C] -> (dx[N,H,W,C], dw[49,C], db[C]).
pub fn backward(dy: &[f64], x: &[f64], w: &[f64], d: Plane) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; d.c]);
    products(d, |output, input, tap| {
        for c in 0..d.c {
            let g = dy[output * d.c + c];
            dx[input * d.c + c] += g * w[tap * d.c + c];
            dw[tap * d.c + c] += g * x[input * d.c + c];
        }
    });
    for (i, g) in dy.iter().enumerate() {
        db[i % d.c] += g;
    }
    (dx, dw, db)
}
