//! Lanes in two 256-bit registers.

use core::arch::x86_64::*;

use super::{Lanes, WIDTH};

/// Proof that the machine has AVX2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    /// The proof, where it is true.
    pub fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

/// One intrinsic. Every use is inside a method of [`Avx2`], whose value exists only where the feature does.
macro_rules! op {
    ($call:expr) => {
        // SAFETY: see above; loads and stores are of whole borrowed arrays.
        unsafe { $call }
    };
}

/// The same intrinsic on both registers.
macro_rules! both {
    ($f:ident, $a:expr) => {
        op!([$f($a[0]), $f($a[1])])
    };
    ($f:ident, $a:expr, $b:expr) => {
        op!([$f($a[0], $b[0]), $f($a[1], $b[1])])
    };
}

impl Lanes for Avx2 {
    type F = [__m256; 2];
    type I = [__m256i; 2];
    /// All ones or all zeros in each lane.
    type M = [__m256i; 2];

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        op!([_mm256_set1_ps(x); 2])
    }
    #[inline(always)]
    fn steps(self) -> Self::F {
        op!([_mm256_setr_ps(0., 1., 2., 3., 4., 5., 6., 7.), _mm256_setr_ps(8., 9., 10., 11., 12., 13., 14., 15.)])
    }
    #[inline(always)]
    fn load(self, from: &[f32; WIDTH]) -> Self::F {
        op!([_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from[8..].as_ptr())])
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_add_ps, a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_sub_ps, a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_mul_ps, a, b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_div_ps, a, b)
    }
    #[inline(always)]
    fn sqrt(self, a: Self::F) -> Self::F {
        both!(_mm256_sqrt_ps, a)
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_min_ps, a, b)
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_max_ps, a, b)
    }
    #[inline(always)]
    fn gt(self, a: Self::F, b: Self::F) -> Self::M {
        op!([
            _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(a[0], b[0])),
            _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(a[1], b[1]))
        ])
    }
    #[inline(always)]
    fn trunc(self, a: Self::F) -> Self::I {
        both!(_mm256_cvttps_epi32, a)
    }
    #[inline(always)]
    fn both(self, a: Self::M, b: Self::M) -> Self::M {
        both!(_mm256_and_si256, a, b)
    }
    #[inline(always)]
    fn without(self, a: Self::M, b: Self::M) -> Self::M {
        both!(_mm256_andnot_si256, b, a)
    }
    #[inline(always)]
    fn any(self, a: Self::M) -> bool {
        op!({
            let all = _mm256_or_si256(a[0], a[1]);
            _mm256_testz_si256(all, all) == 0
        })
    }
    #[inline(always)]
    fn int(self, x: u32) -> Self::I {
        op!([_mm256_set1_epi32(x as i32); 2])
    }
    #[inline(always)]
    fn load_int(self, from: &[u32; WIDTH]) -> Self::I {
        op!([_mm256_loadu_si256(from.as_ptr().cast()), _mm256_loadu_si256(from[8..].as_ptr().cast())])
    }
    #[inline(always)]
    fn iadd(self, a: Self::I, b: Self::I) -> Self::I {
        both!(_mm256_add_epi32, a, b)
    }
    #[inline(always)]
    fn isub(self, a: Self::I, b: Self::I) -> Self::I {
        both!(_mm256_sub_epi32, a, b)
    }
    #[inline(always)]
    fn iand(self, a: Self::I, b: Self::I) -> Self::I {
        both!(_mm256_and_si256, a, b)
    }
    #[inline(always)]
    fn ior(self, a: Self::I, b: Self::I) -> Self::I {
        both!(_mm256_or_si256, a, b)
    }
    #[inline(always)]
    fn shl<const N: u32>(self, a: Self::I) -> Self::I {
        op!([_mm256_sll_epi32(a[0], _mm_cvtsi32_si128(N as i32)), _mm256_sll_epi32(a[1], _mm_cvtsi32_si128(N as i32))])
    }
    #[inline(always)]
    fn shr<const N: u32>(self, a: Self::I) -> Self::I {
        op!([_mm256_srl_epi32(a[0], _mm_cvtsi32_si128(N as i32)), _mm256_srl_epi32(a[1], _mm_cvtsi32_si128(N as i32))])
    }
    #[inline(always)]
    fn mul_halves(self, a: Self::I, b: Self::I) -> Self::I {
        both!(_mm256_mullo_epi16, a, b)
    }
    #[inline(always)]
    fn shr_halves(self, a: Self::I) -> Self::I {
        op!([_mm256_srli_epi16::<8>(a[0]), _mm256_srli_epi16::<8>(a[1])])
    }
    #[inline(always)]
    fn is_set(self, a: Self::I) -> Self::M {
        op!({
            let (zero, ones) = (_mm256_setzero_si256(), _mm256_set1_epi32(-1));
            [
                _mm256_andnot_si256(_mm256_cmpeq_epi32(a[0], zero), ones),
                _mm256_andnot_si256(_mm256_cmpeq_epi32(a[1], zero), ones),
            ]
        })
    }
    #[inline(always)]
    fn gather(self, table: &[u32], at: Self::I) -> Self::I {
        assert!(!table.is_empty() && table.len() <= i32::MAX as usize);
        // SAFETY: the positions are clamped to the table, whose length fits an i32.
        unsafe {
            let last = _mm256_set1_epi32(table.len() as i32 - 1);
            let (a, b) = (_mm256_min_epu32(at[0], last), _mm256_min_epu32(at[1], last));
            let base = table.as_ptr().cast();
            [_mm256_i32gather_epi32::<4>(base, a), _mm256_i32gather_epi32::<4>(base, b)]
        }
    }
    #[inline(always)]
    fn store(self, mask: Self::M, value: Self::F, to: &mut [f32; WIDTH]) {
        op!({
            _mm256_maskstore_ps(to.as_mut_ptr(), mask[0], value[0]);
            _mm256_maskstore_ps(to[8..].as_mut_ptr(), mask[1], value[1]);
        })
    }
    #[inline(always)]
    fn store_int(self, mask: Self::M, value: Self::I, to: &mut [u32; WIDTH]) {
        op!({
            _mm256_maskstore_epi32(to.as_mut_ptr().cast(), mask[0], value[0]);
            _mm256_maskstore_epi32(to[8..].as_mut_ptr().cast(), mask[1], value[1]);
        })
    }
    #[inline(always)]
    fn store_rgb(self, value: Self::I, to: &mut [u8; 3 * WIDTH]) {
        op!({
            // Twelve bytes of each quarter, then joined end to end.
            let pick = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
            let a = _mm_shuffle_epi8(_mm256_castsi256_si128(value[0]), pick);
            let b = _mm_shuffle_epi8(_mm256_extracti128_si256::<1>(value[0]), pick);
            let c = _mm_shuffle_epi8(_mm256_castsi256_si128(value[1]), pick);
            let d = _mm_shuffle_epi8(_mm256_extracti128_si256::<1>(value[1]), pick);
            let first = _mm_or_si128(a, _mm_slli_si128::<12>(b));
            let second = _mm_or_si128(_mm_srli_si128::<4>(b), _mm_slli_si128::<8>(c));
            let third = _mm_or_si128(_mm_srli_si128::<8>(c), _mm_slli_si128::<4>(d));
            _mm_storeu_si128(to.as_mut_ptr().cast(), first);
            _mm_storeu_si128(to[16..].as_mut_ptr().cast(), second);
            _mm_storeu_si128(to[32..].as_mut_ptr().cast(), third);
        })
    }
}
