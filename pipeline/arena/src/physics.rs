//! How the avatar moves: a kinematic cylinder on the solids of a map.
//!
//! One decision lasts 0.1 s and is integrated in four sub-steps. Movement is relative to the camera: the left stick
//! runs and strafes, the right stick turns, `a` jumps, `l3` sprints until the stick is let go, and the remaining
//! buttons swing at whatever is there, which slows the player down for a moment.

use playhouse_schemas::gamepad;

use crate::math::{V3, clamp, sin_cos, wrap};
use crate::world::World;

/// Seconds in one decision.
const DECISION: f32 = 0.1;
const SUBSTEPS: usize = 4;
const DT: f32 = DECISION / SUBSTEPS as f32;

/// Metres a second with the stick fully forward.
pub const RUN: f32 = 5.6;
/// Factor on [`RUN`] while sprinting.
const SPRINT: f32 = 1.32;
/// Radians a second with the right stick at its stop.
pub const TURN: f32 = 2.6;
/// Radius of the avatar.
pub const RADIUS: f32 = 0.38;
const HEIGHT: f32 = 1.75;
/// Ledges up to this height are walked onto.
const STEP: f32 = 0.32;
const JUMP: f32 = 6.2;
const GRAVITY: f32 = 16.0;
/// Below this height the avatar is lost.
pub const LOST: f32 = -4.0;
/// Limits of the camera's pitch.
const PITCH: [f32; 2] = [-0.55, 0.35];
/// Where the camera looks at the start.
pub const REST_PITCH: f32 = -0.13;
/// Seconds that a swing lasts.
const SWING: f32 = 0.3;
/// Distance of the chase camera when nothing is in its way, and its height over the feet.
pub const CAMERA_BACK: f32 = 3.9;
pub const CAMERA_UP: f32 = 2.35;

/// Stick value at the middle of each bucket.
const CENTRES: [f32; 11] = [-1.0, -0.85, -0.625, -0.375, -0.15, 0.0, 0.15, 0.375, 0.625, 0.85, 1.0];

/// Buttons that swing.
const SWINGS: [usize; 7] = [gamepad::B, gamepad::X, gamepad::Y, gamepad::LB, gamepad::RB, gamepad::LT, gamepad::RT];

/// Everything that moves.
#[derive(Clone, Debug)]
pub struct Body {
    /// Feet.
    pub at: V3,
    pub velocity: V3,
    /// Heading of the camera; 0 is east, a quarter turn is north.
    pub yaw: f32,
    pub pitch: f32,
    /// Heading of the avatar's nose.
    pub facing: f32,
    pub grounded: bool,
    pub sprinting: bool,
    /// Seconds left of the swing.
    pub swing: f32,
    /// Metres walked, for the legs.
    pub stride: f32,
    /// Something solid stopped the avatar in the last decision.
    pub blocked: bool,
    /// Distance from the pivot to the camera.
    pub camera: f32,
    /// Buttons of the previous decision.
    held: [bool; 12],
}

/// A gamepad action in physical units.
struct Stick {
    left: [f32; 2],
    right: [f32; 2],
}

/// Value of an axis component; anything out of range counts as the nearest bucket, anything missing as centred.
fn axis(action: &[u8], component: usize) -> f32 {
    let bucket = action.get(component).copied().unwrap_or(gamepad::CENTRE);
    CENTRES[usize::from(bucket).min(CENTRES.len() - 1)]
}

/// Response of a stick: fine near the centre, full at the stop.
pub fn turn_rate(v: f32) -> f32 {
    TURN * v * (0.3 + 0.7 * v.abs())
}

impl Body {
    pub fn new(at: [f32; 2], yaw: f32) -> Self {
        Self {
            at: [at[0], at[1], 0.0],
            velocity: [0.0; 3],
            yaw,
            pitch: REST_PITCH,
            facing: yaw,
            grounded: true,
            sprinting: false,
            swing: 0.0,
            stride: 0.0,
            blocked: false,
            camera: CAMERA_BACK,
            held: [false; 12],
        }
    }

    /// Plays one decision; `stop` ends it early (after a sub-step in which it returns true).
    pub fn decide(&mut self, world: &World, action: &[u8], mut stop: impl FnMut(&Self) -> bool) {
        let now: [bool; 12] = core::array::from_fn(|i| action.get(i).is_some_and(|&v| v != 0));
        let pressed = |i: usize| now[i] && !self.held[i];
        let stick = Stick {
            left: [axis(action, gamepad::LEFT_X), axis(action, gamepad::LEFT_Y)],
            right: [axis(action, gamepad::RIGHT_X), axis(action, gamepad::RIGHT_Y)],
        };
        if pressed(gamepad::A) && self.grounded {
            self.velocity[2] = JUMP;
            self.grounded = false;
        }
        if SWINGS.iter().any(|&i| pressed(i)) {
            self.swing = SWING;
        }
        if pressed(gamepad::L3) {
            self.sprinting = true;
        }
        if stick.left[1] < 0.5 {
            self.sprinting = false;
        }
        self.held = now;
        self.blocked = false;
        for _ in 0..SUBSTEPS {
            self.substep(world, &stick);
            if stop(self) {
                break;
            }
        }
        self.follow(world);
    }

    fn substep(&mut self, world: &World, stick: &Stick) {
        self.yaw = wrap(self.yaw - turn_rate(stick.right[0]) * DT);
        self.pitch = clamp(self.pitch + 1.2 * stick.right[1] * DT, PITCH[0], PITCH[1]);
        let (s, c) = sin_cos(self.yaw);
        let (mut x, mut y) = (stick.left[0], stick.left[1]);
        let n = (x * x + y * y).sqrt();
        if n > 1.0 {
            x /= n;
            y /= n;
        }
        // Strafing and walking backwards are slower.
        x *= 0.85;
        if y < 0.0 {
            y *= 0.7;
        }
        let mut speed = RUN;
        if self.sprinting {
            speed *= SPRINT;
        }
        if self.swing > 0.0 {
            speed *= 0.45;
        }
        let want = [speed * (y * c + x * s), speed * (y * s - x * c)];
        let grip = if self.grounded { 0.34 } else { 0.07 };
        for (v, w) in self.velocity.iter_mut().zip(want) {
            *v += (w - *v) * grip;
        }
        self.swing = (self.swing - DT).max(0.0);
        self.velocity[2] -= GRAVITY * DT;

        let from = self.at;
        let mut p = self.at;
        for (k, v) in self.velocity.iter().enumerate() {
            p[k] += v * DT;
        }
        let floor = self.slide(world, &mut p);
        // Under the rim of the island its cliffs are solid.
        if from[2] < -0.05 && world.ground.is_land(p[0], p[1]) {
            p = [from[0], from[1], p[2]];
            self.velocity[0] = 0.0;
            self.velocity[1] = 0.0;
        }
        let snap = if self.grounded && self.velocity[2] <= 0.0 { 0.25 } else { 0.0 };
        if p[2] <= floor + snap && self.velocity[2] <= 0.0 && from[2] >= floor - STEP - 0.05 {
            p[2] = floor;
            self.velocity[2] = 0.0;
            self.grounded = true;
        } else {
            self.grounded = false;
        }
        let (dx, dy) = (p[0] - from[0], p[1] - from[1]);
        let moved = (dx * dx + dy * dy).sqrt();
        if self.grounded {
            self.stride += moved;
        }
        if n > 0.2 {
            let (fx, fy) = (y * c + x * s, y * s - x * c);
            let turn = wrap(crate::math::atan2(fy, fx) - self.facing);
            self.facing = wrap(self.facing + turn * 0.3);
        }
        self.at = p;
    }

    /// Pushes `p` out of everything solid and returns the height of the floor under it (minus infinity over the void).
    fn slide(&mut self, world: &World, p: &mut V3) -> f32 {
        for _ in 0..2 {
            let mut touched = false;
            for (solid, bound) in world.near_with_bounds(p[0], p[1]) {
                if p[2] + HEIGHT <= solid.bottom || bound.is_far(p[0], p[1]) {
                    continue;
                }
                let c = solid.contact(p[0], p[1]);
                if c.gap >= RADIUS || p[2] >= c.top - STEP {
                    continue;
                }
                let push = RADIUS - c.gap;
                p[0] += c.out[0] * push;
                p[1] += c.out[1] * push;
                let into = self.velocity[0] * c.out[0] + self.velocity[1] * c.out[1];
                if into < 0.0 {
                    // Running along a wall is not being stopped by it.
                    self.blocked |= into < -1.5;
                    self.velocity[0] -= into * c.out[0];
                    self.velocity[1] -= into * c.out[1];
                }
                touched = true;
            }
            if !touched {
                break;
            }
        }
        floor_under(world, *p)
    }

    /// Height of what is under the feet, however far below; minus infinity over the void.
    pub fn floor(&self, world: &World) -> f32 {
        floor_under(world, self.at)
    }

    /// Point that the camera looks past: over the avatar's head.
    pub fn pivot(&self) -> V3 {
        [self.at[0], self.at[1], self.at[2] + CAMERA_UP]
    }

    /// Unit vector of the camera's view.
    pub fn view(&self) -> V3 {
        let ((sy, cy), (sp, cp)) = (sin_cos(self.yaw), sin_cos(self.pitch));
        [cp * cy, cp * sy, sp]
    }

    /// Pulls the camera in front of what would hide the avatar, and lets it out again gently.
    fn follow(&mut self, world: &World) {
        const PROBES: usize = 8;
        let (pivot, view) = (self.pivot(), self.view());
        let mut free = CAMERA_BACK;
        for i in 1..=PROBES {
            let d = CAMERA_BACK * i as f32 / PROBES as f32;
            let p = [pivot[0] - view[0] * d, pivot[1] - view[1] * d, pivot[2] - view[2] * d];
            if world.near_with_bounds(p[0], p[1]).any(|(s, bound)| !bound.is_far(p[0], p[1]) && s.holds(p, 0.25)) {
                free = CAMERA_BACK * (i - 1) as f32 / PROBES as f32;
                break;
            }
        }
        self.camera = if free < self.camera { free } else { self.camera + (free - self.camera) * 0.35 };
    }
}

/// Height of the highest thing that feet at `p` can stand on; minus infinity over the void.
fn floor_under(world: &World, p: V3) -> f32 {
    let mut floor = if world.ground.is_land(p[0], p[1]) { 0.0 } else { f32::NEG_INFINITY };
    for (solid, bound) in world.near_with_bounds(p[0], p[1]) {
        if p[2] + HEIGHT <= solid.bottom || bound.is_far(p[0], p[1]) {
            continue;
        }
        let c = solid.contact(p[0], p[1]);
        if c.gap < RADIUS * 0.4 && p[2] >= c.top - STEP && c.top > floor {
            floor = c.top;
        }
    }
    floor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::world;

    fn walk(body: &mut Body, action: &[u8], steps: usize) {
        let world = world("skygarden").unwrap();
        for _ in 0..steps {
            body.decide(world, action, |_| false);
        }
    }

    fn forward() -> [u8; 16] {
        let mut action = gamepad::neutral();
        action[gamepad::LEFT_Y] = 10;
        action
    }

    #[test]
    fn running_reaches_its_speed_and_sprinting_passes_it() {
        let mut body = Body::new([1.6, -20.0], core::f32::consts::PI / 2.0);
        walk(&mut body, &forward(), 10);
        let y = body.at[1];
        walk(&mut body, &forward(), 10);
        assert!((body.at[1] - y - RUN).abs() < 0.05, "{}", body.at[1] - y);
        let mut sprint = forward();
        sprint[gamepad::L3] = 1;
        let mut body = Body::new([1.6, -20.0], core::f32::consts::PI / 2.0);
        walk(&mut body, &sprint, 10);
        assert!(body.at[1] > y + 1.0);
    }

    #[test]
    fn turning_right_decreases_the_yaw_and_strafing_keeps_it() {
        let mut body = Body::new([0.0, -20.0], 1.5);
        let mut action = gamepad::neutral();
        action[gamepad::RIGHT_X] = 10;
        walk(&mut body, &action, 5);
        assert!((body.yaw - (1.5 - 0.5 * TURN)).abs() < 1e-3);
        let mut body = Body::new([0.0, -20.0], core::f32::consts::PI / 2.0);
        action = gamepad::neutral();
        action[gamepad::LEFT_X] = 10;
        walk(&mut body, &action, 10);
        assert!(body.at[0] > 2.0 && (body.at[1] + 20.0).abs() < 0.01);
    }

    #[test]
    fn a_wall_stops_and_a_jump_rises_once_a_press() {
        // The wall at (-7.5, -5) runs east; from the south one runs into it.
        let mut body = Body::new([-7.5, -9.0], core::f32::consts::PI / 2.0);
        walk(&mut body, &forward(), 12);
        assert!(body.at[1] < -5.0 && body.blocked, "{:?}", body.at);
        let mut jump = gamepad::neutral();
        jump[gamepad::A] = 1;
        let mut body = Body::new([0.0, -20.0], 0.0);
        let mut high = 0.0f32;
        for _ in 0..30 {
            walk(&mut body, &jump, 1);
            high = high.max(body.at[2]);
        }
        assert!(high > 0.8 && high < 1.4, "{high}");
        assert!(body.grounded, "a held button does not jump again");
    }

    #[test]
    fn whoever_runs_off_the_edge_falls() {
        let mut body = Body::new([0.0, -20.0], -core::f32::consts::PI / 2.0);
        walk(&mut body, &forward(), 40);
        assert!(body.at[2] < LOST, "{:?}", body.at);
    }

    #[test]
    fn a_pad_is_climbed_by_its_ramp() {
        let world = world("skygarden").unwrap();
        for pad in &world.pads {
            let (dx, dy) = (pad.center[0] - pad.foot[0], pad.center[1] - pad.foot[1]);
            let mut body = Body::new(pad.foot, crate::math::atan2(dy, dx));
            let mut there = false;
            for _ in 0..25 {
                body.decide(world, &forward(), |b| {
                    there |= pad.holds(b.at);
                    there
                });
            }
            assert!(there, "{:?} {:?}", pad, body.at);
        }
    }

    #[test]
    fn a_nonsense_action_does_not_panic() {
        let mut body = Body::new([0.0, -20.0], 0.0);
        walk(&mut body, &[255; 40], 3);
        walk(&mut body, &[], 3);
        assert!(body.at.iter().all(|v| v.is_finite()));
    }
}
