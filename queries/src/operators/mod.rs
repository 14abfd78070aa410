//! Physical operators of our own: what sorted input makes cheap.
//!
//! Each is put into the plan by a rule of the same file, in place of an operator of DataFusion's that gives the same rows.

mod dense_aggregate;
mod lag;
mod run_aggregate;

pub(crate) use dense_aggregate::DenseAggregate;
pub(crate) use lag::Lag;
pub(crate) use run_aggregate::RunAggregate;
