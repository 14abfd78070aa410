//! Sixteen pixels at a time, with the same bits on every instruction set.
//!
//! A kernel is written once, over the trait [`Lanes`], and compiled three times: for plain arrays, AVX2 and AVX-512.
//! Every operation is either an integer one or one of `+ - * /`, `sqrt`, `min`, `max`, comparison and truncation, all
//! exact under IEEE 754 and all within a lane; there is no fused multiply-add, no approximate reciprocal and no sum
//! across lanes. A group is always 16 pixels whatever the register width, so that values computed once a group agree
//! as well. Lanes that a mask hides may hold anything; they are never stored.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use {avx2::Avx2, avx512::Avx512};

/// Pixels in a group.
pub const WIDTH: usize = 16;

/// An instruction set; values are proof that the machine has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain arrays: SSE2 on x86-64, whatever there is elsewhere.
    Portable,
    /// 8 lanes a register.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// 16 lanes a register.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Isa {
    /// What this machine can run, the plainest first.
    pub fn available() -> Vec<Self> {
        let mut all = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(Avx2::detect().map(Self::Avx2));
            all.extend(Avx512::detect().map(Self::Avx512));
        }
        all
    }

    /// The widest that this machine can run.
    pub fn best() -> Self {
        let all = Self::available();
        all[all.len() - 1]
    }
}

/// Sixteen numbers, integers (`I`, unsigned) or floats (`F`), or sixteen bits (`M`).
pub trait Lanes: Copy {
    type F: Copy;
    type I: Copy;
    type M: Copy;

    fn splat(self, x: f32) -> Self::F;
    /// 0, 1, ... 15.
    fn steps(self) -> Self::F;
    fn load(self, from: &[f32; WIDTH]) -> Self::F;
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    fn sqrt(self, a: Self::F) -> Self::F;
    /// `if a < b { a } else { b }`, so b if either is not a number.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// `if a > b { a } else { b }`.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// a > b; false if either is not a number.
    fn gt(self, a: Self::F, b: Self::F) -> Self::M;
    /// Towards zero; only for values that fit.
    fn trunc(self, a: Self::F) -> Self::I;

    fn both(self, a: Self::M, b: Self::M) -> Self::M;
    /// a and not b.
    fn without(self, a: Self::M, b: Self::M) -> Self::M;
    fn any(self, a: Self::M) -> bool;

    fn int(self, x: u32) -> Self::I;
    fn load_int(self, from: &[u32; WIDTH]) -> Self::I;
    fn iadd(self, a: Self::I, b: Self::I) -> Self::I;
    fn isub(self, a: Self::I, b: Self::I) -> Self::I;
    fn iand(self, a: Self::I, b: Self::I) -> Self::I;
    fn ior(self, a: Self::I, b: Self::I) -> Self::I;
    fn shl<const N: u32>(self, a: Self::I) -> Self::I;
    fn shr<const N: u32>(self, a: Self::I) -> Self::I;
    /// Low 16 bits of the product of each pair of 16-bit halves.
    fn mul_halves(self, a: Self::I, b: Self::I) -> Self::I;
    /// Each 16-bit half shifted right by 8.
    fn shr_halves(self, a: Self::I) -> Self::I;
    /// a != 0.
    fn is_set(self, a: Self::I) -> Self::M;
    /// `table[at]`; positions beyond the end read the last entry. The table must not be empty.
    fn gather(self, table: &[u32], at: Self::I) -> Self::I;

    /// Stores the lanes that the mask shows.
    fn store(self, mask: Self::M, value: Self::F, to: &mut [f32; WIDTH]);
    fn store_int(self, mask: Self::M, value: Self::I, to: &mut [u32; WIDTH]);
    /// Stores the low three bytes of each lane, one after the other.
    fn store_rgb(self, value: Self::I, to: &mut [u8; 3 * WIDTH]);
}

/// Defines a function that runs a generic kernel on the given instruction set.
macro_rules! kernel {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $body:ident;) => {
        $(#[$doc])*
        fn $name(isa: $crate::simd::Isa, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw")]
                fn wide(l: $crate::simd::Avx512, $($arg: $type),*) {
                    $body(l, $($arg),*);
                }
                #[target_feature(enable = "avx2")]
                fn middle(l: $crate::simd::Avx2, $($arg: $type),*) {
                    $body(l, $($arg),*);
                }
                match isa {
                    // SAFETY: the value in the variant exists only on machines that have the features.
                    $crate::simd::Isa::Avx512(l) => return unsafe { wide(l, $($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Isa::Avx2(l) => return unsafe { middle(l, $($arg),*) },
                    $crate::simd::Isa::Portable => {}
                }
            }
            let _ = isa;
            $body($crate::simd::Portable, $($arg),*);
        }
    };
}
pub(crate) use kernel;

/// Multiplies a packed colour by factors of 256 and adds, a channel at a time, without carry between channels:
/// `(colour * factor + plus) / 256`. Factors and sums are packed as red and blue in one word (`rb`, halves) and green
/// in another; 255 x factor + plus must stay below 65536.
#[inline(always)]
pub fn shade<L: Lanes>(l: L, colour: L::I, rb: L::I, g: L::I, plus_rb: L::I, plus_g: L::I) -> L::I {
    let low = l.int(0x00FF_00FF);
    let red_blue = l.shr_halves(l.iadd(l.mul_halves(l.iand(colour, low), rb), plus_rb));
    let green = l.iand(l.shr::<8>(colour), l.int(0xFF));
    let green = l.iand(l.iadd(l.mul_halves(green, g), plus_g), l.int(0xFF00));
    l.ior(red_blue, green)
}

/// A value below 65536 in both 16-bit halves. (Helpers of kernels are functions, not closures: a closure that is not
/// inlined would run without the wide instructions.)
#[inline(always)]
pub fn twice<L: Lanes>(l: L, x: L::I) -> L::I {
    l.ior(x, l.shl::<16>(x))
}

/// `start + columns * step`.
#[inline(always)]
pub fn ramp<L: Lanes>(l: L, columns: L::F, start: f32, step: f32) -> L::F {
    l.add(l.splat(start), l.mul(columns, l.splat(step)))
}

/// The value, not below `low` nor above `high`; `low` if it is not a number.
#[inline(always)]
pub fn bound<L: Lanes>(l: L, x: L::F, low: f32, high: f32) -> L::F {
    l.min(l.max(x, l.splat(low)), l.splat(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(always)]
    fn everything<L: Lanes>(l: L, a: &[f32; WIDTH], b: &[f32; WIDTH], table: &[u32], out: &mut Vec<u32>) {
        let (x, y) = (l.load(a), l.load(b));
        let (mut f, mut i) = ([0.0; WIDTH], [0; WIDTH]);
        let all = l.gt(l.splat(1.0), l.splat(0.0));
        for v in [
            l.add(x, y),
            l.sub(x, y),
            l.mul(x, y),
            l.div(x, y),
            l.min(x, y),
            l.max(x, y),
            l.sqrt(l.mul(x, x)),
            l.steps(),
        ] {
            l.store(all, v, &mut f);
            out.extend(f.map(f32::to_bits));
        }
        let (p, q) = (l.trunc(l.mul(x, x)), l.load_int(&a.map(f32::to_bits)));
        let ints = [
            p,
            l.iadd(p, q),
            l.isub(p, q),
            l.iand(p, q),
            l.ior(p, q),
            l.shl::<3>(q),
            l.shr::<5>(q),
            l.mul_halves(p, q),
            l.shr_halves(q),
            l.gather(table, p),
            shade(l, q, p, p, l.int(77), l.int(99)),
        ];
        for v in ints {
            l.store_int(all, v, &mut i);
            out.extend(i);
            let mask = l.without(l.both(l.is_set(v), l.gt(x, y)), l.gt(l.splat(0.1), y));
            l.store_int(mask, q, &mut i);
            l.store(mask, x, &mut f);
            out.extend(i);
            out.extend(f.map(f32::to_bits));
            out.push(u32::from(l.any(mask)));
            let mut bytes = [0; 3 * WIDTH];
            l.store_rgb(v, &mut bytes);
            out.extend(bytes.map(u32::from));
        }
    }

    kernel! {
        fn run_everything(a: &[f32; WIDTH], b: &[f32; WIDTH], table: &[u32], out: &mut Vec<u32>) = everything;
    }

    #[test]
    fn every_operation_gives_the_same_bits_everywhere() {
        let mut dice = crate::math::Dice::new(3, 9);
        let table: Vec<u32> = (0..100).map(|i| i * 40_503).collect();
        for _ in 0..200 {
            let mut draw = || core::array::from_fn(|_| dice.range(-20.0, 20.0));
            let (a, b) = (draw(), draw());
            let mut want = Vec::new();
            run_everything(Isa::Portable, &a, &b, &table, &mut want);
            for isa in Isa::available() {
                let mut got = Vec::new();
                run_everything(isa, &a, &b, &table, &mut got);
                assert_eq!(got, want, "{isa:?}");
            }
        }
    }
}
