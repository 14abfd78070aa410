//! The optimiser: global norm and one AdamW step.

use crate::AdamW;

/// sqrt(sum g^2).
pub fn grad_norm(g: &[f64]) -> f64 {
    g.iter().map(|g| g * g).sum::<f64>().sqrt()
}

/// p, g, m, v: [N]. Updates p, m, v in place.
pub fn adamw(p: &mut [f64], g: &[f64], m: &mut [f64], v: &mut [f64], norm: f64, d: AdamW) {
    let (beta1, beta2) = (f64::from(d.beta1), f64::from(d.beta2));
    let (lr, eps, decay) = (f64::from(d.lr), f64::from(d.eps), f64::from(d.weight_decay));
    let scale = (f64::from(d.clip) / (norm + 1e-6)).min(1.0);
    for i in 0..p.len() {
        let g = g[i] * scale;
        m[i] = beta1 * m[i] + (1.0 - beta1) * g;
        v[i] = beta2 * v[i] + (1.0 - beta2) * g * g;
        let m_hat = m[i] / (1.0 - beta1.powf(d.step as f64));
        let v_hat = v[i] / (1.0 - beta2.powf(d.step as f64));
        p[i] -= lr * (m_hat / (v_hat.sqrt() + eps) + decay * p[i]);
    }
}
