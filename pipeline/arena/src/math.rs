//! Arithmetic that gives the same bits on every machine.
//!
//! The standard library's `sin`, `cos`, `atan2` and friends have unspecified precision and may differ between
//! platforms, so everything here is built from `+ - * /`, `sqrt`, `abs` and truncation, which IEEE 754 defines exactly.

use rand::Rng;
use rand_pcg::Pcg64Mcg;

pub const PI: f32 = core::f32::consts::PI;
pub const TAU: f32 = core::f32::consts::TAU;

/// A point or direction: x east, y north, z up.
pub type V3 = [f32; 3];

pub fn dot(a: V3, b: V3) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub fn sub(a: V3, b: V3) -> V3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub fn cross(a: V3, b: V3) -> V3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub fn normalize(a: V3) -> V3 {
    let n = dot(a, a).sqrt();
    if n > 0.0 { [a[0] / n, a[1] / n, a[2] / n] } else { [0.0, 0.0, 1.0] }
}

pub fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

pub fn clamp(x: f32, lo: f32, hi: f32) -> f32 {
    if x < lo {
        lo
    } else if x > hi {
        hi
    } else {
        x
    }
}

/// 0 below `lo`, 1 above `hi`, smooth between.
pub fn smoothstep(lo: f32, hi: f32, x: f32) -> f32 {
    let t = clamp((x - lo) / (hi - lo), 0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Sine and cosine, error below 1e-6 for |x| < 1000.
pub fn sin_cos(x: f32) -> (f32, f32) {
    let q = x * (2.0 / PI);
    let k = (if q >= 0.0 { q + 0.5 } else { q - 0.5 }) as i32;
    let kf = k as f32;
    // pi/2 in two parts, so that the difference keeps its low bits.
    let r = (x - kf * 1.570_312_5) - kf * 4.838_268e-4;
    let r2 = r * r;
    let s = r * (1.0 + r2 * (-0.166_666_67 + r2 * (8.333_333e-3 + r2 * -1.984_127e-4)));
    let c = 1.0 + r2 * (-0.5 + r2 * (4.166_666_8e-2 + r2 * (-1.388_889e-3 + r2 * 2.480_159e-5)));
    match k & 3 {
        0 => (s, c),
        1 => (c, -s),
        2 => (-s, -c),
        _ => (-c, s),
    }
}

/// Angle of (x, y) in (-pi, pi], error below 2e-5; 0 for the origin.
pub fn atan2(y: f32, x: f32) -> f32 {
    let (ax, ay) = (x.abs(), y.abs());
    let (lo, hi) = if ax < ay { (ax, ay) } else { (ay, ax) };
    if hi == 0.0 {
        return 0.0;
    }
    let a = lo / hi;
    let s = a * a;
    let mut r = a * (0.999_866 + s * (-0.330_299_5 + s * (0.180_141 + s * (-0.085_133 + s * 0.020_835_1))));
    if ay > ax {
        r = PI / 2.0 - r;
    }
    if x < 0.0 {
        r = PI - r;
    }
    if y < 0.0 { -r } else { r }
}

/// The same angle in (-pi, pi].
pub fn wrap(angle: f32) -> f32 {
    let turns = angle / TAU;
    let k = (if turns >= 0.0 { turns + 0.5 } else { turns - 0.5 }) as i32;
    angle - k as f32 * TAU
}

/// A stream of random numbers that depends on nothing but its two seeds.
#[derive(Clone)]
pub struct Dice(Pcg64Mcg);

impl Dice {
    /// `purpose` keeps the streams of one episode's parts apart.
    pub fn new(seed: u64, purpose: u64) -> Self {
        let a = mix(seed ^ mix(purpose));
        let b = mix(a ^ seed.rotate_left(32));
        Self(Pcg64Mcg::new((u128::from(a) << 64) | u128::from(b)))
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in [lo, hi).
    pub fn range(&mut self, lo: f32, hi: f32) -> f32 {
        lo + (hi - lo) * self.unit()
    }

    /// Uniform in 0..n; `n` must not be 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }

    pub fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// Roughly normal, mean 0, standard deviation 1, never beyond 3.5: the sum of four uniforms.
    pub fn normal(&mut self) -> f32 {
        (self.unit() + self.unit() + self.unit() + self.unit() - 2.0) * 1.732_050_8
    }
}

/// Splitmix64's finaliser: every input bit reaches every output bit.
pub fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_functions_agree_with_the_library_to_their_stated_error() {
        for i in -4000..4000 {
            let x = i as f32 * 0.01;
            let (s, c) = sin_cos(x);
            assert!((f64::from(s) - f64::from(x).sin()).abs() < 2e-6, "sin {x}");
            assert!((f64::from(c) - f64::from(x).cos()).abs() < 2e-6, "cos {x}");
            let (px, py) = (c * 3.0, s * 3.0);
            let want = f64::from(py).atan2(f64::from(px));
            assert!((f64::from(atan2(py, px)) - want).abs() < 2e-5, "atan2 {x}");
            assert!(wrap(x).abs() <= PI + 1e-4);
        }
        assert_eq!(atan2(0.0, 0.0), 0.0);
    }

    #[test]
    fn dice_streams_differ_by_seed_and_by_purpose() {
        let first = |seed, purpose| Dice::new(seed, purpose).unit();
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(1, 3));
        assert_ne!(first(1, 2), first(2, 2));
    }

    #[test]
    fn dice_are_uniform_enough() {
        let mut dice = Dice::new(7, 0);
        let n = 20_000;
        let (mut sum, mut sum2, mut hits) = (0.0f64, 0.0f64, [0usize; 5]);
        for _ in 0..n {
            let x = f64::from(dice.normal());
            sum += x;
            sum2 += x * x;
            hits[dice.below(5)] += 1;
        }
        assert!((sum / f64::from(n)).abs() < 0.03);
        assert!((sum2 / f64::from(n) - 1.0).abs() < 0.05);
        assert!(hits.iter().all(|&h| (3700..4300).contains(&h)), "{hits:?}");
    }
}
