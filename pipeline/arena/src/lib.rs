//! The built-in 3D world and its scripted players.
//!
//! ```text
//! Start (map, seed, spawn, heading) -> Arena ---- render --> 128 x 128 RGB, rows from the top
//!                                        ^  \---- pose, outcome, touching_wall (never shown to an agent)
//!                     16 buckets, 10 Hz  |
//!                    Player (persona, seed), or an agent, or a recording
//! ```
//!
//! An episode begins at a spawn in the south of a map and ends on one of three jump pads in the north, over an edge,
//! or when the time is up. The action space is `gamepad` of [`playhouse_schemas`].
//!
//! # Same seed and actions, same bytes
//!
//! Poses and frames depend on the [`Start`] and the actions alone, on every x86-64 machine and build: the arithmetic
//! is `+ - * /`, `sqrt`, comparison and truncation, which IEEE 754 defines exactly. Sines and the like are polynomials
//! of our own, since the standard library's may differ between platforms, and the wide instruction sets compute what
//! the plain code does, lane by lane. A dataset may therefore keep seeds and actions and leave the frames out.
//!
//! # Example
//!
//! ```
//! use playhouse_arena::{Arena, FRAME_BYTES, Player, Start};
//!
//! let start = Start { map: "skygarden".into(), seed: 7, spawn: None, heading: None };
//! let mut arena = Arena::new(&start)?;
//! let mut player = Player::new("expert", 7)?;
//! let mut frame = vec![0; FRAME_BYTES];
//! while arena.outcome().is_none() {
//!     arena.render(&mut frame); // what the player sees ...
//!     arena.step(&player.act(&arena)); // ... and does
//! }
//! assert!(arena.outcome().is_some_and(|o| o.is_pad()));
//! # Ok::<(), playhouse_arena::Error>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arena;
mod error;
mod math;
mod physics;
mod player;
mod render;
mod simd;
mod texture;
mod topdown;
mod world;

pub use arena::{Arena, FRAME_BYTES, HZ, Outcome, Start, StepResult};
pub use error::Error;
pub use player::{Persona, Player, personas};
pub use topdown::{TopDown, top_down};

/// The names of all maps.
pub fn maps() -> &'static [&'static str] {
    world::names()
}

/// How many spawns a map has.
///
/// # Errors
/// An unknown map.
pub fn spawns(map: &str) -> Result<usize, Error> {
    world::world(map).map(|w| w.spawns.len())
}
