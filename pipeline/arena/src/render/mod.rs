//! Pictures of a map, as the player sees it.

use crate::math::cross;
use crate::physics::Body;
use crate::texture::pack;
use crate::world::World;

/// Buffers of one picture.
pub struct Renderer;

impl Renderer {
    pub fn boxed() -> Box<Self> {
        Box::new(Self)
    }

    pub fn render(&mut self, world: &World, body: &Body, _t: u32, out: &mut [u8]) {
        let view = body.view();
        let (s, c) = crate::math::sin_cos(body.yaw);
        let right = [s, -c, 0.0];
        let up = cross(right, view);
        let pivot = body.pivot();
        let eye: [f32; 3] = core::array::from_fn(|k| pivot[k] - view[k] * body.camera);
        for (i, px) in out.chunks_exact_mut(3).take(128 * 128).enumerate() {
            let (x, y) = (((i % 128) as f32 - 63.5) / 76.0, (63.5 - (i / 128) as f32) / 76.0);
            let d: [f32; 3] = core::array::from_fn(|k| view[k] + x * right[k] + y * up[k]);
            let mut colour = world.look.horizon;
            if d[2] < -1e-4 {
                let t = -eye[2] / d[2];
                if let Some(g) = world.ground.colour(eye[0] + t * d[0], eye[1] + t * d[1]) {
                    colour = g;
                }
            }
            px.copy_from_slice(&pack(colour).to_le_bytes()[..3]);
        }
    }
}
