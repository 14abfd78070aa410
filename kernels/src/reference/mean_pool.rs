//! Mean over the pixels of an image.

/// x[N,P,C] -> y[N,C].
pub fn forward(x: &[f64], p: usize, c: usize) -> Vec<f64> {
    let mut y = vec![0.0; x.len() / p];
    for (i, x) in x.iter().enumerate() {
        y[i / (p * c) * c + i % c] += x / p as f64;
    }
    y
}

/// dy[N,C] -> dx[N,P,C].
pub fn backward(dy: &[f64], p: usize, c: usize) -> Vec<f64> {
    (0..dy.len() * p).map(|i| dy[i / (p * c) * c + i % c] / p as f64).collect()
}
