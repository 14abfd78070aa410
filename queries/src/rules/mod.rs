//! Rules of the planner: what people write, as what is quick here, with the same rows.

mod count_conditions;

pub(crate) use count_conditions::CountConditions;
