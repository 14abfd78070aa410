//! Group-by over sorted input: a group is a run of rows.
//!
//! DataFusion hashes every row's key even where the input is sorted by it. With steps sorted by episode, equal keys are
//! neighbours: the ends of the runs are found by comparing each row with the next, and nothing is hashed. The aggregates
//! are DataFusion's own, or ours; they are told each row's group as ever.
//!
//! Groups are handed out as soon as they are complete, so memory holds a few thousand, however many there are.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{concat, partition, take};
use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, InputOrderMode, PhysicalExpr,
    PlanProperties, SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt, stream};

/// Complete groups that are held back before they are handed out together.
const HELD_BACK: usize = 4096;

/// Puts a [`RunAggregateExec`] where a single-stage group-by of one key finds its input sorted by it.
#[derive(Debug)]
pub(crate) struct RunAggregate;

impl PhysicalOptimizerRule for RunAggregate {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let replace = |node: Arc<dyn ExecutionPlan>| match node.downcast_ref::<AggregateExec>() {
            Some(aggregate) if applies(aggregate) => {
                let exec = RunAggregateExec::new(aggregate.clone());
                Ok(Transformed::yes(Arc::new(exec) as Arc<dyn ExecutionPlan>))
            }
            _ => Ok(Transformed::no(node)),
        };
        plan.transform_up(replace).data()
    }

    fn name(&self) -> &str {
        "run_aggregate"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn applies(aggregate: &AggregateExec) -> bool {
    let keys = aggregate.group_expr();
    matches!(aggregate.mode(), AggregateMode::Single | AggregateMode::SinglePartitioned)
        && *aggregate.input_order_mode() == InputOrderMode::Sorted
        && keys.is_single()
        && keys.expr().len() == 1
        && aggregate.limit_options().is_none()
        && aggregate.dynamic_expressions_produced().is_empty()
        && aggregate.aggr_expr().iter().all(|one| one.groups_accumulator_supported())
}

/// A group-by whose input is sorted by the key.
#[derive(Clone)]
struct RunAggregateExec {
    /// What it stands for: its expressions, schema and properties are this operator's.
    aggregate: AggregateExec,
    metrics: ExecutionPlanMetricsSet,
}

impl RunAggregateExec {
    fn new(aggregate: AggregateExec) -> Self {
        Self { aggregate, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for RunAggregateExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let key = self.aggregate.group_expr().expr().iter().map(|(expr, name)| {
            let expr = expr.to_string();
            if *name == expr || expr.starts_with(&format!("{name}@")) { expr } else { format!("{expr} as {name}") }
        });
        let aggregates: Vec<&str> = self.aggregate.aggr_expr().iter().map(|one| one.name()).collect();
        write!(f, "RunAggregateExec: gby=[{}], aggr=[{}]", key.collect::<Vec<_>>().join(", "), aggregates.join(", "))
    }
}

impl fmt::Debug for RunAggregateExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl ExecutionPlan for RunAggregateExec {
    fn name(&self) -> &'static str {
        "RunAggregateExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.aggregate.properties()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.aggregate.input_distribution_requirements()
    }

    fn required_input_ordering(&self) -> Vec<Option<datafusion::physical_expr::OrderingRequirements>> {
        self.aggregate.required_input_ordering()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
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
        let Some(aggregate) = replaced.downcast_ref::<AggregateExec>() else {
            return internal_err!("a group-by became a {}", replaced.name());
        };
        // Other children may come in another order.
        Ok(if applies(aggregate) { Arc::new(Self::new(aggregate.clone())) } else { replaced })
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
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
        let input = self.aggregate.input().execute(partition, context)?;
        let runs = Runs::new(&self.aggregate)?;
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let schema = self.aggregate.schema();
        // The end of the input is an item too, after which the last groups are complete.
        let input = input.map_ok(Some).chain(stream::once(async { Ok(None) }));
        let groups = input.scan((runs, baseline), |(runs, baseline), item| {
            let timer = baseline.elapsed_compute().timer();
            let groups = item.and_then(|batch| match batch {
                Some(batch) => runs.push(&batch),
                None => runs.finish(),
            });
            timer.done();
            if let Ok(Some(batch)) = &groups {
                batch.record_output(baseline);
            }
            futures::future::ready(Some(groups))
        });
        let groups = groups.filter_map(|groups| futures::future::ready(groups.transpose()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, groups)))
    }
}

/// One aggregate of the group-by.
struct Aggregate {
    accumulator: Box<dyn GroupsAccumulator>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
}

/// The groups of a partition, as far as they have been seen.
struct Runs {
    schema: SchemaRef,
    key: Arc<dyn PhysicalExpr>,
    aggregates: Vec<Aggregate>,
    /// The keys of the groups that are not handed out, in pieces; the last group may go on.
    keys: Vec<ArrayRef>,
    groups: usize,
    /// Each row's group, kept for its memory.
    group_of_row: Vec<usize>,
}

impl Runs {
    fn new(aggregate: &AggregateExec) -> Result<Self> {
        let Some((key, _)) = aggregate.group_expr().expr().first() else {
            return internal_err!("a group-by without a key");
        };
        let make = |(one, filter): (&Arc<AggregateFunctionExpr>, &Option<Arc<dyn PhysicalExpr>>)| {
            let accumulator = one.create_groups_accumulator()?;
            // Aggregates with an order of their own look at its columns too.
            let order = one.order_bys().iter().map(|order| Arc::clone(&order.expr));
            let arguments = one.expressions().into_iter().chain(order).collect();
            Ok(Aggregate { accumulator, arguments, filter: filter.clone() })
        };
        let aggregates = aggregate.aggr_expr().iter().zip(aggregate.filter_expr()).map(make);
        Ok(Self {
            schema: aggregate.schema(),
            key: Arc::clone(key),
            aggregates: aggregates.collect::<Result<_>>()?,
            keys: Vec::new(),
            groups: 0,
            group_of_row: Vec::new(),
        })
    }

    /// Adds rows, and hands out the groups that they complete, when there are enough.
    fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(None);
        }
        let key = self.key.evaluate(batch)?.into_array(rows)?;
        let runs = partition(&[Arc::clone(&key)])?.ranges();
        let goes_on = match self.keys.last() {
            Some(last) => {
                let pair = concat(&[&last.slice(last.len() - 1, 1), &key.slice(0, 1)])?;
                partition(&[pair])?.len() == 1
            }
            None => false,
        };
        let new = runs.iter().skip(usize::from(goes_on));
        let firsts: UInt32Array = new.map(|run| run.start as u32).collect();
        if !firsts.is_empty() {
            self.keys.push(take(&key, &firsts, None)?);
        }
        let mut group = self.groups - usize::from(goes_on);
        self.group_of_row.clear();
        for run in &runs {
            self.group_of_row.resize(run.end, group);
            group += 1;
        }
        self.groups = group;
        for aggregate in &mut self.aggregates {
            let values = aggregate.arguments.iter().map(|argument| argument.evaluate(batch)?.into_array(rows));
            let values = values.collect::<Result<Vec<_>>>()?;
            let filter =
                aggregate.filter.as_ref().map(|filter| filter.evaluate(batch)?.into_array(rows)).transpose()?;
            let filter: Option<&BooleanArray> = filter.as_ref().map(|filter| filter.as_boolean());
            aggregate.accumulator.update_batch(&values, &self.group_of_row, filter, self.groups)?;
        }
        if self.groups > HELD_BACK { self.emit(self.groups - 1).map(Some) } else { Ok(None) }
    }

    /// Hands out the rest.
    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if self.groups == 0 { Ok(None) } else { self.emit(self.groups).map(Some) }
    }

    fn emit(&mut self, count: usize) -> Result<RecordBatch> {
        let pieces: Vec<_> = self.keys.iter().map(AsRef::as_ref).collect();
        let keys = concat(&pieces)?;
        let mut columns = vec![keys.slice(0, count)];
        let emit = if count == self.groups { EmitTo::All } else { EmitTo::First(count) };
        for aggregate in &mut self.aggregates {
            columns.push(aggregate.accumulator.evaluate(emit)?);
        }
        self.groups -= count;
        self.keys.clear();
        if self.groups > 0 {
            self.keys.push(keys.slice(count, self.groups));
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}
