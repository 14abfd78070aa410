//! Images of the codec `fast` (its format: `schemas/src/fast_frame.rs`), field by field. Nothing here is a sum of floats, so a
//! device has to agree in every bit.

/// Bytes of an image before its codes.
const HEADER: usize = 16;
/// Columns of a strip.
const STRIP: usize = 16;

/// packed: u32 at[N], little-endian, then images, number n from byte 16 at[n] on, or black where at[n] = 0 -> pixels u8
/// [N,S,S,3].
///
/// # Panics
/// If an image is not whole.
pub fn decode(packed: &[u8], n: usize, size: usize) -> Vec<u8> {
    let at = packed.chunks_exact(4).take(n).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize * 16);
    let image = |at: usize| if at == 0 { vec![0; size * size * 3] } else { unpack(&packed[at + HEADER..], size) };
    at.flat_map(image).collect()
}

/// The number in `count` bits from bit `at` on.
fn bits(bytes: &[u8], at: usize, count: usize) -> usize {
    (0..count).map(|i| usize::from(bytes[(at + i) / 8] >> ((at + i) % 8) & 1) << i).sum()
}

/// Pixels [S,S,3] of what follows an image's header.
fn unpack(body: &[u8], size: usize) -> Vec<u8> {
    let mut pixels = vec![0; size * size * 3];
    let strips = size.div_ceil(STRIP);
    let mut group = (strips * size * 18).div_ceil(8);
    for strip in 0..strips {
        // Green, red - green, blue - green.
        let mut planes = [[0u8; STRIP]; 3];
        for y in 0..size {
            for i in 0..6 {
                let code = bits(body, (strip * size + y) * 18 + 3 * i, 3);
                let width = if code == 0 { 0 } else { code + 1 };
                for k in 0..8 {
                    let field = bits(body, group * 8 + k * width, width);
                    let negative = width > 0 && field >> (width - 1) == 1;
                    let difference = if negative { field + 256 - (1 << width) } else { field };
                    let value = &mut planes[i / 2][i % 2 * 8 + k];
                    *value = value.wrapping_add(difference as u8);
                }
                group += width;
            }
            for x in (strip * STRIP..size).take(STRIP) {
                let [green, red, blue] = planes.map(|plane| plane[x - strip * STRIP]);
                let pixel = [red.wrapping_add(green), green, blue.wrapping_add(green)];
                pixels[(y * size + x) * 3..][..3].copy_from_slice(&pixel);
            }
        }
    }
    pixels
}
