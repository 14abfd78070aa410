//! A table over Parquet files that knows their order.
//!
//! The list of files is taken once, at registration: every query of a session sees the same snapshot, while writers go
//! on adding parts. A scan declares the files' sort order, which DataFusion checks against the files' statistics before
//! it believes it, so that group-bys and windows over whole episodes neither hash nor sort.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as EngineResult, Statistics, internal_err};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::context::SessionState;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr, expressions::col};
use datafusion::physical_plan::{ExecutionPlan, Partitioning, empty::EmptyExec};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use parquet::arrow::arrow_reader::RowSelection;
use playhouse_schemas::storage::{bucket_of, describe, explain, is_local};

use crate::buckets::object_name;
use crate::error::{Error, Result, store_error};

/// A file's number, and ranges of its rows, ascending and apart.
pub(crate) type PartRows = (u32, Vec<Range<u64>>);

/// Footers of a bucket that are fetched at a time.
const AT_ONCE: usize = 16;

/// Parquet files read as one table.
pub(crate) struct ParquetTable {
    /// Of the file system, or of the bucket.
    store: ObjectStoreUrl,
    schema: SchemaRef,
    /// By path; each with the statistics of its footer.
    files: Vec<PartitionedFile>,
    format: Arc<ParquetFormat>,
    order: Option<LexOrdering>,
}

impl ParquetTable {
    /// Reads every footer (through the process-wide cache) and merges the schemas.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file that is not Parquet, is truncated, or has another schema than the first;
    /// [`Error::Dataset`] when its bucket cannot be read.
    pub(crate) async fn open(state: &SessionState, paths: &[PathBuf], order: &[&str]) -> Result<Self> {
        let format = Arc::new(ParquetFormat::new().with_options(state.default_table_options().parquet));
        let bucket = match paths.first() {
            Some(path) => bucket_of(path)?,
            None => None,
        };
        let at_once = if bucket.is_some() { AT_ONCE } else { 1 };
        let mut metas = describe(paths).map_err(Error::of_file)?;
        let internal = |e: DataFusionError| Error::Internal(e.to_string());
        let url = match bucket {
            None => ObjectStoreUrl::local_filesystem(),
            Some(bucket) => {
                metas.iter_mut().for_each(|meta| meta.location = object_name(&bucket.url, &meta.location));
                ObjectStoreUrl::parse(bucket.url).map_err(internal)?
            }
        };
        let store = &state.runtime_env().object_store(&url).map_err(internal)?;
        let infer = async |(path, meta): (&PathBuf, &ObjectMeta)| {
            let found = format.infer_schema(state, store, std::slice::from_ref(meta)).await;
            let found = found.map_err(|e| unreadable(path, &e))?;
            Ok::<_, Error>(found.as_ref().clone().with_metadata(Default::default()))
        };
        let schemas = stream::iter(paths.iter().zip(&metas)).map(infer).buffered(at_once).try_collect().await?;
        let schema = merge(paths, schemas)?;
        let survey = async |(path, meta): (&PathBuf, &ObjectMeta)| {
            let found = format.infer_stats_and_ordering(state, store, Arc::clone(&schema), meta).await;
            let found = found.map_err(|e| unreadable(path, &e))?;
            Ok::<_, Error>(
                PartitionedFile::new_from_meta(meta.clone())
                    .with_statistics(Arc::new(found.statistics))
                    .with_ordering(found.ordering),
            )
        };
        let files = stream::iter(paths.iter().zip(&metas)).map(survey).buffered(at_once).try_collect().await?;
        let order = sort_order(&schema, order);
        Ok(Self { store: url, schema, files, format, order })
    }
}

impl ParquetTable {
    /// Rows of all files, as far as their footers tell.
    pub(crate) fn rows(&self) -> usize {
        let rows = |file: &PartitionedFile| file.statistics.as_ref()?.num_rows.get_value().copied();
        self.files.iter().filter_map(rows).sum()
    }

    /// Some rows of some files, by partition: pairs of a file's number and its rows, ascending. `partitioning` is what the
    /// caller knows of it.
    pub(crate) async fn scan_rows(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
        partitions: &[Vec<PartRows>],
        partitioning: Partitioning,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let file = |(number, rows): &PartRows| {
            let file = self.files.get(*number as usize)?;
            let all = file.statistics.as_ref()?.num_rows.get_value().copied()?;
            let ranges = rows.iter().map(|range| range.start as usize..range.end as usize);
            let selection = ParquetRowSelection::new(RowSelection::from_consecutive_ranges(ranges, all));
            Some(file.clone().with_extension(selection))
        };
        let mut groups = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let files: Option<Vec<_>> = partition.iter().map(file).collect();
            let Some(files) = files else { return internal_err!("a part of steps has no footer statistics") };
            groups.push(FileGroup::new(files));
        }
        self.scan_groups(state, projection, limit, groups, Some(partitioning)).await
    }

    async fn scan_groups(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
        groups: Vec<FileGroup>,
        partitioning: Option<Partitioning>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        if groups.iter().all(FileGroup::is_empty) {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let mut statistics =
            Statistics::try_merge_iter(self.files.iter().filter_map(|f| f.statistics.as_deref()), &self.schema)?;
        if partitioning.is_some() {
            // Those of the whole files are bounds for some of their rows.
            statistics = statistics.to_inexact();
        }
        let source = self.format.file_source(TableSchema::from(Arc::clone(&self.schema)));
        let config = FileScanConfigBuilder::new(self.store.clone(), source)
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_output_ordering(self.order.iter().cloned().collect())
            .with_output_partitioning(partitioning)
            .build();
        self.format.create_physical_plan(state, config).await
    }
}

fn unreadable(path: &Path, error: &DataFusionError) -> Error {
    if let Some(fault) = store_error(error.find_root()).filter(|_| !is_local(path)) {
        let reason = explain(fault);
        return playhouse_schemas::Error::Store { path: path.to_owned(), action: "read", reason }.into();
    }
    let reason = error.find_root().strip_backtrace();
    Error::data(path, format!("not a readable Parquet file ({reason}); truncated files: run `playhouse verify`"))
}

/// One schema for all files; parts written by one writer agree, foreign ones may add columns at the end.
fn merge(paths: &[PathBuf], schemas: Vec<Schema>) -> Result<SchemaRef> {
    let mut merged: Option<Schema> = None;
    for (path, schema) in paths.iter().zip(schemas) {
        merged = Some(match merged {
            None => schema,
            Some(so_far) if so_far == schema => so_far,
            Some(so_far) => Schema::try_merge([so_far, schema])
                .map_err(|e| Error::data(path, format!("its columns do not fit the other files of the table: {e}")))?,
        });
    }
    Ok(Arc::new(merged.unwrap_or_else(Schema::empty)))
}

/// Ascending by `columns`, as far as the table has them.
fn sort_order(schema: &SchemaRef, columns: &[&str]) -> Option<LexOrdering> {
    let options = SortOptions { descending: false, nulls_first: false };
    let exprs = columns.iter().map_while(|name| Some(PhysicalSortExpr::new(col(name, schema).ok()?, options)));
    LexOrdering::new(exprs)
}

impl fmt::Debug for ParquetTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetTable").field("files", &self.files.len()).field("order", &self.order).finish()
    }
}

#[async_trait]
impl TableProvider for ParquetTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Files, row groups and pages are pruned by their statistics, and rows filtered while decoding. `Inexact` keeps the
    /// filter in the logical plan; the physical optimizer then moves it into the scan and leaves no `FilterExec` above:
    /// what the scan lets through is the answer.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        // Neighbours stay neighbours: each partition reads a contiguous run of parts, which is what keeps the order.
        let groups = FileGroup::new(self.files.clone()).split_files(state.config().target_partitions());
        self.scan_groups(state, projection, limit, groups, None).await
    }
}
