//! Group-by over small keys: the group is computed, not looked up.
//!
//! Sticks have eleven buckets and buttons two states, so even six of them make fewer groups than fit a table in the
//! processor's cache. Each combination has its place in that table, and no row is hashed. This is the first stage of two:
//! each partition fills a table of its own, and DataFusion's final stage puts the occupied places together.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt8Array};
use arrow::datatypes::{DataType, SchemaRef, UInt8Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue, Statistics, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PhysicalExpr, PlanProperties,
    SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt, stream};

/// Places of a table at most: its counters stay in the processor's cache.
const MOST_PLACES: usize = 1 << 18;

/// Puts a [`DenseAggregateExec`] where the first stage of a group-by has small keys only.
#[derive(Debug)]
pub(crate) struct DenseAggregate;

impl PhysicalOptimizerRule for DenseAggregate {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let replace = |node: Arc<dyn ExecutionPlan>| match DenseAggregateExec::try_new(&node)? {
            Some(exec) => Ok(Transformed::yes(Arc::new(exec) as Arc<dyn ExecutionPlan>)),
            None => Ok(Transformed::no(node)),
        };
        plan.transform_up(replace).data()
    }

    fn name(&self) -> &str {
        "dense_aggregate"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A group-by whose keys are computed into places of a table.
#[derive(Clone)]
struct DenseAggregateExec {
    /// What it stands for: its expressions, schema and properties are this operator's.
    aggregate: AggregateExec,
    /// How many values each key has: 0, 1, 2 and so on.
    values: Vec<usize>,
    metrics: ExecutionPlanMetricsSet,
}

impl DenseAggregateExec {
    fn try_new(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Self>> {
        let Some(aggregate) = node.downcast_ref::<AggregateExec>() else { return Ok(None) };
        let keys = aggregate.group_expr();
        let applies = *aggregate.mode() == AggregateMode::Partial
            && keys.is_single()
            && !keys.expr().is_empty()
            && aggregate.limit_options().is_none()
            && aggregate.dynamic_expressions_produced().is_empty()
            && aggregate.aggr_expr().iter().all(|one| one.groups_accumulator_supported() && one.order_bys().is_empty());
        if !applies {
            return Ok(None);
        }
        let input = aggregate.input();
        let statistics = StatisticsContext::new().compute(input.as_ref(), &StatisticsArgs::new())?;
        let mut values = Vec::new();
        for (key, _) in keys.expr() {
            let schema = input.schema();
            let count = match key.data_type(&schema)? {
                _ if key.nullable(&schema)? => None,
                DataType::Boolean => Some(2),
                DataType::UInt8 => {
                    key.downcast_ref::<Column>().and_then(|column| greatest(&statistics, column.index()))
                }
                _ => None,
            };
            let Some(count) = count else { return Ok(None) };
            values.push(count);
        }
        let places = values.iter().try_fold(1usize, |places, count| places.checked_mul(*count));
        let fits = places.is_some_and(|places| places <= MOST_PLACES);
        Ok(fits.then(|| Self { aggregate: aggregate.clone(), values, metrics: ExecutionPlanMetricsSet::new() }))
    }
}

/// How many values a column may have by its greatest.
fn greatest(statistics: &Statistics, column: usize) -> Option<usize> {
    match statistics.column_statistics.get(column)?.max_value.get_value()? {
        ScalarValue::UInt8(Some(greatest)) => Some(usize::from(*greatest) + 1),
        _ => None,
    }
}

impl DisplayAs for DenseAggregateExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let keys = self.aggregate.group_expr().expr().iter().zip(&self.values);
        let keys: Vec<String> = keys.map(|((key, _), values)| format!("{key}<{values}")).collect();
        let aggregates: Vec<&str> = self.aggregate.aggr_expr().iter().map(|one| one.name()).collect();
        write!(f, "DenseAggregateExec: mode=Partial, gby=[{}], aggr=[{}]", keys.join(", "), aggregates.join(", "))
    }
}

impl fmt::Debug for DenseAggregateExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl ExecutionPlan for DenseAggregateExec {
    fn name(&self) -> &'static str {
        "DenseAggregateExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.aggregate.properties()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.aggregate.input_distribution_requirements()
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
        Ok(Arc::new(Self { aggregate: aggregate.clone(), metrics: ExecutionPlanMetricsSet::new(), ..(*self).clone() }))
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
        let input = self.aggregate.input().execute(partition, context)?;
        let table = Table::new(&self.aggregate, &self.values)?;
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        // The end of the input is an item too: then the table is handed out.
        let input = input.map_ok(Some).chain(stream::once(async { Ok(None) }));
        let groups = input.scan((table, baseline), |(table, baseline), item| {
            let timer = baseline.elapsed_compute().timer();
            let groups = item.and_then(|batch| match batch {
                Some(batch) => table.push(&batch),
                None => table.finish(),
            });
            timer.done();
            if let Ok(Some(batch)) = &groups {
                batch.record_output(baseline);
            }
            futures::future::ready(Some(groups))
        });
        let groups = groups.filter_map(|groups| futures::future::ready(groups.transpose()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), groups)))
    }
}

/// One aggregate of the group-by.
struct One {
    accumulator: Box<dyn GroupsAccumulator>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
}

/// The groups of a partition.
struct Table {
    schema: SchemaRef,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    values: Vec<usize>,
    aggregates: Vec<One>,
    /// The group at each place, numbered as they came: aggregates count on every number below the greatest having rows.
    group_at: Vec<u32>,
    /// Each group's place.
    place_of: Vec<u32>,
    /// Each row's place and then its group, kept for its memory.
    group_of_row: Vec<usize>,
}

/// No group.
const NONE: u32 = u32::MAX;

impl Table {
    fn new(aggregate: &AggregateExec, values: &[usize]) -> Result<Self> {
        let mut aggregates = Vec::new();
        for (one, filter) in aggregate.aggr_expr().iter().zip(aggregate.filter_expr()) {
            let accumulator = one.create_groups_accumulator()?;
            aggregates.push(One { accumulator, arguments: one.expressions(), filter: filter.clone() });
        }
        Ok(Self {
            schema: aggregate.schema(),
            keys: aggregate.group_expr().expr().iter().map(|(key, _)| Arc::clone(key)).collect(),
            values: values.to_vec(),
            aggregates,
            group_at: vec![NONE; values.iter().product()],
            place_of: Vec::new(),
            group_of_row: Vec::new(),
        })
    }

    /// Adds rows. If a key has more values than was thought, the rows come back as groups of their own.
    fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let rows = batch.num_rows();
        let keys = self.keys.iter().map(|key| key.evaluate(batch)?.into_array(rows)).collect::<Result<Vec<_>>>()?;
        let fits = self.find_groups(&keys, rows)?;
        let mut columns = keys;
        for one in &mut self.aggregates {
            let values = one.arguments.iter().map(|argument| argument.evaluate(batch)?.into_array(rows));
            let values = values.collect::<Result<Vec<_>>>()?;
            let filter = one.filter.as_ref().map(|filter| filter.evaluate(batch)?.into_array(rows)).transpose()?;
            let filter = filter.as_ref().map(|filter| filter.as_boolean());
            if fits {
                one.accumulator.update_batch(&values, &self.group_of_row, filter, self.place_of.len())?;
            } else {
                columns.extend(one.accumulator.convert_to_state(&values, filter)?);
            }
        }
        if fits { Ok(None) } else { Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)) }
    }

    /// Finds every row's group; false if a value has no place.
    fn find_groups(&mut self, keys: &[ArrayRef], rows: usize) -> Result<bool> {
        let places = &mut self.group_of_row;
        places.clear();
        places.resize(rows, 0);
        for (key, count) in keys.iter().zip(&self.values) {
            match key.data_type() {
                DataType::Boolean => {
                    let states = key.as_boolean().values().iter();
                    places.iter_mut().zip(states).for_each(|(place, state)| *place = *place * 2 + usize::from(state));
                }
                DataType::UInt8 => {
                    let buckets = key.as_primitive::<UInt8Type>().values();
                    if buckets.iter().max().is_some_and(|greatest| usize::from(*greatest) >= *count) {
                        return Ok(false);
                    }
                    let places = places.iter_mut().zip(buckets);
                    places.for_each(|(place, bucket)| *place = *place * count + usize::from(*bucket));
                }
                other => return internal_err!("a small key is {other}"),
            }
        }
        for row in places {
            let group = &mut self.group_at[*row];
            if *group == NONE {
                *group = self.place_of.len() as u32;
                self.place_of.push(*row as u32);
            }
            *row = *group as usize;
        }
        Ok(true)
    }

    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if self.place_of.is_empty() {
            return Ok(None);
        }
        // The last key changes fastest.
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        let mut below: usize = self.values.iter().product();
        for (count, field) in self.values.iter().zip(self.schema.fields()) {
            below /= count;
            let digits = self.place_of.iter().map(|place| *place as usize / below % count);
            columns.push(match field.data_type() {
                DataType::Boolean => Arc::new(digits.map(|digit| Some(digit == 1)).collect::<BooleanArray>()),
                _ => Arc::new(UInt8Array::from_iter_values(digits.map(|digit| digit as u8))),
            });
        }
        for one in &mut self.aggregates {
            columns.extend(one.accumulator.state(EmitTo::All)?);
        }
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{Field, Int64Type, Schema};
    use datafusion::functions_aggregate::sum::sum_udaf;
    use datafusion::physical_expr::aggregate::AggregateExprBuilder;
    use datafusion::physical_expr::expressions::col;
    use datafusion::physical_plan::aggregates::PhysicalGroupBy;
    use datafusion::physical_plan::empty::EmptyExec;

    use super::*;

    #[test]
    fn values_beyond_the_statistics_are_groups_of_their_own() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("k", DataType::UInt8, false),
            Field::new("b", DataType::Boolean, false),
            Field::new("v", DataType::Int64, false),
        ]));
        let batch = |k: Vec<u8>, b: Vec<bool>, v: Vec<i64>| {
            let columns: Vec<ArrayRef> =
                vec![Arc::new(UInt8Array::from(k)), Arc::new(BooleanArray::from(b)), Arc::new(Int64Array::from(v))];
            RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
        };
        let key = |name: &str| (col(name, &schema).unwrap(), name.to_owned());
        let sum = AggregateExprBuilder::new(sum_udaf(), vec![col("v", &schema).unwrap()]);
        let sum = sum.schema(Arc::clone(&schema)).alias("sum").build().unwrap();
        let aggregate = AggregateExec::try_new(
            AggregateMode::Partial,
            PhysicalGroupBy::new_single(vec![key("k"), key("b")]),
            vec![Arc::new(sum)],
            vec![None],
            Arc::new(EmptyExec::new(Arc::clone(&schema))),
            Arc::clone(&schema),
        );
        let mut table = Table::new(&aggregate.unwrap(), &[3, 2]).unwrap();
        let rows = |batch: &RecordBatch| {
            let (k, b) = (batch.column(0).as_primitive::<UInt8Type>(), batch.column(1).as_boolean());
            let sums = batch.column(2).as_primitive::<Int64Type>();
            (0..batch.num_rows()).map(|row| (k.value(row), b.value(row), sums.value(row))).collect::<Vec<_>>()
        };
        assert!(table.push(&batch(vec![2, 0, 2], vec![true, false, true], vec![1, 2, 3])).unwrap().is_none());
        let beyond = table.push(&batch(vec![2, 9], vec![true, true], vec![10, 20])).unwrap().unwrap();
        assert_eq!(rows(&beyond), [(2, true, 10), (9, true, 20)]);
        assert!(table.push(&batch(vec![0, 1], vec![false, true], vec![100, 200])).unwrap().is_none());
        let groups = table.finish().unwrap().unwrap();
        assert_eq!(rows(&groups), [(2, true, 4), (0, false, 102), (1, true, 200)]);
    }
}
