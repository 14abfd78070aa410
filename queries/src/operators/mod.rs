//! Physical operators of our own: what sorted input and small keys make cheap.
//!
//! Each is put into the plan by a rule, in place of an operator of DataFusion's that gives the same rows.

mod dense_aggregate;
mod group_by;
mod lag;
mod run_aggregate;

pub(crate) use dense_aggregate::ByPlace;
pub(crate) use group_by::GroupBy;
pub(crate) use lag::Lag;
pub(crate) use run_aggregate::ByRuns;
