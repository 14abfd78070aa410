//! The built-in 3D world and its scripted players.
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
