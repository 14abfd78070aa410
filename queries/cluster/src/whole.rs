//! A plan that one executor runs as a whole.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, SendableRecordBatchStream,
};

use crate::leaf::{leaf, properties};

/// A leaf to whoever looks for places where a plan can be cut.
pub(crate) struct WholeExec {
    /// Has one partition.
    plan: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl WholeExec {
    pub(crate) fn new(plan: Arc<dyn ExecutionPlan>) -> Self {
        let plan = match plan.output_partitioning().partition_count() {
            1 => plan,
            _ => Arc::new(CoalescePartitionsExec::new(plan)),
        };
        let properties = properties(plan.schema());
        Self { plan, properties }
    }

    pub(crate) fn plan(&self) -> &Arc<dyn ExecutionPlan> {
        &self.plan
    }
}

impl DisplayAs for WholeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "WholeExec: {}", self.plan.name())
    }
}

impl fmt::Debug for WholeExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl ExecutionPlan for WholeExec {
    leaf!("WholeExec");

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.plan.execute(partition, context)
    }
}
