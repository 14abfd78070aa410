//! Scripted players.

use playhouse_schemas::gamepad;

use crate::arena::Arena;
use crate::error::Error;
use crate::math::{Dice, atan2, wrap};

/// What a scripted player is like.
#[derive(Clone, Debug)]
pub struct Persona {
    name: &'static str,
}

/// The names that [`Player::new`] knows.
pub fn personas() -> &'static [&'static str] {
    &["mixed", "expert"]
}

/// A scripted player in one episode.
pub struct Player {
    persona: Persona,
    dice: Dice,
    pad: usize,
}

impl Player {
    /// A player of this persona; everything that it will do follows from the seed and from what happens to it.
    ///
    /// # Errors
    /// An unknown persona.
    pub fn new(persona: &str, seed: u64) -> Result<Self, Error> {
        let name = personas().iter().find(|n| **n == persona).ok_or_else(|| Error::UnknownPersona {
            name: persona.into(),
            known: personas().join(", "),
        })?;
        let mut dice = Dice::new(seed, 2);
        let pad = dice.below(3);
        Ok(Self {
            persona: Persona { name },
            dice,
            pad,
        })
    }

    /// Name of the persona; of the one drawn, for `mixed`.
    pub fn name(&self) -> &str {
        self.persona.name
    }

    /// The next action.
    pub fn act(&mut self, arena: &Arena) -> [u8; 16] {
        let mut action = gamepad::neutral();
        let pad = &arena.world().pads[self.pad];
        let at = arena.body().at;
        let to = |p: [f32; 2]| wrap(atan2(p[1] - at[1], p[0] - at[0]) - arena.body().yaw);
        let away = (pad.foot[0] - at[0]).abs() + (pad.foot[1] - at[1]).abs() > 1.5 && at[2] < 0.2;
        let turn = to(if away { pad.foot } else { pad.center });
        action[gamepad::RIGHT_X] = if turn > 0.3 { 1 } else if turn > 0.05 { 4 } else if turn < -0.3 { 9 } else if turn < -0.05 { 6 } else { 5 };
        action[gamepad::LEFT_Y] = if turn.abs() < 0.6 { 10 } else { 5 };
        action[gamepad::LEFT_X] = if arena.touching_wall() { 4 + self.dice.below(3) as u8 } else { 5 };
        action
    }
}
