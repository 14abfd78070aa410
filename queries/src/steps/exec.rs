//! The scan of `steps`.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, DataFusionError, Result, ScalarValue, Statistics};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::{Column, NotExpr};
use datafusion::physical_expr::utils::split_conjunction;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalSortExpr, RangePartitioning, SplitPoint};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties, SendableRecordBatchStream,
};
use futures::stream;
use playhouse_schemas::{StepIndex, StepScan};

use super::selection::{self, Chosen, EPISODE_ID, T};
use super::sent::SentStepsExec;
use crate::table::PartRows;

const ASCENDING: SortOptions = SortOptions { descending: false, nulls_first: false };

/// Reads chosen steps of whole episodes.
#[derive(Clone)]
pub(crate) struct StepsExec {
    /// Where the dataset is, for other machines.
    dataset: Arc<str>,
    index: Arc<StepIndex>,
    /// Numbers of the columns in the schema of `steps`.
    columns: Arc<[usize]>,
    schema: SchemaRef,
    /// The chosen steps of every partition.
    partitions: Arc<[Arc<[Chosen]>]>,
    /// Conditions on `episode_id` that are known once the query runs, over [`selection::key_schema`].
    late: Vec<Arc<dyn PhysicalExpr>>,
    /// Buttons that whoever reads this will ask for: the column's place, and whether it is to be down. Batches without such a
    /// row may be left out.
    flags: Vec<(usize, bool)>,
    /// Rows that a partition hands out at most.
    fetch: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl StepsExec {
    /// A scan of `columns` over `chosen`, in at most `partitions` partitions.
    pub(super) fn new(
        dataset: Arc<str>,
        index: Arc<StepIndex>,
        columns: &[usize],
        chosen: &[Chosen],
        partitions: usize,
    ) -> Result<Self> {
        let parts = selection::split(chosen, partitions).into_iter().map(|part| chosen[part].into()).collect();
        Self::of_parts(dataset, index, columns, parts)
    }

    /// A scan of `columns` over the steps chosen for each partition.
    pub(super) fn of_parts(
        dataset: Arc<str>,
        index: Arc<StepIndex>,
        columns: &[usize],
        parts: Vec<Arc<[Chosen]>>,
    ) -> Result<Self> {
        let schema = Arc::new(index.schema().project(columns)?);
        let episodes = parts.iter().map(|part| part.len()).sum();
        let firsts = parts.iter().map(|part| part.first().map(|one| one.episode.episode_id));
        let properties = properties(&schema, episodes, firsts)?;
        Ok(Self {
            dataset,
            index,
            columns: columns.into(),
            schema,
            partitions: parts.into(),
            late: Vec::new(),
            flags: Vec::new(),
            fetch: None,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// The same scan, whose partitions hand out at most so many rows each.
    pub(super) fn of_at_most(self, fetch: usize) -> Self {
        Self { fetch: Some(fetch), ..self }
    }

    /// The same scan for another machine. What joins would tell it while it runs, and nothing depends on, stays behind.
    pub(crate) fn send(&self) -> Result<SentStepsExec> {
        SentStepsExec::of(&self.dataset, &self.columns, Arc::clone(&self.schema), &self.partitions, self.fetch)
    }

    fn rows(&self, partition: Option<usize>) -> u64 {
        let parts = self.partitions.iter().enumerate().filter(|(at, _)| partition.is_none_or(|p| p == *at));
        parts.map(|(_, part)| selection::rows(part)).sum()
    }
}

/// What is true of the rows of so many `episodes`, whose partitions begin with the episodes `firsts`: their order, and who has
/// which.
pub(super) fn properties(
    schema: &SchemaRef,
    episodes: usize,
    firsts: impl ExactSizeIterator<Item = Option<i64>>,
) -> Result<PlanProperties> {
    let column = |name: &str| {
        let at = schema.index_of(name).ok()?;
        Some(PhysicalSortExpr::new(Arc::new(Column::new(name, at)), ASCENDING))
    };
    let (episode, time) = (column(EPISODE_ID), column(T));
    // Of a single episode, the steps are in order even where the key is not asked for.
    let order = match (&episode, &time) {
        (Some(episode), Some(time)) => vec![episode.clone(), time.clone()],
        (Some(episode), None) => vec![episode.clone()],
        (None, Some(time)) if episodes == 1 => vec![time.clone()],
        (None, _) => Vec::new(),
    };
    let mut orders = Vec::from_iter(LexOrdering::new(order));
    if let (Some(_), Some(time), 1) = (&episode, time, episodes) {
        orders.extend(LexOrdering::new([time]));
    }
    let equivalence = EquivalenceProperties::new_with_orderings(Arc::clone(schema), orders);
    let partitioning = partitioning(schema, firsts)?;
    Ok(PlanProperties::new(equivalence, partitioning, EmissionType::Incremental, Boundedness::Bounded))
}

/// How whole episodes are spread over partitions that begin with the given ones: by ranges of their ids.
pub(super) fn partitioning(
    schema: &SchemaRef,
    firsts: impl ExactSizeIterator<Item = Option<i64>>,
) -> Result<Partitioning> {
    let count = firsts.len();
    let Some(at) = schema.index_of(EPISODE_ID).ok().filter(|_| count > 1) else {
        return Ok(Partitioning::UnknownPartitioning(count));
    };
    let bound = |id| SplitPoint::new(vec![ScalarValue::Int64(Some(id))]);
    let bounds = firsts.skip(1).flatten().map(bound).collect();
    let key = PhysicalSortExpr::new(Arc::new(Column::new(EPISODE_ID, at)), ASCENDING);
    let Some(key) = LexOrdering::new([key]) else { return Ok(Partitioning::UnknownPartitioning(count)) };
    Ok(Partitioning::Range(RangePartitioning::try_new(key, bounds)?))
}

impl DisplayAs for StepsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let episodes: usize = self.partitions.iter().map(|part| part.len()).sum();
        write!(f, "StepsExec: projection=[{}], episodes={episodes}, rows={}", names.join(", "), self.rows(None))?;
        if !self.late.is_empty() {
            let late: Vec<String> = self.late.iter().map(ToString::to_string).collect();
            write!(f, ", episodes_where=[{}]", late.join(", "))?;
        }
        if !self.flags.is_empty() {
            let flags = self.flags.iter().map(|(place, down)| {
                let name = names.get(*place).copied().unwrap_or_default();
                if *down { name.to_owned() } else { format!("not {name}") }
            });
            write!(f, ", batches_where=[{}]", flags.collect::<Vec<_>>().join(", "))?;
        }
        if let Some(fetch) = self.fetch {
            write!(f, ", fetch={fetch}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for StepsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl ExecutionPlan for StepsExec {
    fn name(&self) -> &'static str {
        "StepsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for condition in &self.late {
            if f(condition)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_fetch(&self, fetch: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(Self { fetch, ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        filters: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let parents = filters.parent_filters;
        // Nothing is promised: whoever sent a filter goes on applying it.
        let unchanged = FilterPushdownPropagation::with_parent_pushdown_result(vec![PushedDown::No; parents.len()]);
        let mut node = self.clone();
        for parent in &parents {
            match phase {
                // What the query says.
                FilterPushdownPhase::Pre => {
                    node.flags.extend(split_conjunction(&parent.filter).into_iter().filter_map(flag));
                }
                // What joins find while it runs.
                FilterPushdownPhase::Post => node.late.extend(selection::over_key(&parent.filter)),
            }
        }
        if node.late.len() == self.late.len() && node.flags.len() == self.flags.len() {
            return Ok(unchanged);
        }
        Ok(unchanged.with_updated_node(Arc::new(node)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let partition = args.partition();
        let rows = self.rows(partition) as usize;
        let rows = match self.fetch {
            Some(fetch) => Precision::Inexact(rows.min(fetch)),
            None if self.late.is_empty() && self.flags.is_empty() => Precision::Exact(rows),
            None => Precision::Inexact(rows),
        };
        let width: usize = self.schema.fields().iter().map(|field| width(field.data_type())).sum();
        let total_byte_size = rows.to_inexact().multiply(&Precision::Inexact(width));
        let column_statistics = self.columns.iter().map(|column| self.column_statistics(*column, partition)).collect();
        Ok(Arc::new(Statistics { num_rows: rows, total_byte_size, column_statistics }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batch_rows = context.session_config().batch_size();
        let reading = Reading {
            scan: self.clone(),
            chosen: Arc::clone(&self.partitions[partition]),
            parts: None,
            open: None,
            ahead: None,
            batch_rows: self.fetch.map_or(batch_rows, |fetch| fetch.clamp(1, batch_rows)),
            left: self.fetch.unwrap_or(usize::MAX),
            baseline: BaselineMetrics::new(&self.metrics, partition),
            episodes: MetricBuilder::new(&self.metrics).counter("episodes_read", partition),
            skipped: MetricBuilder::new(&self.metrics).counter("episodes_skipped", partition),
            pages: MetricBuilder::new(&self.metrics).counter("pages_read", partition),
            bytes: MetricBuilder::new(&self.metrics).counter("bytes_read", partition),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream::iter(reading))))
    }
}

impl StepsExec {
    /// What is known of a column without reading it: the buckets it may hold, and the chosen episodes' ids.
    fn column_statistics(&self, column: usize, partition: Option<usize>) -> ColumnStatistics {
        let field = self.index.schema().field(column);
        let mut found = ColumnStatistics::new_unknown();
        if !field.is_nullable() {
            found.null_count = Precision::Exact(0);
        }
        if field.name() == EPISODE_ID {
            let parts = self.partitions.iter().enumerate().filter(|(at, _)| partition.is_none_or(|p| p == *at));
            let parts: Vec<_> = parts.map(|(_, part)| part).filter(|part| !part.is_empty()).collect();
            let id = |one: &Chosen| Precision::Inexact(ScalarValue::Int64(Some(one.episode.episode_id)));
            if let Some((first, last)) = parts.first().and_then(|p| p.first()).zip(parts.last().and_then(|p| p.last()))
            {
                (found.min_value, found.max_value) = (id(first), id(last));
                found.distinct_count = Precision::Inexact(parts.iter().map(|part| part.len()).sum());
            }
        }
        let component = self.index.spec().actions.components.iter().find(|c| c.name == *field.name());
        if let Some(component) = component.filter(|_| *field.data_type() == DataType::UInt8) {
            let bucket = |value| Precision::Inexact(ScalarValue::UInt8(Some(value)));
            (found.min_value, found.max_value) = (bucket(0), bucket(component.cardinality.saturating_sub(1)));
            found.distinct_count = Precision::Inexact(usize::from(component.cardinality));
        }
        found
    }
}

/// A column of flags, and what it is to be.
fn flag(condition: &Arc<dyn PhysicalExpr>) -> Option<(usize, bool)> {
    let negated = condition.downcast_ref::<NotExpr>().map(NotExpr::arg);
    let column = negated.unwrap_or(condition).downcast_ref::<Column>()?;
    Some((column.index(), negated.is_none()))
}

fn width(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(1)
}

/// A partition being read.
struct Reading {
    scan: StepsExec,
    chosen: Arc<[Chosen]>,
    /// Parts still to be read, the next one last; none before the first row is asked for.
    parts: Option<Vec<PartRows>>,
    open: Option<StepScan>,
    /// The part after that, on its way from a bucket.
    ahead: Option<StepScan>,
    batch_rows: usize,
    /// Rows still wanted.
    left: usize,
    baseline: BaselineMetrics,
    episodes: Count,
    skipped: Count,
    pages: Count,
    bytes: Count,
}

impl Reading {
    /// Counts what the part has cost.
    fn close(&mut self) {
        if let Some(scan) = self.open.take() {
            self.pages.add(scan.pages_read() as usize);
            self.bytes.add(scan.bytes_read() as usize);
        }
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.left == 0 {
            self.close();
            return Ok(None);
        }
        // Only now, when a batch is wanted, are the filters of the joins above complete.
        if self.parts.is_none() {
            let mut chosen = self.chosen.to_vec();
            selection::keep(&mut chosen, &self.scan.late)?;
            self.episodes.add(chosen.len());
            self.skipped.add(self.chosen.len() - chosen.len());
            let mut parts = selection::by_part(&chosen);
            parts.reverse();
            self.parts = Some(parts);
        }
        loop {
            if let Some(batch) = self.open.as_mut().and_then(Iterator::next) {
                let batch = batch.map_err(external)?;
                let rows = batch.num_rows().min(self.left);
                self.left -= rows;
                return Ok(Some(batch.slice(0, rows)));
            }
            self.close();
            self.open = match self.ahead.take() {
                Some(scan) => Some(scan),
                None => self.next_part()?,
            };
            if self.open.is_none() {
                return Ok(None);
            }
            if self.scan.index.is_remote() && self.scan.fetch.is_none() {
                self.ahead = self.next_part()?;
            }
        }
    }

    /// Opens the next part, if there is one.
    fn next_part(&mut self) -> Result<Option<StepScan>> {
        let Some((part, rows)) = self.parts.as_mut().and_then(Vec::pop) else { return Ok(None) };
        let StepsExec { index, columns, .. } = &self.scan;
        let scan = StepScan::open(index, part, columns, rows, self.batch_rows).map_err(external)?;
        Ok(Some(scan.where_flags(&self.scan.flags)))
    }
}

fn external(error: playhouse_schemas::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.close();
    }
}

impl Iterator for Reading {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let began = Instant::now();
        let batch = self.next_batch();
        self.baseline.elapsed_compute().add_elapsed(began);
        if let Ok(Some(batch)) = &batch {
            batch.record_output(&self.baseline);
        }
        if batch.is_err() {
            // A stream ends with its first error.
            self.left = 0;
        }
        batch.transpose()
    }
}
