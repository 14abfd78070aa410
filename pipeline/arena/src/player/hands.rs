//! From wishes to a gamepad: thumbs that take time and tremble.

use playhouse_schemas::gamepad;

use crate::math::{Dice, clamp};

/// Edges between the buckets of a stick.
const EDGES: [f32; 10] = [-0.95, -0.75, -0.5, -0.25, -0.05, 0.05, 0.25, 0.5, 0.75, 0.95];

/// What a player wants to do with its hands in one step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// Left stick: right, forward.
    pub walk: [f32; 2],
    /// Right stick: turn right, look up.
    pub look: [f32; 2],
    /// Buttons to hold, by index of the action component.
    pub buttons: [bool; 12],
}

/// The thumbs' positions.
#[derive(Clone, Debug, Default)]
pub struct Hands {
    sticks: [f32; 4],
}

impl Hands {
    /// Moves the thumbs towards the wish and reads the gamepad.
    pub fn follow(&mut self, wish: &Wish, tremor: f32, dice: &mut Dice) -> [u8; 16] {
        let wanted = [wish.walk[0], wish.walk[1], wish.look[0], wish.look[1]];
        let mut action = gamepad::neutral();
        for (k, (stick, want)) in self.sticks.iter_mut().zip(wanted).enumerate() {
            // A thumb covers most of the way in a step, and lets go faster than it pushes.
            let pace = if want == 0.0 { 0.9 } else { 0.7 };
            *stick += (clamp(want, -1.0, 1.0) - *stick) * pace;
            if (*stick - want).abs() < 0.06 {
                *stick = want;
            }
            let mut bucket = EDGES.iter().filter(|&&e| *stick >= e).count() as i32;
            let draw = dice.unit();
            let touched = bucket != i32::from(gamepad::CENTRE);
            if touched && draw < tremor {
                bucket += if draw < tremor * 0.5 { 1 } else { -1 };
            }
            action[gamepad::LEFT_X + k] = bucket.clamp(0, 10) as u8;
        }
        for (to, &held) in action.iter_mut().zip(&wish.buttons) {
            *to = u8::from(held);
        }
        action
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumb_reaches_its_stop_in_a_few_steps_and_lets_go() {
        let (mut hands, mut dice) = (Hands::default(), Dice::new(1, 1));
        let push = Wish { walk: [0.0, 1.0], ..Wish::default() };
        let ramp: Vec<u8> = (0..4).map(|_| hands.follow(&push, 0.0, &mut dice)[gamepad::LEFT_Y]).collect();
        assert_eq!(ramp, [8, 9, 10, 10]);
        let rest: Vec<u8> = (0..3).map(|_| hands.follow(&Wish::default(), 0.0, &mut dice)[gamepad::LEFT_Y]).collect();
        assert_eq!(rest, [6, 5, 5]);
    }
}
