//! `lag(value, k, default)` over sorted input: a shift of the column.
//!
//! DataFusion looks up the rows of each partition and evaluates `lag` one row at a time. With the input sorted by the
//! partition keys, the column moved down by k rows is the answer, but for the first k rows of every partition.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder, RecordBatch, Scalar, new_null_array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{concat, nullif, partition};
use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue, Statistics, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::OrderingRequirements;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowUDFExpr};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, InputOrderMode, PhysicalExpr,
    PlanProperties, SendableRecordBatchStream,
};
use futures::StreamExt;

/// Puts a [`LagExec`] where every window function of a sorted window is a `lag` by a fixed number of rows.
#[derive(Debug)]
pub(crate) struct Lag;

impl PhysicalOptimizerRule for Lag {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let replace = |node: Arc<dyn ExecutionPlan>| match LagExec::try_new(&node) {
            Some(exec) => Ok(Transformed::yes(Arc::new(exec) as Arc<dyn ExecutionPlan>)),
            None => Ok(Transformed::no(node)),
        };
        plan.transform_up(replace).data()
    }

    fn name(&self) -> &str {
        "lag"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// One `lag`.
#[derive(Clone)]
struct Shift {
    value: Arc<dyn PhysicalExpr>,
    by: usize,
    /// What the first rows of a partition get; null without it.
    default: Option<ScalarValue>,
}

/// Whether a function of windows runs from the end of its window: DataFusion turns one round rather than sort again.
pub(crate) fn is_reversed(window: &Arc<dyn WindowExpr>) -> bool {
    let standard = window.as_any().downcast_ref::<StandardWindowExpr>();
    let function = standard.and_then(|one| one.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>());
    // The flag has no accessor, but a differential test that would notice its going.
    function.is_some_and(|function| format!("{function:?}").contains("is_reversed: true"))
}

impl Shift {
    fn of(window: &Arc<dyn WindowExpr>) -> Option<Self> {
        let standard = window.as_any().downcast_ref::<StandardWindowExpr>()?;
        let function = standard.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>()?;
        // This flag has no accessor, but a differential test that would notice its going.
        let nulls_count = !format!("{function:?}").contains("ignore_nulls: true");
        if function.fun().name() != "lag" || is_reversed(window) || !nulls_count {
            return None;
        }
        let (value, rest) = function.args().split_first()?;
        let literal = |at: usize| match rest.get(at) {
            Some(expr) => expr.downcast_ref::<Literal>().map(|literal| Some(literal.value().clone())),
            None => Some(None),
        };
        let by = match literal(0)? {
            None => 1,
            Some(ScalarValue::Int64(Some(by))) => usize::try_from(by).ok()?,
            Some(_) => return None,
        };
        Some(Self { value: Arc::clone(value), by, default: literal(1)?.filter(|default| !default.is_null()) })
    }
}

/// Windows of `lag` over sorted input.
#[derive(Clone)]
struct LagExec {
    /// What it stands for: its schema and properties are this operator's.
    window: BoundedWindowAggExec,
    shifts: Vec<Shift>,
    metrics: ExecutionPlanMetricsSet,
}

impl LagExec {
    fn try_new(node: &Arc<dyn ExecutionPlan>) -> Option<Self> {
        let window = node.downcast_ref::<BoundedWindowAggExec>()?;
        if window.input_order_mode != InputOrderMode::Sorted || window.state_observer().is_some() {
            return None;
        }
        let shifts = window.window_expr().iter().map(Shift::of).collect::<Option<Vec<_>>>()?;
        let keys = window.window_expr().first()?.partition_by();
        if window.window_expr().iter().any(|one| one.partition_by() != keys) {
            return None;
        }
        Some(Self { window: window.clone(), shifts, metrics: ExecutionPlanMetricsSet::new() })
    }
}

impl LagExec {
    /// What rows of one window have in common. The window's own accessor leaves it out where there is one partition.
    fn keys(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        self.window.window_expr().first().map(|one| one.partition_by().to_vec()).unwrap_or_default()
    }
}

impl DisplayAs for LagExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let names: Vec<&str> = self.window.window_expr().iter().map(|one| one.name()).collect();
        write!(f, "LagExec: [{}]", names.join(", "))
    }
}

impl fmt::Debug for LagExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl ExecutionPlan for LagExec {
    fn name(&self) -> &'static str {
        "LagExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.window.properties()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.window.input_distribution_requirements()
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.window.required_input_ordering()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.window.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.window.apply_expressions(f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let replaced = Arc::new(self.window.clone()).replace_children(children, options)?;
        // Other children may come in another order.
        Ok(match Self::try_new(&replaced) {
            Some(exec) => Arc::new(exec),
            None => replaced,
        })
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        self.window.child_stats_requests(partition)
    }

    fn statistics_from_inputs(&self, input: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        self.window.statistics_from_inputs(input, args)
    }

    fn execute(&self, at: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.window.input().execute(at, context)?;
        let mut columns = Shifted {
            schema: self.window.schema(),
            keys: self.keys(),
            columns: self.shifts.iter().map(|shift| (shift.clone(), None)).collect(),
            last_key: None,
            seen: 0,
        };
        let baseline = BaselineMetrics::new(&self.metrics, at);
        let output = input.map(move |batch| {
            let batch = batch?;
            let timer = baseline.elapsed_compute().timer();
            let batch = columns.append_to(&batch);
            timer.done();
            batch.record_output(&baseline)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), output)))
    }
}

/// The shifted columns of a partition, as far as it has been read.
struct Shifted {
    schema: SchemaRef,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Each shift, and the rows that it still holds: as many as it shifts by, older ones first.
    columns: Vec<(Shift, Option<ArrayRef>)>,
    /// The keys of the last row.
    last_key: Option<Vec<ArrayRef>>,
    /// Rows of the last row's window so far.
    seen: usize,
}

impl Shifted {
    fn append_to(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        let starts = self.starts(batch)?;
        let mut arrays = batch.columns().to_vec();
        for (shift, held) in &mut self.columns {
            let values = shift.value.evaluate(batch)?.into_array(rows)?;
            let before = held.take().unwrap_or_else(|| new_null_array(values.data_type(), shift.by));
            let joined = concat(&[before.as_ref(), values.as_ref()])?;
            let moved = joined.slice(0, rows);
            *held = Some(joined.slice(rows, shift.by));
            arrays.push(first_rows_replaced(&moved, &starts, self.seen, shift)?);
        }
        self.seen = match starts.last() {
            Some(last) => rows - last,
            None => self.seen + rows,
        };
        let Ok(batch) = RecordBatch::try_new(Arc::clone(&self.schema), arrays) else {
            return internal_err!("a lag changed the type of its column");
        };
        Ok(batch)
    }

    /// Where in the batch a window begins. The window of the batch before goes on until the first.
    fn starts(&mut self, batch: &RecordBatch) -> Result<Vec<usize>> {
        let rows = batch.num_rows();
        let evaluate = |key: &Arc<dyn PhysicalExpr>| key.evaluate(batch)?.into_array(rows);
        let keys = self.keys.iter().map(evaluate).collect::<Result<Vec<_>>>()?;
        let last = keys.iter().map(|key| key.slice(rows - 1, 1)).collect();
        let first_is_new = match self.last_key.replace(last) {
            None => true,
            Some(before) if before.is_empty() => false,
            Some(before) => {
                let pairs = before.iter().zip(&keys).map(|(a, b)| Ok(concat(&[a.as_ref(), &b.slice(0, 1)])?));
                partition(&pairs.collect::<Result<Vec<_>>>()?)?.len() == 2
            }
        };
        let mut starts = Vec::new();
        if first_is_new {
            starts.push(0);
        }
        if !keys.is_empty() {
            starts.extend(partition(&keys)?.ranges().iter().skip(1).map(|run| run.start));
        }
        Ok(starts)
    }
}

/// The moved column with the default in the first rows of every window; `seen` rows of the first one came before.
fn first_rows_replaced(moved: &ArrayRef, starts: &[usize], seen: usize, shift: &Shift) -> Result<ArrayRef> {
    let rows = moved.len();
    let mut mask = BooleanBufferBuilder::new(rows);
    mask.append_n(rows, false);
    let mut replace = |from: usize, end: usize| (from..end.min(rows)).for_each(|row| mask.set_bit(row, true));
    let first = starts.first().copied().unwrap_or(rows);
    replace(0, shift.by.saturating_sub(seen).min(first));
    for (at, start) in starts.iter().enumerate() {
        let end = starts.get(at + 1).copied().unwrap_or(rows);
        replace(*start, (start + shift.by).min(end));
    }
    let mask = BooleanArray::new(mask.finish(), None);
    match &shift.default {
        None => Ok(nullif(moved, &mask)?),
        Some(default) => {
            let default = default.cast_to(moved.data_type())?.to_array()?;
            Ok(zip(&mask, &Scalar::new(default), moved)?)
        }
    }
}
