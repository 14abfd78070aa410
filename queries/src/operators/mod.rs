//! Physical operators of our own: what sorted input and small keys make cheap.
//!
//! Each is put into the plan by a rule, in place of an operator of DataFusion's that gives the same rows.

mod dense_aggregate;
mod floor;
mod group_by;
mod hash_table;
mod histogram;
mod lag;
mod place_table;
mod places;
mod quick;
mod row_count;
mod run_aggregate;
mod small_conditions;

use std::sync::Arc;

use datafusion::physical_optimizer::PhysicalOptimizerRule;

use dense_aggregate::ByPlace;
use group_by::GroupBy;
use lag::Lag;
pub(crate) use lag::is_reversed;
use run_aggregate::ByRuns;
use small_conditions::SmallConditions;

use crate::yielding::YieldAboveJoins;

/// The rules, in the order in which they are to run; after all others.
pub(crate) fn rules() -> [Arc<dyn PhysicalOptimizerRule + Send + Sync>; 5] {
    [
        Arc::new(SmallConditions),
        Arc::new(Lag),
        Arc::new(GroupBy::<ByRuns>::new()),
        Arc::new(GroupBy::<ByPlace>::new()),
        Arc::new(YieldAboveJoins),
    ]
}
