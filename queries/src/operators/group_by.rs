//! What the group-bys here share: they stand for an `AggregateExec`, and differ in how a row finds its group.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::GroupsAccumulator;
use datafusion::physical_expr::OrderingRequirements;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PhysicalExpr, PlanProperties,
    SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::row_count::RowCount;
use crate::functions::{Accumulate, Groups, accumulator_of};

/// A way to find groups.
pub(super) trait Strategy: Clone + Send + Sync + 'static {
    /// The rule that puts the operator into plans.
    const RULE: &'static str;
    /// The operator.
    const NAME: &'static str;

    /// None if this way is not open to the group-by.
    fn of(aggregate: &AggregateExec) -> Result<Option<Self>>;

    /// The keys as EXPLAIN shows them, and what else there is to say.
    fn describe(&self, aggregate: &AggregateExec) -> String;

    fn groups(&self, aggregate: &AggregateExec) -> Result<Box<dyn GroupTable>>;
}

/// The groups of one partition, as far as they have been seen.
pub(super) trait GroupTable: Send {
    /// Adds rows, and hands out groups if it is time.
    fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>>;

    /// Hands out what can be, because memory is short; none if nothing can.
    fn shrink(&mut self) -> Result<Option<RecordBatch>>;

    /// Hands out the rest.
    fn finish(&mut self) -> Result<Option<RecordBatch>>;

    /// Bytes that the groups take.
    fn size(&self) -> usize;
}

/// Groups, and what the memory pool knows of them.
struct Reserved {
    groups: Box<dyn GroupTable>,
    reservation: MemoryReservation,
}

impl Reserved {
    /// The groups that a batch makes come out, or those that the end of the input does.
    fn take(&mut self, batch: Option<&RecordBatch>) -> Result<Vec<RecordBatch>> {
        let Some(batch) = batch else {
            let rest = self.groups.finish()?;
            self.reservation.free();
            return Ok(rest.into_iter().collect());
        };
        let mut out: Vec<RecordBatch> = self.groups.push(batch)?.into_iter().collect();
        match self.reservation.try_resize(self.groups.size()) {
            Err(DataFusionError::ResourcesExhausted(_)) => {
                out.extend(self.groups.shrink()?);
                // What is left is one group, or a table of fixed size.
                self.reservation.try_resize(self.groups.size())?;
            }
            other => other?,
        }
        Ok(out)
    }
}

/// One aggregate of a group-by.
pub(super) struct Aggregate {
    accumulator: Accumulator,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
}

enum Accumulator {
    /// Takes runs.
    Ours(Box<dyn Accumulate + Sync>),
    DataFusions(Box<dyn GroupsAccumulator>),
}

impl Aggregate {
    /// Those of a group-by, in its order.
    pub(super) fn all(of: &AggregateExec) -> Result<Vec<Self>> {
        let mut all = Vec::with_capacity(of.aggr_expr().len());
        for (one, filter) in of.aggr_expr().iter().zip(of.filter_expr()) {
            let accumulator = if RowCount::is(one, &of.input().schema()) {
                Accumulator::Ours(Box::<RowCount>::default())
            } else {
                match accumulator_of(one.fun()).filter(|_| !one.is_distinct()) {
                    Some(ours) => Accumulator::Ours(ours),
                    None => Accumulator::DataFusions(one.create_groups_accumulator()?),
                }
            };
            // Aggregates with an order of their own look at its columns too.
            let order = one.order_bys().iter().map(|order| Arc::clone(&order.expr));
            let arguments = one.expressions().into_iter().chain(order).collect();
            all.push(Self { accumulator, arguments, filter: filter.clone() });
        }
        Ok(all)
    }

    /// Whether it counts all rows.
    pub(super) fn counts_rows(of: &AggregateExec) -> bool {
        let schema = of.input().schema();
        let mut all = of.aggr_expr().iter().zip(of.filter_expr());
        all.all(|(one, filter)| filter.is_none() && RowCount::is(one, &schema))
    }

    /// Whether it has to be told each row's group, and runs are not enough.
    pub(super) fn needs_rows(&self) -> bool {
        matches!(self.accumulator, Accumulator::DataFusions(_))
    }

    pub(super) fn accumulator(&mut self) -> &mut dyn GroupsAccumulator {
        match &mut self.accumulator {
            Accumulator::Ours(ours) => ours.as_mut(),
            Accumulator::DataFusions(other) => other.as_mut(),
        }
    }

    /// Adds rows to `total` groups: `groups` for what takes runs, `group_of_row` for what does not.
    pub(super) fn update(
        &mut self,
        batch: &RecordBatch,
        groups: Groups,
        group_of_row: &[usize],
        total: usize,
    ) -> Result<()> {
        let (values, filter) = self.evaluate(batch)?;
        let filter = filter.as_ref().map(|filter| filter.as_boolean());
        match &mut self.accumulator {
            Accumulator::Ours(ours) => ours.update(&values, groups, filter, total),
            Accumulator::DataFusions(other) => other.update_batch(&values, group_of_row, filter, total),
        }
    }

    /// The partial results of rows, each as a group of its own.
    pub(super) fn convert(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let (values, filter) = self.evaluate(batch)?;
        let filter = filter.as_ref().map(|filter| filter.as_boolean());
        match &self.accumulator {
            Accumulator::Ours(ours) => ours.convert_to_state(&values, filter),
            Accumulator::DataFusions(other) => other.convert_to_state(&values, filter),
        }
    }

    /// Bytes that the partial results take.
    pub(super) fn size(&self) -> usize {
        match &self.accumulator {
            Accumulator::Ours(ours) => ours.size(),
            Accumulator::DataFusions(other) => other.size(),
        }
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<(Vec<ArrayRef>, Option<ArrayRef>)> {
        let array = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(batch)?.into_array(batch.num_rows());
        let values = self.arguments.iter().map(array).collect::<Result<_>>()?;
        Ok((values, self.filter.as_ref().map(array).transpose()?))
    }
}

/// Puts a [`GroupByExec`] in place of every `AggregateExec` that the strategy takes.
pub(crate) struct GroupBy<S>(PhantomData<fn() -> S>);

impl<S> GroupBy<S> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<S: Strategy> fmt::Debug for GroupBy<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(S::RULE)
    }
}

impl<S: Strategy> PhysicalOptimizerRule for GroupBy<S> {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let replace = |node: Arc<dyn ExecutionPlan>| match GroupByExec::<S>::try_new(&node)? {
            Some(exec) => Ok(Transformed::yes(Arc::new(exec) as Arc<dyn ExecutionPlan>)),
            None => Ok(Transformed::no(node)),
        };
        plan.transform_up(replace).data()
    }

    fn name(&self) -> &str {
        S::RULE
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A group-by that finds groups in a way of its own.
#[derive(Clone)]
struct GroupByExec<S> {
    /// What it stands for: its expressions, schema and properties are this operator's.
    aggregate: AggregateExec,
    strategy: S,
    metrics: ExecutionPlanMetricsSet,
}

impl<S: Strategy> GroupByExec<S> {
    fn try_new(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Self>> {
        let Some(aggregate) = node.downcast_ref::<AggregateExec>() else { return Ok(None) };
        // What stops early, or tells a scan what to leave out, is DataFusion's own.
        let plain = aggregate.group_expr().is_single()
            && aggregate.limit_options().is_none()
            && aggregate.dynamic_expressions_produced().is_empty()
            && aggregate.aggr_expr().iter().all(|one| one.groups_accumulator_supported());
        if !plain {
            return Ok(None);
        }
        let strategy = S::of(aggregate)?;
        let exec = |strategy| Self { aggregate: aggregate.clone(), strategy, metrics: ExecutionPlanMetricsSet::new() };
        Ok(strategy.map(exec))
    }
}

impl<S: Strategy> DisplayAs for GroupByExec<S> {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let aggregates: Vec<&str> = self.aggregate.aggr_expr().iter().map(|one| one.name()).collect();
        write!(f, "{}: {}, aggr=[{}]", S::NAME, self.strategy.describe(&self.aggregate), aggregates.join(", "))
    }
}

impl<S: Strategy> fmt::Debug for GroupByExec<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl<S: Strategy> ExecutionPlan for GroupByExec<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.aggregate.properties()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.aggregate.input_distribution_requirements()
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.aggregate.required_input_ordering()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.aggregate.maintains_input_order()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.aggregate.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.aggregate.apply_expressions(f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let replaced = Arc::new(self.aggregate.clone()).replace_children(children, options)?;
        // Other children may come in another order, or with other values.
        match Self::try_new(&replaced)? {
            Some(exec) => Ok(Arc::new(exec)),
            None => Ok(replaced),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        self.aggregate.child_stats_requests(partition)
    }

    fn statistics_from_inputs(&self, input: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        self.aggregate.statistics_from_inputs(input, args)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reservation = MemoryConsumer::new(format!("{}[{partition}]", S::NAME)).register(context.memory_pool());
        let input = self.aggregate.input().execute(partition, context)?;
        let groups = Reserved { groups: self.strategy.groups(&self.aggregate)?, reservation };
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        // The end of the input is an item too, after which the last groups are complete.
        let input = input.map_ok(Some).chain(stream::once(async { Ok(None) }));
        let output = input.scan((groups, baseline), |(groups, baseline), item| {
            let timer = baseline.elapsed_compute().timer();
            let output = item.and_then(|batch| groups.take(batch.as_ref()));
            timer.done();
            let output = match output {
                Ok(batches) => batches.into_iter().map(|batch| Ok(batch.record_output(baseline))).collect(),
                Err(error) => vec![Err(error)],
            };
            futures::future::ready(Some(stream::iter(output)))
        });
        let output = output.flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), output)))
    }
}
