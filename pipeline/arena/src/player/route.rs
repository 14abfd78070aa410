//! Ways round obstacles, known to scripted players only.
//!
//! A map is a grid of half-metre cells. For each place worth going to there is a field: the cost of the cheapest way
//! there from every cell, where cells near walls and edges are dear. A player looks a few cells ahead along the way and
//! heads for the farthest of them that it could run to in a straight line.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::math::{Dice, clamp, sin_cos};
use crate::physics::RADIUS;
use crate::world::{HALF, World};

/// Cells along a side.
const CELLS: usize = 128;
/// Side of a cell, metres.
const CELL: f32 = 2.0 * HALF / CELLS as f32;
/// Cells that a player looks ahead.
const AHEAD: usize = 26;
/// Cost of one cell in the open.
const STEP: u32 = 10;
/// Cost that stands for no way at all.
const NEVER: u32 = u32::MAX;

/// Where one may walk, and the fields.
pub struct Routes {
    /// Factor on the cost of each cell; 0 over the void.
    cost: Vec<u8>,
    fields: Vec<Vec<u32>>,
    /// Indices of the fields of places in the open.
    pub lookouts: Vec<usize>,
    /// Indices of the fields of places at an edge, and a point beyond it.
    pub rims: Vec<(usize, [f32; 2])>,
}

/// Factor on the cost of cells inside obstacles: a player who got there must get out again.
const INSIDE: u8 = 40;

fn centre(i: usize) -> [f32; 2] {
    [-HALF + ((i % CELLS) as f32 + 0.5) * CELL, -HALF + ((i / CELLS) as f32 + 0.5) * CELL]
}

fn cell(x: f32, y: f32) -> usize {
    let q = |v: f32| clamp((v + HALF) / CELL, 0.0, CELLS as f32 - 1.0) as usize;
    q(y) * CELLS + q(x)
}

/// Cost factor of a cell, and a point over the void if there is one near.
fn survey(world: &World, i: usize) -> (u8, Option<[f32; 2]>) {
    let [x, y] = centre(i);
    if !world.ground.is_land(x, y) {
        return (0, None);
    }
    let void = |radius: f32| {
        (0..8).find_map(|k| {
            let (s, c) = sin_cos(k as f32 * core::f32::consts::PI / 4.0);
            let p = [x + radius * c, y + radius * s];
            (!world.ground.is_land(p[0], p[1])).then_some(p)
        })
    };
    let gap = world
        .near(x, y)
        .filter(|s| s.bottom < 1.5 && s.peak() > 0.3)
        .map(|s| s.contact(x, y).gap)
        .fold(f32::INFINITY, f32::min);
    let rim = void(0.8);
    let factor = if gap < RADIUS + 0.1 || rim.is_some() {
        INSIDE
    } else if gap < 0.9 || void(1.4).is_some() {
        3
    } else {
        1
    };
    (factor, rim)
}

impl Routes {
    /// Surveys a map. Fields 0, 1, 2 lead to the feet of its pads.
    pub fn survey(world: &World) -> Self {
        let (mut cost, mut rims) = (Vec::new(), Vec::new());
        for i in 0..CELLS * CELLS {
            let (factor, rim) = survey(world, i);
            cost.push(factor);
            rims.extend(rim.map(|p| (i, p)));
        }
        let mut routes = Self { cost, fields: Vec::new(), lookouts: Vec::new(), rims: Vec::new() };
        for pad in &world.pads {
            routes.add(cell(pad.foot[0], pad.foot[1]));
        }
        let mut dice = Dice::new(0, 40);
        while routes.lookouts.len() < 10 {
            let i = dice.below(CELLS * CELLS);
            // A place that cannot be reached from the first pad is no place to go.
            if routes.cost[i] == 1 && routes.fields[0][i] != NEVER {
                let field = routes.add(i);
                routes.lookouts.push(field);
            }
        }
        for _ in 0..10 {
            let (i, beyond) = rims[dice.below(rims.len())];
            let field = routes.add(i);
            routes.rims.push((field, beyond));
        }
        routes
    }

    fn add(&mut self, goal: usize) -> usize {
        self.fields.push(self.field(goal));
        self.fields.len() - 1
    }

    /// Neighbours of a cell and the cost of going there, walls and edges included.
    fn neighbours(&self, i: usize) -> impl Iterator<Item = (usize, u32)> + '_ {
        let (x, y) = ((i % CELLS) as i32, (i / CELLS) as i32);
        let all = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)];
        all.into_iter().filter_map(move |(dx, dy)| {
            let (nx, ny) = (x + dx, y + dy);
            let side = 0..CELLS as i32;
            if !side.contains(&nx) || !side.contains(&ny) {
                return None;
            }
            let j = ny as usize * CELLS + nx as usize;
            let length = if dx != 0 && dy != 0 { STEP * 7 / 5 } else { STEP };
            (self.cost[j] > 0).then(|| (j, length * u32::from(self.cost[j])))
        })
    }

    /// Cheapest cost to the goal from every cell.
    fn field(&self, goal: usize) -> Vec<u32> {
        let mut field = vec![NEVER; CELLS * CELLS];
        let mut queue = BinaryHeap::from([Reverse((0, goal))]);
        field[goal] = 0;
        while let Some(Reverse((cost, i))) = queue.pop() {
            if cost > field[i] {
                continue;
            }
            for (j, step) in self.neighbours(i) {
                if cost + step < field[j] {
                    field[j] = cost + step;
                    queue.push(Reverse((cost + step, j)));
                }
            }
        }
        field
    }

    /// Whether one could run straight from a to b.
    pub fn clear(&self, a: [f32; 2], b: [f32; 2]) -> bool {
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let length = (dx * dx + dy * dy).sqrt();
        let steps = (length / (CELL * 0.8)) as usize + 1;
        // Where the player stands does not count: it may just be leaving a wall.
        (1..=steps).all(|k| {
            let t = k as f32 / steps as f32;
            t * length < 0.6 || matches!(self.cost[cell(a[0] + dx * t, a[1] + dy * t)], 1..INSIDE)
        })
    }

    /// A point to head for on the way from a point to the goal of a field, and whether the goal is near.
    pub fn towards(&self, field: usize, from: [f32; 2]) -> ([f32; 2], bool) {
        let field = &self.fields[field];
        let mut way = [0; AHEAD];
        let mut n = 0;
        let mut i = cell(from[0], from[1]);
        while n < AHEAD && field[i] != 0 {
            let Some((j, _)) = self.neighbours(i).min_by_key(|&(j, step)| (field[j].saturating_add(step), j)) else {
                break;
            };
            if field[j] == NEVER || way[..n].contains(&j) {
                break;
            }
            way[n] = j;
            n += 1;
            i = j;
        }
        let near = field[i] == 0 && n < 4;
        let target = way[..n].iter().rev().map(|&j| centre(j)).find(|&p| self.clear(from, p));
        (target.or_else(|| way[..n].first().map(|&j| centre(j))).unwrap_or(from), near)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{names, world};

    #[test]
    fn every_spawn_has_a_way_to_every_pad() {
        for name in names() {
            let world = world(name).unwrap();
            let routes = world.routes();
            for spawn in &world.spawns {
                for pad in 0..3 {
                    let cost = routes.fields[pad][cell(spawn.at[0], spawn.at[1])];
                    // A way through a wall would cost far more than one round it.
                    assert!(cost < 4000, "{name} {} {pad}: {cost}", spawn.name);
                }
            }
        }
    }
}
