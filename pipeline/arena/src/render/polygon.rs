//! Textured convex polygons.
//!
//! On the screen, 1 / depth and (texture coordinate) / depth are affine, so their gradients follow from the face's
//! plane alone. The outline becomes one span a row; a span is filled by groups of 16 pixels with one division each.
//! Mip level and fog are chosen once a group, at the middle of its covered part.

use super::camera::{Camera, FOCAL, Fog, MIDDLE, NEAREST, Shading};
use super::frame::{Frame, GROUPS, Group, SIDE};
use crate::math::{V3, dot, lerp};
use crate::simd::{Isa, Lanes, WIDTH, bound, kernel, ramp, shade};
use crate::texture::{LEVELS, SIZE, Surface, textures};
use crate::world::scene::{CORNERS, Face};

/// An affine function of the screen position.
#[derive(Clone, Copy)]
struct Affine {
    dx: f32,
    dy: f32,
    c: f32,
}

impl Affine {
    /// The function whose value at screen (sx, sy) is `q . ray`, where ray = ((sx - M) / F, (M - sy) / F, 1).
    fn of(q: V3) -> Self {
        let (dx, dy) = (q[0] / FOCAL, -q[1] / FOCAL);
        Self { dx, dy, c: q[2] - MIDDLE * (dx + dy) }
    }

    fn plus(self, other: Self, factor: f32) -> Self {
        Self { dx: self.dx + factor * other.dx, dy: self.dy + factor * other.dy, c: self.c + factor * other.c }
    }
}

/// Where a face begins and ends in each row, as screen columns; rows that it does not touch hold anything.
pub struct Spans {
    left: [Group<f32>; GROUPS],
    right: [Group<f32>; GROUPS],
    /// The same as pixels: the first, and one past the last.
    first: [Group<u32>; GROUPS],
    end: [Group<u32>; GROUPS],
}

impl Spans {
    pub fn new() -> Self {
        Self {
            left: [Group([0.0; WIDTH]); GROUPS],
            right: [Group([0.0; WIDTH]); GROUPS],
            first: [Group([0; WIDTH]); GROUPS],
            end: [Group([0; WIDTH]); GROUPS],
        }
    }
}

/// One side of an outline: column = start + row * slope for the rows from..to.
#[derive(Clone, Copy, Default)]
struct Edge {
    from: usize,
    to: usize,
    start: f32,
    slope: f32,
}

/// What holds for a stretch of a face: texture level, and the light with the fog in it.
#[derive(Clone, Copy)]
struct Tone {
    level: usize,
    shading: Shading,
}

/// A face ready to be filled.
struct Job<'a> {
    /// Rows that the face touches.
    rows: [usize; 2],
    edges: [Edge; CORNERS + 1],
    count: usize,
    near: Affine,
    u: Affine,
    v: Affine,
    texels: &'a [u32],
    surface: Surface,
    /// Texels a pixel at depth 1.
    density: f32,
    light: V3,
    fog: Fog,
    /// One tone for the whole face, where its depth hardly varies.
    tone: Option<Tone>,
}

impl Job<'_> {
    #[inline(always)]
    fn tone(&self, depth: f32) -> Tone {
        let coarse = self.density * depth;
        let beyond = |limit: f32| usize::from(coarse > limit);
        Tone { level: beyond(1.4) + beyond(2.8) + beyond(5.6) + beyond(11.2), shading: self.fog.on(self.light, depth) }
    }
}

/// Draws the front of a face.
pub fn draw(isa: Isa, frame: &mut Frame, spans: &mut Spans, camera: &Camera, fog: Fog, face: &Face) {
    // Distance of the eye behind the plane; the front is seen when it is negative.
    let behind = face.offset - dot(face.normal, camera.eye);
    if behind > -1e-3 {
        return;
    }
    let mut points = [[0.0; 3]; CORNERS];
    let mut hidden = 0;
    let (mut nearest, mut farthest) = (f32::INFINITY, 0.0f32);
    for (to, &corner) in points.iter_mut().zip(&face.corners[..face.count]) {
        *to = camera.see(corner);
        hidden += usize::from(to[2] < NEAREST);
        nearest = nearest.min(to[2]);
        farthest = farthest.max(to[2]);
    }
    if hidden == face.count {
        return;
    }
    let mut clipped = [[0.0; 3]; CORNERS + 1];
    let outline = if hidden == 0 {
        &points[..face.count]
    } else {
        let n = clip(&points[..face.count], &mut clipped);
        &clipped[..n]
    };
    let mut edges = [Edge::default(); CORNERS + 1];
    let Some(rows) = project(outline, &mut edges) else {
        return;
    };
    let near = Affine::of(camera.turn(face.normal).map(|c| c / behind));
    let texture = |axis: V3, zero: f32| Affine::of(camera.turn(axis)).plus(near, dot(axis, camera.eye) + zero);
    let all = textures();
    let mut job = Job {
        rows,
        edges,
        count: outline.len(),
        near,
        u: texture(face.u_axis, face.u0),
        v: texture(face.v_axis, face.v0),
        texels: &all.texels,
        surface: all.surfaces[face.texture],
        density: face.density / FOCAL,
        light: face.light,
        fog,
        tone: None,
    };
    if farthest < nearest * 1.25 {
        job.tone = Some(job.tone(0.5 * (nearest + farthest)));
    }
    fill(isa, frame, spans, &job);
}

/// Cuts a polygon at the near plane; returns the number of corners left.
fn clip(points: &[V3], out: &mut [V3; CORNERS + 1]) -> usize {
    let mut n = 0;
    for (i, &a) in points.iter().enumerate() {
        let b = points[(i + 1) % points.len()];
        if a[2] >= NEAREST {
            out[n] = a;
            n += 1;
        }
        if (a[2] >= NEAREST) != (b[2] >= NEAREST) {
            let t = (NEAREST - a[2]) / (b[2] - a[2]);
            out[n] = core::array::from_fn(|k| lerp(a[k], b[k], t));
            n += 1;
        }
    }
    n
}

/// First pixel whose centre is at or beyond a coordinate, within the picture.
#[inline(always)]
fn pixel(x: f32) -> usize {
    let x = if x > 0.0 { x } else { 0.0 };
    let x = if x < SIDE as f32 { x } else { SIDE as f32 };
    // SAFETY: between 0.5 and 128.5, since a number that is none became 0.
    unsafe { (x + 0.5).to_int_unchecked::<i32>() as usize }
}

/// Projects a convex outline; returns the rows that it touches, unless it misses the picture.
fn project(outline: &[V3], edges: &mut [Edge; CORNERS + 1]) -> Option<[usize; 2]> {
    let mut screen = [[0.0f32; 2]; CORNERS + 1];
    let (mut top, mut bottom) = (f32::INFINITY, f32::NEG_INFINITY);
    let (mut left, mut right) = (f32::INFINITY, f32::NEG_INFINITY);
    for (to, p) in screen.iter_mut().zip(outline) {
        let scale = FOCAL / p[2];
        *to = [MIDDLE + p[0] * scale, MIDDLE - p[1] * scale];
        left = left.min(to[0]);
        right = right.max(to[0]);
        top = top.min(to[1]);
        bottom = bottom.max(to[1]);
    }
    let rows = [pixel(top), pixel(bottom)];
    if rows[0] >= rows[1] || right < 0.0 || left > SIDE as f32 {
        return None;
    }
    for (i, edge) in edges.iter_mut().enumerate().take(outline.len()) {
        let (a, b) = (screen[i], screen[(i + 1) % outline.len()]);
        // From the upper to the lower end, so that two faces that share an edge compute the same columns.
        let (a, b) = if a[1] <= b[1] { (a, b) } else { (b, a) };
        let slope = (b[0] - a[0]) / (b[1] - a[1]);
        *edge = Edge { from: pixel(a[1]), to: pixel(b[1]), start: a[0] + (0.5 - a[1]) * slope, slope };
    }
    Some(rows)
}

kernel! {
    /// Finds the spans of a job and fills them.
    fn fill(frame: &mut Frame, spans: &mut Spans, job: &Job) = fill_lanes;
}

/// The leftmost and rightmost column of each row, sixteen rows at a time.
#[inline(always)]
fn find_spans<L: Lanes>(l: L, spans: &mut Spans, job: &Job) {
    let groups = job.rows[0] / WIDTH..(job.rows[1] - 1) / WIDTH + 1;
    spans.left[groups.clone()].fill(Group([SIDE as f32; WIDTH]));
    spans.right[groups.clone()].fill(Group([0.0; WIDTH]));
    for edge in &job.edges[..job.count] {
        if edge.from >= edge.to {
            continue;
        }
        let (first, last) = (l.splat(edge.from as f32 - 0.5), l.splat(edge.to as f32 - 0.5));
        for group in edge.from / WIDTH..(edge.to - 1) / WIDTH + 1 {
            let rows = l.add(l.splat((group * WIDTH) as f32), l.steps());
            let mask = l.both(l.gt(rows, first), l.gt(last, rows));
            let columns = ramp(l, rows, edge.start, edge.slope);
            let (left, right) = (&mut spans.left[group].0, &mut spans.right[group].0);
            l.store(mask, l.min(columns, l.load(left)), left);
            l.store(mask, l.max(columns, l.load(right)), right);
        }
    }
    let all = l.gt(l.splat(1.0), l.splat(0.0));
    for group in groups {
        l.store_int(all, pixels(l, &spans.left[group]), &mut spans.first[group].0);
        l.store_int(all, pixels(l, &spans.right[group]), &mut spans.end[group].0);
    }
}

/// As [`pixel`], for sixteen rows.
#[inline(always)]
fn pixels<L: Lanes>(l: L, columns: &Group<f32>) -> L::I {
    l.trunc(l.add(bound(l, l.load(&columns.0), 0.0, SIDE as f32), l.splat(0.5)))
}

#[inline(always)]
fn fill_lanes<L: Lanes>(l: L, frame: &mut Frame, spans: &mut Spans, job: &Job) {
    find_spans(l, spans, job);
    let steps = l.steps();
    let (near_dx, u_dx, v_dx) = (l.splat(job.near.dx), l.splat(job.u.dx), l.splat(job.v.dx));
    for row in job.rows[0]..job.rows[1] {
        let (at_row, in_row) = (row / WIDTH, row % WIDTH);
        let (a, b) = (spans.first[at_row].0[in_row] as usize, spans.end[at_row].0[in_row] as usize);
        if a >= b {
            continue;
        }
        let y = row as f32 + 0.5;
        let near_row = job.near.c + job.near.dy * y;
        let (low, high) = (l.splat(spans.left[at_row].0[in_row]), l.splat(spans.right[at_row].0[in_row]));
        for group in a / WIDTH..=(b - 1) / WIDTH {
            let x0 = (group * WIDTH) as f32 + 0.5;
            let at = row * GROUPS + group;
            let xs = l.add(l.splat(x0), steps);
            let near = l.add(l.splat(near_row), l.mul(near_dx, xs));
            let inside = l.without(l.gt(xs, low), l.gt(xs, high));
            let mask = l.both(inside, l.gt(near, l.load(&frame.near[at].0)));
            if !l.any(mask) {
                continue;
            }
            let Tone { level, shading } = match job.tone {
                Some(tone) => tone,
                None => {
                    let from = if x0 > a as f32 { x0 } else { a as f32 };
                    let to = if x0 + 16.0 < b as f32 { x0 + 16.0 } else { b as f32 };
                    let middle = near_row + job.near.dx * (0.5 * (from + to));
                    job.tone(1.0 / if middle > 1e-3 { middle } else { 1e-3 })
                }
            };
            let u_row = l.splat(job.u.c + job.u.dy * y);
            let v_row = l.splat(job.v.c + job.v.dy * y);
            let z = l.div(l.splat(1.0), near);
            let scale = l.splat(SCALES[level]);
            let zs = l.mul(z, scale);
            let u = l.trunc(l.mul(l.add(u_row, l.mul(u_dx, xs)), zs));
            let v = l.trunc(l.mul(l.add(v_row, l.mul(v_dx, xs)), zs));
            let wrap = l.int((SIZE >> level) as u32 - 1);
            let v = l.iand(v, wrap);
            let v = match level {
                0 => l.shl::<6>(v),
                1 => l.shl::<5>(v),
                2 => l.shl::<4>(v),
                3 => l.shl::<3>(v),
                _ => l.shl::<2>(v),
            };
            let index = l.iadd(l.int(job.surface.offset[level]), l.iadd(v, l.iand(u, wrap)));
            let texel = l.gather(job.texels, index);
            let colour =
                shade(l, texel, l.int(shading.rb), l.int(shading.g), l.int(shading.plus_rb), l.int(shading.plus_g));
            l.store_int(mask, colour, &mut frame.colour[at].0);
            l.store(mask, near, &mut frame.near[at].0);
        }
    }
}

/// Size of each mip level relative to the finest.
const SCALES: [f32; LEVELS] = [1.0, 0.5, 0.25, 0.125, 0.0625];
