//! Procedural textures, painted once a process.
//!
//! A texture is a square of packed colours (`0xAABBGGRR`) with a chain of half-size copies, so that far surfaces read
//! few texels and do not shimmer. Sizes are powers of two and coordinates wrap, so no lookup can leave the texture.

use std::sync::OnceLock;

use crate::math::{clamp, lerp, mix, smoothstep};

/// Side of every surface texture, texels.
pub const SIZE: usize = 64;
/// Side of the cloud texture, texels.
pub const CLOUD_SIZE: usize = 256;
/// Copies of a surface texture: 64, 32, 16, 8, 4.
pub const LEVELS: usize = 5;

/// Indices into [`Textures::surfaces`].
pub mod id {
    /// Even, with a little grain.
    pub const PLAIN: usize = 0;
    /// Large hewn blocks.
    pub const STONE: usize = 1;
    /// Courses of bricks.
    pub const BRICK: usize = 2;
    /// A framed wooden box; meant to be fitted to a face.
    pub const CRATE: usize = 3;
    /// Upright furrows.
    pub const BARK: usize = 4;
    /// Clumps of leaves.
    pub const LEAF: usize = 5;
    /// Weathered rock.
    pub const ROCK: usize = 6;
    /// Arrows that point up the face.
    pub const CHEVRON: usize = 7;
    /// Stripes along the face's second axis.
    pub const STRIPES: usize = 8;
    /// A chequerboard.
    pub const CHECKS: usize = 9;
    /// Rings round the middle; meant to be fitted to a face.
    pub const RINGS: usize = 10;
    /// Layers of earth and rock.
    pub const CLIFF: usize = 11;
    /// How many there are.
    pub const COUNT: usize = 12;
}

/// Where the levels of one texture lie in [`Textures::texels`].
#[derive(Clone, Copy, Debug)]
pub struct Surface {
    /// First texel of each level.
    pub offset: [u32; LEVELS],
}

/// All textures, in one block of memory.
pub struct Textures {
    /// Packed colours of every level of every surface.
    pub texels: Vec<u32>,
    /// Directory, by [`id`].
    pub surfaces: [Surface; id::COUNT],
    /// Cloud cover 0 to 255, `CLOUD_SIZE` squared.
    pub clouds: Vec<u32>,
    /// Grain of the ground, grey around 128, `SIZE` squared.
    pub grain: Vec<u32>,
}

/// Packs a colour given as 0 to 1 a channel; alpha is full.
pub fn pack(c: [f32; 3]) -> u32 {
    let q = |x: f32| (clamp(x, 0.0, 1.0) * 255.0 + 0.5) as u32;
    0xFF00_0000 | q(c[2]) << 16 | q(c[1]) << 8 | q(c[0])
}

/// The inverse of [`pack`], without alpha.
pub fn unpack(p: u32) -> [f32; 3] {
    [p & 255, p >> 8 & 255, p >> 16 & 255].map(|q| q as f32 / 255.0)
}

/// A random number in [0, 1) for each lattice point.
pub fn lattice(x: i32, y: i32, seed: u64) -> f32 {
    let key = (u64::from(x as u32) << 32 | u64::from(y as u32)) ^ mix(seed);
    (mix(key) >> 40) as f32 * (1.0 / 16_777_216.0)
}

/// Smooth noise in [0, 1) with one feature a unit; repeats after `period` units.
pub fn noise(x: f32, y: f32, period: i32, seed: u64) -> f32 {
    let floor = |v: f32| {
        let i = v as i32;
        if (i as f32) > v { i - 1 } else { i }
    };
    let (ix, iy) = (floor(x), floor(y));
    let (fx, fy) = (x - ix as f32, y - iy as f32);
    let (sx, sy) = (fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy));
    let at = |dx: i32, dy: i32| lattice((ix + dx).rem_euclid(period), (iy + dy).rem_euclid(period), seed);
    lerp(lerp(at(0, 0), at(1, 0), sx), lerp(at(0, 1), at(1, 1), sx), sy)
}

/// Several octaves of [`noise`], in [0, 1).
pub fn fractal(x: f32, y: f32, period: i32, octaves: u32, seed: u64) -> f32 {
    let (mut sum, mut weight, mut total, mut scale) = (0.0, 0.5, 0.0, 1);
    for octave in 0..octaves {
        let s = scale as f32;
        sum += weight * noise(x * s, y * s, period * scale, seed + u64::from(octave));
        total += weight;
        weight *= 0.5;
        scale *= 2;
    }
    sum / total
}

/// The textures, painted at the first call.
pub fn textures() -> &'static Textures {
    static TEXTURES: OnceLock<Textures> = OnceLock::new();
    TEXTURES.get_or_init(Textures::paint)
}

impl Textures {
    fn paint() -> Self {
        let mut texels = Vec::new();
        let surfaces = core::array::from_fn(|which| {
            let base: Vec<u32> = (0..SIZE * SIZE).map(|i| pack(surface(which, i % SIZE, i / SIZE))).collect();
            let mut offset = [0; LEVELS];
            let (mut level, mut size) = (base, SIZE);
            for start in &mut offset {
                *start = texels.len() as u32;
                texels.extend_from_slice(&level);
                level = halve(&level, size);
                size /= 2;
            }
            Surface { offset }
        });
        let clouds = (0..CLOUD_SIZE * CLOUD_SIZE)
            .map(|i| {
                let (x, y) = ((i % CLOUD_SIZE) as f32, (i / CLOUD_SIZE) as f32);
                let n = fractal(x / 32.0, y / 32.0, 8, 5, 90);
                (smoothstep(0.48, 0.74, n) * 235.0) as u32
            })
            .collect();
        let grain = (0..SIZE * SIZE)
            .map(|i| {
                let (x, y) = ((i % SIZE) as f32, (i / SIZE) as f32);
                let n = 0.55 * lattice(x as i32, y as i32, 70) + 0.45 * noise(x / 4.0, y / 4.0, 16, 71);
                pack([0.5 + (n - 0.5) * 0.9; 3])
            })
            .collect();
        Self { texels, surfaces, clouds, grain }
    }
}

/// Averages 2 x 2 texels; a texel is there when at least two of its four were.
pub fn halve(level: &[u32], size: usize) -> Vec<u32> {
    let half = size / 2;
    (0..half * half)
        .map(|i| {
            let (x, y) = (i % half * 2, i / half * 2);
            let four = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| level[(y + dy) * size + x + dx]);
            let there = four.iter().filter(|&&t| t >> 24 != 0).count() as u32;
            if there < 2 {
                return 0;
            }
            let channel = |shift: u32| {
                let sum: u32 = four.iter().filter(|&&t| t >> 24 != 0).map(|t| t >> shift & 255).sum();
                ((sum + there / 2) / there) << shift
            };
            0xFF00_0000 | channel(16) | channel(8) | channel(0)
        })
        .collect()
}

/// Colour of one texel of one surface.
fn surface(which: usize, x: usize, y: usize) -> [f32; 3] {
    let (fx, fy) = (x as f32, y as f32);
    let grain = lattice(x as i32, y as i32, which as u64) - 0.5;
    let soft = fractal(fx / 16.0, fy / 16.0, 4, 4, 10 + which as u64);
    let grey = |v: f32| [v; 3];
    match which {
        id::STONE => {
            let row = y / 16;
            let bx = (x + row % 2 * 16) % 64;
            let block = lattice((bx / 32) as i32, row as i32, 31);
            let edge = (bx % 32).min(31 - bx % 32).min(y % 16).min(15 - y % 16);
            let joint = if edge == 0 {
                0.62
            } else if edge == 1 {
                0.86
            } else {
                1.0
            };
            let v = (0.74 + 0.16 * block + 0.14 * (soft - 0.5) + 0.05 * grain) * joint;
            [v, v, v * 0.98]
        }
        id::BRICK => {
            let row = y / 8;
            let bx = (x + row % 2 * 8) % 64;
            let brick = lattice((bx / 16) as i32, row as i32, 32);
            if y.is_multiple_of(8) || bx.is_multiple_of(16) {
                grey(0.62 + 0.08 * grain)
            } else {
                let v = 0.78 + 0.2 * brick + 0.06 * grain;
                [v, v * 0.93, v * 0.9]
            }
        }
        id::CRATE => {
            let border = x.min(y).min(63 - x).min(63 - y);
            let diagonal = (x as i32 - y as i32).abs();
            let wood = 0.08 * (noise(fx / 2.0, fy / 16.0, 4, 33) - 0.5) + 0.05 * grain;
            let v = if border < 2 {
                0.5
            } else if border < 9 {
                0.95
            } else if border < 11 || diagonal == 7 || diagonal == 8 {
                0.5
            } else if diagonal < 7 {
                0.92
            } else if y.is_multiple_of(9) {
                0.52
            } else {
                0.74
            };
            [v + wood, v * 0.98 + wood, v * 0.94 + wood]
        }
        id::BARK => {
            let furrow = noise(fx / 3.0, fy / 20.0, 64, 34);
            grey(0.55 + 0.4 * furrow + 0.1 * grain)
        }
        id::LEAF => {
            let clump = noise(fx / 6.0, fy / 6.0, 64, 35);
            let v = 0.58 + 0.34 * clump + 0.22 * grain;
            [v * (0.92 + 0.1 * soft), v, v * 0.85]
        }
        id::ROCK => {
            let crack = (fractal(fx / 16.0, fy / 16.0, 4, 3, 36) - 0.5).abs();
            let v = 0.66 + 0.4 * (soft - 0.3) + 0.08 * grain;
            grey(if crack < 0.02 { v * 0.72 } else { v })
        }
        id::CHEVRON => {
            let arm = (fx - 31.5).abs() as usize;
            grey(if (y + arm) % 32 < 15 { 1.0 } else { 0.36 })
        }
        id::STRIPES => grey(if x % 32 < 16 { 1.0 } else { 0.4 }),
        id::CHECKS => grey(if (x / 16 + y / 16).is_multiple_of(2) { 1.0 } else { 0.4 }),
        id::RINGS => {
            let (dx, dy) = (fx - 31.5, fy - 31.5);
            let d = (dx * dx + dy * dy).sqrt();
            grey(if d < 7.0 || (14.0..21.0).contains(&d) {
                1.0
            } else if d < 28.0 {
                0.5
            } else {
                0.85
            })
        }
        id::CLIFF => {
            let layer = noise(fx / 16.0, fy / 5.0 + soft * 2.0, 64, 37);
            let v = 0.55 + 0.4 * layer + 0.1 * grain;
            [v, v * 0.94, v * 0.88]
        }
        _ => grey(0.9 + 0.1 * (soft - 0.5) + 0.05 * grain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_of_every_surface_is_stored_whole() {
        let t = textures();
        let one: usize = (0..LEVELS).map(|l| (SIZE >> l) * (SIZE >> l)).sum();
        assert_eq!(t.texels.len(), one * id::COUNT);
        for surface in t.surfaces {
            for (level, &offset) in surface.offset.iter().enumerate() {
                assert!(offset as usize + (SIZE >> level) * (SIZE >> level) <= t.texels.len());
            }
        }
    }

    #[test]
    fn colours_survive_packing_to_half_a_step() {
        for v in [0.0, 0.2, 0.5, 0.99, 1.0] {
            assert!((unpack(pack([v, 0.0, 1.0]))[0] - v).abs() <= 0.5 / 255.0 + 1e-6);
        }
    }

    #[test]
    fn noise_repeats_after_its_period() {
        for i in 0..50 {
            let x = i as f32 * 0.37;
            assert_eq!(noise(x, 1.5, 4, 3).to_bits(), noise(x - 0.0, 5.5, 4, 3).to_bits());
        }
    }
}
