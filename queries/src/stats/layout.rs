//! Where the values of an action space stand in a row of counts.
//!
//! ```text
//!   a 0|1   b 0|1  ..  left_x 0..=10   left_y 0..=10  ..      one count a value: 68 for the gamepad
//!   offset 0   2        24              35
//! ```

use playhouse_schemas::{ActionSpace, Kind};

/// One component's place.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The count of its value 0.
    pub(super) offset: usize,
    /// Number of values.
    pub(super) values: usize,
    /// The value at rest.
    pub(super) rest: u8,
}

impl Slot {
    /// The slot's part of a row of counts.
    pub(super) fn of<'a, T>(&self, counts: &'a [T]) -> &'a [T] {
        &counts[self.offset..self.offset + self.values]
    }
}

/// The components of an action space, and which axes make a stick.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) slots: Vec<Slot>,
    /// Length of a row of counts.
    pub(super) width: usize,
    /// Slots of the two axes of each stick: `left_x` and `left_y`.
    pub(super) sticks: Vec<(usize, usize)>,
}

impl Layout {
    pub(super) fn of(space: &ActionSpace) -> Self {
        let mut width = 0;
        let mut slots = Vec::with_capacity(space.len());
        for component in &space.components {
            let values = usize::from(component.cardinality);
            slots.push(Slot {
                name: component.name.clone(),
                kind: component.kind,
                offset: width,
                values,
                rest: component.neutral(),
            });
            width += values;
        }
        let axis = |name: &str| slots.iter().position(|slot| slot.kind == Kind::Axis && slot.name == name);
        let pair = |(x, slot): (usize, &Slot)| {
            let stick = slot.name.strip_suffix("_x").filter(|_| slot.kind == Kind::Axis)?;
            Some((x, axis(&format!("{stick}_y"))?))
        };
        let sticks = slots.iter().enumerate().filter_map(pair).collect();
        Self { slots, width, sticks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gamepad_has_two_sticks() {
        let layout = Layout::of(&ActionSpace::gamepad());
        assert_eq!((layout.width, layout.slots[12].offset), (68, 24));
        assert_eq!(layout.sticks, [(12, 13), (14, 15)]);
        assert_eq!((layout.slots[0].rest, layout.slots[15].rest), (0, 5));
    }
}
