//! Rules of the planner: what people write, as what is quick here, with the same rows.

mod count_conditions;
mod packed_buttons;

pub(crate) use count_conditions::CountConditions;
pub(crate) use packed_buttons::PackedButtons;
