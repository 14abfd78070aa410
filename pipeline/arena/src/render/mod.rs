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
    use crate::arena::FRAME_BYTES;
    use crate::{Arena, Player, Start, maps};

    /// BLAKE3 of every frame of one `regular` player's episode, seed 11. A change of the picture or of the physics
    /// changes them; then look at the pictures (`cargo run -p playhouse-arena --example pictures -- FOLDER`) and, if
    /// they are right, put the printed values here. Frames that datasets left out no longer re-render after that.
    const GOLDEN: [(&str, &str); 3] = [
        ("skygarden", "8636f8fe1b8607b91d6d1abd93fcfa364eec6c485c9f27376222f5088152fece"),
        ("courtyard", "d3071e1a17245fbcf73786ed3146f7f350aeaf2a0e287aaf515febe9652ef98a"),
        ("canyon", "dc00fbb7115605d2f243264039566a0d77e74b3db6bcad9befd74ab43811d06d"),
    ];

    /// The hash of an episode's frames, and its length.
    fn episode(map: &str, isa: Isa) -> (String, u32) {
        let start = Start { map: map.into(), seed: 11, spawn: None, heading: None };
        let mut arena = Arena::new(&start).unwrap();
        let mut player = Player::new("regular", 11).unwrap();
        let mut renderer = Renderer::with(isa);
        let mut frame = vec![0; FRAME_BYTES];
        let mut hash = blake3::Hasher::new();
        while arena.outcome().is_none() {
            renderer.render(arena.world(), arena.body(), arena.t(), &mut frame);
            hash.update(&frame);
            let action = player.act(&arena);
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
                assert!(steps > 20, "{map}: too short to mean much");
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
