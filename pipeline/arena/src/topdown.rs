//! A map from straight above, for drawing where players went.

use crate::error::Error;
use crate::math::{clamp, lerp};
use crate::texture::{pack, textures, unpack};
use crate::world::{HALF, World, world};

/// An orthographic picture of a map.
#[derive(Clone, Debug)]
pub struct TopDown {
    /// `size` x `size` RGB, north at the top.
    pub rgb: Vec<u8>,
    /// West and south border, metres: the lower left corner of the picture.
    pub min: [f32; 2],
    /// East and north border.
    pub max: [f32; 2],
}

/// Draws a map from above, `size` pixels square.
///
/// # Errors
/// An unknown map.
pub fn top_down(map: &str, size: usize) -> Result<TopDown, Error> {
    let world = world(map)?;
    let mut rgb = Vec::with_capacity(size * size * 3);
    for row in 0..size {
        for column in 0..size {
            let place = |i: usize| ((i as f32 + 0.5) / size as f32 * 2.0 - 1.0) * HALF;
            let packed = pack(seen_from_above(world, place(column), -place(row)));
            rgb.extend_from_slice(&packed.to_le_bytes()[..3]);
        }
    }
    Ok(TopDown { rgb, min: [-HALF; 2], max: [HALF; 2] })
}

/// Colour of the highest thing at a point.
fn seen_from_above(world: &World, x: f32, y: f32) -> [f32; 3] {
    let mut colour = world.ground.colour(x, y).unwrap_or(world.look.abyss);
    let mut height = -0.1;
    for object in &world.objects {
        let (dx, dy) = (x - object.center[0], y - object.center[1]);
        let off = dx * dx + dy * dy;
        if off > object.radius * object.radius {
            continue;
        }
        for face in &object.faces {
            if face.normal[2] < 0.05 {
                continue;
            }
            let z = (face.offset - face.normal[0] * x - face.normal[1] * y) / face.normal[2];
            let inside = (0..face.count).all(|i| {
                let (a, b) = (face.corners[i], face.corners[(i + 1) % face.count]);
                (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) >= 0.0
            });
            if inside && z > height {
                height = z;
                let texel = |axis: [f32; 3], zero: f32| {
                    (axis[0] * x + axis[1] * y + axis[2] * z + zero) as usize % crate::texture::SIZE
                };
                let (u, v) = (texel(face.u_axis, face.u0), texel(face.v_axis, face.v0));
                let t = textures();
                let base = t.surfaces[face.texture].offset[0] as usize;
                let c = unpack(t.texels[base + v * crate::texture::SIZE + u]);
                colour = core::array::from_fn(|k| c[k] * face.light[k]);
            }
        }
        for ball in &object.balls {
            let (bx, by) = (x - ball.center[0], y - ball.center[1]);
            let s = 1.0 - (bx * bx + by * by) / (ball.radius * ball.radius);
            if s > 0.0 && ball.center[2] + ball.height * s.sqrt() > height {
                height = ball.center[2] + ball.height * s.sqrt();
                let shade = lerp(0.55, 0.95, clamp(s.sqrt() - 0.3 * (bx + by) / ball.radius, 0.0, 1.0));
                colour = ball.tint.map(|c| c * shade);
            }
        }
    }
    colour
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn north_is_up_and_left_is_left() {
        let picture = top_down("skygarden", 256).unwrap();
        assert_eq!(picture.rgb.len(), 256 * 256 * 3);
        let at = |x: f32, y: f32| {
            let column = ((x - picture.min[0]) / (picture.max[0] - picture.min[0]) * 256.0) as usize;
            let row = ((picture.max[1] - y) / (picture.max[1] - picture.min[1]) * 256.0) as usize;
            let i = (row * 256 + column) * 3;
            [picture.rgb[i], picture.rgb[i + 1], picture.rgb[i + 2]]
        };
        let [r, _, b] = at(-18.0, 13.5);
        assert!(r > b.saturating_mul(2), "the left pad is red");
        let [r, _, b] = at(18.0, 13.5);
        assert!(b > r.saturating_mul(2), "the right pad is blue");
        assert!(top_down("moon", 8).is_err());
    }
}
