//! SIMD in one place: a vector of f32 as a trait, three widths of it, and run-time choice between them.
//!
//! No closures in kernels: a closure does not inherit the instruction set of the function it stands in.
//!
//! A kernel is written once over [`Simd`] with [`simd!`](crate::cpu::simd::simd), which compiles its body for each
//! instruction set and adds a first argument, the [`Level`], to choose by:
//!
//! ```text
//! Avx512    16 lanes, fused multiply-add       x86-64-v4
//! Avx2       8 lanes, fused multiply-add       x86-64-v3
//! Portable   8 lanes, plain Rust on arrays     everything else (the compiler vectorises it with what there is)
//! ```
//!
//! Comparisons follow x86: `max(a, b)` and `min(a, b)` return b when either is NaN. Kernels put the data second, so
//! that a NaN comes out as a NaN.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// The instruction set that kernels run with. Only detection makes one, so holding it proves the CPU has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(pub(super) Width);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Level {
    /// All levels this CPU can run, the fastest first.
    pub fn available() -> Vec<Level> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let v3 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if v3
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
            {
                levels.push(Level(Width::Avx512));
            }
            if v3 {
                levels.push(Level(Width::Avx2));
            }
        }
        levels.push(Level(Width::Portable));
        levels
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => "AVX2",
            Width::Portable => "portable SIMD",
        }
    }

    /// f32 values in a vector.
    pub fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => Avx2::LANES,
            Width::Portable => Portable::LANES,
        }
    }
}

/// A vector of [`Simd::LANES`] f32 values and the operations kernels need.
pub trait Simd: Copy {
    /// Values in a vector, at most 16.
    const LANES: usize;
    /// The vector.
    type V: Copy;

    /// All lanes x.
    fn splat(self, x: f32) -> Self::V;
    /// # Safety
    /// `p` is valid for reading LANES values.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// # Safety
    /// `p` is valid for writing LANES values.
    unsafe fn store(self, p: *mut f32, v: Self::V);
    /// The first `n` (at most LANES) values, then zeros.
    /// # Safety
    /// `p` is valid for reading `n` values.
    unsafe fn load_first(self, p: *const f32, n: usize) -> Self::V;
    /// Stores the first `n` (at most LANES) lanes.
    /// # Safety
    /// `p` is valid for writing `n` values.
    unsafe fn store_first(self, p: *mut f32, n: usize, v: Self::V);
    /// a + b.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// a - b.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// a * b.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// a * b + c, fused where the hardware can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// a > b ? a : b.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// a < b ? a : b.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Sum of the lanes, in an order fixed by the type.
    fn sum(self, a: Self::V) -> f32;
    /// 1 / a for a >= 1, relative error below 2^-22 up to 2^126 (beyond, the result may be 0).
    fn recip(self, a: Self::V) -> Self::V;
    /// Bit pattern of p plus bit pattern of t shifted left by 23: multiplies p by 2^(low bits of t).
    fn scale_bits(self, p: Self::V, t: Self::V) -> Self::V;

    /// e^x: x clamped to [-87.3, 88.3] (so never 0, never infinite), relative error below 2^-22.5; NaN stays NaN.
    ///
    /// Cody-Waite reduction x = n ln 2 + r, |r| <= 0.347, then the Taylor polynomial of degree 7, whose truncation
    /// error |r|^8/8! is below 2^-27 of the result. n is read from the low bits of x / ln 2 + 1.5 * 2^23.
    #[inline(always)]
    fn exp(self, x: Self::V) -> Self::V {
        const MAGIC: f32 = 12_582_912.0;
        let x = self.min(self.splat(88.3), self.max(self.splat(-87.3), x));
        let t = self.fma(x, self.splat(std::f32::consts::LOG2_E), self.splat(MAGIC));
        let n = self.sub(t, self.splat(MAGIC));
        let r = self.fma(n, self.splat(-0.693_359_4), x);
        let r = self.fma(n, self.splat(2.121_944_4e-4), r);
        let mut p = self.splat(1.0 / 5040.0);
        for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = self.fma(p, r, self.splat(c));
        }
        self.scale_bits(p, t)
    }

    /// The gate of GELU, s(2u) with u = sqrt(2/pi) (x + 0.044715 x^3), so that gelu(x) = x s: 1 / (1 + e^(-2u)).
    /// No cancellation for small x, unlike 1 + tanh u. Absolute error below 2^-21.
    #[inline(always)]
    fn gelu_gate(self, x: Self::V) -> Self::V {
        let x2 = self.mul(x, x);
        // -2 sqrt(2/pi) (1 + 0.044715 x^2)
        let c = self.fma(x2, self.splat(-2.0 * SQRT_2_OVER_PI * 0.044_715), self.splat(-2.0 * SQRT_2_OVER_PI));
        let e = self.exp(self.mul(c, x));
        self.recip(self.add(self.splat(1.0), e))
    }

    /// gelu'(x) = s + x s (1 - s) 2u', with s the gate and 2u' = 2 sqrt(2/pi) (1 + 3 * 0.044715 x^2).
    #[inline(always)]
    fn gelu_slope(self, x: Self::V) -> Self::V {
        let gate = self.gelu_gate(x);
        let x2 = self.mul(x, x);
        let two_du = self.fma(x2, self.splat(6.0 * SQRT_2_OVER_PI * 0.044_715), self.splat(2.0 * SQRT_2_OVER_PI));
        let curve = self.mul(self.mul(x, two_du), self.mul(gate, self.sub(self.splat(1.0), gate)));
        self.add(gate, curve)
    }
}

/// sqrt(2 / pi).
const SQRT_2_OVER_PI: f32 = 0.797_884_6;

/// Defines a function compiled for every level. The first parameter names the SIMD token in the body; callers pass a
/// [`Level`] in its place.
macro_rules! simd {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($s:ident: $S:ident $(, $arg:ident: $ty:ty)* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "kernels take their tensors one by one; not every expansion has many")]
        $vis fn $name(level: $crate::cpu::simd::Level $(, $arg: $ty)*) $(-> $ret)? {
            use $crate::cpu::simd::{Portable, Simd, Width};

            #[inline(always)]
            fn body<$S: Simd>($s: $S $(, $arg: $ty)*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                body($crate::cpu::simd::Avx512::new(), $($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                body($crate::cpu::simd::Avx2::new(), $($arg),*)
            }

            match level.0 {
                // SAFETY: a `Level` is made only by detection, so the CPU has these features.
                #[cfg(target_arch = "x86_64")]
                Width::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Width::Avx2 => unsafe { avx2($($arg),*) },
                Width::Portable => body(Portable, $($arg),*),
            }
        }
    };
}
pub(crate) use simd;
