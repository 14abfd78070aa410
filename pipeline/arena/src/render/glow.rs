//! Light that is laid over the picture: beams over the pads and the sun; and the avatar's shadow.

use super::camera::{Camera, FOCAL, MIDDLE, NEAREST};
use super::frame::{Frame, GROUPS, SIDE};
use crate::math::{V3, clamp};
use crate::simd::{Isa, Lanes, WIDTH, kernel, ramp, shade, twice};
use crate::world::scene::Beam;

/// A patch of light: strongest on its axis, fading sideways and upwards.
struct Job {
    rows: [usize; 2],
    /// Column of the axis at row 0, and its change a row.
    axis: [f32; 2],
    /// 1 / half width, pixels.
    inverse: f32,
    /// Row where the light is strongest, and 1 / its reach in rows above and below.
    middle: f32,
    reach: [f32; 2],
    /// Drawn where nothing is nearer than this.
    near: f32,
    /// Colour at the axis, packed, and how much of it replaces what is there, in 1/256.
    rb: u32,
    g: u32,
    strength: f32,
}

fn packed(colour: V3) -> [u32; 2] {
    let c = colour.map(|v| clamp(v, 0.0, 255.0) as u32);
    [c[0] | c[2] << 16, c[1]]
}

/// Draws a beam.
pub fn beam(isa: Isa, frame: &mut Frame, camera: &Camera, beam: &Beam) {
    let foot = camera.see(beam.foot);
    let head = camera.see([beam.foot[0], beam.foot[1], beam.foot[2] + beam.height]);
    if foot[2] < NEAREST + 0.5 || head[2] < NEAREST + 0.5 {
        return;
    }
    let project = |p: V3| [MIDDLE + FOCAL * p[0] / p[2], MIDDLE - FOCAL * p[1] / p[2]];
    let (low, high) = (project(foot), project(head));
    let slope = (high[0] - low[0]) / (high[1] - low[1]);
    let [rb, g] = packed(beam.colour);
    light(
        isa,
        frame,
        &Job {
            rows: rows(high[1], low[1] + 1.0),
            axis: [low[0] - slope * low[1], slope],
            inverse: foot[2] / (FOCAL * beam.radius),
            middle: low[1],
            reach: [1.0 / (low[1] - high[1]), 0.0],
            near: 1.0 / foot[2],
            rb,
            g,
            strength: 210.0,
        },
    );
}

/// Draws the sun, behind everything.
pub fn sun(isa: Isa, frame: &mut Frame, camera: &Camera, towards: V3, colour: V3) {
    let d = camera.turn(towards);
    if d[2] < 0.2 {
        return;
    }
    let center = [MIDDLE + FOCAL * d[0] / d[2], MIDDLE - FOCAL * d[1] / d[2]];
    for (radius, strength) in [(34.0, 110.0), (8.0, 256.0)] {
        let [rb, g] = packed(colour.map(|c| 90.0 + c * 250.0));
        light(
            isa,
            frame,
            &Job {
                rows: rows(center[1] - radius, center[1] + radius),
                axis: [center[0], 0.0],
                inverse: 1.0 / radius,
                middle: center[1],
                reach: [1.0 / radius; 2],
                near: 1e-6,
                rb,
                g,
                strength,
            },
        );
    }
}

fn rows(from: f32, to: f32) -> [usize; 2] {
    let bound = |v: f32| clamp(v, 0.0, SIDE as f32) as usize;
    [bound(from), bound(to)]
}

kernel! {
    /// Adds a patch of light.
    fn light(frame: &mut Frame, job: &Job) = light_lanes;
}

#[inline(always)]
fn light_lanes<L: Lanes>(l: L, frame: &mut Frame, job: &Job) {
    let zero = l.splat(0.0);
    for row in job.rows[0]..job.rows[1] {
        let y = row as f32 + 0.5;
        let off = y - job.middle;
        let dy = off * job.reach[usize::from(off > 0.0)];
        let fade = 1.0 - dy * dy;
        if fade <= 0.0 {
            continue;
        }
        let x = job.axis[0] + job.axis[1] * y;
        let half = 1.0 / job.inverse;
        let columns = rows(x - half, x + half + 1.0);
        if columns[0] >= columns[1] {
            continue;
        }
        for group in columns[0] / WIDTH..=(columns[1] - 1) / WIDTH {
            let at = row * GROUPS + group;
            let xs = l.add(l.splat((group * WIDTH) as f32 + 0.5), l.steps());
            let dx = l.mul(l.sub(xs, l.splat(x)), l.splat(job.inverse));
            let rest = l.max(l.sub(l.splat(fade), l.mul(dx, dx)), zero);
            let mask = l.both(l.gt(rest, zero), l.gt(l.splat(job.near), l.load(&frame.near[at].0)));
            if !l.any(mask) {
                continue;
            }
            let k = l.trunc(l.mul(l.mul(rest, rest), l.splat(job.strength)));
            let left = l.isub(l.int(256), k);
            let plus_rb = l.mul_halves(l.int(job.rb), twice(l, k));
            let plus_g = l.mul_halves(l.int(job.g), k);
            let colour = shade(l, l.load_int(&frame.colour[at].0), twice(l, left), left, plus_rb, plus_g);
            l.store_int(mask, colour, &mut frame.colour[at].0);
        }
    }
}

/// A round shadow on a level surface.
struct Shadow {
    rows: [usize; 2],
    columns: [usize; 2],
    /// Ray of column 0 at row 0, its change a column and a row, level parts only, divided by the shadow's radius.
    ray: [[f32; 2]; 3],
    /// Upward part of the ray: at row 0 and its change a row.
    rise: [f32; 2],
    /// Height of the eye over the surface.
    height: f32,
    /// Eye relative to the shadow's middle, divided by the radius.
    eye: [f32; 2],
    /// Whether only surfaces that were already drawn may be darkened (those of objects, not the ground).
    drawn: bool,
}

/// Darkens a disc on the surface of height `z`.
pub fn shadow(isa: Isa, frame: &mut Frame, camera: &Camera, at: [f32; 2], z: f32, radius: f32) {
    let c = camera.see([at[0], at[1], z]);
    let height = camera.eye[2] - z;
    if c[2] < NEAREST + radius || height < 0.1 {
        return;
    }
    let scale = FOCAL / c[2];
    let center = [MIDDLE + c[0] * scale, MIDDLE - c[1] * scale];
    let r = radius * FOCAL / (c[2] - radius);
    let columns = rows(center[0] - r, center[0] + r + 1.0);
    let rows = rows(center[1] - r, center[1] + r + 1.0);
    if columns[0] >= columns[1] {
        return;
    }
    let (dx, dy) = (camera.right.map(|v| v / FOCAL), camera.up.map(|v| -v / FOCAL));
    let first: V3 = core::array::from_fn(|k| camera.view[k] - (MIDDLE - 0.5) * (dx[k] + dy[k]));
    darken(
        isa,
        frame,
        &Shadow {
            rows,
            columns,
            ray: [first, dx, dy].map(|d| [d[0] / radius, d[1] / radius]),
            rise: [first[2], dy[2]],
            height,
            eye: [(camera.eye[0] - at[0]) / radius, (camera.eye[1] - at[1]) / radius],
            drawn: z > 0.0,
        },
    );
}

kernel! {
    /// Darkens where a shadow falls.
    fn darken(frame: &mut Frame, job: &Shadow) = darken_lanes;
}

#[inline(always)]
fn darken_lanes<L: Lanes>(l: L, frame: &mut Frame, job: &Shadow) {
    let (zero, one) = (l.splat(0.0), l.splat(1.0));
    for row in job.rows[0]..job.rows[1] {
        let r = row as f32;
        let rise = job.rise[0] + job.rise[1] * r;
        if rise > -1e-3 {
            continue;
        }
        let t = job.height / -rise;
        let at_row = |k: usize| job.eye[k] + t * (job.ray[0][k] + job.ray[2][k] * r);
        let (x0, y0) = (at_row(0), at_row(1));
        let (from, to) = (if job.drawn { 0.94 / t } else { -1.0 }, 1.06 / t);
        for group in job.columns[0] / WIDTH..=(job.columns[1] - 1) / WIDTH {
            let at = row * GROUPS + group;
            let cs = l.add(l.splat((group * WIDTH) as f32), l.steps());
            let x = ramp(l, cs, x0, t * job.ray[1][0]);
            let y = ramp(l, cs, y0, t * job.ray[1][1]);
            let rest = l.max(l.sub(one, l.add(l.mul(x, x), l.mul(y, y))), zero);
            let near = l.load(&frame.near[at].0);
            let surface = l.both(l.gt(near, l.splat(from)), l.gt(l.splat(to), near));
            let mask = l.both(l.gt(rest, zero), surface);
            if !l.any(mask) {
                continue;
            }
            let k = l.isub(l.int(256), l.trunc(l.mul(rest, l.splat(130.0))));
            let none = l.int(0);
            let colour = shade(l, l.load_int(&frame.colour[at].0), twice(l, k), k, none, none);
            l.store_int(mask, colour, &mut frame.colour[at].0);
        }
    }
}
