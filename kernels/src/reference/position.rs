//! Learned positions.

/// x[B,T,C] + pos[T,C].
pub fn forward(x: &[f64], pos: &[f64]) -> Vec<f64> {
    x.iter().enumerate().map(|(i, x)| x + pos[i % pos.len()]).collect()
}

/// dx[B,T,C] -> dpos[T,C], `len` = T*C.
pub fn backward(dx: &[f64], len: usize) -> Vec<f64> {
    let mut dpos = vec![0.0; len];
    for (i, g) in dx.iter().enumerate() {
        dpos[i % len] += g;
    }
    dpos
}
