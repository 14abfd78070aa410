//! Averaging frames down to the size the encoder sees.

use crate::config::SOURCE_FRAME;

/// Averages a square RGB frame of side `from` down to side `to` by whole blocks, rounding to nearest.
///
/// `src` is `[from, from, 3]`, `dst` is `[to, to, 3]`, both row-major; `from` must be a multiple of `to`. With equal sides this is a copy.
pub fn shrink(src: &[u8], from: usize, dst: &mut [u8], to: usize) {
    assert!(from.is_multiple_of(to) && src.len() == from * from * 3 && dst.len() == to * to * 3, "frame sizes");
    match from / to {
        1 => dst.copy_from_slice(src),
        2 => halve(src, from, dst),
        block => average(src, block, dst, to),
    }
}

/// Blocks of any size.
fn average(src: &[u8], block: usize, dst: &mut [u8], to: usize) {
    let (from, area) = (to * block, block * block);
    for y in 0..to {
        for x in 0..to {
            for c in 0..3 {
                let mut sum = 0usize;
                for j in 0..block {
                    for i in 0..block {
                        sum += usize::from(src[((y * block + j) * from + x * block + i) * 3 + c]);
                    }
                }
                dst[(y * to + x) * 3 + c] = ((sum + area / 2) / area) as u8;
            }
        }
    }
}

/// The common case of two-by-two blocks, written so that it needs no index arithmetic inside.
fn halve(src: &[u8], from: usize, dst: &mut [u8]) {
    let row = from * 3;
    for (pair, out) in src.chunks_exact(2 * row).zip(dst.chunks_exact_mut(row / 2)) {
        let (top, bottom) = pair.split_at(row);
        for ((a, b), y) in top.chunks_exact(6).zip(bottom.chunks_exact(6)).zip(out.chunks_exact_mut(3)) {
            for c in 0..3 {
                let sum = u16::from(a[c]) + u16::from(a[c + 3]) + u16::from(b[c]) + u16::from(b[c + 3]);
                y[c] = ((sum + 2) / 4) as u8;
            }
        }
    }
}

/// Averages a 128 x 128 frame down to side `to`.
pub fn shrink_source(src: &[u8], dst: &mut [u8], to: usize) {
    shrink(src, SOURCE_FRAME, dst, to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_rounded_to_nearest() {
        // One 2x2 block of each channel: 0,1,0,1 -> 0.5 -> 1; 255s stay; 1,2,3,4 -> 2.5 -> 3.
        let src = [0, 255, 1, 1, 255, 2, 0, 255, 3, 1, 255, 4];
        let mut dst = [0; 3];
        shrink(&src, 2, &mut dst, 1);
        assert_eq!(dst, [1, 255, 3]);
    }

    #[test]
    fn the_fast_path_equals_the_general_one() {
        // Sums of four of these leave every remainder, so that every way of rounding is met.
        let src: Vec<u8> = (0..16 * 16 * 3).map(|i| (i * i * 31 % 257) as u8).collect();
        let (mut fast, mut general) = (vec![0; 8 * 8 * 3], vec![0; 8 * 8 * 3]);
        halve(&src, 16, &mut fast);
        average(&src, 2, &mut general, 8);
        assert_eq!(fast, general);
        // Blocks of one are a copy, and blocks of four no other mean than of the four blocks of two, but for rounding twice.
        let mut same = vec![0; src.len()];
        average(&src, 1, &mut same, 16);
        assert_eq!(same, src);
        let (mut twice, mut once) = (vec![0; 4 * 4 * 3], vec![0; 4 * 4 * 3]);
        halve(&fast, 8, &mut twice);
        shrink(&src, 16, &mut once, 4);
        assert!(twice.iter().zip(&once).all(|(&a, &b)| a.abs_diff(b) <= 1));
    }
}
