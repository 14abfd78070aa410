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
        Box::new(Self {
            isa,
            frame: Frame::new(),
            order: Vec::new(),
            spans: polygon::Spans::new(),
        })
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
