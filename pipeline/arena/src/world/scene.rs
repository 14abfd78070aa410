//! What there is to see: faces and balls, grouped into objects that are culled and ordered as one.

use crate::math::{V3, cross, dot, normalize, sub};

/// Most corners that a face can have.
pub const CORNERS: usize = 8;

/// A convex, flat, textured polygon; counter-clockwise from outside.
#[derive(Clone, Debug)]
pub struct Face {
    /// Corners; only the first `count` are used.
    pub corners: [V3; CORNERS],
    /// Number of corners.
    pub count: usize,
    /// Outward unit normal.
    pub normal: V3,
    /// The plane is `normal . p = offset`.
    pub offset: f32,
    /// Texture column of p is `u_axis . p + u0` texels; never negative on the face.
    pub u_axis: V3,
    /// See `u_axis`.
    pub u0: f32,
    /// Texture row of p is `v_axis . p + v0` texels.
    pub v_axis: V3,
    /// See `v_axis`.
    pub v0: f32,
    /// Texels a metre.
    pub density: f32,
    /// Index of the texture.
    pub texture: usize,
    /// Colour of the light on the face times its tint, 0 to 1.
    pub light: V3,
}

/// A sphere stretched along z, shaded smoothly.
#[derive(Clone, Debug)]
pub struct Ball {
    /// Centre.
    pub center: V3,
    /// Horizontal radius.
    pub radius: f32,
    /// Vertical radius.
    pub height: f32,
    /// Index of the texture.
    pub texture: usize,
    /// Tint, 0 to 1.
    pub tint: V3,
}

/// A column of light.
#[derive(Clone, Debug)]
pub struct Beam {
    /// Foot of the column.
    pub foot: V3,
    /// Its half width.
    pub radius: f32,
    /// Its height.
    pub height: f32,
    /// Colour at the axis, 0 to 255 a channel.
    pub colour: V3,
}

/// Faces and balls that belong together.
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// Centre of a sphere that holds it all.
    pub center: V3,
    /// Radius of that sphere.
    pub radius: f32,
    /// Flat parts.
    pub faces: Vec<Face>,
    /// Round parts.
    pub balls: Vec<Ball>,
}

/// How a texture lies on a face.
#[derive(Clone, Copy, Debug)]
pub enum Lay {
    /// So many texels a metre, from the lowest corner.
    PerMetre(f32),
    /// So many repeats of the whole texture across the first edge and along the second.
    Fit(f32, f32),
}

/// Look of a face before the light falls on it.
#[derive(Clone, Copy, Debug)]
pub struct Skin {
    /// Index of the texture.
    pub texture: usize,
    /// Tint, 0 to 1.
    pub tint: V3,
    /// Layout of the texture.
    pub lay: Lay,
    /// Shines by itself: no shading.
    pub glow: bool,
}

/// The sun and the sky's light.
#[derive(Clone, Copy, Debug)]
pub struct Lighting {
    /// Unit vector towards the sun.
    pub sun: V3,
    /// Colour of direct light.
    pub direct: V3,
    /// Colour of light from everywhere.
    pub ambient: V3,
}

impl Lighting {
    /// Light on a surface with this normal, capped at 1 a channel.
    pub fn on(&self, normal: V3) -> V3 {
        let d = dot(normal, self.sun).max(0.0);
        // Surfaces that face up see more sky than those that face down.
        let sky = 0.85 + 0.15 * normal[2];
        core::array::from_fn(|k| (self.ambient[k] * sky + self.direct[k] * d).min(1.0))
    }
}

impl Face {
    /// A face with these corners (3 to 8, counter-clockwise from outside).
    pub fn new(points: &[V3], skin: Skin, lighting: &Lighting, texture_size: f32) -> Self {
        let count = points.len().min(CORNERS);
        let mut corners = [[0.0; 3]; CORNERS];
        corners[..count].copy_from_slice(&points[..count]);
        let e1 = sub(points[1], points[0]);
        let normal = normalize(cross(e1, sub(points[2], points[0])));
        let u = normalize(e1);
        let v = cross(normal, u);
        let length = |a: V3, b: V3| {
            let d = sub(a, b);
            dot(d, d).sqrt()
        };
        let (u_scale, v_scale) = match skin.lay {
            Lay::PerMetre(s) => (s, s),
            Lay::Fit(a, b) => {
                (a * texture_size / length(points[1], points[0]), b * texture_size / length(points[2], points[1]))
            }
        };
        let u_axis = u.map(|c| c * u_scale);
        let v_axis = v.map(|c| c * v_scale);
        // A hair above zero, so that rounding never makes a column negative.
        let low = |axis: V3| points.iter().map(|&p| dot(axis, p)).fold(f32::INFINITY, f32::min);
        let light = if skin.glow { [1.0; 3] } else { lighting.on(normal) };
        Self {
            corners,
            count,
            normal,
            offset: dot(normal, points[0]),
            u_axis,
            u0: 0.02 - low(u_axis),
            v_axis,
            v0: 0.02 - low(v_axis),
            density: u_scale.max(v_scale),
            texture: skin.texture,
            light: core::array::from_fn(|k| (light[k] * skin.tint[k]).min(1.0)),
        }
    }
}

impl Object {
    /// Sets the bounding sphere from the parts.
    pub fn bound(mut self) -> Self {
        let mut lo = [f32::INFINITY; 3];
        let mut hi = [f32::NEG_INFINITY; 3];
        let mut grow = |p: V3, r: V3| {
            for k in 0..3 {
                lo[k] = lo[k].min(p[k] - r[k]);
                hi[k] = hi[k].max(p[k] + r[k]);
            }
        };
        for face in &self.faces {
            for &corner in &face.corners[..face.count] {
                grow(corner, [0.0; 3]);
            }
        }
        for ball in &self.balls {
            grow(ball.center, [ball.radius, ball.radius, ball.height]);
        }
        let half = core::array::from_fn(|k| 0.5 * (hi[k] - lo[k]));
        self.center = core::array::from_fn(|k| 0.5 * (hi[k] + lo[k]));
        self.radius = dot(half, half).sqrt();
        self
    }
}
