//! Who plays: habits, taste and skill.

use crate::math::Dice;

/// What a scripted player is like. Probabilities are per episode unless they say otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Persona {
    /// Its name.
    pub name: &'static str,
    /// Weights of the left, middle and right pad, and of having no pad in mind.
    pub taste: [f32; 4],
    /// Chance of preferring whatever pad is nearest to the middle of the view instead.
    pub impulsive: f32,
    /// Standard deviation of the aim, radians.
    pub wobble: f32,
    /// Steps between seeing and doing.
    pub lag: usize,
    /// Chance a step that a distraction begins.
    pub distraction: f32,
    /// Mean length of a distraction, steps.
    pub spell: f32,
    /// Chance that a distraction is a fight against thin air.
    pub fight: f32,
    /// Chance that a distraction is a walk to somewhere else.
    pub wander: f32,
    /// Chance that a walk goes over an edge.
    pub reckless: f32,
    /// Chance of heading straight for the pad, walls or not.
    pub straight: f32,
    /// Steps for which it pushes against a wall before it thinks again.
    pub stubborn: f32,
    /// Chance of running past the pad at the first attempt.
    pub miss: f32,
    /// Chance of sprinting when the way is free.
    pub sprint: f32,
    /// Chance a step of jumping for fun.
    pub hop: f32,
    /// Chance a step that a stick ends up one bucket off.
    pub tremor: f32,
    /// Holds the right stick here, and does nothing else: no player, but a probe of what judges players.
    pub holds: Option<f32>,
    /// Share of the general players who are like this.
    share: f32,
}

/// Goes to a random pad, directly.
const EXPERT: Persona = Persona {
    name: "expert",
    taste: [1.0, 1.0, 1.0, 0.0],
    impulsive: 0.0,
    wobble: 0.02,
    lag: 0,
    distraction: 0.0,
    spell: 0.0,
    fight: 0.0,
    wander: 0.0,
    reckless: 0.0,
    straight: 0.0,
    stubborn: 2.0,
    miss: 0.0,
    sprint: 0.5,
    hop: 0.004,
    tremor: 0.02,
    holds: None,
    share: 0.08,
};

/// Everyone whom `mixed` draws from.
pub const EVERYONE: [Persona; 7] = [
    EXPERT,
    Persona {
        name: "regular",
        taste: [0.25, 0.50, 0.25, 0.0],
        impulsive: 0.25,
        wobble: 0.05,
        lag: 1,
        distraction: 0.003,
        spell: 10.0,
        fight: 0.4,
        wander: 0.1,
        straight: 0.15,
        stubborn: 7.0,
        miss: 0.08,
        sprint: 0.5,
        hop: 0.012,
        tremor: 0.04,
        share: 0.23,
        ..EXPERT
    },
    Persona {
        name: "novice",
        taste: [0.22, 0.50, 0.22, 0.06],
        impulsive: 0.35,
        wobble: 0.12,
        lag: 2,
        distraction: 0.010,
        spell: 16.0,
        fight: 0.3,
        wander: 0.35,
        reckless: 0.15,
        straight: 0.55,
        stubborn: 22.0,
        miss: 0.35,
        sprint: 0.25,
        hop: 0.02,
        tremor: 0.08,
        holds: None,
        share: 0.18,
    },
    Persona {
        name: "explorer",
        taste: [0.08, 0.14, 0.08, 0.70],
        impulsive: 0.2,
        wobble: 0.07,
        lag: 1,
        distraction: 0.012,
        spell: 14.0,
        fight: 0.2,
        wander: 0.6,
        reckless: 0.10,
        straight: 0.2,
        stubborn: 12.0,
        miss: 0.1,
        sprint: 0.3,
        hop: 0.02,
        tremor: 0.05,
        holds: None,
        share: 0.17,
    },
    Persona {
        name: "fighter",
        taste: [0.08, 0.16, 0.08, 0.68],
        impulsive: 0.2,
        wobble: 0.08,
        lag: 1,
        distraction: 0.05,
        spell: 26.0,
        fight: 0.85,
        wander: 0.1,
        reckless: 0.1,
        straight: 0.3,
        stubborn: 12.0,
        miss: 0.15,
        sprint: 0.2,
        hop: 0.03,
        tremor: 0.06,
        holds: None,
        share: 0.15,
    },
    Persona {
        name: "daydreamer",
        taste: [0.2, 0.4, 0.2, 0.2],
        impulsive: 0.2,
        wobble: 0.1,
        lag: 2,
        distraction: 0.05,
        spell: 45.0,
        fight: 0.1,
        wander: 0.2,
        reckless: 0.05,
        straight: 0.4,
        stubborn: 30.0,
        miss: 0.2,
        sprint: 0.1,
        hop: 0.01,
        tremor: 0.06,
        holds: None,
        share: 0.09,
    },
    Persona {
        name: "daredevil",
        taste: [0.12, 0.16, 0.12, 0.60],
        impulsive: 0.2,
        wobble: 0.1,
        lag: 1,
        distraction: 0.02,
        spell: 16.0,
        fight: 0.2,
        wander: 0.7,
        reckless: 0.8,
        straight: 0.5,
        stubborn: 8.0,
        miss: 0.3,
        sprint: 0.7,
        hop: 0.05,
        tremor: 0.06,
        holds: None,
        share: 0.10,
    },
];

/// What plays without playing.
const PROBES: [Persona; 2] =
    [Persona { name: "still", holds: Some(0.0), ..EXPERT }, Persona { name: "spinner", holds: Some(0.6), ..EXPERT }];

/// The names that [`crate::Player::new`] knows.
pub fn personas() -> &'static [&'static str] {
    &["mixed", "expert", "regular", "novice", "explorer", "fighter", "daydreamer", "daredevil", "still", "spinner"]
}

impl Persona {
    /// A persona by name; `mixed` draws one as often as its share among general players.
    pub fn find(name: &str, dice: &mut Dice) -> Option<Self> {
        // Drawn in any case, so that what follows does not depend on how the persona was asked for.
        let weights: Vec<f32> = EVERYONE.iter().map(|p| p.share).collect();
        let drawn = weighted(&weights, dice);
        if name == "mixed" {
            return Some(EVERYONE[drawn].clone());
        }
        EVERYONE.iter().chain(&PROBES).find(|p| p.name == name).cloned()
    }
}

/// An index, as often as its weight says.
pub fn weighted(weights: &[f32], dice: &mut Dice) -> usize {
    let total: f32 = weights.iter().sum();
    let mut at = dice.unit() * total;
    for (i, w) in weights.iter().enumerate() {
        at -= w;
        if at < 0.0 {
            return i;
        }
    }
    weights.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_a_persona_and_shares_add_up() {
        let total: f32 = EVERYONE.iter().map(|p| p.share).sum();
        assert!((total - 1.0).abs() < 1e-5, "{total}");
        let mut dice = Dice::new(1, 1);
        for name in personas() {
            let found = Persona::find(name, &mut dice).unwrap();
            assert!(*name == "mixed" || found.name == *name);
        }
        assert_eq!(personas().len(), EVERYONE.len() + PROBES.len() + 1);
    }

    #[test]
    fn weights_are_kept() {
        let mut dice = Dice::new(2, 2);
        let mut hits = [0; 3];
        for _ in 0..9000 {
            hits[weighted(&[1.0, 3.0, 5.0], &mut dice)] += 1;
        }
        assert!(hits[0] > 850 && hits[0] < 1150, "{hits:?}");
        assert!(hits[2] > 4700 && hits[2] < 5300, "{hits:?}");
    }
}
