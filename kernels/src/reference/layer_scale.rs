//! Layer scale: y = skip + scale[cols] * pre[rows,cols].

/// skip[rows,cols], pre[rows,cols], scale[cols] -> y[rows,cols].
pub fn forward(skip: &[f64], pre: &[f64], scale: &[f64]) -> Vec<f64> {
    (0..pre.len()).map(|i| skip[i] + scale[i % scale.len()] * pre[i]).collect()
}

/// dy[rows,cols], pre[rows,cols], scale[cols] -> (dpre[rows,cols], dscale[cols]).
pub fn backward(dy: &[f64], pre: &[f64], scale: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut dscale = vec![0.0; scale.len()];
    for (i, g) in dy.iter().enumerate() {
        dscale[i % scale.len()] += g * pre[i];
    }
    ((0..dy.len()).map(|i| dy[i] * scale[i % scale.len()]).collect(), dscale)
}
