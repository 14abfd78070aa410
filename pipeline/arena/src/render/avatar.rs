//! The player's own figure.

use crate::math::{V3, lerp, sin_cos};
use crate::physics::Body;
use crate::texture::id;
use crate::world::scene::Ball;

/// Parts of the figure.
pub const PARTS: usize = 7;

const SUIT: V3 = [0.94, 0.94, 0.96];
const TROUSERS: V3 = [0.24, 0.26, 0.34];
const HELMET: V3 = [0.20, 0.70, 0.52];
const PACK: V3 = [0.46, 0.34, 0.62];
const SPARK: V3 = [1.0, 1.0, 0.92];

/// The figure in the pose of a body: legs that stride, an arm that swings.
pub fn parts(body: &Body) -> [Ball; PARTS] {
    let (s, c) = sin_cos(body.facing);
    // Forward, left, up, relative to the feet.
    let place = |f: f32, side: f32, z: f32| -> V3 {
        [body.at[0] + f * c - side * s, body.at[1] + f * s + side * c, body.at[2] + z]
    };
    let ball =
        |center: V3, radius: f32, height: f32, tint: V3| Ball { center, radius, height, texture: id::PLAIN, tint };
    let stride = if body.grounded {
        let speed = (body.velocity[0] * body.velocity[0] + body.velocity[1] * body.velocity[1]).sqrt();
        sin_cos(body.stride * 2.6).0 * 0.3 * (speed * 0.25).min(1.0)
    } else {
        0.22
    };
    let lift = |k: f32| 0.3 + 0.12 * (k.max(0.0));
    // The swing goes from the right shoulder to the front.
    let swing = body.swing / 0.3;
    let arm = if body.swing > 0.0 {
        place(lerp(0.7, 0.2, swing), lerp(0.25, -0.6, swing), 1.25)
    } else {
        place(-stride * 0.6, -0.36, 0.95)
    };
    let (arm_size, arm_tint) = if body.swing > 0.0 { (0.26, SPARK) } else { (0.13, SUIT) };
    [
        ball(place(stride, 0.15, lift(stride)), 0.16, 0.32, TROUSERS),
        ball(place(-stride, -0.15, lift(-stride)), 0.16, 0.32, TROUSERS),
        ball(place(0.0, 0.0, 1.0), 0.31, 0.44, SUIT),
        ball(place(-0.22, 0.0, 1.08), 0.21, 0.28, PACK),
        ball(place(0.03, 0.0, 1.58), 0.23, 0.24, HELMET),
        ball(place(stride * 0.6, 0.36, 0.95), 0.13, 0.3, SUIT),
        ball(arm, arm_size, arm_size * 1.6, arm_tint),
    ]
}
