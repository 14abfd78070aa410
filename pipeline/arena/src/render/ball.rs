//! Smoothly shaded balls: leaves, boulders, the avatar.

use super::camera::{Camera, FOCAL, Fog, MIDDLE, NEAREST};
use super::frame::{Frame, GROUPS, SIDE};
use crate::math::{V3, clamp};
use crate::simd::{Isa, Lanes, WIDTH, kernel, shade, twice};
use crate::texture::{SIZE, textures};
use crate::world::scene::{Ball, Lighting};

/// A ball on the screen: an ellipse whose depth and normal are those of a sphere.
struct Job<'a> {
    rows: [usize; 2],
    columns: [usize; 2],
    center: [f32; 2],
    /// 1 / radius, pixels.
    inverse: [f32; 2],
    /// Nearness at the rim, and what the middle has more.
    near: [f32; 2],
    /// Direction of the sun: right, up, towards the eye.
    sun: V3,
    /// Brightness in the shadow, and what full sun adds, in 1/256 of the tint, fog included.
    ambient: f32,
    direct: f32,
    /// Tint as packed factors.
    tint: [u32; 2],
    /// Fog as packed additions.
    plus: [u32; 2],
    texels: &'a [u32],
    /// Texels a radius.
    detail: f32,
}

/// Brightness of a colour.
fn grey(c: V3) -> f32 {
    (c[0] + c[1] + c[2]) / 3.0
}

/// Draws a ball.
pub fn draw(isa: Isa, frame: &mut Frame, camera: &Camera, fog: Fog, lighting: &Lighting, ball: &Ball) {
    let c = camera.see(ball.center);
    if c[2] < NEAREST + ball.radius {
        return;
    }
    let scale = FOCAL / c[2];
    let center = [MIDDLE + c[0] * scale, MIDDLE - c[1] * scale];
    let radius = [ball.radius * scale, ball.height * scale];
    let range = |k: usize| {
        let bound = |v: f32| clamp(v, 0.0, SIDE as f32);
        [bound(center[k] - radius[k]) as usize, (bound(center[k] + radius[k]) as usize + 1).min(SIDE)]
    };
    let (columns, rows) = (range(0), range(1));
    if radius[0] < 0.3 || columns[0] >= columns[1] || rows[0] >= rows[1] {
        return;
    }
    let keep = fog.keep(c[2]);
    let foggy = fog.on([0.0; 3], c[2]);
    let sun = camera.turn(lighting.sun);
    // The texture's level: about one texel a pixel.
    let level = usize::from(radius[0] < 20.0) + usize::from(radius[0] < 10.0) + usize::from(radius[0] < 5.0);
    let all = textures();
    let side = SIZE >> level;
    let start = all.surfaces[ball.texture].offset[level] as usize;
    let tint = ball.tint.map(|t| (t * 256.0) as u32);
    fill(
        isa,
        frame,
        &Job {
            rows,
            columns,
            center,
            inverse: [1.0 / radius[0], 1.0 / radius[1]],
            near: [1.0 / c[2], 1.0 / (c[2] - ball.radius) - 1.0 / c[2]],
            sun: [sun[0], sun[1], -sun[2]],
            ambient: grey(lighting.ambient) * keep,
            direct: grey(lighting.direct) * keep,
            tint: [tint[0] | tint[2] << 16, tint[1]],
            plus: [foggy.plus_rb, foggy.plus_g],
            texels: &all.texels[start..start + side * side],
            detail: side as f32 * 0.45,
        },
    );
}

kernel! {
    /// Fills the ellipse of a job.
    fn fill(frame: &mut Frame, job: &Job) = fill_lanes;
}

#[inline(always)]
fn fill_lanes<L: Lanes>(l: L, frame: &mut Frame, job: &Job) {
    let zero = l.splat(0.0);
    let side = (job.detail / 0.45 + 0.5) as u32;
    let wrap = l.int(side - 1);
    let half = l.splat(side as f32 * 0.5);
    for row in job.rows[0]..job.rows[1] {
        let dy = (job.center[1] - (row as f32 + 0.5)) * job.inverse[1];
        if dy * dy >= 1.0 {
            continue;
        }
        // Texture rows as a factor, so that one expression serves every level.
        let v = ((dy * job.detail + side as f32) as u32 & (side - 1)) * side;
        for group in job.columns[0] / WIDTH..=(job.columns[1] - 1) / WIDTH {
            let at = row * GROUPS + group;
            let xs = l.add(l.splat((group * WIDTH) as f32 + 0.5), l.steps());
            let dx = l.mul(l.sub(xs, l.splat(job.center[0])), l.splat(job.inverse[0]));
            let rest = l.sub(l.splat(1.0 - dy * dy), l.mul(dx, dx));
            let depth = l.sqrt(l.max(rest, zero));
            let near = l.add(l.splat(job.near[0]), l.mul(l.splat(job.near[1]), depth));
            let mask = l.both(l.gt(rest, zero), l.gt(near, l.load(&frame.near[at].0)));
            if !l.any(mask) {
                continue;
            }
            let facing = l.add(
                l.add(l.mul(dx, l.splat(job.sun[0])), l.splat(dy * job.sun[1])),
                l.mul(depth, l.splat(job.sun[2])),
            );
            let bright = l.add(l.splat(job.ambient), l.mul(l.splat(job.direct), l.max(facing, zero)));
            let bright = l.trunc(l.min(bright, l.splat(256.0)));
            // Stretch the texture towards the rim, as on a globe.
            let stretch = l.sub(l.splat(1.6), l.mul(depth, l.splat(0.6)));
            let u = l.trunc(l.add(half, l.mul(l.mul(dx, stretch), l.splat(job.detail))));
            let index = l.iadd(l.int(v), l.iand(u, wrap));
            let texel = l.gather(job.texels, index);
            let none = l.int(0);
            let tinted = shade(l, texel, l.int(job.tint[0]), l.int(job.tint[1]), none, none);
            let colour = shade(l, tinted, twice(l, bright), bright, l.int(job.plus[0]), l.int(job.plus[1]));
            l.store_int(mask, colour, &mut frame.colour[at].0);
            l.store(mask, near, &mut frame.near[at].0);
        }
    }
}
