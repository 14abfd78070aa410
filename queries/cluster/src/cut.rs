//! Whether a plan can be cut into stages without changing its rows.
//!
//! Ballista cuts where partitions change hands: at a repartition by hash, and where all come together. A stage's partitions are
//! dealt out to tasks in other processes, so nodes that share state among their partitions, or rely on an order or a
//! partitioning that a cut forgets, must not be cut.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use playhouse_queries::remote::SentStepsExec;

/// False where that is not certain.
pub(crate) fn can_be_cut(plan: &Arc<dyn ExecutionPlan>) -> bool {
    // Two scans of one stage have partitions of their own, and a task is given the same share of both.
    scans(plan) < 2 && pieces_fit(plan)
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
        // Which rows of the left side have no partner is known when every partition of the right side was seen.
        let by_right = matches!(
            join.join_type(),
            JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark
        );
        by_right || join.right().output_partitioning().partition_count() == 1
    } else if plan.is::<UnionExec>() || plan.is::<InterleaveExec>() {
        // A branch with a join gets a stage of its own, and the reader of a stage cannot be given a part of ranges.
        let by_ranges =
            |branch: &&Arc<dyn ExecutionPlan>| matches!(branch.output_partitioning(), Partitioning::Range(_));
        !plan.children().into_iter().filter(by_ranges).any(joins)
    } else {
        true
    };
    sound && plan.children().into_iter().all(pieces_fit)
}

fn joins(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<HashJoinExec>() || plan.children().into_iter().any(joins)
}
