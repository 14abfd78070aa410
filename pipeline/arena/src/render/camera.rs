//! From the world to the screen.

use super::frame::SIDE;
use crate::math::{V3, cross, dot, sin_cos, sub};
use crate::physics::Body;
use crate::world::Look;

/// Pixels a unit of slope: a field of view of 80 degrees.
pub const FOCAL: f32 = 76.0;
/// Middle of the picture.
pub const MIDDLE: f32 = SIDE as f32 / 2.0;
/// Nothing nearer than this is drawn.
pub const NEAREST: f32 = 0.15;

/// Where the picture is taken from. The camera never rolls, so `right` is level.
pub struct Camera {
    pub eye: V3,
    pub right: V3,
    pub up: V3,
    pub view: V3,
}

impl Camera {
    /// Behind a body.
    pub fn behind(body: &Body) -> Self {
        let view = body.view();
        let (s, c) = sin_cos(body.yaw);
        let right = [s, -c, 0.0];
        let pivot = body.pivot();
        Self { eye: core::array::from_fn(|k| pivot[k] - view[k] * body.camera), right, up: cross(right, view), view }
    }

    /// A direction in camera coordinates: right, up, forward.
    pub fn turn(&self, d: V3) -> V3 {
        [dot(self.right, d), dot(self.up, d), dot(self.view, d)]
    }

    /// A point in camera coordinates.
    pub fn see(&self, p: V3) -> V3 {
        self.turn(sub(p, self.eye))
    }

    /// Whether a sphere (centre in camera coordinates) may be in the picture.
    pub fn shows(c: V3, radius: f32) -> bool {
        // Unit normals of the side planes: the half angle's tangent is MIDDLE / FOCAL.
        const COS: f32 = 0.764_906_5;
        const SIN: f32 = 0.644_131_8;
        c[2] > NEAREST - radius && c[0].abs() * COS - c[2] * SIN < radius && c[1].abs() * COS - c[2] * SIN < radius
    }
}

/// How much of a colour the air leaves, and what it adds.
#[derive(Clone, Copy)]
pub struct Fog {
    colour: V3,
    inverse: f32,
}

impl Fog {
    pub fn new(look: &Look) -> Self {
        Self { colour: look.horizon, inverse: 1.0 / look.haze }
    }

    /// Share of the light that comes through from this depth, in 1/256.
    pub fn keep(&self, depth: f32) -> f32 {
        let d = depth * self.inverse;
        256.0 / (1.0 + d * d)
    }

    /// Factors and additions for [`crate::simd::shade`] of a surface under `light` (0 to 1).
    pub fn on(&self, light: V3, depth: f32) -> Shading {
        let keep = self.keep(depth);
        let lost = (256.0 - keep) * 255.0;
        let factor = light.map(|c| (c * keep) as u32);
        let plus = self.colour.map(|c| (c * lost) as u32);
        Shading { rb: factor[0] | factor[2] << 16, g: factor[1], plus_rb: plus[0] | plus[2] << 16, plus_g: plus[1] }
    }
}

/// Packed arguments of [`crate::simd::shade`].
#[derive(Clone, Copy)]
pub struct Shading {
    pub rb: u32,
    pub g: u32,
    pub plus_rb: u32,
    pub plus_g: u32,
}
