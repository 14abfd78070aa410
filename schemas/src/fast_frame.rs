//! The codec `fast`: RGB without loss, decoded several times as fast as JPEG.
//!
//! A pixel is green, red minus green, blue minus green (all modulo 256), and of each of the three the difference to the pixel
//! above is stored (the row above the first is 0). Differences are small, and those of eight neighbours alike: eight of them
//! take as many bits each as the largest needs. Predicting from above and not from the left lets SIMD run across columns.
//!
//! ```text
//!  0   4   "PHF1"; the 1 is the version
//!  4   2   width, little-endian, as all numbers here
//!  6   2   height
//!  8   8   checksum of everything else
//! 16       codes: 3 bits for each group of eight differences; 18 bits, six groups, for each row of a strip; zero bits up to
//!          the next byte. Code 0: all eight are 0 and take no bytes. Code c: c + 1 bits each, c + 1 bytes together.
//!          groups: difference i of a group in bits i * (c + 1) .. (i + 1) * (c + 1) of its bytes, in two's complement
//!     56   zeros, so that the bytes of a strip's row can be read without asking how many there are
//!
//! order    strips of 16 columns from the left; in a strip the rows from the top;
//!          in a row  green 0..8, 8..16,  red - green 0..8, 8..16,  blue - green 0..8, 8..16
//!          columns past the right edge have the difference 0
//! ```
//!
//! Chosen by measurement, on a minute of human play at 128x128 (one core of a busy Cascade Lake at 2.5 GHz, the best of many
//! runs of each frame; read as ratios):
//!
//! ```text
//!                                                                 bytes a frame    decoded a second
//!   this                                                          23.0 kB          53,000
//!   zstd 1 over the same differences, nothing undone yet          18.2 kB          16,000
//!   zstd 1 over groups of eight with 0, 2, 4 or 8 bits, the same  17.4 kB          24,000
//!   zstd -4 over the differences, the same                        28.0 kB          20,000
//!   JPEG of quality 90 (libjpeg-turbo)                             5.5 kB           3,600
//!
//!   groups of 16: 11% larger; of 32: 29%. Green not subtracted: 29% larger. Predicted from the left: 5% larger; from the better
//!   of left and above, row by row: 3% smaller; by Paeth's rule, which does not vectorise: 1% smaller.
//! ```
//!
//! Where the processor has no AVX2 the same bytes are decoded by plain Rust, at a fraction of the speed.

use crate::error::{Error, Result};

/// The first bytes of an image.
const MAGIC: [u8; 4] = *b"PHF1";
/// Bytes before the codes.
const HEADER: usize = 16;
/// Bytes that are read for a strip's row: six groups of up to eight, the last of which may be empty. As many zeros stand at
/// the end.
const WINDOW: usize = 56;
/// Columns of a strip.
const STRIP: usize = 16;
/// Bits of the codes of a strip's row.
const ROW_BITS: usize = 18;

/// Width and height in the header of an image of this codec; none if it is of another.
pub(crate) fn size(bytes: &[u8]) -> Option<(usize, usize)> {
    let side = |at: usize| Some(usize::from(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    if bytes.starts_with(&MAGIC) { Some((side(4)?, side(6)?)) } else { None }
}

/// Packs `rgb`, `[height, width, 3]`. The sides must fit their two bytes each and `rgb` its size: the caller's to check.
pub(crate) fn encode(width: u16, height: u16, rgb: &[u8]) -> Vec<u8> {
    let (columns, rows) = (usize::from(width), usize::from(height));
    let codes = code_bytes(columns, rows);
    let mut out = Vec::with_capacity(HEADER + codes + rgb.len() * 3 / 4 + WINDOW);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&width.to_le_bytes());
    out.extend_from_slice(&height.to_le_bytes());
    out.resize(HEADER + codes, 0);
    let mut at_bit = HEADER * 8;
    for first in (0..columns).step_by(STRIP) {
        let count = STRIP.min(columns - first);
        let mut above = [[0u8; STRIP]; 3];
        for row in rgb.chunks_exact(columns * 3) {
            // Columns past the right edge are black, and so no different from those above.
            let mut pixels = [0u8; 3 * STRIP];
            pixels[..3 * count].copy_from_slice(&row[first * 3..(first + count) * 3]);
            let mut planes = [[0u8; STRIP]; 3];
            for (x, [red, green, blue]) in pixels.as_chunks().0.iter().enumerate() {
                planes[0][x] = *green;
                planes[1][x] = red.wrapping_sub(*green);
                planes[2][x] = blue.wrapping_sub(*green);
            }
            let mut differences = planes;
            let above_all = above.as_flattened();
            differences.as_flattened_mut().iter_mut().zip(above_all).for_each(|(d, above)| *d = d.wrapping_sub(*above));
            above = planes;
            let (mut six, mut groups, mut length) = (0, [0; WINDOW], 0);
            for (group, eight) in differences.as_flattened().as_chunks().0.iter().enumerate() {
                let (code, word) = pack(eight);
                six |= code << (3 * group);
                groups[length..length + 8].copy_from_slice(&word.to_le_bytes());
                length += group_bytes(code);
            }
            out.extend_from_slice(&groups[..length]);
            let shifted = (six << (at_bit % 8)).to_le_bytes();
            out[at_bit / 8..].iter_mut().zip(shifted).for_each(|(byte, bits)| *byte |= bits);
            at_bit += ROW_BITS;
        }
    }
    out.extend_from_slice(&[0; WINDOW]);
    let sum = checksum(&out[..8], &out[HEADER..]).to_le_bytes();
    out[8..HEADER].copy_from_slice(&sum);
    out
}

/// A group's code, and its bytes as a number.
fn pack(eight: &[u8; 8]) -> (u32, u64) {
    // Of a negative number the bits that differ from its sign, as of a positive one.
    let used = eight.iter().fold(0, |used, &d| used | (d ^ ((d as i8) >> 7) as u8));
    let code = match 8 - used.leading_zeros() {
        0 if *eight == [0; 8] => return (0, 0),
        // One bit is enough for -1 and 0 alone, which is rare: its code is better spent.
        0 => 1,
        bits => bits,
    };
    let bits = code + 1;
    let fields = eight.iter().enumerate();
    (code, fields.fold(0, |word, (i, &d)| word | (u64::from(d) & ((1 << bits) - 1)) << (i as u32 * bits)))
}

/// Bytes of the largest image of this size.
pub(crate) fn largest(width: usize, height: usize) -> usize {
    HEADER + code_bytes(width, height) + row_count(width, height) * STRIP * 3 + WINDOW
}

/// Unpacks an image into `out`, `[height, width, 3]`, whose length the caller has checked.
///
/// # Errors
/// [`Error::Invalid`] for an image that is not of this codec, of another size, cut off, or changed in any byte.
pub(crate) fn decode(bytes: &[u8], width: usize, height: usize, out: &mut [u8]) -> Result<()> {
    let body = unchanged(bytes, width, height)?;
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::decode(body, width, height, out) }.ok_or_else(cut);
    }
    portable::decode(body, width, height, out).ok_or_else(cut)
}

/// Checks all that [`decode`] checks, without unpacking: of an image that passes, every byte is as it was written, and all that
/// its codes ask for is there.
/// It takes two fifths of the time of decoding (one core, 23 kB an image).
///
/// # Errors
/// Those of [`decode`].
pub(crate) fn verify(bytes: &[u8], width: usize, height: usize) -> Result<()> {
    let body = unchanged(bytes, width, height)?;
    if length(body, width, height) == Some(body.len()) { Ok(()) } else { Err(cut()) }
}

/// What follows the header of an image of this size, its checksum checked.
fn unchanged(bytes: &[u8], width: usize, height: usize) -> Result<&[u8]> {
    if size(bytes) != Some((width, height)) {
        return Err(fault("it does not begin with `PHF1` and the frame's size"));
    }
    let (Some(head), Some(sum), Some(body)) = (bytes.get(..8), bytes.get(8..HEADER), bytes.get(HEADER..)) else {
        return Err(cut());
    };
    if checksum(head, body).to_le_bytes() != sum {
        return Err(fault("its checksum is another: some of its bytes were changed, or it was cut off"));
    }
    Ok(body)
}

/// Checks an image's header and that nothing is cut off, without unpacking it. Returns width and height.
///
/// # Errors
/// [`Error::Invalid`] saying what is wrong.
pub(crate) fn check(bytes: &[u8]) -> Result<(usize, usize)> {
    let (width, height) = size(bytes).ok_or_else(|| fault("it does not begin with `PHF1` and its size"))?;
    let body = bytes.get(HEADER..).ok_or_else(cut)?;
    if length(body, width, height) == Some(body.len()) { Ok((width, height)) } else { Err(cut()) }
}

/// Bytes that an image's codes ask for, without its header; none if not even the codes are there.
fn length(body: &[u8], width: usize, height: usize) -> Option<usize> {
    let mut length = code_bytes(width, height) + WINDOW;
    for row in 0..row_count(width, height) {
        length += row_bytes(six_codes(body, row)?);
    }
    Some(length)
}

fn fault(reason: &str) -> Error {
    Error::invalid("image", format!("not a readable image of codec `fast`: {reason}"))
}

fn cut() -> Error {
    fault("it has not as many bytes as its codes say, so it was cut off or changed")
}

/// Rows of all strips.
fn row_count(width: usize, height: usize) -> usize {
    width.div_ceil(STRIP) * height
}

fn code_bytes(width: usize, height: usize) -> usize {
    (row_count(width, height) * ROW_BITS).div_ceil(8)
}

/// The six codes of a strip's row, each in three bits, and other bits above. The bytes after the codes are at least eight.
#[inline(always)]
fn six_codes(body: &[u8], row: usize) -> Option<u32> {
    let bit = row * ROW_BITS;
    Some(u32::from_le_bytes(*body.get(bit / 8..)?.first_chunk()?) >> (bit % 8))
}

/// Bytes of a group with this code in its lowest three bits.
#[inline(always)]
fn group_bytes(code: u32) -> usize {
    let code = (code & 7) as usize;
    code + usize::from(code > 0)
}

/// Bytes of a row with these six codes in its lowest bits: three groups at a time, in fields of six bits.
#[inline(always)]
fn row_bytes(six: u32) -> usize {
    let groups = |codes: u32| {
        let codes = codes & 0o070707;
        codes + ((codes | codes >> 1 | codes >> 2) & 0o010101)
    };
    let pairs = groups(six) + groups(six >> 3);
    (pairs.wrapping_mul(0o010101) >> 12 & 63) as usize
}

/// Four sums over every fourth word of eight bytes. Each step maps sums one to one, so that no change within one word goes
/// unnoticed, and any other one with a probability of 2^-64.
fn checksum(head: &[u8], body: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let step = |sum: u64, word: u64| (sum ^ word).wrapping_mul(ODD).rotate_left(29);
    let mut sums = [1, 2, 3, step(body.len() as u64, word(head))];
    let mut blocks = body.chunks_exact(32);
    for block in &mut blocks {
        for (sum, bytes) in sums.iter_mut().zip(block.chunks_exact(8)) {
            *sum = step(*sum, word(bytes));
        }
    }
    for (sum, bytes) in sums.iter_mut().zip(blocks.remainder().chunks(8)) {
        *sum = step(*sum, word(bytes));
    }
    sums.into_iter().fold(0, step)
}

/// Decoding in plain Rust, for processors without AVX2.
mod portable {
    use super::{STRIP, WINDOW, code_bytes, group_bytes, six_codes};

    /// None if the bytes do not end where the codes say.
    pub(super) fn decode(body: &[u8], width: usize, height: usize, out: &mut [u8]) -> Option<()> {
        let mut at = code_bytes(width, height);
        let mut row = 0;
        for first in (0..width).step_by(STRIP) {
            let count = STRIP.min(width - first);
            let mut planes = [[0u8; STRIP]; 3];
            for line in out.chunks_exact_mut(width * 3) {
                let six = six_codes(body, row)?;
                row += 1;
                for (group, values) in planes.as_flattened_mut().chunks_exact_mut(8).enumerate() {
                    let bytes = group_bytes(six >> (3 * group));
                    let word = u64::from_le_bytes(*body.get(at..)?.first_chunk()?);
                    at += bytes;
                    if bytes > 0 {
                        let bits = bytes as u32;
                        for (i, value) in values.iter_mut().enumerate() {
                            let top = (word >> (i as u32 * bits)) << (64 - bits);
                            *value = value.wrapping_add((top as i64 >> (64 - bits)) as u8);
                        }
                    }
                }
                let [green, red, blue] = &planes;
                for (x, pixel) in line[first * 3..(first + count) * 3].chunks_exact_mut(3).enumerate() {
                    pixel[0] = red[x].wrapping_add(green[x]);
                    pixel[1] = green[x];
                    pixel[2] = blue[x].wrapping_add(green[x]);
                }
            }
        }
        (at + WINDOW == body.len()).then_some(())
    }
}

/// Decoding with AVX2 (of which this uses the 128-bit instructions: a row of a strip is 16 bytes a plane).
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi8, _mm_cvtsi64_si128, _mm_loadu_si128, _mm_mullo_epi16, _mm_or_si128, _mm_packs_epi16,
        _mm_setzero_si128, _mm_shuffle_epi8, _mm_sra_epi16, _mm_storeu_si128,
    };

    use super::{STRIP, WINDOW, code_bytes, group_bytes, six_codes};

    /// How a group's bytes become eight numbers of 16 bits: `gather` puts the two bytes with difference i in lane i, `lift`
    /// multiplies it to the lane's top, and `drop` shifts it down again with its sign.
    #[derive(Clone, Copy)]
    #[repr(align(64))]
    struct Spread {
        gather: [u8; 16],
        lift: [u8; 16],
        drop: u64,
    }

    /// By code.
    static SPREADS: [Spread; 8] = spreads();

    const fn spreads() -> [Spread; 8] {
        let mut all = [Spread { gather: [0x80; 16], lift: [0; 16], drop: 0 }; 8];
        let mut code = 1;
        while code < 8 {
            let bits = code + 1;
            let mut lane = 0;
            while lane < 8 {
                let bit = lane * bits;
                let lift = (1u16 << (16 - bits - bit % 8)).to_le_bytes();
                all[code].gather[2 * lane] = (bit / 8) as u8;
                all[code].gather[2 * lane + 1] = (bit / 8 + 1) as u8;
                all[code].lift[2 * lane] = lift[0];
                all[code].lift[2 * lane + 1] = lift[1];
                lane += 1;
            }
            all[code].drop = 16 - bits as u64;
            code += 1;
        }
        all
    }

    /// None if the bytes do not end where the codes say.
    #[target_feature(enable = "avx2")]
    pub(super) fn decode(body: &[u8], width: usize, height: usize, out: &mut [u8]) -> Option<()> {
        let mut at = code_bytes(width, height);
        let mut row = 0;
        for first in (0..width).step_by(STRIP) {
            let count = STRIP.min(width - first);
            let mut planes = [_mm_setzero_si128(); 3];
            for line in out.chunks_exact_mut(width * 3) {
                let mut six = six_codes(body, row)?;
                row += 1;
                let window: &[u8; WINDOW] = body.get(at..)?.first_chunk()?;
                let mut from = 0;
                for plane in &mut planes {
                    let low = group(window, &mut from, six);
                    let high = group(window, &mut from, six >> 3);
                    six >>= 6;
                    *plane = _mm_add_epi8(*plane, _mm_packs_epi16(low, high));
                }
                at += from;
                let [green, red, blue] = planes;
                let (red, blue) = (_mm_add_epi8(red, green), _mm_add_epi8(blue, green));
                let line = &mut line[first * 3..(first + count) * 3];
                if let Some(pixels) = line.first_chunk_mut() {
                    interleave(red, green, blue, pixels);
                } else {
                    let mut pixels = [0; 3 * STRIP];
                    interleave(red, green, blue, &mut pixels);
                    line.copy_from_slice(&pixels[..count * 3]);
                }
            }
        }
        (at + WINDOW == body.len()).then_some(())
    }

    /// The eight differences of the group at `from`, in 16 bits each.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn group(window: &[u8; WINDOW], from: &mut usize, code: u32) -> __m128i {
        // No bound is checked here: the compiler sees that `from` is at most 40.
        let mut word = [0; 8];
        word.copy_from_slice(&window[*from..*from + 8]);
        *from += group_bytes(code);
        let spread = &SPREADS[(code & 7) as usize];
        let lanes = _mm_shuffle_epi8(_mm_cvtsi64_si128(i64::from_le_bytes(word)), load(&spread.gather));
        let lifted = _mm_mullo_epi16(lanes, load(&spread.lift));
        _mm_sra_epi16(lifted, _mm_cvtsi64_si128(spread.drop as i64))
    }

    /// Which byte of a third of 48 comes from which byte of one of three planes; none from the other two.
    const fn placed(plane: usize, third: usize) -> [u8; 16] {
        let mut from = [0x80; 16];
        let mut i = 0;
        while i < STRIP {
            let at = third * STRIP + i;
            if at % 3 == plane {
                from[i] = (at / 3) as u8;
            }
            i += 1;
        }
        from
    }

    static PLACED: [[[u8; 16]; 3]; 3] = [
        [placed(0, 0), placed(1, 0), placed(2, 0)],
        [placed(0, 1), placed(1, 1), placed(2, 1)],
        [placed(0, 2), placed(1, 2), placed(2, 2)],
    ];

    /// 16 pixels.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn interleave(red: __m128i, green: __m128i, blue: __m128i, pixels: &mut [u8; 3 * STRIP]) {
        let (thirds, _) = pixels.as_chunks_mut();
        for (third, [r, g, b]) in thirds.iter_mut().zip(&PLACED) {
            let red_green = _mm_or_si128(_mm_shuffle_epi8(red, load(r)), _mm_shuffle_epi8(green, load(g)));
            store(_mm_or_si128(red_green, _mm_shuffle_epi8(blue, load(b))), third);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8; 16]) -> __m128i {
        // SAFETY: the 16 bytes can be read, and need no alignment.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(value: __m128i, bytes: &mut [u8; 16]) {
        // SAFETY: the 16 bytes can be written, and need no alignment.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), value) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::noise;

    /// A picture of flat areas, slopes and noise of any depth, so that every code is met.
    fn picture(width: usize, height: usize, seed: u64) -> Vec<u8> {
        let mut draw = noise(seed);
        let mut rgb = vec![0; width * height * 3];
        for (i, byte) in rgb.iter_mut().enumerate() {
            let (x, y) = (i / 3 % width, i / 3 / width);
            let depth = (x / 8 + y / 4 + seed as usize) % 10;
            let slope = (x * 3 + y * 5) as u8;
            *byte = if depth == 9 { 77 } else { slope.wrapping_add(draw(1 << depth) as u8) };
        }
        rgb
    }

    /// What both ways of decoding say, which must be the same.
    fn decoded(bytes: &[u8], width: usize, height: usize) -> Option<Vec<u8>> {
        let mut out = vec![0; width * height * 3];
        let result = decode(bytes, width, height, &mut out).ok().map(|()| out);
        let mut plain = vec![1; width * height * 3];
        let body = bytes.get(HEADER..).unwrap_or_default();
        let agreed = portable::decode(body, width, height, &mut plain).map(|()| plain);
        assert_eq!(verify(bytes, width, height).is_ok(), result.is_some(), "{width}x{height}");
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            let mut fast = vec![2; width * height * 3];
            // SAFETY: the processor has AVX2.
            let fast = unsafe { avx2::decode(body, width, height, &mut fast) }.map(|()| fast);
            assert!(fast == agreed, "{width}x{height}");
        }
        if result.is_some() {
            assert!(result == agreed, "{width}x{height}");
        }
        result
    }

    #[test]
    fn the_layout_is_as_documented() {
        // One row of nine: the first group in code 3 (four bits: 7 and -8 fit), the second with one pixel, -1.
        let green = [7u8, 248, 0, 1, 2, 3, 255, 4, 255];
        let rgb: Vec<u8> = green.iter().flat_map(|&g| [g, g, g.wrapping_add(u8::from(g == 4))]).collect();
        let bytes = encode(9, 1, &rgb);
        assert_eq!(bytes[..8], *b"PHF1\x09\0\x01\0");
        // Codes from the lowest bits: green 3 and 1, red - green 0 and 0, blue - green 1 and 0.
        let codes: u32 = 3 | 1 << 3 | 1 << 12;
        assert_eq!(bytes[16..19], codes.to_le_bytes()[..3]);
        assert_eq!(bytes[19..23], [0x87, 0x10, 0x32, 0x4f]);
        assert_eq!(bytes[23..25], [0b11, 0]);
        assert_eq!(bytes[25..27], [0, 0b0100_0000]);
        assert_eq!(bytes[27..], [0; WINDOW]);
        assert_eq!(decoded(&bytes, 9, 1), Some(rgb));
    }

    #[test]
    fn random_bytes_cost_little_more_than_they_are() {
        let mut draw = noise(5);
        let rgb: Vec<u8> = (0..128 * 128 * 3).map(|_| draw(256) as u8).collect();
        let bytes = encode(128, 128, &rgb);
        assert!(bytes.len() <= rgb.len() + 2304 + HEADER + WINDOW, "{}", bytes.len());
        assert_eq!(decoded(&bytes, 128, 128), Some(rgb));
        assert!(bytes.len() <= largest(128, 128));
        let flat = encode(128, 128, &[9; 128 * 128 * 3]);
        assert!(flat.len() < 2500, "{}", flat.len());
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_error() {
        let rgb = picture(21, 7, 3);
        let good = encode(21, 7, &rgb);
        assert_eq!(check(&good).unwrap(), (21, 7));
        for length in 0..good.len() {
            assert!(check(&good[..length]).is_err() && decoded(&good[..length], 21, 7).is_none(), "cut to {length}");
        }
        assert!(check(&[good.as_slice(), &[0]].concat()).is_err());
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(decoded(&bad, 21, 7).is_none(), "byte {at}, bit {bit}");
            }
        }
        assert!(decoded(&good, 7, 21).is_none());
    }

    #[test]
    fn a_row_has_the_bytes_of_its_groups() {
        for six in 0..1 << ROW_BITS {
            let each: usize = (0..6).map(|group| group_bytes(six >> (3 * group))).sum();
            assert_eq!(row_bytes(six | 0xfffc_0000), each, "{six:o}");
        }
    }

    #[test]
    fn the_largest_image_is_one_whose_rows_are_as_different_as_can_be() {
        // Green goes up and down by half of all there is, red and blue against it.
        for (width, height) in [(16, 8), (32, 32), (128, 128), (21, 5)] {
            let rgb: Vec<u8> = (0..height)
                .flat_map(|y| std::iter::repeat_n([0, 128 * (y % 2 == 0) as u8, 0], width))
                .flatten()
                .collect();
            let bytes = encode(width as u16, height as u16, &rgb).len();
            let wasted = if width % 8 == 0 { 0 } else { 24 * height };
            assert_eq!(bytes + wasted, largest(width, height), "{width}x{height}");
        }
    }

    proptest! {
        #[test]
        fn any_picture_of_any_size_comes_back(width in 1usize..70, height in 1usize..40, seed in any::<u64>()) {
            let rgb = picture(width, height, seed % 1000);
            let bytes = encode(width as u16, height as u16, &rgb);
            prop_assert_eq!(check(&bytes).unwrap(), (width, height));
            prop_assert_eq!(decoded(&bytes, width, height), Some(rgb));
        }

        /// What a broken writer could leave: bytes that are not an image, with a checksum that says they are.
        #[test]
        fn junk_with_a_good_checksum_never_panics(
            width in 1u16..40, height in 1u16..40, mut body in proptest::collection::vec(any::<u8>(), 0..3000),
        ) {
            body.extend_from_slice(&[0; WINDOW]);
            let mut bytes = [MAGIC.as_slice(), &width.to_le_bytes(), &height.to_le_bytes()].concat();
            bytes.extend_from_slice(&checksum(&bytes, &body).to_le_bytes());
            bytes.extend_from_slice(&body);
            let whole = check(&bytes).is_ok();
            prop_assert_eq!(decoded(&bytes, width.into(), height.into()).is_some(), whole);
        }
    }
}
