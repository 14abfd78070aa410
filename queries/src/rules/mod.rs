//! Rules of the planner: what people write, as what is quick here, with the same rows.

mod aggregate_before_join;
mod count_conditions;
mod wide_arithmetic;

pub(crate) use aggregate_before_join::AggregateBeforeJoin;
pub(crate) use count_conditions::CountConditions;
pub(crate) use wide_arithmetic::analyzer_rules;

use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::TableScan;

use crate::steps::StepsTable;

/// Whether a scan is one of `steps`.
fn scans_steps(scan: &TableScan) -> bool {
    let provider = source_as_provider(&scan.source).ok();
    provider.is_some_and(|provider| (provider.as_ref() as &dyn std::any::Any).is::<StepsTable>())
}
