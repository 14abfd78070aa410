//! Categorical distributions on the host: for measuring and for sampling, in f64.

/// Log-probabilities of one head's logits.
pub(crate) fn log_softmax(logits: &[f32], out: &mut Vec<f64>) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|&x| f64::from(x - max).exp()).sum();
    let log_total = total.ln();
    out.clear();
    out.extend(logits.iter().map(|&x| f64::from(x - max) - log_total));
}

/// The logistic function.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// ln(1 + exp(x)) without overflow.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logits_do_not_overflow() {
        let mut out = Vec::new();
        log_softmax(&[1000.0, 1000.0, -1000.0], &mut out);
        assert!((out[0] + std::f64::consts::LN_2).abs() < 1e-12 && out[2] < -1990.0);
        assert_eq!(softplus(800.0), 800.0);
        assert!((softplus(0.0) - std::f64::consts::LN_2).abs() < 1e-15 && softplus(-800.0) == 0.0);
        assert!((sigmoid(0.3) + sigmoid(-0.3) - 1.0).abs() < 1e-15);
    }
}
