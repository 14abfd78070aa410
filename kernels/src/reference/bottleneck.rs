//! The inverted bottleneck of a ConvNeXt block: y = skip + scale (gelu(norm(x) @ w1 + b1) @ w2 + b2).

use super::{gelu, layer_norm, layer_scale, linear};
use crate::Gemm;

/// g[C], b[C], w1[C,4C], b1[4C], w2[4C,C], b2[C], scale[C], or their gradients.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Gain of the norm.
    pub g: Vec<f64>,
    /// Shift of the norm.
    pub b: Vec<f64>,
    /// Expands.
    pub w1: Vec<f64>,
    /// Added before GELU.
    pub b1: Vec<f64>,
    /// Contracts.
    pub w2: Vec<f64>,
    /// Added before layer scale.
    pub b2: Vec<f64>,
    /// Layer scale.
    pub scale: Vec<f64>,
}

fn sizes(x: &[f64], c: usize) -> [Gemm; 2] {
    let m = x.len() / c;
    [Gemm { m, k: c, n: 4 * c }, Gemm { m, k: 4 * c, n: c }]
}

/// x[R,C], skip[R,C] -> y[R,C].
pub fn forward(x: &[f64], skip: &[f64], p: &Parameters) -> Vec<f64> {
    let [expand, contract] = sizes(x, p.g.len());
    let (normalised, _, _) = layer_norm::forward(x, &p.g, &p.b);
    let hidden = gelu::forward(&linear::forward(&normalised, &p.w1, &p.b1, expand));
    layer_scale::forward(skip, &linear::forward(&hidden, &p.w2, &p.b2, contract), &p.scale)
}

/// dy[R,C], x[R,C] -> dx[R,C] and the parameters' gradients. That of skip is dy.
pub fn backward(dy: &[f64], x: &[f64], p: &Parameters) -> (Vec<f64>, Parameters) {
    let [expand, contract] = sizes(x, p.g.len());
    let (normalised, mean, rstd) = layer_norm::forward(x, &p.g, &p.b);
    let pre = linear::forward(&normalised, &p.w1, &p.b1, expand);
    let hidden = gelu::forward(&pre);
    let contracted = linear::forward(&hidden, &p.w2, &p.b2, contract);
    let (d_contracted, scale) = layer_scale::backward(dy, &contracted, &p.scale);
    let (d_hidden, w2, b2) = linear::backward(&d_contracted, &hidden, &p.w2, contract);
    let (d_normalised, w1, b1) = linear::backward(&gelu::backward(&d_hidden, &pre), &normalised, &p.w1, expand);
    let (dx, g, b) = layer_norm::backward(&d_normalised, x, &p.g, &mean, &rstd);
    (dx, Parameters { g, b, w1, b1, w2, b2, scale })
}
