//! The table `episodes`, kept in memory column by column.
//!
//! Nearly every question about steps looks at the episodes too, and they are small: 10,000 hours have 72,000 of them, in hundreds
//! of files whose opening takes longer than the answer. So the first query that wants a column reads it from all files, and
//! later ones find it in memory. Like everything registered, it is the snapshot of that moment.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{SortOptions, concat};
use arrow::datatypes::{Int64Type, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr, expressions::col};
use datafusion::physical_plan::{ExecutionPlan, collect_partitioned};

use crate::table::ParquetTable;

/// Bytes of columns that are kept at most.
const BUDGET: usize = 128 << 20;

/// Of a query's memory limit, what they may take: the queries need the rest.
const SHARE: usize = 8;

/// Bytes that a value takes, roughly.
const VALUE_BYTES: usize = 8;

/// The column that the rows are sorted by.
const EPISODE_ID: &str = "episode_id";

/// `episodes` of one dataset.
pub(crate) struct EpisodesTable {
    files: ParquetTable,
    kept: Mutex<Kept>,
}

/// Columns in memory.
#[derive(Default)]
struct Kept {
    /// All rows, in the order of the files; none if it was not asked for.
    columns: Vec<Option<ArrayRef>>,
    /// Their bytes.
    reservation: Option<MemoryReservation>,
}

impl EpisodesTable {
    pub(crate) fn new(files: ParquetTable) -> Self {
        let columns = vec![None; files.schema().fields().len()];
        Self { files, kept: Mutex::new(Kept { columns, ..Kept::default() }) }
    }

    /// Those columns that are in memory, each with its number.
    fn kept(&self, columns: &[usize]) -> Vec<Option<ArrayRef>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        columns.iter().map(|column| kept.columns[*column].clone()).collect()
    }

    /// Keeps columns that were read; false if there is no room for them.
    fn keep(&self, state: &dyn Session, columns: &[usize], arrays: &[ArrayRef]) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { columns: all, reservation } = &mut *kept;
        let pool = &state.runtime_env().memory_pool;
        let reservation = reservation.get_or_insert_with(|| MemoryConsumer::new("episodes").register(pool));
        for (column, array) in columns.iter().zip(arrays) {
            // Another query may have been quicker.
            if all[*column].is_none() {
                if reservation.try_grow(array.get_array_memory_size()).is_err() {
                    return false;
                }
                all[*column] = Some(Arc::clone(array));
            }
        }
        true
    }

    /// Whether so many more columns are likely to fit.
    fn has_room(&self, state: &dyn Session, columns: usize) -> bool {
        let budget = match state.runtime_env().memory_pool.memory_limit() {
            MemoryLimit::Finite(limit) => BUDGET.min(limit / SHARE),
            _ => BUDGET,
        };
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let held = kept.reservation.as_ref().map_or(0, MemoryReservation::size);
        held + columns * self.files.rows() * VALUE_BYTES <= budget
    }

    /// Columns, from memory or else from the files; none if there is no room for them.
    async fn columns(&self, state: &dyn Session, columns: &[usize]) -> Result<Option<Vec<ArrayRef>>> {
        let missing: Vec<usize> =
            columns.iter().zip(self.kept(columns)).filter(|(_, array)| array.is_none()).map(|(c, _)| *c).collect();
        if missing.is_empty() {
            return Ok(self.kept(columns).into_iter().collect());
        }
        if !self.has_room(state, missing.len()) {
            return Ok(None);
        }
        // Each partition reads a contiguous run of files, so one after the other they are the files in order.
        let plan = self.files.scan(state, Some(&missing), &[], None).await?;
        let schema = plan.schema();
        let batches: Vec<RecordBatch> =
            collect_partitioned(plan, state.task_ctx()).await?.into_iter().flatten().collect();
        let mut arrays = Vec::with_capacity(missing.len());
        for (place, field) in schema.fields().iter().enumerate() {
            let pieces: Vec<_> = batches.iter().map(|batch| batch.column(place).as_ref()).collect();
            arrays.push(match pieces.is_empty() {
                true => arrow::array::new_empty_array(field.data_type()),
                false => concat(&pieces)?,
            });
        }
        Ok(if self.keep(state, &missing, &arrays) { self.kept(columns).into_iter().collect() } else { None })
    }

    fn in_memory(
        &self,
        state: &dyn Session,
        schema: SchemaRef,
        columns: Vec<ArrayRef>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = columns.first().map_or(0, |column| column.len());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let all = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
        let size = state.config().batch_size().max(1);
        let batches = (0..rows).step_by(size).map(|from| all.slice(from, size.min(rows - from)));
        let batches: Vec<RecordBatch> = batches.collect();
        let share = batches.len().div_ceil(state.config().target_partitions()).max(1);
        let mut partitions: Vec<Vec<RecordBatch>> = batches.chunks(share).map(<[RecordBatch]>::to_vec).collect();
        if partitions.is_empty() {
            partitions.push(Vec::new());
        }
        let mut source = MemorySourceConfig::try_new(&partitions, Arc::clone(&schema), None)?;
        let options = SortOptions { descending: false, nulls_first: false };
        if let Ok(id) = schema.index_of(EPISODE_ID)
            && is_ascending(all.column(id))
        {
            let order = LexOrdering::new([PhysicalSortExpr::new(col(EPISODE_ID, &schema)?, options)]);
            source = source.try_with_sort_information(order.into_iter().collect())?;
        }
        Ok(DataSourceExec::from_data_source(source))
    }
}

/// Whether ids are sorted: parts of two writers at once may overlap.
fn is_ascending(ids: &ArrayRef) -> bool {
    let ids = ids.as_primitive_opt::<Int64Type>();
    ids.is_some_and(|ids| ids.null_count() == 0 && ids.values().is_sorted())
}

impl fmt::Debug for EpisodesTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpisodesTable").field("files", &self.files).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for EpisodesTable {
    fn schema(&self) -> SchemaRef {
        self.files.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.files.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let every: Vec<usize> = (0..self.schema().fields().len()).collect();
        let columns = projection.unwrap_or(&every);
        // Of a few episodes by their ids, or a few at all, the files hold less than everything. So they do of no column.
        let few =
            limit.is_some() || filters.iter().any(|filter| filter.column_refs().iter().any(|c| c.name == EPISODE_ID));
        let known = self.kept(columns).iter().all(Option::is_some);
        if columns.is_empty() || few && !known {
            return self.files.scan(state, projection, filters, limit).await;
        }
        match self.columns(state, columns).await? {
            Some(arrays) => self.in_memory(state, Arc::new(self.schema().project(columns)?), arrays),
            None => self.files.scan(state, projection, filters, limit).await,
        }
    }
}
