//! Lanes in one 512-bit register.

use core::arch::x86_64::*;

use super::{Lanes, WIDTH};

/// Proof that the machine has AVX-512 F and BW.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(());

impl Avx512 {
    /// The proof, where it is true.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")).then_some(Self(()))
    }
}

/// One intrinsic. Every use is inside a method of [`Avx512`], whose value exists only where the features do.
macro_rules! op {
    ($call:expr) => {
        // SAFETY: see above; loads and stores are of whole borrowed arrays.
        unsafe { $call }
    };
}

impl Lanes for Avx512 {
    type F = __m512;
    type I = __m512i;
    type M = __mmask16;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        op!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    fn steps(self) -> Self::F {
        op!(_mm512_setr_ps(0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.))
    }
    #[inline(always)]
    fn load(self, from: &[f32; WIDTH]) -> Self::F {
        op!(_mm512_loadu_ps(from.as_ptr()))
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        op!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        op!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        op!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        op!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn sqrt(self, a: Self::F) -> Self::F {
        op!(_mm512_sqrt_ps(a))
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        op!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        op!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn gt(self, a: Self::F, b: Self::F) -> Self::M {
        op!(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b))
    }
    #[inline(always)]
    fn trunc(self, a: Self::F) -> Self::I {
        op!(_mm512_cvttps_epi32(a))
    }
    #[inline(always)]
    fn both(self, a: Self::M, b: Self::M) -> Self::M {
        a & b
    }
    #[inline(always)]
    fn without(self, a: Self::M, b: Self::M) -> Self::M {
        a & !b
    }
    #[inline(always)]
    fn any(self, a: Self::M) -> bool {
        a != 0
    }
    #[inline(always)]
    fn int(self, x: u32) -> Self::I {
        op!(_mm512_set1_epi32(x as i32))
    }
    #[inline(always)]
    fn load_int(self, from: &[u32; WIDTH]) -> Self::I {
        op!(_mm512_loadu_si512(from.as_ptr().cast()))
    }
    #[inline(always)]
    fn iadd(self, a: Self::I, b: Self::I) -> Self::I {
        op!(_mm512_add_epi32(a, b))
    }
    #[inline(always)]
    fn isub(self, a: Self::I, b: Self::I) -> Self::I {
        op!(_mm512_sub_epi32(a, b))
    }
    #[inline(always)]
    fn iand(self, a: Self::I, b: Self::I) -> Self::I {
        op!(_mm512_and_si512(a, b))
    }
    #[inline(always)]
    fn ior(self, a: Self::I, b: Self::I) -> Self::I {
        op!(_mm512_or_si512(a, b))
    }
    #[inline(always)]
    fn shl<const N: u32>(self, a: Self::I) -> Self::I {
        op!(_mm512_slli_epi32::<N>(a))
    }
    #[inline(always)]
    fn shr<const N: u32>(self, a: Self::I) -> Self::I {
        op!(_mm512_srli_epi32::<N>(a))
    }
    #[inline(always)]
    fn mul_halves(self, a: Self::I, b: Self::I) -> Self::I {
        op!(_mm512_mullo_epi16(a, b))
    }
    #[inline(always)]
    fn shr_halves(self, a: Self::I) -> Self::I {
        op!(_mm512_srli_epi16::<8>(a))
    }
    #[inline(always)]
    fn is_set(self, a: Self::I) -> Self::M {
        op!(_mm512_test_epi32_mask(a, a))
    }
    #[inline(always)]
    fn gather(self, table: &[u32], at: Self::I) -> Self::I {
        assert!(!table.is_empty() && table.len() <= i32::MAX as usize);
        // SAFETY: the positions are clamped to the table, whose length fits an i32.
        unsafe {
            let at = _mm512_min_epu32(at, _mm512_set1_epi32(table.len() as i32 - 1));
            _mm512_i32gather_epi32::<4>(at, table.as_ptr().cast())
        }
    }
    #[inline(always)]
    fn store(self, mask: Self::M, value: Self::F, to: &mut [f32; WIDTH]) {
        op!(_mm512_mask_storeu_ps(to.as_mut_ptr(), mask, value))
    }
    #[inline(always)]
    fn store_int(self, mask: Self::M, value: Self::I, to: &mut [u32; WIDTH]) {
        op!(_mm512_mask_storeu_epi32(to.as_mut_ptr().cast(), mask, value))
    }
    #[inline(always)]
    fn store_rgb(self, value: Self::I, to: &mut [u8; 3 * WIDTH]) {
        op!({
            // Twelve bytes of each quarter, then the empty words squeezed out.
            let pick = _mm512_set4_epi32(-1, 0x0E0D_0C0A, 0x0908_0605, 0x0402_0100);
            let words = _mm512_shuffle_epi8(value, pick);
            let packed = _mm512_maskz_compress_epi32(0x7777, words);
            _mm512_mask_storeu_epi32(to.as_mut_ptr().cast(), 0x0FFF, packed);
        })
    }
}
