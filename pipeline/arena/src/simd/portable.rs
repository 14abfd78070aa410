//! Lanes in plain arrays: the definition of what the others compute.

use super::{Lanes, WIDTH};

/// Runs anywhere.
#[derive(Clone, Copy)]
pub struct Portable;

#[inline(always)]
fn zip<A: Copy, B: Copy, C>(a: [A; WIDTH], b: [B; WIDTH], f: impl Fn(A, B) -> C) -> [C; WIDTH] {
    core::array::from_fn(|i| f(a[i], b[i]))
}

const fn bits(b: bool) -> u32 {
    if b { u32::MAX } else { 0 }
}

impl Lanes for Portable {
    type F = [f32; WIDTH];
    type I = [u32; WIDTH];
    type M = [u32; WIDTH];

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; WIDTH]
    }
    #[inline(always)]
    fn steps(self) -> Self::F {
        core::array::from_fn(|i| i as f32)
    }
    #[inline(always)]
    fn load(self, from: &[f32; WIDTH]) -> Self::F {
        *from
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn sqrt(self, a: Self::F) -> Self::F {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn gt(self, a: Self::F, b: Self::F) -> Self::M {
        zip(a, b, |a, b| bits(a > b))
    }
    #[inline(always)]
    fn trunc(self, a: Self::F) -> Self::I {
        a.map(|x| x as i32 as u32)
    }
    #[inline(always)]
    fn both(self, a: Self::M, b: Self::M) -> Self::M {
        zip(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn without(self, a: Self::M, b: Self::M) -> Self::M {
        zip(a, b, |a, b| a & !b)
    }
    #[inline(always)]
    fn any(self, a: Self::M) -> bool {
        a.iter().fold(0, |all, m| all | m) != 0
    }
    #[inline(always)]
    fn int(self, x: u32) -> Self::I {
        [x; WIDTH]
    }
    #[inline(always)]
    fn load_int(self, from: &[u32; WIDTH]) -> Self::I {
        *from
    }
    #[inline(always)]
    fn iadd(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, u32::wrapping_add)
    }
    #[inline(always)]
    fn isub(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, u32::wrapping_sub)
    }
    #[inline(always)]
    fn iand(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn ior(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn shl<const N: u32>(self, a: Self::I) -> Self::I {
        a.map(|x| x << N)
    }
    #[inline(always)]
    fn shr<const N: u32>(self, a: Self::I) -> Self::I {
        a.map(|x| x >> N)
    }
    #[inline(always)]
    fn mul_halves(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| {
            let low = (a & 0xFFFF).wrapping_mul(b & 0xFFFF) & 0xFFFF;
            let high = (a >> 16).wrapping_mul(b >> 16) << 16;
            high | low
        })
    }
    #[inline(always)]
    fn shr_halves(self, a: Self::I) -> Self::I {
        a.map(|x| x >> 8 & 0x00FF_00FF)
    }
    #[inline(always)]
    fn is_set(self, a: Self::I) -> Self::M {
        a.map(|x| bits(x != 0))
    }
    #[inline(always)]
    fn gather(self, table: &[u32], at: Self::I) -> Self::I {
        let last = table.len() - 1;
        at.map(|i| table[(i as usize).min(last)])
    }
    #[inline(always)]
    fn store(self, mask: Self::M, value: Self::F, to: &mut [f32; WIDTH]) {
        for i in 0..WIDTH {
            to[i] = if mask[i] != 0 { value[i] } else { to[i] };
        }
    }
    #[inline(always)]
    fn store_int(self, mask: Self::M, value: Self::I, to: &mut [u32; WIDTH]) {
        for i in 0..WIDTH {
            to[i] = if mask[i] != 0 { value[i] } else { to[i] };
        }
    }
    #[inline(always)]
    fn store_rgb(self, value: Self::I, to: &mut [u8; 3 * WIDTH]) {
        for (four, twelve) in value.chunks_exact(4).zip(to.chunks_exact_mut(12)) {
            // Four pixels make three words.
            let [a, b, c, d] = [four[0], four[1], four[2], four[3]].map(|p| p & 0x00FF_FFFF);
            let words = [a | b << 24, b >> 8 | c << 16, c >> 16 | d << 8];
            for (word, bytes) in words.iter().zip(twelve.chunks_exact_mut(4)) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        }
    }
}
