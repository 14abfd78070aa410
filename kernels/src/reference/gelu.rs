//! GELU in its tanh form, elementwise.

const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;

/// x -> 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
pub fn forward(x: &[f64]) -> Vec<f64> {
    let gelu = |x: &f64| 0.5 * x * (1.0 + (SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x)).tanh());
    x.iter().map(gelu).collect()
}

/// dy, x (the saved input) -> dx.
pub fn backward(dy: &[f64], x: &[f64]) -> Vec<f64> {
    let slope = |x: f64| {
        let t = (SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x)).tanh();
        let du = SQRT_2_OVER_PI * (1.0 + 3.0 * 0.044_715 * x * x);
        0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * du
    };
    dy.iter().zip(x).map(|(g, x)| g * slope(*x)).collect()
}
