//! GELU, tanh form: y = x s with s = 1 / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3).

use super::simd::simd;

simd! {
    /// y = gelu(x), elementwise.
    pub fn gelu_forward_block(s: S, x: &[f32], y: &mut [f32]) {
        assert_eq!(x.len(), y.len());
        let whole = x.len() - x.len() % S::LANES;
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: i + LANES <= whole <= both lengths.
            unsafe {
                let v = s.load(x.as_ptr().wrapping_add(i));
                s.store(y.as_mut_ptr().wrapping_add(i), s.mul(v, s.gelu_gate(v)));
            }
        }
        let rest = x.len() - whole;
        // SAFETY: `rest` values are left behind `whole`.
        unsafe {
            let v = s.load_first(x.as_ptr().wrapping_add(whole), rest);
            s.store_first(y.as_mut_ptr().wrapping_add(whole), rest, s.mul(v, s.gelu_gate(v)));
        }
    }
}

simd! {
    /// d *= gelu'(x).
    pub fn gelu_backward_block(s: S, x: &[f32], d: &mut [f32]) {
        assert_eq!(x.len(), d.len());
        let whole = x.len() - x.len() % S::LANES;
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: i + LANES <= whole <= both lengths.
            unsafe {
                let p = d.as_mut_ptr().wrapping_add(i);
                s.store(p, s.mul(s.load(p), s.gelu_slope(s.load(x.as_ptr().wrapping_add(i)))));
            }
        }
        let rest = x.len() - whole;
        // SAFETY: `rest` values are left behind `whole`.
        unsafe {
            let p = d.as_mut_ptr().wrapping_add(whole);
            let v = s.load_first(x.as_ptr().wrapping_add(whole), rest);
            s.store_first(p, rest, s.mul(s.load_first(p, rest), s.gelu_slope(v)));
        }
    }
}
