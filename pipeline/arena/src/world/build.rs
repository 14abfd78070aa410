//! The words that maps are written in: walls, crates, trees, pads, spawns.

use std::sync::OnceLock;

use super::ground::{Ground, Paint, Plan, sides};
use super::scene::{Ball, Beam, Face, Lay, Lighting, Object, Skin};
use super::solid::Solid;
use super::{Cells, Look, Pad, Spawn, World};
use crate::math::{V3, sin_cos};
use crate::texture::{SIZE, id};

/// Texels a metre on most surfaces.
const DENSITY: f32 = 24.0;

/// Half the width of a pad's ramp and plate.
pub const PAD_HALF: f32 = 2.0;
/// Length of a pad's ramp along the ground.
pub const RAMP: f32 = 4.5;
/// Depth of a pad's plate.
pub const PLATE: f32 = 3.0;
/// Height of a pad's plate.
pub const PAD_TOP: f32 = 1.1;

/// A surface: texture and tint.
pub type Stuff = (usize, V3);

/// A map under construction.
pub struct Builder {
    look: Look,
    outlines: Vec<Vec<[f32; 2]>>,
    solids: Vec<Solid>,
    objects: Vec<Object>,
    beams: Vec<Beam>,
    pads: Vec<Pad>,
    spawns: Vec<Spawn>,
}

/// A closed ring round a centre: `radius(angle)` at `n` even steps.
pub fn ring(center: [f32; 2], n: usize, radius: impl Fn(f32) -> [f32; 2]) -> Vec<[f32; 2]> {
    (0..n)
        .map(|i| {
            let angle = core::f32::consts::TAU * i as f32 / n as f32;
            let (s, c) = sin_cos(angle);
            let r = radius(angle);
            [center[0] + r[0] * c, center[1] + r[1] * s]
        })
        .collect()
}

impl Builder {
    pub fn new(look: Look) -> Self {
        Self {
            look,
            outlines: Vec::new(),
            solids: Vec::new(),
            objects: Vec::new(),
            beams: Vec::new(),
            pads: Vec::new(),
            spawns: Vec::new(),
        }
    }

    fn lighting(&self) -> Lighting {
        self.look.lighting
    }

    fn face(&self, points: &[V3], stuff: Stuff, lay: Lay, glow: bool) -> Face {
        let skin = Skin { texture: stuff.0, tint: stuff.1, lay, glow };
        Face::new(points, skin, &self.lighting(), SIZE as f32)
    }

    /// An outline of the land, or of a hole in it, with cliffs below.
    pub fn outline(&mut self, points: Vec<[f32; 2]>, cliff: Stuff) {
        self.outlines.push(points);
        let k = self.outlines.len() - 1;
        let all: Vec<_> = self.outlines.clone();
        // The land is on the left of a counter-clockwise outline; a hole turns the wall round.
        let area: f32 = sides(&all[k]).map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum();
        let outward = (area > 0.0) != (k > 0);
        for (a, b) in sides(&all[k]) {
            let (a, b) = if outward { (a, b) } else { (b, a) };
            // A little under the land and longer than the side, so that no sky shows between the land's texels, which
            // are squares, and the walls below them.
            let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
            let n = 0.12 / (dx * dx + dy * dy).sqrt();
            let (a, b) =
                ([a[0] - dx * n - dy * n, a[1] - dy * n + dx * n], [b[0] + dx * n - dy * n, b[1] + dy * n + dx * n]);
            let deep = -8.0;
            let wall = self.face(
                &[[a[0], a[1], deep], [b[0], b[1], deep], [b[0], b[1], 0.0], [a[0], a[1], 0.0]],
                cliff,
                Lay::PerMetre(12.0),
                false,
            );
            let object = Object { faces: vec![wall], ..Object::default() };
            self.objects.push(object.bound());
        }
    }

    /// A box: centre and yaw, width and depth, lower and upper height.
    pub fn block(&mut self, [x, y, yaw]: [f32; 3], size: [f32; 2], z: [f32; 2], side: Stuff, top: Stuff) {
        let lay = Lay::PerMetre(DENSITY);
        self.block_laid(rectangle([x, y], yaw, size, z), (side, lay), (top, lay));
    }

    fn block_laid(&mut self, solid: Solid, side: (Stuff, Lay), top: (Stuff, Lay)) {
        let (low, high) = (solid.bottom, solid.top);
        let corner = corners(&solid);
        let mut faces = Vec::new();
        for i in 0..4 {
            let (a, b) = (corner[i], corner[(i + 1) % 4]);
            let wall = [[a[0], a[1], low], [b[0], b[1], low], [b[0], b[1], high], [a[0], a[1], high]];
            faces.push(self.face(&wall, side.0, side.1, false));
        }
        let lid: Vec<V3> = corner.iter().map(|c| [c[0], c[1], high]).collect();
        faces.push(self.face(&lid, top.0, top.1, false));
        if low > 0.5 {
            let floor: Vec<V3> = corner.iter().rev().map(|c| [c[0], c[1], low]).collect();
            faces.push(self.face(&floor, side.0, side.1, false));
        }
        self.solids.push(solid);
        self.push(faces, Vec::new());
    }

    fn push(&mut self, faces: Vec<Face>, balls: Vec<Ball>) {
        let object = Object { faces, balls, ..Object::default() };
        self.objects.push(object.bound());
    }

    /// A wooden box with equal sides.
    pub fn crate_box(&mut self, x: f32, y: f32, yaw: f32, side: f32, tint: V3) {
        let stuff = ((id::CRATE, tint), Lay::Fit(1.0, 1.0));
        self.block_laid(rectangle([x, y], yaw, [side, side], [0.0, side]), stuff, stuff);
    }

    /// An upright prism with `n` sides, of these radii at the foot and at the head.
    fn prism(&self, at: [f32; 2], n: usize, radius: [f32; 2], z: [f32; 2], stuff: Stuff, lid: bool) -> Vec<Face> {
        let foot = ring(at, n, |_| [radius[0]; 2]);
        let head = ring(at, n, |_| [radius[1]; 2]);
        let mut faces = Vec::new();
        for i in 0..n {
            let j = (i + 1) % n;
            let (a, b, c, d) = (foot[i], foot[j], head[j], head[i]);
            let mut points = vec![[a[0], a[1], z[0]], [b[0], b[1], z[0]], [c[0], c[1], z[1]]];
            if radius[1] > 0.0 {
                points.push([d[0], d[1], z[1]]);
            }
            faces.push(self.face(&points, stuff, Lay::PerMetre(DENSITY), false));
        }
        if lid {
            let points: Vec<V3> = head.iter().map(|p| [p[0], p[1], z[1]]).collect();
            faces.push(self.face(&points, stuff, Lay::PerMetre(DENSITY), false));
        }
        if z[0] > 1.0 {
            let points: Vec<V3> = foot.iter().rev().map(|p| [p[0], p[1], z[0]]).collect();
            faces.push(self.face(&points, stuff, Lay::PerMetre(DENSITY), false));
        }
        faces
    }

    fn disc(&mut self, x: f32, y: f32, radius: f32, top: f32) {
        self.solids.push(Solid {
            center: [x, y],
            axis: [1.0, 0.0],
            half: [radius, radius],
            round: true,
            bottom: 0.0,
            top,
            slope: 0.0,
        });
    }

    /// A round column.
    pub fn pillar(&mut self, x: f32, y: f32, radius: f32, height: f32, stuff: Stuff) {
        let mut faces = self.prism([x, y], 8, [radius, radius * 0.9], [0.0, height], stuff, false);
        faces.extend(self.prism([x, y], 8, [radius * 1.25; 2], [height, height + 0.35], stuff, true));
        self.disc(x, y, radius, height + 0.35);
        self.push(faces, Vec::new());
    }

    /// A broad-leaved tree.
    pub fn tree(&mut self, x: f32, y: f32, height: f32, leaf: V3) {
        let faces = self.prism([x, y], 5, [0.32, 0.22], [0.0, height * 0.62], (id::BARK, [0.55, 0.4, 0.28]), false);
        let r = height * 0.27;
        let ball = |dx: f32, dy: f32, z: f32, size: f32, shade: f32| Ball {
            center: [x + dx * r, y + dy * r, height * z],
            radius: r * size,
            height: r * size * 0.9,
            texture: id::LEAF,
            tint: leaf.map(|c| c * shade),
        };
        let balls = vec![
            ball(0.0, 0.0, 0.84, 0.95, 1.0),
            ball(0.62, 0.25, 0.66, 0.8, 0.92),
            ball(-0.5, 0.45, 0.69, 0.78, 0.96),
            ball(-0.1, -0.62, 0.64, 0.76, 0.88),
        ];
        self.disc(x, y, 0.4, height * 0.6);
        self.push(faces, balls);
    }

    /// A conifer.
    pub fn pine(&mut self, x: f32, y: f32, height: f32, leaf: V3) {
        let mut faces = self.prism([x, y], 4, [0.25, 0.2], [0.0, height * 0.3], (id::BARK, [0.5, 0.36, 0.26]), false);
        let r = height * 0.27;
        faces.extend(self.prism([x, y], 6, [r, 0.0], [height * 0.2, height * 0.68], (id::LEAF, leaf), false));
        let light = leaf.map(|c| c * 1.1);
        faces.extend(self.prism([x, y], 6, [r * 0.7, 0.0], [height * 0.5, height], (id::LEAF, light), false));
        self.disc(x, y, 0.4, height * 0.7);
        self.push(faces, Vec::new());
    }

    /// A bush or boulder that is too high to step on.
    pub fn mound(&mut self, x: f32, y: f32, radius: f32, height: f32, stuff: Stuff) {
        let ball = |dx: f32, dy: f32, size: f32, shade: f32| Ball {
            center: [x + dx * radius, y + dy * radius, height * 0.3 * size],
            radius: radius * size,
            height: height * 0.7 * size,
            texture: stuff.0,
            tint: stuff.1.map(|c| c * shade),
        };
        let balls = vec![ball(0.0, 0.0, 1.0, 1.0), ball(0.5, -0.3, 0.72, 0.92), ball(-0.5, 0.25, 0.66, 0.95)];
        self.disc(x, y, radius * 0.9, height);
        self.push(Vec::new(), balls);
    }

    /// A jump pad: ramp, plate, gate behind it and a beam of light. (x, y) is the middle of the plate; the ramp
    /// rises towards the direction `yaw` (0 is north, positive turns left).
    pub fn pad(&mut self, x: f32, y: f32, yaw: f32, pattern: usize, tint: V3, stone: Stuff) {
        let (s, c) = sin_cos(yaw);
        let place = |lx: f32, ly: f32| [x + lx * c - ly * s, y + lx * s + ly * c];
        let at = |lx: f32, ly: f32, z: f32| {
            let p = place(lx, ly);
            [p[0], p[1], z]
        };
        let (w, front, foot) = (PAD_HALF, -PLATE / 2.0, -PLATE / 2.0 - RAMP);
        let painted = (pattern, tint);
        let dark = (stone.0, tint.map(|t| 0.25 + 0.5 * t));
        let stripe = Lay::Fit(2.0, 2.0);
        let mut faces = vec![
            self.face(
                &[at(-w, foot, 0.0), at(w, foot, 0.0), at(w, front, PAD_TOP), at(-w, front, PAD_TOP)],
                painted,
                stripe,
                true,
            ),
            self.face(
                &[at(w, foot, 0.0), at(w, front, 0.0), at(w, front, PAD_TOP)],
                dark,
                Lay::PerMetre(DENSITY),
                false,
            ),
            self.face(
                &[at(-w, front, 0.0), at(-w, foot, 0.0), at(-w, front, PAD_TOP)],
                dark,
                Lay::PerMetre(DENSITY),
                false,
            ),
        ];
        // The ramp as a solid: its middle is half-way up.
        let middle = place(0.0, (front + foot) / 2.0);
        self.solids.push(Solid {
            center: middle,
            axis: [c, s],
            half: [w, RAMP / 2.0],
            round: false,
            bottom: 0.0,
            top: PAD_TOP / 2.0,
            slope: PAD_TOP / RAMP,
        });
        self.push(core::mem::take(&mut faces), Vec::new());
        let plate = ((id::RINGS, tint.map(|t| (t * 1.1).min(1.0))), Lay::Fit(1.0, 1.0));
        let block = rectangle([x, y], yaw, [2.0 * w, PLATE], [0.0, PAD_TOP]);
        self.block_laid(block, (dark, Lay::PerMetre(DENSITY)), plate);
        // The gate: two posts and a painted sign, behind the plate.
        for side in [-1.0, 1.0] {
            let p = place(side * (w + 0.1), PLATE / 2.0 - 0.1);
            self.block([p[0], p[1], yaw], [0.6, 0.6], [0.0, 6.4], (id::PLAIN, tint), (id::PLAIN, tint));
        }
        let p = place(0.0, PLATE / 2.0 - 0.1);
        let sign = ((pattern, tint), Lay::Fit(2.0, 1.0));
        self.block_laid(rectangle(p, yaw, [2.0 * w + 0.8, 0.4], [4.2, 6.4]), sign, sign);
        self.beams.push(Beam {
            foot: [x, y, PAD_TOP],
            radius: 1.5,
            height: 22.0,
            colour: tint.map(|t| 40.0 + 215.0 * t),
        });
        self.pads.push(Pad { center: [x, y], axis: [c, s], foot: place(0.0, foot - 0.8) });
    }

    /// A place where episodes begin; `heading` is the mean heading (0 is east, a quarter turn is north).
    pub fn spawn(&mut self, name: &'static str, x: f32, y: f32, heading: f32) {
        self.spawns.push(Spawn { name, at: [x, y], heading });
    }

    /// A distant floating rock, only to look at.
    pub fn islet(&mut self, x: f32, y: f32, z: f32, radius: f32, grass: V3, rock: V3) {
        let rim = ring([x, y], 8, |a| [radius * (0.9 + 0.2 * sin_cos(a * 3.0 + x).0); 2]);
        let tip = [x + radius * 0.2, y, z - radius * 1.5];
        let mut faces = Vec::new();
        for (a, b) in sides(&rim) {
            faces.push(self.face(
                &[tip, [b[0], b[1], z], [a[0], a[1], z]],
                (id::CLIFF, rock),
                Lay::PerMetre(2.0),
                false,
            ));
            let lift = radius * 0.35;
            faces.push(self.face(
                &[[a[0], a[1], z], [b[0], b[1], z], [x, y, z + lift]],
                (id::LEAF, grass),
                Lay::PerMetre(2.0),
                false,
            ));
        }
        self.push(faces, Vec::new());
    }

    /// Bakes the ground and closes the map.
    pub fn finish(self, name: &'static str, limit: u32, paint: Paint) -> World {
        let ground = Ground::bake(&Plan {
            outlines: &self.outlines,
            paint,
            solids: &self.solids,
            objects: &self.objects,
            lighting: &self.look.lighting,
        });
        World {
            name,
            limit,
            look: self.look,
            ground,
            cells: Cells::sort(&self.solids),
            solids: self.solids,
            objects: self.objects,
            beams: self.beams,
            pads: self.pads,
            spawns: self.spawns,
            routes: OnceLock::new(),
        }
    }
}

fn rectangle(center: [f32; 2], yaw: f32, size: [f32; 2], z: [f32; 2]) -> Solid {
    let (s, c) = sin_cos(yaw);
    Solid {
        center,
        axis: [c, s],
        half: [size[0] / 2.0, size[1] / 2.0],
        round: false,
        bottom: z[0],
        top: z[1],
        slope: 0.0,
    }
}

/// Corners of a rectangle, counter-clockwise.
fn corners(solid: &Solid) -> [[f32; 2]; 4] {
    [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]].map(|[a, b]| {
        let (lx, ly) = (a * solid.half[0], b * solid.half[1]);
        [
            solid.center[0] + lx * solid.axis[0] - ly * solid.axis[1],
            solid.center[1] + lx * solid.axis[1] + ly * solid.axis[0],
        ]
    })
}
