//! Maps: what is solid, what is seen, where pads and spawns are.
//!
//! ```text
//!                north (+y)          A map is 64 m square, centred on the origin; z = 0 is its floor.
//!        left    middle   right      Pads stand in the north, spawns in the south, so that left and right
//!          \       |       /         are what a player who faces the pads calls them.
//!            obstacles, holes
//!                spawns
//! ```
//!
//! A map is built once a process: written in the words of [`build`], its ground baked to a texture with the shadows in
//! it, its solids sorted into a grid of cells.

pub mod build;
pub mod ground;
mod maps;
pub mod scene;
pub mod solid;

use std::sync::OnceLock;

use crate::error::Error;
use crate::math::{V3, clamp};
use crate::player::route::Routes;
use build::{PAD_HALF, PAD_TOP, PLATE};
use ground::Ground;
use scene::{Beam, Lighting, Object};
use solid::Solid;

/// Half the side of a map, metres.
pub const HALF: f32 = 32.0;
/// Cells along a side of the grid.
const CELLS: usize = 16;
/// Side of a cell, metres.
const CELL: f32 = 2.0 * HALF / CELLS as f32;
/// Solids are listed in every cell that they come this near to.
const MARGIN: f32 = 1.2;

/// Colours of the air.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Sun and sky light.
    pub lighting: Lighting,
    /// Sky overhead, 0 to 1.
    pub zenith: V3,
    /// Sky at the horizon; also the colour of the fog.
    pub horizon: V3,
    /// What lies far below the land.
    pub abyss: V3,
    /// Colour of the clouds.
    pub cloud: V3,
    /// Distance at which half of a colour is lost in the fog, metres.
    pub haze: f32,
}

/// A jump pad.
#[derive(Clone, Debug)]
pub struct Pad {
    /// Middle of the plate.
    pub center: [f32; 2],
    /// Direction of the pad's local x axis.
    pub axis: [f32; 2],
    /// A point in front of the ramp, from which one walks straight up.
    pub foot: [f32; 2],
}

impl Pad {
    /// Whether feet at `p` are on the plate.
    pub fn holds(&self, p: V3) -> bool {
        let (dx, dy) = (p[0] - self.center[0], p[1] - self.center[1]);
        let lx = dx * self.axis[0] + dy * self.axis[1];
        let ly = dy * self.axis[0] - dx * self.axis[1];
        lx.abs() < PAD_HALF && ly.abs() < PLATE / 2.0 && p[2] > PAD_TOP - 0.1 && p[2] < PAD_TOP + 0.8
    }
}

/// A place where episodes begin.
#[derive(Clone, Debug)]
pub struct Spawn {
    /// Its name, unique on the map.
    pub name: &'static str,
    /// Where.
    pub at: [f32; 2],
    /// Mean heading, radians.
    pub heading: f32,
}

/// A finished map.
pub struct World {
    pub name: &'static str,
    /// Steps after which an episode is cut.
    pub limit: u32,
    pub look: Look,
    pub ground: Ground,
    pub solids: Vec<Solid>,
    pub objects: Vec<Object>,
    pub beams: Vec<Beam>,
    /// Left, middle, right.
    pub pads: Vec<Pad>,
    pub spawns: Vec<Spawn>,
    cells: Cells,
    routes: OnceLock<Routes>,
}

/// The grid: which solids are near each cell.
struct Cells {
    /// First index into `listed` of each cell, and one more.
    starts: Vec<u32>,
    listed: Vec<u16>,
    /// Parallel to `listed`.
    bounds: Vec<Bound>,
}

/// A circle that a body must touch to touch the solid within.
#[derive(Clone, Copy)]
pub struct Bound {
    center: [f32; 2],
    /// Square of its radius.
    square: f32,
}

/// Room round a solid's own circle: more than any body is wide, and than the rounding of what is compared.
const ROOM: f32 = 0.5;

impl Bound {
    fn of(solid: &Solid) -> Self {
        let radius = solid.reach() + ROOM;
        Self { center: solid.center, square: radius * radius }
    }

    /// Whether a point is so far away that its gap to the solid is above [`RADIUS`](crate::physics::RADIUS).
    pub fn is_far(&self, x: f32, y: f32) -> bool {
        let (dx, dy) = (x - self.center[0], y - self.center[1]);
        dx * dx + dy * dy > self.square
    }
}

impl Cells {
    fn sort(solids: &[Solid]) -> Self {
        let (mut starts, mut listed, mut bounds) = (vec![0], Vec::new(), Vec::new());
        for cell in 0..CELLS * CELLS {
            let x = -HALF + (cell % CELLS) as f32 * CELL;
            let y = -HALF + (cell / CELLS) as f32 * CELL;
            for (i, solid) in solids.iter().enumerate() {
                let [cx, cy] = solid.center;
                let (dx, dy) = (cx - clamp(cx, x, x + CELL), cy - clamp(cy, y, y + CELL));
                let reach = solid.reach() + MARGIN;
                if dx * dx + dy * dy < reach * reach {
                    listed.push(i as u16);
                    bounds.push(Bound::of(solid));
                }
            }
            starts.push(listed.len() as u32);
        }
        Self { starts, listed, bounds }
    }
}

impl World {
    /// Ways round the obstacles, surveyed at the first call.
    pub fn routes(&self) -> &Routes {
        self.routes.get_or_init(|| Routes::survey(self))
    }

    /// Solids within [`MARGIN`] of a point, and perhaps a few more.
    pub fn near(&self, x: f32, y: f32) -> impl Iterator<Item = &Solid> {
        self.near_with_bounds(x, y).map(|(solid, _)| solid)
    }

    /// The same, with what tells quickly that a solid is out of a body's reach.
    pub fn near_with_bounds(&self, x: f32, y: f32) -> impl Iterator<Item = (&Solid, &Bound)> {
        let cell = |v: f32| clamp((v + HALF) / CELL, 0.0, CELLS as f32 - 1.0) as usize;
        let i = cell(y) * CELLS + cell(x);
        let range = self.cells.starts[i] as usize..self.cells.starts[i + 1] as usize;
        let solids = self.cells.listed[range.clone()].iter().map(|&i| &self.solids[usize::from(i)]);
        solids.zip(&self.cells.bounds[range])
    }
}

/// The names of all maps.
pub fn names() -> &'static [&'static str] {
    &["skygarden", "courtyard", "canyon", "skygarden-astray"]
}

/// A map by name, built at the first call.
pub fn world(name: &str) -> Result<&'static World, Error> {
    static WORLDS: [OnceLock<World>; 4] = [const { OnceLock::new() }; 4];
    let builders = [maps::skygarden, maps::courtyard, maps::canyon, maps::skygarden_astray];
    names()
        .iter()
        .position(|n| *n == name)
        .map(|i| WORLDS[i].get_or_init(builders[i]))
        .ok_or_else(|| Error::UnknownMap { name: name.into(), known: names().join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_has_three_pads_and_enough_free_spawns() {
        for name in names() {
            let world = world(name).unwrap();
            assert_eq!(world.name, *name);
            assert_eq!(world.pads.len(), 3);
            assert!(world.spawns.len() >= 8, "{name}");
            let x: Vec<f32> = world.pads.iter().map(|p| p.center[0]).collect();
            assert!(x[0] < x[1] && x[1] < x[2], "{name}: {x:?}");
            for spawn in &world.spawns {
                assert!(world.ground.is_land(spawn.at[0], spawn.at[1]), "{name} {}", spawn.name);
                let p = [spawn.at[0], spawn.at[1], 0.2];
                assert!(!world.solids.iter().any(|s| s.holds(p, 0.6)), "{name} {}", spawn.name);
            }
        }
    }

    #[test]
    fn a_solid_that_a_body_touches_is_not_far() {
        let (mut far, mut all) = (0, 0);
        for name in names() {
            let world = world(name).unwrap();
            for i in 0..20_000 {
                let (x, y) = (-31.0 + (i % 141) as f32 * 0.44, -31.0 + (i / 141) as f32 * 0.44);
                for (solid, bound) in world.near_with_bounds(x, y) {
                    all += 1;
                    if bound.is_far(x, y) {
                        far += 1;
                        assert!(solid.contact(x, y).gap > crate::physics::RADIUS + 0.1, "{name} at {x}, {y}");
                    }
                }
            }
        }
        assert!(far * 3 > all, "{far} of {all} are far");
    }

    #[test]
    fn the_grid_lists_every_solid_that_is_near() {
        let world = world("skygarden").unwrap();
        for i in 0..4000 {
            let x = -31.0 + (i % 63) as f32;
            let y = -31.0 + (i / 63) as f32;
            let near = world.near(x, y).filter(|s| s.contact(x, y).gap < MARGIN).count();
            let all = world.solids.iter().filter(|s| s.contact(x, y).gap < MARGIN).count();
            assert_eq!(near, all, "at {x}, {y}");
        }
    }
}
