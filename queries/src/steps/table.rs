//! The table provider of `steps`.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result};
use datafusion::datasource::TableType;
use datafusion::logical_expr::expr_rewriter::unnormalize_col;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use playhouse_schemas::StepIndex;

use super::exec::{StepsExec, partitioning};
use super::selection::{self, Chosen, Condition};
use crate::table::ParquetTable;

/// `steps`, with the index of its episodes.
pub(crate) struct StepsTable {
    /// Where the dataset is.
    dataset: Arc<str>,
    index: Arc<StepIndex>,
    /// The same files, read by DataFusion: for filters that their pages' statistics can answer.
    files: ParquetTable,
    /// Whether other machines are to read it. A choice of rows of a Parquet file stays in the process, so filters that skip
    /// pages are left to DataFusion's scan of whole files, the others among them.
    remote: bool,
}

impl StepsTable {
    pub(crate) fn new(dataset: &str, index: StepIndex, files: ParquetTable, remote: bool) -> Self {
        Self { dataset: dataset.into(), index: Arc::new(index), files, remote }
    }

    /// Whether pages may be skipped by this filter: it looks at telemetry, rewards or ends alone, whose neighbouring values
    /// are alike. Every page of a button or a stick holds both what is pressed and what is not.
    fn prunes_pages(&self, filter: &Expr) -> bool {
        let columns = filter.column_refs();
        let prunes = |name: &str| match self.index.schema().field_with_name(name) {
            Ok(field) => *field.data_type() == DataType::Float32 || name == "terminated" || name == "truncated",
            Err(_) => false,
        };
        !columns.is_empty() && columns.iter().all(|column| prunes(&column.name))
    }
}

impl fmt::Debug for StepsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepsTable").field("index", &self.index).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for StepsTable {
    fn schema(&self) -> SchemaRef {
        self.files.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let by_pages = filters.iter().any(|filter| self.prunes_pages(filter));
        if by_pages && self.remote {
            return self.files.supports_filters_pushdown(filters);
        }
        let support = |filter: &&Expr| match Condition::of(filter) {
            Condition::Episode | Condition::Time { .. } => TableProviderFilterPushDown::Exact,
            Condition::Step if by_pages => TableProviderFilterPushDown::Inexact,
            Condition::Step => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let by_pages = filters.iter().any(|filter| self.prunes_pages(filter));
        if by_pages && self.remote {
            return self.files.scan(state, projection, filters, limit).await;
        }
        let all = self.index.episodes().iter();
        let mut chosen: Vec<Chosen> =
            all.map(|episode| Chosen { episode: *episode, from: 0, to: episode.steps }).collect();
        let schema = DFSchema::try_from(selection::key_schema())?;
        let mut conditions = Vec::new();
        for filter in filters {
            match Condition::of(filter) {
                Condition::Time { least, most } => selection::clip(&mut chosen, least, most),
                Condition::Episode => {
                    conditions.push(state.create_physical_expr(unnormalize_col(filter.clone()), &schema)?)
                }
                Condition::Step => {}
            }
        }
        selection::keep(&mut chosen, &conditions)?;
        if let Some(limit) = limit {
            // Any rows will do: the first episodes have them.
            let mut rows = 0;
            chosen.retain(|one| {
                let wanted = rows < limit as u64;
                rows += selection::rows(std::slice::from_ref(one));
                wanted
            });
        }
        let partitions = if limit.is_some() { 1 } else { state.config().target_partitions() };
        if by_pages {
            let parts = selection::split(&chosen, partitions);
            let rows: Vec<_> = parts.iter().map(|part| selection::by_part(&chosen[part.clone()])).collect();
            let firsts = parts.iter().map(|part| chosen.get(part.start).map(|one| one.episode.episode_id));
            let partitioning = partitioning(self.index.schema(), firsts)?;
            return self.files.scan_rows(state, projection, limit, &rows, partitioning).await;
        }
        let every: Vec<usize> = (0..self.schema().fields().len()).collect();
        let columns = projection.unwrap_or(&every);
        let (dataset, index) = (Arc::clone(&self.dataset), Arc::clone(&self.index));
        let scan = StepsExec::new(dataset, index, columns, &chosen, partitions)?;
        Ok(match limit {
            Some(limit) => Arc::new(scan.of_at_most(limit)),
            None => Arc::new(scan),
        })
    }
}
