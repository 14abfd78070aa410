//! What lies behind the objects: the ground, the sky, and the clouds below the land.
//!
//! The camera does not roll, so all pixels of a row see the ground at one depth: depth, fog and mip level are constant
//! along a row, and ground coordinates are affine in the column.

use super::camera::{Camera, FOCAL, Fog, MIDDLE, Shading};
use super::frame::{Frame, GROUPS, SIDE};
use crate::math::{V3, clamp, lerp};
use crate::simd::{Isa, Lanes, WIDTH, bound, kernel, ramp, shade, twice};
use crate::texture::{CLOUD_SIZE, SIZE, textures};
use crate::world::Look;
use crate::world::ground::{Ground, LEVELS, ORIGIN, PER_METRE, TEXELS};

/// Height of the clouds over the land and of those below it, metres.
const CLOUDS: [f32; 2] = [60.0, -34.0];
/// Texels of the cloud texture a metre.
const CLOUD_SCALE: [f32; 2] = [0.55, 1.1];
/// The clouds' drift, texels a step.
const DRIFT: f32 = 0.1;

/// Everything the backdrop depends on.
struct Job<'a> {
    camera: &'a Camera,
    fog: Fog,
    look: &'a Look,
    ground: &'a Ground,
    clouds: &'a [u32],
    grain: &'a [u32],
    /// Texels that the clouds have drifted.
    drift: f32,
}

/// Fills every pixel in which no object was drawn.
pub fn draw(isa: Isa, frame: &mut Frame, camera: &Camera, fog: Fog, look: &Look, ground: &Ground, t: u32) {
    let all = textures();
    fill(
        isa,
        frame,
        &Job { camera, fog, look, ground, clouds: &all.clouds, grain: &all.grain, drift: t as f32 * DRIFT },
    );
}

kernel! {
    /// Fills the backdrop.
    fn fill(frame: &mut Frame, job: &Job) = fill_lanes;
}

/// A level layer seen along one row: depth, and its coordinates as start and change a column.
struct Layer {
    start: [f32; 2],
    step: [f32; 2],
}

/// The ground along one row.
struct GroundRow {
    layer: Layer,
    depth: f32,
    level: usize,
    shading: Shading,
    /// Strength of the grain, in 1/256; 0 for rows too far for it.
    grain: u32,
}

/// The sky along one row.
struct SkyRow {
    layer: Layer,
    base: [u32; 2],
    cloud: [u32; 2],
    /// Strength of the clouds, in 1/256.
    cover: u32,
}

fn split(c: V3) -> [u32; 2] {
    let q = c.map(|v| (clamp(v, 0.0, 1.0) * 255.0) as u32);
    [q[0] | q[2] << 16, q[1]]
}

impl Job<'_> {
    /// Ray of column 0 (its centre) in a row.
    fn ray(&self, row: usize) -> V3 {
        let y = (MIDDLE - (row as f32 + 0.5)) / FOCAL;
        let x = (0.5 - MIDDLE) / FOCAL;
        let c = self.camera;
        core::array::from_fn(|k| c.view[k] + y * c.up[k] + x * c.right[k])
    }

    /// Texture coordinates of a level plane `height` over the eye along a row.
    fn layer(&self, ray: V3, depth: f32, scale: f32, origin: f32) -> Layer {
        let c = self.camera;
        let start = |k: usize| (c.eye[k] + depth * ray[k] - origin) * scale;
        let step = |k: usize| depth * c.right[k] / FOCAL * scale;
        Layer { start: [start(0), start(1)], step: [step(0), step(1)] }
    }

    fn ground_row(&self, ray: V3) -> Option<GroundRow> {
        let eye = self.camera.eye[2];
        if ray[2] > -1e-3 || eye < 0.05 {
            return None;
        }
        let depth = eye / -ray[2];
        // Texels a pixel, the mean of along and across the view.
        let coarse = PER_METRE * depth / FOCAL * (depth / eye).sqrt();
        let mut level = 0;
        while level + 1 < LEVELS && coarse > 1.3 * (1 << level) as f32 {
            level += 1;
        }
        let scale = PER_METRE / (1 << level) as f32;
        let grain = clamp(1.0 - depth / 16.0, 0.0, 1.0);
        Some(GroundRow {
            layer: self.layer(ray, depth, scale, ORIGIN),
            depth,
            level,
            shading: self.fog.on([1.0; 3], depth),
            grain: (grain * 120.0) as u32,
        })
    }

    fn sky_row(&self, ray: V3) -> SkyRow {
        let up = ray[2];
        let below = usize::from(up < 0.0);
        let steep = up.abs();
        let height = CLOUDS[below] - self.camera.eye[2];
        let depth = if steep > 1e-3 { height / up } else { 0.0 };
        // The texture repeats, so its origin may lie far away to keep coordinates positive.
        let scale = CLOUD_SCALE[below];
        let mut layer = self.layer(ray, depth, scale, -40_960.0 / scale);
        layer.start[0] += self.drift;
        let k = steep / (0.3 + steep);
        let end = if below == 1 { self.look.abyss } else { self.look.zenith };
        let base: V3 = core::array::from_fn(|c| lerp(self.look.horizon[c], end[c], k));
        SkyRow {
            layer,
            base: split(base),
            cloud: split(self.look.cloud),
            cover: (clamp((steep - 0.05) * 5.0, 0.0, 1.0) * 256.0) as u32,
        }
    }
}

#[inline(always)]
fn fill_lanes<L: Lanes>(l: L, frame: &mut Frame, job: &Job) {
    let nothing = l.splat(1e-9);
    for row in 0..SIDE {
        let ray = job.ray(row);
        let ground = job.ground_row(ray);
        let sky = job.sky_row(ray);
        for group in 0..GROUPS {
            let at = row * GROUPS + group;
            let columns = l.add(l.splat((group * WIDTH) as f32), l.steps());
            let near = l.load(&frame.near[at].0);
            let mut open = l.gt(nothing, near);
            if let Some(ground) = &ground {
                let seen = l.gt(l.splat(1.0 / ground.depth), near);
                if !l.any(seen) {
                    continue;
                }
                let texel = ground_lanes(l, job, ground, columns);
                let land = l.both(seen, l.is_set(texel));
                let s = &ground.shading;
                let colour = shade(l, texel, l.int(s.rb), l.int(s.g), l.int(s.plus_rb), l.int(s.plus_g));
                l.store_int(land, colour, &mut frame.colour[at].0);
                open = l.without(open, land);
            }
            if l.any(open) {
                let colour = sky_lanes(l, job, &sky, columns);
                l.store_int(open, colour, &mut frame.colour[at].0);
            }
        }
    }
}

/// Texels of the ground, 0 where there is no land.
#[inline(always)]
fn ground_lanes<L: Lanes>(l: L, job: &Job, row: &GroundRow, columns: L::F) -> L::I {
    let side = (TEXELS >> row.level) as f32;
    let u = ramp(l, columns, row.layer.start[0], row.layer.step[0]);
    let v = ramp(l, columns, row.layer.start[1], row.layer.step[1]);
    let iv = l.trunc(bound(l, v, 0.0, side - 1.0));
    let iv = match row.level {
        0 => l.shl::<9>(iv),
        1 => l.shl::<8>(iv),
        2 => l.shl::<7>(iv),
        3 => l.shl::<6>(iv),
        _ => l.shl::<5>(iv),
    };
    let index = l.iadd(l.int(job.ground.offset[row.level]), l.iadd(iv, l.trunc(bound(l, u, 0.0, side - 1.0))));
    let texel = l.gather(&job.ground.texels, index);
    if row.grain == 0 {
        return texel;
    }
    // Darken by the grain; alpha stays, since land is what is not zero.
    let fine = 3.0 * (1 << row.level) as f32;
    let (fine_u, fine_v) = (wrapped(l, u, fine, SIZE), wrapped(l, v, fine, SIZE));
    let grain = l.gather(job.grain, l.iadd(l.shl::<6>(fine_v), fine_u));
    let grain = l.iand(grain, l.int(0xFF));
    let loss = l.shr::<8>(l.mul_halves(grain, l.int(row.grain)));
    let factor = l.isub(l.int(256), loss);
    let none = l.int(0);
    let darker = shade(l, texel, twice(l, factor), factor, none, none);
    l.ior(darker, l.iand(texel, l.int(0xFF00_0000)))
}

/// Texture coordinate in a texture that repeats, for values above zero.
#[inline(always)]
fn wrapped<L: Lanes>(l: L, x: L::F, scale: f32, side: usize) -> L::I {
    l.iand(l.trunc(l.max(l.mul(x, l.splat(scale)), l.splat(0.0))), l.int(side as u32 - 1))
}

/// Colours of the sky.
#[inline(always)]
fn sky_lanes<L: Lanes>(l: L, job: &Job, row: &SkyRow, columns: L::F) -> L::I {
    let (base_rb, base_g) = (l.int(row.base[0]), l.int(row.base[1]));
    if row.cover == 0 {
        return l.ior(base_rb, l.shl::<8>(base_g));
    }
    let u = wrapped(l, ramp(l, columns, row.layer.start[0], row.layer.step[0]), 1.0, CLOUD_SIZE);
    let v = wrapped(l, ramp(l, columns, row.layer.start[1], row.layer.step[1]), 1.0, CLOUD_SIZE);
    let cover = l.gather(job.clouds, l.iadd(l.shl::<8>(v), u));
    let cover = l.shr::<8>(l.mul_halves(cover, l.int(row.cover)));
    let rest = l.isub(l.int(256), cover);
    let (cover_twice, rest_twice) = (twice(l, cover), twice(l, rest));
    let rb = l.iadd(l.mul_halves(base_rb, rest_twice), l.mul_halves(l.int(row.cloud[0]), cover_twice));
    let g = l.iadd(l.mul_halves(base_g, rest), l.mul_halves(l.int(row.cloud[1]), cover));
    l.ior(l.shr_halves(rb), l.iand(g, l.int(0xFF00)))
}
