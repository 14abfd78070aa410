//! The floor of a map: where there is land, and its colour with the shadows already in it.

use super::scene::{Lighting, Object};
use super::solid::Solid;
use crate::math::{clamp, lerp, smoothstep};
use crate::texture::{halve, pack, unpack};

/// Side of the finest level, texels.
pub const TEXELS: usize = 512;
/// Texels a metre on the finest level.
pub const PER_METRE: f32 = 8.0;
/// West and south border of the texture, metres.
pub const ORIGIN: f32 = -32.0;
/// Copies: 512, 256, 128, 64, 32.
pub const LEVELS: usize = 5;

/// The painted floor.
pub struct Ground {
    /// Packed colours of all levels, row 0 in the south; alpha 0 is no land.
    pub texels: Vec<u32>,
    /// First texel of each level.
    pub offset: [u32; LEVELS],
}

/// Colour of the ground at (x, y), at this distance from the nearest edge.
pub type Paint = fn(x: f32, y: f32, edge: f32) -> [f32; 3];

/// Everything that the baking of a ground depends on.
pub struct Plan<'a> {
    /// Outlines and holes; land is where a ray crosses an odd number of sides.
    pub outlines: &'a [Vec<[f32; 2]>],
    /// Colours.
    pub paint: Paint,
    /// What throws shadows.
    pub solids: &'a [Solid],
    /// Round things that throw shadows.
    pub objects: &'a [Object],
    /// Where the sun stands.
    pub lighting: &'a Lighting,
}

/// Centre of a texel, metres.
fn centre(i: usize) -> f32 {
    ORIGIN + (i as f32 + 0.5) / PER_METRE
}

/// Texels whose centres may lie in [lo, hi].
fn texel_range(lo: f32, hi: f32) -> core::ops::Range<usize> {
    let q = |v: f32| clamp((v - ORIGIN) * PER_METRE, 0.0, TEXELS as f32) as usize;
    q(lo - 0.2)..(q(hi + 0.2) + 1).min(TEXELS)
}

impl Ground {
    /// Paints the ground of a map.
    pub fn bake(plan: &Plan) -> Self {
        let land = land_mask(plan.outlines);
        let edge = edge_distance(plan.outlines);
        let shade = shadows(plan);
        let colours: Vec<u32> = (0..TEXELS * TEXELS)
            .map(|i| {
                if !land[i] {
                    return 0;
                }
                let (x, y) = (centre(i % TEXELS), centre(i / TEXELS));
                let base = (plan.paint)(x, y, edge[i]);
                let up = plan.lighting.on([0.0, 0.0, 1.0]);
                let lit: [f32; 3] = core::array::from_fn(|k| {
                    let dark = plan.lighting.ambient[k];
                    base[k] * lerp(dark, up[k], shade[i].sun) * shade[i].open
                });
                pack(lit)
            })
            .collect();
        let mut texels = Vec::new();
        let mut offset = [0; LEVELS];
        let (mut level, mut size) = (colours, TEXELS);
        for start in &mut offset {
            *start = texels.len() as u32;
            texels.extend_from_slice(&level);
            level = halve(&level, size);
            size /= 2;
        }
        Self { texels, offset }
    }

    /// Index of the finest texel under a point, if the texture reaches there.
    fn index(x: f32, y: f32) -> Option<usize> {
        let (u, v) = ((x - ORIGIN) * PER_METRE, (y - ORIGIN) * PER_METRE);
        let side = TEXELS as f32;
        (u >= 0.0 && v >= 0.0 && u < side && v < side).then(|| v as usize * TEXELS + u as usize)
    }

    /// Whether there is land under a point.
    pub fn is_land(&self, x: f32, y: f32) -> bool {
        Self::index(x, y).is_some_and(|i| self.texels[i] >> 24 != 0)
    }

    /// Colour under a point; `None` over the void.
    pub fn colour(&self, x: f32, y: f32) -> Option<[f32; 3]> {
        Self::index(x, y).map(|i| self.texels[i]).filter(|t| t >> 24 != 0).map(unpack)
    }
}

/// Even-odd fill of the outlines at the texel centres.
fn land_mask(outlines: &[Vec<[f32; 2]>]) -> Vec<bool> {
    let mut land = vec![false; TEXELS * TEXELS];
    for row in 0..TEXELS {
        let y = centre(row);
        let mut cuts = Vec::new();
        for (a, b) in outlines.iter().flat_map(|o| sides(o)) {
            if (a[1] <= y) != (b[1] <= y) {
                cuts.push(a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]));
            }
        }
        cuts.sort_by(f32::total_cmp);
        for pair in cuts.chunks_exact(2) {
            for column in 0..TEXELS {
                let x = centre(column);
                if x >= pair[0] && x < pair[1] {
                    land[row * TEXELS + column] = true;
                }
            }
        }
    }
    land
}

/// The sides of a closed outline.
pub fn sides(outline: &[[f32; 2]]) -> impl Iterator<Item = ([f32; 2], [f32; 2])> + '_ {
    let n = outline.len();
    (0..n).map(move |i| (outline[i], outline[(i + 1) % n]))
}

/// Distance from a point to a segment.
pub fn to_segment(x: f32, y: f32, a: [f32; 2], b: [f32; 2]) -> f32 {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let l2 = dx * dx + dy * dy;
    let t = if l2 > 0.0 { clamp(((x - a[0]) * dx + (y - a[1]) * dy) / l2, 0.0, 1.0) } else { 0.0 };
    let (ex, ey) = (x - a[0] - t * dx, y - a[1] - t * dy);
    (ex * ex + ey * ey).sqrt()
}

/// Distance from each texel to the nearest edge, up to 3 m.
fn edge_distance(outlines: &[Vec<[f32; 2]>]) -> Vec<f32> {
    const FAR: f32 = 3.0;
    let mut distance = vec![FAR; TEXELS * TEXELS];
    for (a, b) in outlines.iter().flat_map(|o| sides(o)) {
        for row in texel_range(a[1].min(b[1]) - FAR, a[1].max(b[1]) + FAR) {
            for column in texel_range(a[0].min(b[0]) - FAR, a[0].max(b[0]) + FAR) {
                let d = &mut distance[row * TEXELS + column];
                *d = d.min(to_segment(centre(column), centre(row), a, b));
            }
        }
    }
    distance
}

/// How much light reaches a texel.
#[derive(Clone, Copy)]
struct Shade {
    /// 0 in full shadow, 1 in the sun.
    sun: f32,
    /// Below 1 in corners where things stand on the ground.
    open: f32,
}

/// Sunlight and closeness for every texel.
fn shadows(plan: &Plan) -> Vec<Shade> {
    let mut shade = vec![Shade { sun: 1.0, open: 1.0 }; TEXELS * TEXELS];
    let sun = plan.lighting.sun;
    // A shadow moves this far for each metre of height.
    let (kx, ky) = (-sun[0] / sun[2], -sun[1] / sun[2]);
    for solid in plan.solids {
        let reach = solid.reach() + 1.0;
        let high = solid.peak();
        let (x0, x1) = (solid.center[0] + kx.min(0.0) * high, solid.center[0] + kx.max(0.0) * high);
        let (y0, y1) = (solid.center[1] + ky.min(0.0) * high, solid.center[1] + ky.max(0.0) * high);
        for row in texel_range(y0 - reach, y1 + reach) {
            for column in texel_range(x0 - reach, x1 + reach) {
                let (x, y) = (centre(column), centre(row));
                let s = &mut shade[row * TEXELS + column];
                // Walk from the texel towards the sun and see how near the ray passes.
                let mut gap = f32::INFINITY;
                let steps = 12;
                for step in 0..=steps {
                    let h = lerp(solid.bottom, high, step as f32 / steps as f32);
                    let c = solid.contact(x - kx * h, y - ky * h);
                    if c.top + 0.05 >= h {
                        gap = gap.min(c.gap);
                    }
                }
                s.sun = s.sun.min(smoothstep(-0.15, 0.25, gap));
                if solid.bottom < 0.5 && high > 0.3 {
                    let near = solid.contact(x, y).gap;
                    s.open = s.open.min(lerp(0.62, 1.0, smoothstep(-0.1, 0.9, near)));
                }
            }
        }
    }
    for ball in plan.objects.iter().flat_map(|o| &o.balls) {
        let (x0, y0) = (ball.center[0] + kx * ball.center[2], ball.center[1] + ky * ball.center[2]);
        let reach = ball.radius + 0.5;
        for row in texel_range(y0 - reach, y0 + reach) {
            for column in texel_range(x0 - reach, x0 + reach) {
                let (dx, dy) = (centre(column) - x0, centre(row) - y0);
                let gap = (dx * dx + dy * dy).sqrt() - ball.radius;
                let s = &mut shade[row * TEXELS + column];
                s.sun = s.sun.min(smoothstep(-0.3, 0.3, gap));
            }
        }
    }
    shade
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn land_is_inside_the_outline_and_outside_the_hole() {
        let square = |r: f32| vec![[-r, -r], [r, -r], [r, r], [-r, r]];
        let land = land_mask(&[square(10.0), square(2.0)]);
        let at = |x: f32, y: f32| land[Ground::index(x, y).unwrap()];
        assert!(at(5.0, 5.0) && at(-9.5, 0.0));
        assert!(!at(0.0, 0.0) && !at(12.0, 0.0));
        assert_eq!(Ground::index(33.0, 0.0), None);
    }
}
