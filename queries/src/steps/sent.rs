//! A scan of steps on its way to another machine.
//!
//! A scheduler cuts a plan into tasks and gives each some of the partitions. It can cut what it knows, and a table in memory is
//! among that. So a scan travels as a node over such a table, which lists the chosen steps, partition by partition; the
//! machine that gets a task finds in it what is left to it, and makes a scan of that.
//!
//! ```text
//!   StepsExec ──>  SentStepsExec         ──>  SentStepsExec       ──>  StepsExec
//!                    episode_id, from, to       those of a task          over the machine's own index
//!                    in 4 partitions            in 1 partition
//! ```
//!
//! Episodes never change once they are committed, so an id says what is to be read, whatever else the dataset has got since.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, SendableRecordBatchStream,
};
use playhouse_schemas::StepIndex;

use super::exec::{StepsExec, properties};
use super::selection::{Chosen, EPISODE_ID};

/// Stands for a scan of steps in a plan that another machine is to run. It does not run itself.
pub struct SentStepsExec {
    dataset: Arc<str>,
    /// Numbers of the columns in the schema of `steps`.
    columns: Arc<[usize]>,
    schema: SchemaRef,
    /// Rows that a partition hands out at most.
    fetch: Option<usize>,
    /// A table of [`chosen_schema`] in memory.
    chosen: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

/// Steps `from..to` of episodes.
fn chosen_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(EPISODE_ID, DataType::Int64, false),
        Field::new("from", DataType::UInt32, false),
        Field::new("to", DataType::UInt32, false),
    ]))
}

/// The id of an episode, and which of its steps.
type Wanted = (i64, u32, u32);

impl SentStepsExec {
    pub(super) fn of(
        dataset: &str,
        columns: &[usize],
        schema: SchemaRef,
        partitions: &[Arc<[Chosen]>],
        fetch: Option<usize>,
    ) -> Result<Self> {
        let batch = |part: &Arc<[Chosen]>| {
            let ids = Int64Array::from_iter_values(part.iter().map(|one| one.episode.episode_id));
            let from = UInt32Array::from_iter_values(part.iter().map(|one| one.from));
            let to = UInt32Array::from_iter_values(part.iter().map(|one| one.to));
            Ok(vec![RecordBatch::try_new(chosen_schema(), vec![Arc::new(ids), Arc::new(from), Arc::new(to)])?])
        };
        let parts = partitions.iter().map(batch).collect::<Result<Vec<_>>>()?;
        let chosen = MemorySourceConfig::try_new_exec(&parts, chosen_schema(), None)?;
        Self::new(dataset, columns, schema, fetch, chosen)
    }

    /// A scan of `columns` (numbers in the schema of `steps`; `schema` are they) of the dataset at `dataset`. `chosen` is the
    /// child of another such node, or a copy of it with some of its partitions.
    ///
    /// # Errors
    /// If `chosen` is something else.
    pub fn new(
        dataset: &str,
        columns: &[usize],
        schema: SchemaRef,
        fetch: Option<usize>,
        chosen: Arc<dyn ExecutionPlan>,
    ) -> Result<Self> {
        let parts = wanted(&chosen)?;
        let episodes = parts.iter().map(Vec::len).sum();
        let firsts = parts.iter().map(|part| part.first().map(|(id, ..)| *id));
        let properties = Arc::new(properties(&schema, episodes, firsts)?);
        Ok(Self { dataset: dataset.into(), columns: columns.into(), schema, fetch, chosen, properties })
    }

    /// Where the dataset is.
    pub fn dataset(&self) -> &str {
        &self.dataset
    }

    /// Numbers of its columns in the schema of `steps`.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The scan itself, by this machine's index of the dataset.
    pub(crate) fn receive(&self, index: Arc<StepIndex>) -> Result<StepsExec> {
        let find = |(id, from, to): &Wanted| {
            let episodes = index.episodes();
            let found = episodes.binary_search_by_key(id, |episode| episode.episode_id).map(|at| episodes[at]);
            match found {
                Ok(episode) if *to <= episode.steps => Ok(Chosen { episode, from: *from, to: *to }),
                _ => exec_err!(
                    "{}: steps {from} to {to} of episode {id} are not there as this machine sees it: every machine must see \
                     the dataset that is asked about",
                    self.dataset
                ),
            }
        };
        let part = |part: &Vec<Wanted>| part.iter().map(find).collect::<Result<Arc<[Chosen]>>>();
        let parts = wanted(&self.chosen)?.iter().map(part).collect::<Result<Vec<_>>>()?;
        let scan = StepsExec::of_parts(Arc::clone(&self.dataset), index, &self.columns, parts)?;
        Ok(match self.fetch {
            Some(fetch) => scan.of_at_most(fetch),
            None => scan,
        })
    }
}

/// The rows of the table in memory, by partition.
fn wanted(chosen: &Arc<dyn ExecutionPlan>) -> Result<Vec<Vec<Wanted>>> {
    let source = chosen.downcast_ref::<DataSourceExec>().map(|scan| scan.data_source().as_ref() as &dyn std::any::Any);
    let Some(memory) = source.and_then(|source| source.downcast_ref::<MemorySourceConfig>()) else {
        return internal_err!("steps are chosen by {}", chosen.name());
    };
    let mut parts = Vec::with_capacity(memory.partitions().len());
    for partition in memory.partitions() {
        let mut part = Vec::new();
        for batch in partition {
            let [ids, from, to] = batch.columns() else { return internal_err!("steps are chosen by other columns") };
            let numbers = (ids.as_primitive_opt::<Int64Type>(), from.as_primitive_opt::<UInt32Type>());
            let ((Some(ids), Some(from)), Some(to)) = (numbers, to.as_primitive_opt::<UInt32Type>()) else {
                return internal_err!("steps are chosen by columns of other types");
            };
            let rows = ids.values().iter().zip(from.values()).zip(to.values());
            part.extend(rows.map(|((id, from), to)| (*id, *from, *to)));
        }
        parts.push(part);
    }
    Ok(parts)
}

impl DisplayAs for SentStepsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "SentStepsExec: {}, projection=[{}]", self.dataset, names.join(", "))
    }
}

impl fmt::Debug for SentStepsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl ExecutionPlan for SentStepsExec {
    fn name(&self) -> &'static str {
        "SentStepsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.chosen]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [chosen] = <[_; 1]>::try_from(children).or_else(|_| internal_err!("a sent scan has one child"))?;
        let schema = Arc::clone(&self.schema);
        Ok(Arc::new(Self::new(&self.dataset, &self.columns, schema, self.fetch, chosen)?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        internal_err!("a sent scan was not received")
    }
}
