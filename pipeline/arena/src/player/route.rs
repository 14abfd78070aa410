//! Ways round obstacles, known to scripted players only.
//!
//! A map is a grid of half-metre cells. For each place worth going to there is a field: the cost of the cheapest way
//! there from every cell, where cells near walls and edges are dear. A player looks a few cells ahead along the way and
//! heads for the farthest of them that it could run to in a straight line.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::math::{Dice, clamp, sin_cos};
use crate::physics::RADIUS;
use crate::simd::{Isa, Lanes, WIDTH, bound, kernel};
use crate::world::{HALF, World};

/// Cells along a side.
const CELLS: usize = 1 << CELL_BITS;
const CELL_BITS: u32 = 7;
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
    /// 1 for cells that one does not run through: over the void, or inside obstacles.
    shut: Vec<u32>,
    isa: Isa,
    fields: Vec<Vec<u32>>,
    /// For each field, where its way goes on from every cell.
    ways: Vec<Vec<Hop>>,
    /// Indices of the fields of places in the open.
    pub lookouts: Vec<usize>,
    /// Indices of the fields of places at an edge, and a point beyond it.
    pub rims: Vec<(usize, [f32; 2])>,
}

/// A step of a way: the next cell, or [`Hop::END`] where there is no next one. Cells from which the way comes back to where
/// it was have the bit [`Hop::TURNS`]: near the goal and in narrow places two cells may each be the other's best.
#[derive(Clone, Copy, PartialEq)]
struct Hop(u16);

impl Hop {
    const END: Self = Self(u16::MAX);
    const TURNS: u16 = 1 << 15;

    fn cell(self) -> usize {
        usize::from(self.0 & !Self::TURNS)
    }
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
        let shut = cost.iter().map(|cost| u32::from(!matches!(cost, 1..INSIDE))).collect();
        let (fields, ways) = (Vec::new(), Vec::new());
        let mut routes = Self { cost, shut, isa: Isa::best(), fields, ways, lookouts: Vec::new(), rims: Vec::new() };
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
        let field = self.field(goal);
        self.ways.push(self.way(&field));
        self.fields.push(field);
        self.fields.len() - 1
    }

    /// Where the way of a field goes on from every cell.
    fn way(&self, field: &[u32]) -> Vec<Hop> {
        let next = |i: usize| {
            let best = self.neighbours(i).min_by_key(|&(j, step)| (field[j].saturating_add(step), j));
            best.filter(|&(j, _)| field[i] != 0 && field[j] != NEVER).map_or(Hop::END, |(j, _)| Hop(j as u16))
        };
        let mut way: Vec<Hop> = (0..CELLS * CELLS).map(next).collect();
        // 1: leads to an end; 2: leads back to where it was.
        let mut known = vec![0u8; way.len()];
        let mut trail = Vec::new();
        for start in 0..way.len() {
            let mut i = start;
            // A cell on the trail counts as leading back until an end is found.
            while known[i] == 0 {
                known[i] = 2;
                trail.push(i);
                if way[i] == Hop::END {
                    known[i] = 1;
                } else {
                    i = way[i].cell();
                }
            }
            let verdict = known[i];
            trail.drain(..).for_each(|cell| known[cell] = verdict);
        }
        for (hop, verdict) in way.iter_mut().zip(known) {
            if verdict == 2 {
                hop.0 |= Hop::TURNS;
            }
        }
        way
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
        let mut clear = true;
        run_line(self.isa, &self.shut, a, b, &mut clear);
        clear
    }

    /// A point to head for on the way from a point to the goal of a field, and whether the goal is near.
    pub fn towards(&self, field: usize, from: [f32; 2]) -> ([f32; 2], bool) {
        let (field, hops) = (&self.fields[field], &self.ways[field]);
        let mut way = [0; AHEAD];
        let mut n = 0;
        let mut i = cell(from[0], from[1]);
        while n < AHEAD && hops[i] != Hop::END {
            let j = hops[i].cell();
            if hops[i].0 & Hop::TURNS != 0 && way[..n].contains(&j) {
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

kernel! {
    /// Clears `clear` if a cell on the way from a to b is shut, looking sixteen times at once.
    fn run_line(shut: &[u32], a: [f32; 2], b: [f32; 2], clear: &mut bool) = line;
}

#[inline(always)]
fn line<L: Lanes>(l: L, shut: &[u32], a: [f32; 2], b: [f32; 2], clear: &mut bool) {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let length = (dx * dx + dy * dy).sqrt();
    let steps = (length / (CELL * 0.8)) as usize + 1;
    for first in (1..=steps).step_by(WIDTH) {
        let k = l.add(l.splat(first as f32), l.steps());
        let t = l.div(k, l.splat(steps as f32));
        let (x, y) = (along(l, t, a[0], dx), along(l, t, a[1], dy));
        let found = l.is_set(l.gather(shut, l.iadd(l.shl::<CELL_BITS>(y), x)));
        // Where the player stands does not count: it may just be leaving a wall.
        let here = l.gt(l.splat(0.6), l.mul(t, l.splat(length)));
        let on_the_line = l.gt(l.splat(steps as f32 + 0.5), k);
        if l.any(l.without(l.both(found, on_the_line), here)) {
            *clear = false;
            return;
        }
    }
}

/// The row or column of cells at `from + by * t`.
#[inline(always)]
fn along<L: Lanes>(l: L, t: L::F, from: f32, by: f32) -> L::I {
    let at = l.add(l.splat(from), l.mul(l.splat(by), t));
    let cells = l.div(l.add(at, l.splat(HALF)), l.splat(CELL));
    l.trunc(bound(l, cells, 0.0, CELLS as f32 - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{names, world};

    #[test]
    fn a_line_is_clear_where_no_cell_on_it_is_shut() {
        let routes = world("skygarden").unwrap().routes();
        let mut dice = Dice::new(1, 1);
        let mut seen = [0; 2];
        for _ in 0..20_000 {
            let mut point = || [dice.range(-33.0, 33.0), dice.range(-33.0, 33.0)];
            let (a, mut b) = (point(), point());
            // Mostly near, as players look.
            b = [a[0] + (b[0] - a[0]) * 0.2, a[1] + (b[1] - a[1]) * 0.2];
            let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
            let length = (dx * dx + dy * dy).sqrt();
            let steps = (length / (CELL * 0.8)) as usize + 1;
            let want = (1..=steps).all(|k| {
                let t = k as f32 / steps as f32;
                t * length < 0.6 || matches!(routes.cost[cell(a[0] + dx * t, a[1] + dy * t)], 1..INSIDE)
            });
            seen[usize::from(want)] += 1;
            for isa in Isa::available() {
                let mut clear = true;
                run_line(isa, &routes.shut, a, b, &mut clear);
                assert_eq!(clear, want, "{isa:?}: {a:?} to {b:?}");
            }
        }
        assert!(seen[0] > 2000 && seen[1] > 2000, "{seen:?}");
    }

    #[test]
    fn hops_are_the_cheapest_neighbours() {
        for name in names() {
            let routes = world(name).unwrap().routes();
            for (field, hops) in routes.fields.iter().zip(&routes.ways) {
                for (i, hop) in hops.iter().enumerate() {
                    let best = routes.neighbours(i).min_by_key(|&(j, step)| (field[j].saturating_add(step), j));
                    let best = best.map(|(j, _)| j).filter(|&j| field[i] != 0 && field[j] != NEVER);
                    assert_eq!((*hop != Hop::END).then(|| hop.cell()), best, "{name}, cell {i}");
                    // Walking far enough shows whether it turns.
                    let mut at = i;
                    let ends = (0..1000).any(|_| {
                        let end = hops[at] == Hop::END;
                        at = if end { at } else { hops[at].cell() };
                        end
                    });
                    assert_eq!(ends, *hop == Hop::END || hop.0 & Hop::TURNS == 0, "{name}, cell {i}");
                }
            }
        }
    }

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
