//! Whether a plan can be cut into stages without changing its rows.
//!
//! Ballista cuts where partitions change hands: at a repartition by hash, and where all come together. A stage's partitions are
//! dealt out to tasks in other processes, so nodes that share state among their partitions, or rely on an order or a
//! partitioning that a cut forgets, must not be cut. Only nodes of which we know that they may be are let through; a plan with any
//! other goes to one executor whole, which is slower and right.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use playhouse_queries::remote::SentStepsExec;

/// False where that is not certain.
pub(crate) fn can_be_cut(plan: &Arc<dyn ExecutionPlan>) -> bool {
    // Two scans of one stage have partitions of their own, and a task is given the same share of both. Without any there is
    // nothing that more than one executor would be needed for.
    scans(plan) == 1 && pieces_fit(plan)
}

fn scans(plan: &Arc<dyn ExecutionPlan>) -> usize {
    usize::from(plan.is::<SentStepsExec>()) + plan.children().into_iter().map(scans).sum::<usize>()
}

fn pieces_fit(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let sound = if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
        // The order that it keeps is lost in the cut. Other partitionings than by hash are dropped from plans.
        let kept = repartition.preserve_order() || matches!(repartition.partitioning(), Partitioning::Range(_));
        !kept
    } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        by_right(*join.join_type(), join.left(), join.right())
    } else if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        *join.partition_mode() == PartitionMode::Partitioned || by_right(*join.join_type(), join.left(), join.right())
    } else {
        plan.is::<SentStepsExec>()
            || plan.is::<DataSourceExec>()
            || plan.is::<AggregateExec>()
            || plan.is::<BoundedWindowAggExec>()
            || plan.is::<CoalescePartitionsExec>()
            || plan.is::<CooperativeExec>()
            || plan.is::<FilterExec>()
            || plan.is::<GlobalLimitExec>()
            || plan.is::<LocalLimitExec>()
            || plan.is::<ProjectionExec>()
            || plan.is::<SortExec>()
            || plan.is::<SortPreservingMergeExec>()
            || plan.is::<WindowAggExec>()
    };
    sound && plan.children().into_iter().all(pieces_fit)
}

/// Whether a join with all of its left side in every task is the same in tasks as it is in one process.
///
/// Which rows of the left side have a partner is known when every partition of the right side was seen, and no task sees them all. A
/// right side of one partition gets a task for every partition that the left side had, each with all of its rows. And the reader of a
/// stage cannot be given a part of ranges, so a left side that is partitioned by them, as steps are, cannot be handed to every task.
fn by_right(join_type: JoinType, left: &Arc<dyn ExecutionPlan>, right: &Arc<dyn ExecutionPlan>) -> bool {
    let types = matches!(
        join_type,
        JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark
    );
    let collected = left.downcast_ref::<CoalescePartitionsExec>().map_or(left, |all| all.input());
    let by_ranges = matches!(collected.output_partitioning(), Partitioning::Range(_));
    types && !by_ranges && right.output_partitioning().partition_count() > 1
}
