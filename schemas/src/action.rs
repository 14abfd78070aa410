//! Action spaces: what a controller can do in one step, as a list of named components with a few values each.
//!
//! An action is one byte a component, in the space's order. The default space is the gamepad:
//!
//! ```text
//! byte   0 1 2 3  4  5  6  7     8       9     10 11    12     13     14      15
//!        a b x y lb rb lt rt dpad_up dpad_down l3 r3  left_x left_y right_x right_y
//!        `--------- buttons: 0 up, 1 down --------'  `-- sticks: bucket 0..=10, 5 = centre --'
//! ```
//!
//! Sticks are cut into buckets so that a model can keep several choices apart (a mean would average left and right
//! away). The buckets are finer near the centre and near full deflection: edges -1.05 -0.95 -0.75 -0.5 -0.25 -0.05 0.05
//! 0.25 0.5 0.75 0.95 1.05, bucket `i` holding `edge[i] <= value < edge[i + 1]`. Edges and centres travel with the data in
//! every file's footer: a reader that assumes even buckets gets other actions.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Stick bucket edges of the gamepad, 12 values for 11 buckets.
const STICK_EDGES: [f32; 12] = [-1.05, -0.95, -0.75, -0.5, -0.25, -0.05, 0.05, 0.25, 0.5, 0.75, 0.95, 1.05];
/// The deflection that each of the 11 stick buckets stands for.
const STICK_CENTRES: [f32; 11] = [-1.0, -0.85, -0.625, -0.375, -0.15, 0.0, 0.15, 0.375, 0.625, 0.85, 1.0];

/// Positions of the gamepad's components within an action, and its neutral action.
pub mod gamepad {
    /// Face button A.
    pub const A: usize = 0;
    /// Face button B.
    pub const B: usize = 1;
    /// Face button X.
    pub const X: usize = 2;
    /// Face button Y.
    pub const Y: usize = 3;
    /// Left bumper.
    pub const LB: usize = 4;
    /// Right bumper.
    pub const RB: usize = 5;
    /// Left trigger.
    pub const LT: usize = 6;
    /// Right trigger.
    pub const RT: usize = 7;
    /// Directional pad, up.
    pub const DPAD_UP: usize = 8;
    /// Directional pad, down.
    pub const DPAD_DOWN: usize = 9;
    /// Left stick pressed in.
    pub const L3: usize = 10;
    /// Right stick pressed in.
    pub const R3: usize = 11;
    /// Left stick, left to right.
    pub const LEFT_X: usize = 12;
    /// Left stick, back to forward (10 = full forward).
    pub const LEFT_Y: usize = 13;
    /// Right stick, turn left to turn right.
    pub const RIGHT_X: usize = 14;
    /// Right stick, look down to look up.
    pub const RIGHT_Y: usize = 15;
    /// The bucket of a stick at rest.
    pub const CENTRE: u8 = 5;
    /// Number of components.
    pub const COMPONENTS: usize = 16;

    /// Nothing pressed, sticks at rest.
    pub fn neutral() -> [u8; COMPONENTS] {
        let mut action = [0; COMPONENTS];
        action[LEFT_X..].fill(CENTRE);
        action
    }
}

/// What a component is on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Up or down: two values, a Boolean column.
    Button,
    /// A stick or trigger axis cut into buckets, a UInt8 column.
    Axis,
}

/// One button or axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Column name in `steps`: lower case letters, digits and underscores.
    pub name: String,
    /// Button or axis.
    pub kind: Kind,
    /// Number of values.
    pub cardinality: u8,
    /// Bucket edges, ascending, `cardinality + 1` of them; empty for buttons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<f32>,
    /// The value each bucket stands for, `cardinality` of them; empty for buttons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub centres: Vec<f32>,
}

/// A named, ordered list of components.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionSpace {
    /// Name of the space, e.g. `gamepad`.
    pub name: String,
    /// The components, in the order of an action's bytes.
    pub components: Vec<Component>,
}

impl Component {
    /// A button.
    pub fn button(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: Kind::Button, cardinality: 2, edges: Vec::new(), centres: Vec::new() }
    }

    /// A stick axis with the gamepad's 11 buckets.
    pub fn stick(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: Kind::Axis,
            cardinality: 11,
            edges: STICK_EDGES.to_vec(),
            centres: STICK_CENTRES.to_vec(),
        }
    }

    /// The bucket that holds `value`: a button's 0 or 1, an axis's interval `edge[i] <= value < edge[i + 1]`.
    ///
    /// # Errors
    /// NaN, and a value outside the outermost edges (or, for a button, other than 0 and 1).
    pub fn bucket(&self, value: f32) -> Result<u8> {
        match self.kind {
            Kind::Button if value == 0.0 => Ok(0),
            Kind::Button if value == 1.0 => Ok(1),
            Kind::Button => {
                Err(Error::invalid(format!("component {}", self.name), format!("value {value} is neither 0 nor 1")))
            }
            Kind::Axis => {
                // Counts the edges at or below the value; NaN compares false with all of them.
                let below = self.edges.iter().take_while(|&&edge| edge <= value).count();
                if below == 0 || below == self.edges.len() {
                    let (low, high) = (self.edges.first(), self.edges.last());
                    return Err(Error::invalid(
                        format!("component {}", self.name),
                        format!(
                            "value {value} is outside {}..{}; rescale the stick to -1..1",
                            low.unwrap_or(&f32::NAN),
                            high.unwrap_or(&f32::NAN)
                        ),
                    ));
                }
                Ok((below - 1) as u8)
            }
        }
    }

    /// The value that bucket `b` stands for: 0 or 1 for a button, NaN when `b` is out of range.
    pub fn centre(&self, b: u8) -> f32 {
        match self.kind {
            Kind::Button if b < 2 => f32::from(b),
            Kind::Button => f32::NAN,
            Kind::Axis => self.centres.get(usize::from(b)).copied().unwrap_or(f32::NAN),
        }
    }

    /// The value at rest: 0 for a button, the bucket around 0.0 for an axis (bucket 0 where no bucket holds 0.0).
    pub fn neutral(&self) -> u8 {
        match self.kind {
            Kind::Button => 0,
            Kind::Axis => self.bucket(0.0).unwrap_or(0),
        }
    }

    fn check(&self) -> Result<()> {
        let fault = |reason: String| Err(Error::invalid(format!("action component `{}`", self.name), reason));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return fault("a name is lower case letters, digits and underscores, because it names a column".into());
        }
        if RESERVED.contains(&self.name.as_str()) {
            return fault("the name is taken by a column of `steps`; choose another".into());
        }
        match self.kind {
            Kind::Button if self.cardinality != 2 => fault(format!("a button has 2 values, not {}", self.cardinality)),
            Kind::Button if !(self.edges.is_empty() && self.centres.is_empty()) => {
                fault("a button has no edges or centres".into())
            }
            Kind::Button => Ok(()),
            Kind::Axis if self.cardinality < 2 => fault(format!("an axis needs 2 buckets, not {}", self.cardinality)),
            Kind::Axis if self.edges.len() != usize::from(self.cardinality) + 1 => fault(format!(
                "{} buckets need {} edges, not {}",
                self.cardinality,
                usize::from(self.cardinality) + 1,
                self.edges.len()
            )),
            Kind::Axis if self.centres.len() != usize::from(self.cardinality) => {
                fault(format!("{} buckets need as many centres, not {}", self.cardinality, self.centres.len()))
            }
            Kind::Axis if !self.edges.iter().all(|e| e.is_finite()) || !self.edges.is_sorted_by(|a, b| a < b) => {
                fault("the edges must be finite and ascending".into())
            }
            Kind::Axis => {
                let misplaced = (0..self.cardinality).find(|&b| self.bucket(self.centre(b)).ok() != Some(b));
                match misplaced {
                    Some(b) => fault(format!("the centre of bucket {b} lies outside its edges")),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Columns of `steps` that a component may not be named after.
const RESERVED: [&str; 12] = [
    "episode_id",
    "t",
    "buttons",
    "pos_x",
    "pos_y",
    "pos_z",
    "yaw",
    "pitch",
    "reward",
    "terminated",
    "truncated",
    "time_us",
];

impl ActionSpace {
    /// The default space: 12 buttons and 4 stick axes (see the module's drawing).
    pub fn gamepad() -> Self {
        let buttons = ["a", "b", "x", "y", "lb", "rb", "lt", "rt", "dpad_up", "dpad_down", "l3", "r3"];
        let sticks = ["left_x", "left_y", "right_x", "right_y"];
        let components = buttons.map(Component::button).into_iter().chain(sticks.map(Component::stick)).collect();
        Self { name: "gamepad".into(), components }
    }

    /// Number of components: the bytes of one action.
    pub fn len(&self) -> usize {
        self.components.len()
    }

    /// True when the space has no component (such a space cannot be stored).
    pub fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    /// Number of values of each component.
    pub fn cardinalities(&self) -> Vec<usize> {
        self.components.iter().map(|c| usize::from(c.cardinality)).collect()
    }

    /// Sum of the cardinalities: 68 for the gamepad.
    pub fn logits(&self) -> usize {
        self.components.iter().map(|c| usize::from(c.cardinality)).sum()
    }

    /// Positions of the buttons, in the space's order: the k-th is bit k of the column `buttons`.
    pub fn buttons(&self) -> impl Iterator<Item = usize> + '_ {
        self.components.iter().enumerate().filter(|(_, c)| c.kind == Kind::Button).map(|(i, _)| i)
    }

    /// Bits of a value of the column `buttons` of `steps`: 16, 32 or 64, whichever holds all buttons first. None, and no
    /// such column, for a space without buttons or with more than 64.
    pub fn button_bits(&self) -> Option<u8> {
        match self.buttons().count() {
            1..=16 => Some(16),
            17..=32 => Some(32),
            33..=64 => Some(64),
            _ => None,
        }
    }

    /// Position of the component called `name`.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.components.iter().position(|c| c.name == name)
    }

    /// The action of a controller that nobody touches.
    pub fn neutral(&self) -> Vec<u8> {
        self.components.iter().map(Component::neutral).collect()
    }

    /// Checks one action: its length, and that every byte is a value of its component.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first component at fault.
    pub fn validate(&self, action: &[u8]) -> Result<()> {
        if action.len() != self.len() {
            return Err(Error::invalid(
                format!("action of space `{}`", self.name),
                format!("{} values for {} components", action.len(), self.len()),
            ));
        }
        match self.components.iter().zip(action).find(|(c, b)| **b >= c.cardinality) {
            None => Ok(()),
            Some((c, b)) => Err(Error::invalid(
                format!("component {}", c.name),
                format!("bucket {b} is out of range, the last one is {}", c.cardinality - 1),
            )),
        }
    }

    /// Checks the space itself: names usable as columns and distinct, edges ascending, centres within their buckets.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the component at fault.
    pub fn check(&self) -> Result<()> {
        if self.is_empty() {
            return Err(Error::invalid(format!("action space `{}`", self.name), "it has no component"));
        }
        for (i, component) in self.components.iter().enumerate() {
            component.check()?;
            if self.index_of(&component.name) != Some(i) {
                return Err(Error::invalid(
                    format!("action component `{}`", component.name),
                    "the name occurs twice in the space",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gamepad_matches_its_constants() {
        let space = ActionSpace::gamepad();
        space.check().unwrap();
        assert_eq!(space.len(), gamepad::COMPONENTS);
        assert_eq!(space.logits(), 68);
        let named = [("a", gamepad::A), ("y", gamepad::Y), ("r3", gamepad::R3), ("left_y", gamepad::LEFT_Y)];
        for (name, index) in named {
            assert_eq!(space.index_of(name), Some(index), "{name}");
        }
        assert_eq!(space.neutral(), gamepad::neutral());
        space.validate(&gamepad::neutral()).unwrap();
    }

    #[test]
    fn buckets_are_half_open_at_the_labs_edges() {
        let stick = Component::stick("left_x");
        for (value, bucket) in
            [(-1.0, 0), (-0.95, 1), (-0.05, 5), (0.0, 5), (0.049, 5), (0.05, 6), (0.75, 9), (1.0, 10)]
        {
            assert_eq!(stick.bucket(value).unwrap(), bucket, "{value}");
        }
        for value in [f32::NAN, f32::INFINITY, -1.06, 1.05, 2.0] {
            let message = stick.bucket(value).unwrap_err().to_string();
            assert!(message.contains("left_x") && message.contains(&value.to_string()), "{message}");
        }
        let button = Component::button("a");
        assert_eq!((button.bucket(0.0).unwrap(), button.bucket(1.0).unwrap()), (0, 1));
        assert!(button.bucket(0.5).is_err() && button.bucket(f32::NAN).is_err());
    }

    #[test]
    fn a_bucket_out_of_range_is_named() {
        let space = ActionSpace::gamepad();
        let mut action = gamepad::neutral();
        action[gamepad::RIGHT_X] = 11;
        let message = space.validate(&action).unwrap_err().to_string();
        assert_eq!(message, "component right_x: bucket 11 is out of range, the last one is 10");
        assert!(space.validate(&action[1..]).is_err());
    }

    #[test]
    fn the_packed_column_is_as_wide_as_the_buttons_need() {
        let space = |buttons: usize| ActionSpace {
            name: "many".into(),
            components: [Component::stick("turn")]
                .into_iter()
                .chain((0..buttons).map(|i| Component::button(format!("b{i}"))))
                .collect(),
        };
        for (buttons, bits) in
            [(0, None), (1, Some(16)), (16, Some(16)), (17, Some(32)), (33, Some(64)), (64, Some(64)), (65, None)]
        {
            assert_eq!(space(buttons).button_bits(), bits, "{buttons} buttons");
        }
        assert_eq!(space(2).buttons().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(ActionSpace::gamepad().button_bits(), Some(16));
    }

    #[test]
    fn broken_spaces_are_refused() {
        let broken: [fn(&mut ActionSpace); 8] = [
            |s| s.components.clear(),
            |s| s.components[1].name = "a".into(),
            |s| s.components[0].name = "reward".into(),
            |s| s.components[3].name = "buttons".into(),
            |s| s.components[0].name = "A b".into(),
            |s| s.components[0].cardinality = 3,
            |s| s.components[12].edges[3] = f32::NAN,
            |s| s.components[12].centres[4] = 0.9,
        ];
        for (i, spoil) in broken.into_iter().enumerate() {
            let mut space = ActionSpace::gamepad();
            spoil(&mut space);
            assert!(space.check().is_err(), "case {i}");
        }
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_value(value in -1.0499f32..1.0499) {
            let stick = Component::stick("s");
            let b = usize::from(stick.bucket(value).unwrap());
            prop_assert!(stick.edges[b] <= value && value < stick.edges[b + 1]);
        }

        #[test]
        fn json_keeps_every_bit(centre in 0.05f32..0.2499) {
            let mut space = ActionSpace::gamepad();
            space.components[12].centres[6] = centre;
            let text = serde_json::to_string(&space).unwrap();
            prop_assert_eq!(serde_json::from_str::<ActionSpace>(&text).unwrap(), space);
        }
    }
}
