//! Scripted players.
//!
//! ```text
//! persona + seed -> goal (a pad, a place, an edge, nothing)
//! goal + route   -> a point to head for            privileged: knows the map
//! point on screen -> wish (turn until it is centred, then run)
//! distractions, walls, misses -> other wishes for a while
//! wish -> hands -> 16 buckets                       thumbs take time and tremble
//! ```
//!
//! A player knows the map, but what it does follows from where its goal is on the screen: an agent that sees only
//! pictures can learn to do the same.

mod hands;
mod persona;
pub mod route;

pub use persona::{Persona, personas};

use playhouse_schemas::gamepad;

use crate::arena::Arena;
use crate::error::Error;
use crate::math::{Dice, PI, atan2, clamp, sin_cos, wrap};
use crate::physics::TURN;
use crate::world::build::{PAD_HALF, PLATE, RAMP};
use crate::world::{Pad, World};
use hands::{Hands, Wish};
use persona::weighted;

/// A player begins to turn when its goal is this far from the middle of the view, radians ...
const ASTRAY: f32 = 0.12;
/// ... and lets go of the stick when it is this near.
const SETTLED: f32 = 0.04;

/// Where a player wants to be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Goal {
    /// On a pad: 0 left, 1 middle, 2 right.
    Pad(usize),
    /// At a place in the open.
    Place(usize),
    /// Beyond an edge.
    Edge(usize),
}

/// What a player is busy with instead of its goal.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Spell {
    /// Looking round or doing nothing; the value is the wish for the right stick.
    Dream(f32),
    /// Hitting thin air.
    Fight,
    /// Pushing against whatever is in front.
    Push,
    /// Stepping back and round a corner; the value is the side.
    Free(f32),
    /// Running past the pad that it missed.
    Past,
}

/// A scripted player in one episode.
#[derive(Clone)]
pub struct Player {
    persona: Persona,
    dice: Dice,
    hands: Hands,
    goal: Option<Goal>,
    /// What it is busy with, and for how many steps more.
    spell: Option<(Spell, u32)>,
    /// Errors of the aim seen in the last steps, newest first.
    seen: [f32; 4],
    /// Slow drift of the aim.
    drift: f32,
    /// The right thumb is turning towards the goal.
    steers: bool,
    /// Ignores walls on its way.
    straight: bool,
    /// Will run past the pad, on this side.
    miss: Option<f32>,
    /// Sprints when the way is free.
    sprints: bool,
    /// Steps for which it has been stopped by something.
    stopped: u32,
    /// Steps until it chooses a new goal, where it has none it cares for.
    bored: u32,
}

impl Player {
    /// A player of this persona; everything that it will do follows from the seed and from what happens to it.
    ///
    /// # Errors
    /// An unknown persona.
    pub fn new(persona: &str, seed: u64) -> Result<Self, Error> {
        let mut dice = Dice::new(seed, 2);
        let persona = Persona::find(persona, &mut dice)
            .ok_or_else(|| Error::UnknownPersona { name: persona.into(), known: personas().join(", ") })?;
        Ok(Self {
            straight: dice.chance(persona.straight),
            miss: dice.chance(persona.miss).then(|| if dice.chance(0.5) { 1.0 } else { -1.0 }),
            sprints: dice.chance(persona.sprint),
            persona,
            dice,
            hands: Hands::default(),
            goal: None,
            spell: None,
            seen: [0.0; 4],
            drift: 0.0,
            steers: false,
            stopped: 0,
            bored: 0,
        })
    }

    /// Name of the persona; of the one drawn, for `mixed`.
    pub fn name(&self) -> &str {
        self.persona.name
    }

    /// The next action.
    pub fn act(&mut self, arena: &Arena) -> [u8; 16] {
        if let Some(look) = self.persona.holds {
            let wish = Wish { look: [look, 0.0], ..Wish::default() };
            return self.hands.follow(&wish, 0.0, &mut self.dice);
        }
        let goal = match self.goal {
            Some(goal) => goal,
            None => self.choose(arena),
        };
        self.goal = Some(goal);
        self.notice(arena, goal);
        let wish = match &mut self.spell {
            Some((spell, left)) => {
                let spell = *spell;
                *left -= 1;
                if *left == 0 {
                    self.spell = None;
                }
                self.spellbound(spell)
            }
            None => self.pursue(arena, goal),
        };
        self.hands.follow(&wish, self.persona.tremor, &mut self.dice)
    }

    /// A new goal.
    fn choose(&mut self, arena: &Arena) -> Goal {
        let world = arena.world();
        let routes = world.routes();
        let impulse = self.dice.chance(self.persona.impulsive);
        let drawn = weighted(&self.persona.taste, &mut self.dice);
        let goal = if drawn < 3 && arena.t() == 0 {
            let off = |k: usize| heading_error(arena, world.pads[k].center).abs();
            let nearest = (0..3).min_by(|&a, &b| off(a).total_cmp(&off(b))).unwrap_or(drawn);
            Goal::Pad(if impulse { nearest } else { drawn })
        } else if drawn < 3 {
            Goal::Pad(drawn)
        } else if self.dice.chance(self.persona.reckless) {
            Goal::Edge(self.dice.below(routes.rims.len()))
        } else {
            Goal::Place(self.dice.below(routes.lookouts.len()))
        };
        self.bored = 60 + self.dice.below(80) as u32;
        goal
    }

    /// Lets distractions begin, walls be noticed and places be reached.
    fn notice(&mut self, arena: &Arena, goal: Goal) {
        let world = arena.world();
        let body = arena.body();
        self.stopped = if arena.touching_wall() { self.stopped + 1 } else { self.stopped.saturating_sub(1) };
        // Always drawn, so that one decision does not shift all later ones.
        let (begin, kind) = (self.dice.unit(), self.dice.unit());
        if self.spell.is_some() {
            return;
        }
        if self.stopped > 2 {
            let patience = 1.0 + self.persona.stubborn * self.dice.range(0.4, 1.6);
            self.straight = false;
            self.stopped = 0;
            // First it pushes on, then it goes round.
            let side = if self.dice.chance(0.5) { 1.0 } else { -1.0 };
            self.spell = Some(if patience > 4.0 && self.dice.chance(0.7) {
                (Spell::Push, patience as u32)
            } else {
                (Spell::Free(side), 3 + self.dice.below(4) as u32)
            });
            return;
        }
        if begin < self.persona.distraction && arena.t() > 3 {
            let steps = 2 + (self.persona.spell * self.dice.range(0.3, 1.7)) as u32;
            if kind < self.persona.fight {
                self.spell = Some((Spell::Fight, steps));
            } else if kind < self.persona.fight + self.persona.wander {
                let routes = world.routes();
                self.goal = Some(if self.dice.chance(self.persona.reckless) {
                    Goal::Edge(self.dice.below(routes.rims.len()))
                } else {
                    Goal::Place(self.dice.below(routes.lookouts.len()))
                });
                self.bored = 30 + self.dice.below(60) as u32;
            } else {
                let look = if self.dice.chance(0.4) { 0.0 } else { self.dice.range(-0.8, 0.8) };
                self.spell = Some((Spell::Dream(look), steps));
            }
            return;
        }
        match goal {
            Goal::Pad(k) => {
                let p = on_pad(&world.pads[k], body.at);
                if self.miss.is_some()
                    && p[1] > -PLATE
                    && p[1] < PLATE
                    && p[0].abs() < PAD_HALF + 3.0
                    && body.at[2] < 0.3
                {
                    // Too late: it is beside the pad and runs on before it turns round.
                    self.miss = None;
                    self.spell = Some((Spell::Past, 4 + self.dice.below(7) as u32));
                }
            }
            Goal::Place(_) | Goal::Edge(_) => {
                self.bored = self.bored.saturating_sub(1);
                let there = match goal {
                    Goal::Place(k) => world.routes().towards(world.routes().lookouts[k], [body.at[0], body.at[1]]).1,
                    _ => false,
                };
                if self.bored == 0 || there {
                    self.goal = None;
                }
            }
        }
    }

    /// Wishes while busy with something else.
    fn spellbound(&mut self, spell: Spell) -> Wish {
        let mut wish = Wish::default();
        match spell {
            Spell::Dream(look) => {
                wish.look[0] = look;
                if self.dice.chance(0.1) {
                    wish.look[1] = self.dice.range(-0.6, 0.6);
                }
            }
            Spell::Fight => {
                let buttons = [gamepad::X, gamepad::RT, gamepad::Y, gamepad::B, gamepad::RB];
                let which = weighted(&[0.5, 0.25, 0.12, 0.08, 0.05], &mut self.dice);
                wish.buttons[buttons[which]] = self.dice.chance(0.55);
                wish.buttons[gamepad::A] = self.dice.chance(0.06);
                self.drift += self.dice.normal() * 0.3;
                self.drift = clamp(self.drift * 0.9, -1.0, 1.0);
                wish.walk = [self.drift, self.dice.range(-0.2, 0.6)];
                wish.look[0] = self.drift * 0.6;
            }
            Spell::Push => {
                wish.walk[1] = 1.0;
                wish.look[0] = self.dice.normal() * 0.12;
                wish.buttons[gamepad::A] = self.dice.chance(0.08);
            }
            Spell::Free(side) => {
                wish.walk = [side, -0.3];
                wish.look[0] = -0.3 * side;
                wish.buttons[gamepad::A] = self.dice.chance(0.15);
            }
            Spell::Past => wish.walk[1] = 1.0,
        }
        wish
    }

    /// Wishes on the way to a goal: turn until it is centred, then run.
    fn pursue(&mut self, arena: &Arena, goal: Goal) -> Wish {
        let world = arena.world();
        let body = arena.body();
        let at = [body.at[0], body.at[1]];
        let target = self.point(world, goal, body.at);
        let error = heading_error(arena, target);
        self.seen.rotate_right(1);
        self.seen[0] = error;
        let distance = (target[0] - at[0]).abs() + (target[1] - at[1]).abs();
        self.drift = self.drift * 0.85 + self.dice.normal() * self.persona.wobble * 0.5;
        let error = self.seen[self.persona.lag.min(self.seen.len() - 1)] + self.drift;

        let mut wish = Wish::default();
        // People correct their course now and then, and let go of the stick in between.
        self.steers = error.abs() > if self.steers { SETTLED } else { ASTRAY };
        if self.steers {
            wish.look[0] = -turn_stick(error * if self.persona.lag > 1 { 0.35 } else { 0.5 });
        }
        wish.walk[1] = match error.abs() {
            e if e < 0.45 => 1.0,
            e if e < 0.9 && distance > 3.0 => 0.6,
            _ => 0.0,
        };
        if error.abs() < 0.35 && error.abs() > 0.06 && distance < 8.0 {
            // Small corrections with the left thumb.
            wish.walk[0] = clamp(-1.6 * error, -0.6, 0.6);
        }
        let (fun, press) = (self.dice.unit(), self.dice.unit());
        if wish.walk[1] == 1.0 {
            wish.buttons[gamepad::A] = fun < self.persona.hop;
            let free = error.abs() < 0.15 && distance > 6.0 && !body.sprinting;
            wish.buttons[gamepad::L3] = self.sprints && free && press < 0.3;
            if matches!(goal, Goal::Edge(_)) && distance < 2.0 {
                wish.buttons[gamepad::A] = fun < 0.2;
            }
        }
        wish
    }

    /// The point to head for.
    fn point(&self, world: &World, goal: Goal, at: [f32; 3]) -> [f32; 2] {
        let routes = world.routes();
        let here = [at[0], at[1]];
        match goal {
            Goal::Pad(k) => {
                let pad = &world.pads[k];
                let p = on_pad(pad, at);
                let front = -PLATE / 2.0 - RAMP;
                if let Some(side) = self.miss {
                    // Beside the ramp, and on.
                    let beside = from_pad(pad, [side * (PAD_HALF + 1.3), 1.5 * PLATE]);
                    if p[1] > front - 9.0 && p[0].abs() < PAD_HALF + 6.0 {
                        return beside;
                    }
                }
                let climbing = at[2] > 0.2 && p[0].abs() < PAD_HALF + 0.3 && p[1].abs() < RAMP + PLATE;
                let before = p[1] < front + 0.5 && p[0].abs() < PAD_HALF * 0.7 + 0.3 * (front - p[1]).max(0.0);
                if climbing || (before && (front - p[1] < 2.0 || routes.clear(here, pad.foot))) {
                    return from_pad(pad, [0.0, 0.3]);
                }
                if self.straight {
                    return pad.foot;
                }
                let (point, near) = routes.towards(k, here);
                if near { from_pad(pad, [0.0, 0.3]) } else { point }
            }
            Goal::Place(k) => routes.towards(routes.lookouts[k], here).0,
            Goal::Edge(k) => {
                let (field, beyond) = routes.rims[k];
                let (point, near) = routes.towards(field, here);
                let (dx, dy) = (beyond[0] - here[0], beyond[1] - here[1]);
                if near || dx * dx + dy * dy < 6.0 {
                    // Through the rim and out.
                    let n = (dx * dx + dy * dy).sqrt().max(0.1);
                    [beyond[0] + 3.0 * dx / n, beyond[1] + 3.0 * dy / n]
                } else {
                    point
                }
            }
        }
    }
}

/// A point in the pad's own coordinates: to its right, and beyond the middle of its plate.
fn on_pad(pad: &Pad, at: [f32; 3]) -> [f32; 2] {
    let (dx, dy) = (at[0] - pad.center[0], at[1] - pad.center[1]);
    [dx * pad.axis[0] + dy * pad.axis[1], dy * pad.axis[0] - dx * pad.axis[1]]
}

/// The inverse of [`on_pad`].
fn from_pad(pad: &Pad, p: [f32; 2]) -> [f32; 2] {
    [pad.center[0] + p[0] * pad.axis[0] - p[1] * pad.axis[1], pad.center[1] + p[0] * pad.axis[1] + p[1] * pad.axis[0]]
}

/// How far a point is from the middle of the view, radians; positive is left.
fn heading_error(arena: &Arena, to: [f32; 2]) -> f32 {
    let body = arena.body();
    // Seen from the camera, which stands behind the body.
    let (s, c) = sin_cos(body.yaw);
    let back = 0.3 * body.camera;
    wrap(atan2(to[1] - body.at[1] + back * s, to[0] - body.at[0] + back * c) - body.yaw)
}

/// Position of the right stick that turns by an angle in one step, at most 1.
fn turn_stick(angle: f32) -> f32 {
    let share = (angle.abs() / (TURN * 0.1)).min(1.0);
    // The inverse of the stick's response v (0.3 + 0.7 v).
    let v = ((0.09 + 2.8 * share).sqrt() - 0.3) / 1.4;
    if angle.abs() > PI { 1.0 } else { v.min(1.0) * if angle < 0.0 { -1.0 } else { 1.0 } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Start};

    /// Ends and lengths of episodes on skygarden.
    fn episodes(persona: &str, n: u64) -> Vec<(Outcome, u32)> {
        (0..n)
            .map(|seed| {
                let start = Start { map: "skygarden".into(), seed, spawn: None, heading: None };
                let mut arena = Arena::new(&start).unwrap();
                let mut player = Player::new(persona, seed).unwrap();
                loop {
                    if let Some(outcome) = arena.outcome() {
                        return (outcome, arena.t());
                    }
                    let action = player.act(&arena);
                    arena.step(&action);
                }
            })
            .collect()
    }

    fn share(all: &[(Outcome, u32)], holds: impl Fn(&(Outcome, u32)) -> bool) -> f64 {
        all.iter().filter(|e| holds(e)).count() as f64 / all.len() as f64
    }

    #[test]
    fn general_players_often_fail_and_prefer_the_middle() {
        let all = episodes("mixed", 400);
        let of = |outcome| share(&all, |e| e.0 == outcome);
        for outcome in [Outcome::Left, Outcome::Middle, Outcome::Right, Outcome::Fall, Outcome::Timeout] {
            let steps: Vec<u32> = all.iter().filter(|e| e.0 == outcome).map(|e| e.1).collect();
            let mean = f64::from(steps.iter().sum::<u32>()) / steps.len() as f64;
            println!("{:8} {:5.1}%  mean steps {mean:.0}", outcome.as_str(), 100.0 * of(outcome));
        }
        let none = of(Outcome::Fall) + of(Outcome::Timeout);
        assert!((0.40..0.52).contains(&none), "{none}");
        assert!(of(Outcome::Middle) > of(Outcome::Left) && of(Outcome::Middle) > of(Outcome::Right));
        assert!(of(Outcome::Left) > 0.08 && of(Outcome::Right) > 0.08);
        assert!(of(Outcome::Fall) > 0.05 && of(Outcome::Timeout) > 0.1);
        assert!(share(&all, |e| e.0.is_pad() && e.1 <= 100) >= 0.25, "few direct runs");
    }

    #[test]
    fn experts_reach_every_pad_directly() {
        let all = episodes("expert", 200);
        assert!(share(&all, |e| e.0.is_pad()) > 0.98);
        for outcome in [Outcome::Left, Outcome::Middle, Outcome::Right] {
            assert!(share(&all, |e| e.0 == outcome) > 0.2, "{outcome:?}");
        }
        let mean = all.iter().map(|e| f64::from(e.1)).sum::<f64>() / all.len() as f64;
        assert!((40.0..80.0).contains(&mean), "{mean}");
        assert!(all.iter().all(|e| e.1 < 130));
    }

    #[test]
    fn a_player_repeats_itself_and_differs_by_seed() {
        let play = |seed| {
            let start = Start { map: "canyon".into(), seed: 3, spawn: None, heading: None };
            let mut arena = Arena::new(&start).unwrap();
            let mut player = Player::new("mixed", seed).unwrap();
            let mut actions = Vec::new();
            while arena.outcome().is_none() {
                let action = player.act(&arena);
                arena.step(&action);
                actions.push(action);
            }
            actions
        };
        assert_eq!(play(1), play(1));
        assert_ne!(play(1), play(2));
        assert!(play(1).iter().flatten().all(|&b| b <= 10));
    }

    #[test]
    fn an_unknown_persona_names_the_known_ones() {
        let error = Player::new("robot", 0).err().unwrap().to_string();
        assert!(error.contains("`robot`") && error.contains("mixed, expert"), "{error}");
    }

    #[test]
    fn the_stick_for_a_turn_is_the_inverse_of_the_response() {
        for i in -20..=20 {
            let angle = i as f32 * 0.01;
            let turned = crate::physics::turn_rate(turn_stick(angle)) * 0.1;
            assert!((turned - angle).abs() < 1e-4, "{angle} {turned}");
        }
    }
}
