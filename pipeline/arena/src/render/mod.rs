//! Pictures of a map, as the player sees it.
//!
//! ```text
//! objects, front to back        polygon, ball      colour and nearness where nearer than what is there
//! the avatar                    ball
//! backdrop                      ground, sky        where nothing was drawn
//! shadow under the avatar       glow::shadow       darkens
//! sun, beams over the pads      glow               adds
//! ```
//!
//! Drawing near things first means that most hidden pixels cost one comparison.

mod avatar;
mod backdrop;
mod ball;
mod camera;
mod frame;
mod glow;
mod polygon;

use crate::math::{dot, sub};
use crate::physics::Body;
use crate::simd::Isa;
use crate::world::World;
use camera::{Camera, Fog};
use frame::Frame;

/// Buffers of one picture.
pub struct Renderer {
    isa: Isa,
    frame: Frame,
    /// Squared distance and index of the objects in view.
    order: Vec<(f32, usize)>,
    spans: polygon::Spans,
}

impl Renderer {
    /// A renderer for this machine.
    pub fn boxed() -> Box<Self> {
        Self::with(Isa::best())
    }

    /// A renderer that uses one instruction set.
    pub fn with(isa: Isa) -> Box<Self> {
        Box::new(Self { isa, frame: Frame::new(), order: Vec::new(), spans: polygon::Spans::new() })
    }

    /// Draws what a body sees at time `t` into `out`.
    pub fn render(&mut self, world: &World, body: &Body, t: u32, out: &mut [u8]) {
        let camera = Camera::behind(body);
        let fog = Fog::new(&world.look);
        let lighting = &world.look.lighting;
        let (isa, frame) = (self.isa, &mut self.frame);
        frame.clear();

        self.order.clear();
        for (i, object) in world.objects.iter().enumerate() {
            if Camera::shows(camera.see(object.center), object.radius) {
                let d = sub(object.center, camera.eye);
                self.order.push((dot(d, d), i));
            }
        }
        self.order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));

        // Too close, the figure would only be in the way.
        if body.camera > 1.0 {
            for part in avatar::parts(body) {
                ball::draw(isa, frame, &camera, fog, lighting, &part);
            }
        }
        for &(_, i) in &self.order {
            let object = &world.objects[i];
            for face in &object.faces {
                polygon::draw(isa, frame, &mut self.spans, &camera, fog, face);
            }
            for round in &object.balls {
                ball::draw(isa, frame, &camera, fog, lighting, round);
            }
        }
        backdrop::draw(isa, frame, &camera, fog, &world.look, &world.ground, t);
        let floor = body.floor(world);
        if floor > -1.0 {
            glow::shadow(isa, frame, &camera, [body.at[0], body.at[1]], floor, 0.55);
        }
        glow::sun(isa, frame, &camera, lighting.sun, lighting.direct);
        for beam in &world.beams {
            glow::beam(isa, frame, &camera, beam);
        }
        frame.write_rgb(isa, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use playhouse_schemas::gamepad;

    use crate::arena::FRAME_BYTES;
    use crate::math::Dice;
    use crate::{Arena, Player, Start, maps};

    /// Draws the start and the actions of the golden episodes. With this one, they cross each map and end on a pad.
    const SEED: u64 = 178;

    /// BLAKE3 of every frame of one episode. No player has a part in it, so only a change of the picture, of a map or
    /// of the physics changes them; then look at the pictures (`cargo run -p playhouse-arena --example pictures --
    /// FOLDER`) and, if they are right, put the printed values here. Frames that datasets left out no longer re-render
    /// after that.
    const GOLDEN: [(&str, &str); 4] = [
        ("skygarden", "d611acbd745ee123e9d318f2011e0b7f48aa17d6fa1f0ff2c51f7cb00401c46d"),
        ("courtyard", "5f964a07b92f57a7a729b077dd4cbafa9406ae53b07be437b4f666d65a4f58a1"),
        ("canyon", "ba46892769523ebb7dfda8153ae9efac2ef8388099b0ed59a2584a817334c2d3"),
        ("skygarden-astray", "2c99860c46809f7a4a61c04b5211741d2b640fc4a69054158ff044d2b0486105"),
    ];

    /// The hash of an episode's frames, and its length. Whoever plays mostly runs, and turns, looks up and down and
    /// jumps now and then.
    fn episode(map: &str, isa: Isa) -> (String, u32) {
        let start = Start { map: map.into(), seed: SEED, spawn: None, heading: None };
        let mut arena = Arena::new(&start).unwrap();
        let (mut dice, mut action, mut held) = (Dice::new(SEED, 0), gamepad::neutral(), 0);
        let mut renderer = Renderer::with(isa);
        let mut frame = vec![0; FRAME_BYTES];
        let mut hash = blake3::Hasher::new();
        while arena.outcome().is_none() {
            renderer.render(arena.world(), arena.body(), arena.t(), &mut frame);
            hash.update(&frame);
            if held == 0 {
                held = 3 + dice.below(6);
                action[gamepad::LEFT_Y] = if dice.chance(0.8) { 10 } else { 3 };
                action[gamepad::RIGHT_X] = 2 + dice.below(7) as u8;
                action[gamepad::RIGHT_Y] = 4 + dice.below(3) as u8;
                action[gamepad::A] = u8::from(dice.chance(0.2));
            }
            held -= 1;
            arena.step(&action);
        }
        (hash.finalize().to_hex().to_string(), arena.t())
    }

    #[test]
    fn whole_frames_are_golden_on_every_instruction_set() {
        let mut wrong = Vec::new();
        for (map, want) in GOLDEN {
            for isa in Isa::available() {
                let (hash, steps) = episode(map, isa);
                assert!(steps > 100, "{map}: {steps} steps are too few to mean much");
                if hash != want {
                    wrong.push(format!("{map} {isa:?}: {hash}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(GOLDEN.map(|g| g.0).as_slice(), maps());
    }

    #[test]
    fn a_frame_does_not_depend_on_earlier_ones() {
        let start = Start { map: "skygarden".into(), seed: 2, spawn: None, heading: None };
        let (mut always, mut once) = (Arena::new(&start).unwrap(), Arena::new(&start).unwrap());
        let mut player = Player::new("novice", 2).unwrap();
        let (mut a, mut b) = (vec![0; FRAME_BYTES], vec![7; FRAME_BYTES]);
        for _ in 0..30 {
            always.render(&mut a);
            let action = player.act(&always);
            always.step(&action);
            once.step(&action);
        }
        always.render(&mut a);
        once.render(&mut b);
        assert!(a == b);
        assert!(a.iter().any(|&v| v != a[0]), "an empty picture");
    }

    #[test]
    fn a_short_buffer_is_left_alone_beyond_its_end_and_nothing_panics() {
        let start = Start { map: "canyon".into(), seed: 2, spawn: None, heading: None };
        let mut arena = Arena::new(&start).unwrap();
        arena.render(&mut []);
        arena.render(&mut [0; 100]);
    }
}
