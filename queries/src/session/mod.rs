//! A session: tables, functions and limits, and the questions asked of them.

mod rows;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemTable, MemorySchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, TableReference};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, TrackConsumersPool};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SQLOptions, SessionContext};
use datafusion::sql::parser::Statement;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use playhouse_schemas::Table;
use playhouse_schemas::storage::{absolute, is_local, parquet_files};

use crate::environment;
use crate::episodes::EpisodesTable;
use crate::error::{Error, Position, Result, nearest};
use crate::files::dataset_tables;
use crate::functions::{self, Manual};
use crate::operators;
use crate::output::{AtomicParquet, plain_schema};
use crate::params::Params;
use crate::recursion::RecursionToTheRight;
use crate::remote::Cluster;
use crate::resident::Ceiling;
use crate::rules::{AggregateBeforeJoin, CountConditions, analyzer_rules};
use crate::scan_progress::{ScanProgress, Watch};
use crate::statement::{position_of, prepare};
use crate::steps::StepsTable;
use crate::table::ParquetTable;
use crate::threads::Threads;

pub use self::rows::Rows;

/// How often a running query looks at the stop closure.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

/// Returns true when the query should end.
pub type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// Settings of a [`Session`]; the default is all cores, no memory limit, no stop.
#[derive(Clone, Default)]
pub struct SessionOptions {
    /// Worker threads; `None` for one a core.
    pub threads: Option<usize>,
    /// Bytes that sorts, hash tables and collected results may take; beyond it sorts and group-bys spill to the
    /// temporary folder, and what cannot spill is [`Error::Memory`]. `None` for no limit.
    pub memory_limit: Option<usize>,
    /// Bytes of temporary files at most; beyond it is [`Error::Disk`]. `None` for 100 GiB.
    pub spill_limit: Option<u64>,
    /// Asked every 50 ms while a query runs; true ends it with [`Error::Cancelled`].
    pub stop: Option<Stop>,
    /// Told about every 50 ms how far the running query has come.
    pub watch: Option<Watch>,
    /// Machines that run the queries; `None` for this one. They must see the files of every table under the same paths.
    pub cluster: Option<Arc<dyn Cluster>>,
}

impl fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionOptions")
            .field("threads", &self.threads)
            .field("memory_limit", &self.memory_limit)
            .field("spill_limit", &self.spill_limit)
            .field("stop", &self.stop.is_some())
            .field("watch", &self.watch.is_some())
            .field("cluster", &self.cluster)
            .finish()
    }
}

/// A registered table.
#[derive(Debug, Clone)]
pub struct TableInfo {
    /// `table`, or `schema.table`.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
}

/// SQL over datasets and tables. The calls block; do not make them from inside an async runtime.
pub struct Session {
    context: SessionContext,
    runtime: Threads,
    /// Where the caller waits. A timer of the workers' own would not ring while all of them are busy.
    waiting: tokio::runtime::Runtime,
    memory_limit: Option<usize>,
    ceiling: Ceiling,
    stop: Option<Stop>,
    watch: Option<Watch>,
    cluster: Option<Arc<dyn Cluster>>,
}

impl Session {
    /// A session with the functions of [`functions`] and no tables.
    ///
    /// # Errors
    /// [`Error::Internal`] if the threads cannot be started.
    pub fn new(options: &SessionOptions) -> Result<Self> {
        let threads = options
            .threads
            .or_else(|| std::thread::available_parallelism().ok().map(NonZeroUsize::get))
            .unwrap_or(1)
            .max(1);
        let runtime = Threads::start(threads)?;
        let waiting = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|e| Error::Internal(format!("cannot start the clock: {e}")))?;
        let mut environment = environment::runtime();
        if let Some(limit) = options.memory_limit {
            let pool = TrackConsumersPool::new(FairSpillPool::new(limit), NonZeroUsize::MIN);
            environment = environment.with_memory_pool(Arc::new(pool));
        }
        if let Some(limit) = options.spill_limit {
            environment = environment.with_max_temp_directory_size(limit);
        }
        let environment = environment.build_arc().map_err(|e| Error::Internal(e.to_string()))?;
        let mut config = environment::config(threads, options.memory_limit);
        if let Some(cluster) = &options.cluster {
            config = cluster.configure(config);
        }
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(environment)
            .with_default_features()
            .with_analyzer_rules(analyzer_rules())
            .with_analyzer_rule(Arc::new(CountConditions::new()))
            .with_optimizer_rule(Arc::new(AggregateBeforeJoin::new()))
            .with_physical_optimizer_rule(Arc::new(RecursionToTheRight));
        // Other machines put our operators into their share of a plan.
        if options.cluster.is_none() {
            state = operators::rules().into_iter().fold(state, SessionStateBuilder::with_physical_optimizer_rule);
        }
        let state = state.build();
        let context = SessionContext::new_with_state(state);
        functions::register_all(&context);
        let SessionOptions { memory_limit, stop, watch, cluster, .. } = options.clone();
        if let Some(limit) = memory_limit {
            functions::bound(&context, limit);
        }
        let ceiling = Ceiling::new(memory_limit);
        Ok(Self { context, runtime, waiting, memory_limit, ceiling, stop, watch, cluster })
    }

    /// Gives the session new threads after a query was cancelled: a join or a function that has begun on a large batch
    /// finishes it first, and would keep the next query waiting. The old threads end in the background.
    ///
    /// # Errors
    /// [`Error::Internal`] if the threads cannot be started.
    pub fn renew_threads(&mut self) -> Result<()> {
        self.runtime.renew()
    }

    /// Registers the tables of a dataset (a folder, or `s3://bucket/prefix`) as `schema.episodes`, `schema.steps`, `schema.frames` and one table for
    /// each sidecar folder; as bare names if `schema` is empty. Registering again replaces, and sees new episodes.
    ///
    /// # Errors
    /// [`Error::Data`] if the folder has no episodes or a file is not what it should be, [`Error::Dataset`] if it is
    /// not a dataset of this format version.
    pub fn register_dataset(&self, schema: &str, root: &Path) -> Result<()> {
        let schema = Some(schema).filter(|s| !s.is_empty());
        let (dataset, tables) = dataset_tables(root)?;
        // Other machines have folders of the same names, and work in others.
        let location = match is_local(root) {
            true => absolute(root).map_err(|e| Error::io(root, e))?,
            false => root.to_owned(),
        };
        for table in tables {
            let index = if table.name == Table::Steps.name() { dataset.step_index()? } else { None };
            match index {
                Some(index) => {
                    let files: Vec<PathBuf> = index.files().map(Path::to_owned).collect();
                    let files = self.open_files(&files, table.order)?;
                    let (location, remote) = (location.to_string_lossy(), self.cluster.is_some());
                    let steps = StepsTable::new(&location, index, files, remote);
                    self.register(schema, &table.name, Arc::new(steps))?;
                }
                // A table in memory cannot be sent.
                None if table.name == Table::Episodes.name() && self.cluster.is_none() => {
                    let episodes = EpisodesTable::new(self.open_files(&table.files, table.order)?);
                    self.register(schema, &table.name, Arc::new(episodes))?;
                }
                None => self.register_files(schema, &table.name, &table.files, table.order)?,
            }
        }
        Ok(())
    }

    /// Registers a Parquet file, or a folder of them, as a table.
    ///
    /// # Errors
    /// [`Error::Io`] if it is not there, [`Error::Data`] if it is not Parquet.
    pub fn register_parquet(&self, schema: Option<&str>, table: &str, path: &Path) -> Result<()> {
        let is_file = if is_local(path) { !path.is_dir() } else { path.extension().is_some_and(|e| e == "parquet") };
        if is_file {
            return self.register_files(schema, table, &[path.to_owned()], &[]);
        }
        let files = parquet_files(path)?;
        if files.is_empty() {
            return Err(Error::data(path, "no *.parquet files in this folder"));
        }
        self.register_files(schema, table, &files, &[])
    }

    /// Registers record batches as a table.
    ///
    /// # Errors
    /// [`Error::Sql`] if the batches disagree about their columns or there are none.
    pub fn register_batches(&self, schema: Option<&str>, table: &str, batches: Vec<RecordBatch>) -> Result<()> {
        let Some(first) = batches.first() else {
            let message = format!("table {table} cannot be made from no batches: its columns are unknown");
            return Err(Error::Sql { message, position: None });
        };
        let provider = MemTable::try_new(first.schema(), vec![batches]).map_err(|e| Error::from_engine(e, "", None))?;
        self.register(schema, table, Arc::new(provider))
    }

    /// Makes `name` another name of the registered table `target` (`table` or `schema.table`), so that a text of the
    /// [library](crate::library) can say `from episodes`.
    ///
    /// # Errors
    /// [`Error::UnknownTable`] if there is no such table, [`Error::Cancelled`] if the stop closure says so.
    pub fn alias(&self, name: &str, target: &str) -> Result<()> {
        let reference = TableReference::parse_str(target);
        let found = self.block(target, None, self.context.table_provider(reference));
        let provider = found.map_err(|e| match e {
            Error::Cancelled => e,
            _ => self.unknown_table(target, None),
        })?;
        let (schema, table) = match name.split_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (None, name),
        };
        self.register(schema, table, provider)
    }

    /// Every registered table, by name.
    pub fn tables(&self) -> Vec<TableInfo> {
        let mut tables = Vec::new();
        let catalog_name = self.context.copied_config().options().catalog.default_catalog.clone();
        let Some(catalog) = self.context.catalog(&catalog_name) else { return tables };
        for schema_name in catalog.schema_names().into_iter().filter(|name| name != "information_schema") {
            let Some(schema) = catalog.schema(&schema_name) else { continue };
            for table in schema.table_names() {
                let Ok(Some(provider)) = self.runtime.block_on(schema.table(&table)) else { continue };
                let name = if schema_name == "public" { table } else { format!("{schema_name}.{table}") };
                tables.push(TableInfo { name, schema: provider.schema() });
            }
        }
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        tables
    }

    /// The names of all functions: ours and the engine's, those of rows, groups and windows.
    pub fn function_names(&self) -> BTreeSet<String> {
        let state = self.context.state();
        let (rows, groups, windows) = (state.scalar_functions(), state.aggregate_functions(), state.window_functions());
        rows.keys().chain(groups.keys()).chain(windows.keys()).chain(state.table_functions().keys()).cloned().collect()
    }

    /// What there is to know about a function, ours or the engine's; none if there is none of that name, or nothing is
    /// written about it.
    pub fn manual(&self, function: &str) -> Option<Manual> {
        let state = self.context.state();
        let name = function.to_lowercase();
        let rows = || state.scalar_functions().get(&name).and_then(|f| f.documentation().cloned());
        let groups = || state.aggregate_functions().get(&name).and_then(|f| f.documentation().cloned());
        let windows = || state.window_functions().get(&name).and_then(|f| f.documentation().cloned());
        Some(Manual::of(&name, &rows().or_else(groups).or_else(windows)?))
    }

    /// What there is to know about every function that something is written about.
    pub fn manuals(&self) -> Vec<Manual> {
        let state = self.context.state();
        let rows = state.scalar_functions().iter().map(|(name, f)| (name, f.documentation()));
        let groups = state.aggregate_functions().iter().map(|(name, f)| (name, f.documentation()));
        let windows = state.window_functions().iter().map(|(name, f)| (name, f.documentation()));
        rows.chain(groups).chain(windows).filter_map(|(name, doc)| Some(Manual::of(name, doc?))).collect()
    }

    /// Plans `sql` without running it and returns the columns of its result.
    ///
    /// # Errors
    /// As [`Session::query`], but for what only running can find.
    pub fn check(&self, sql: &str, params: &Params) -> Result<SchemaRef> {
        let plan = self.plan(sql, params, self.context.state())?;
        Ok(plain_schema(&plan.schema()))
    }

    /// Runs `sql` and returns its rows. Dictionary columns come back as their values.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::UnknownTable`], [`Error::Forbidden`], [`Error::MissingParameter`],
    /// [`Error::UnusedParameter`] and [`Error::Parameter`] for a wrong question; [`Error::Read`] for unreadable data; [`Error::Memory`] and
    /// [`Error::Cancelled`] for the limits.
    pub fn query(&self, sql: &str, params: &Params) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        let mut rows = self.stream(sql, params)?;
        let schema = rows.schema();
        while let Some(batch) = rows.next() {
            let batch = batch?;
            rows.hold(&batch)?;
            if batch.num_rows() > 0 {
                batches.push(batch);
            }
        }
        if batches.is_empty() {
            // An empty result still has columns.
            batches.push(RecordBatch::new_empty(schema));
        }
        Ok(batches)
    }

    /// Runs `sql` and hands out its rows batch by batch, for results that should not be held in memory.
    ///
    /// # Errors
    /// As [`Session::query`]; those that come up while running are items of the iterator.
    pub fn stream(&self, sql: &str, params: &Params) -> Result<Rows<'_>> {
        self.run(sql, params, self.context.state())
    }

    /// Runs `sql` and writes its rows to the Parquet file `out`, which appears complete or not at all. Returns the
    /// number of rows.
    ///
    /// The query runs in one partition, so that sums of floats are taken in one order and the bytes are the same on any
    /// number of threads; which row comes first is the duty of the SQL's `ORDER BY`.
    ///
    /// # Errors
    /// As [`Session::query`], and [`Error::Io`] if the file cannot be written.
    pub fn write_parquet(&self, sql: &str, params: &Params, out: &Path) -> Result<u64> {
        let state = self.context.state();
        // The builder shares the catalog; a default one of its own would replace every table.
        let config = state.config().clone().with_target_partitions(1).with_create_default_catalog_and_schema(false);
        let state = SessionStateBuilder::new_from_existing(state).with_config(config).build();
        let rows = self.run(sql, params, state)?;
        let mut file = AtomicParquet::create(out, rows.schema())?;
        for batch in rows {
            file.write(&batch?)?;
        }
        file.finish()
    }

    /// Batches as a table of text with a border, for terminals and tests.
    ///
    /// # Errors
    /// [`Error::Internal`] for a value that has no text.
    pub fn format_table(batches: &[RecordBatch]) -> Result<String> {
        let table = arrow::util::pretty::pretty_format_batches(batches).map_err(|e| Error::Internal(e.to_string()))?;
        Ok(table.to_string())
    }

    /// Changes the engine's settings, for tests of what must not depend on them.
    #[cfg(test)]
    pub(crate) fn set(&self, settings: &[(&str, &str)]) {
        let state = self.context.state_ref();
        for (key, value) in settings {
            state.write().config_mut().options_mut().set(&format!("datafusion.{key}"), value).unwrap();
        }
    }

    fn register_files(&self, schema: Option<&str>, table: &str, files: &[PathBuf], order: &[&str]) -> Result<()> {
        self.register(schema, table, Arc::new(self.open_files(files, order)?))
    }

    fn open_files(&self, files: &[PathBuf], order: &[&str]) -> Result<ParquetTable> {
        let state = self.context.state();
        self.runtime.block_on(ParquetTable::open(&state, files, order))
    }

    fn register(&self, schema: Option<&str>, table: &str, provider: Arc<dyn TableProvider>) -> Result<()> {
        let fail = |e: DataFusionError| Error::from_engine(e, "", None);
        let reference = match schema {
            Some(schema) => {
                let catalog_name = self.context.copied_config().options().catalog.default_catalog.clone();
                let catalog = self
                    .context
                    .catalog(&catalog_name)
                    .ok_or_else(|| Error::Internal(format!("no catalog {catalog_name}")))?;
                if catalog.schema(schema).is_none() {
                    catalog.register_schema(schema, Arc::new(MemorySchemaProvider::new())).map_err(fail)?;
                }
                TableReference::partial(schema, table)
            }
            None => TableReference::bare(table),
        };
        self.context.deregister_table(reference.clone()).map_err(fail)?;
        self.context.register_table(reference, provider).map_err(fail)?;
        Ok(())
    }

    fn run(&self, sql: &str, params: &Params, state: SessionState) -> Result<Rows<'_>> {
        let context = state.task_ctx();
        let held = MemoryConsumer::new("the result").register(context.memory_pool());
        let plan = self.plan(sql, params, state)?;
        let schema = plain_schema(&plan.schema());
        let running = Arc::clone(&plan);
        // Two batches ahead: the query works while the caller looks at a batch, and no further.
        let (mut sender, receiver) = mpsc::channel(2);
        let task = self.runtime.spawn(async move {
            let mut stream = match execute_stream(plan, context) {
                Ok(stream) => stream,
                Err(error) => return drop(sender.send(Err(error)).await),
            };
            while let Some(batch) = stream.next().await {
                if sender.send(batch).await.is_err() {
                    return;
                }
            }
        });
        let (sql, watched) = (sql.to_owned(), Instant::now());
        Ok(Rows { session: self, sql, receiver, task: Some(task), schema, plan: running, watched, held })
    }

    fn plan(&self, sql: &str, params: &Params, state: SessionState) -> Result<Arc<dyn ExecutionPlan>> {
        self.ceiling.begin();
        let statement = prepare(sql, params)?;
        self.resolve_tables(&statement, sql, &state)?;
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let cluster = self.cluster.clone();
        let planned = self.runtime.spawn(async move {
            let plan = state.statement_to_plan(statement).await?;
            read_only.verify_plan(&plan)?;
            let plan = state.create_physical_plan(&plan).await?;
            let Some(cluster) = cluster else { return Ok(plan) };
            let sent = cluster.run(Arc::clone(&plan), state.config())?;
            if !Arc::ptr_eq(&sent, &plan) {
                return Ok(sent);
            }
            // It runs here after all, and our operators belong into it.
            operators::rules().iter().try_fold(plan, |plan, rule| rule.optimize(plan, state.config_options()))
        });
        self.block(sql, None, async { planned.await.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))? })
    }

    /// Names the first table that does not exist, with its neighbours, before the planner gives up on it.
    fn resolve_tables(&self, statement: &Statement, sql: &str, state: &SessionState) -> Result<()> {
        let references = state.resolve_table_references(statement).map_err(|e| Error::from_engine(e, sql, None))?;
        for reference in references {
            // information_schema and what functions return are made up by the planner.
            let made_up = reference.schema() == Some("information_schema")
                || reference.schema().is_none() && state.table_functions().contains_key(reference.table());
            if !made_up && !self.context.table_exist(reference.clone()).unwrap_or(false) {
                let name = reference.to_string();
                let position = position_of(statement, &name, sql);
                return Err(self.unknown_table(&name, position));
            }
        }
        Ok(())
    }

    fn unknown_table(&self, name: &str, position: Option<Position>) -> Error {
        let tables = self.tables();
        let mut near = nearest(name, tables.iter().map(|t| t.name.as_str()));
        if near.is_empty() && tables.len() <= 8 {
            near = tables.into_iter().map(|t| t.name).collect();
        }
        Error::UnknownTable { name: name.to_owned(), near, position }
    }

    /// Waits for `work`, unless the stop closure ends it first; meanwhile the watch is told about `plan`.
    fn block<T, E: Into<DataFusionError>>(
        &self,
        sql: &str,
        plan: Option<&dyn ExecutionPlan>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T> {
        self.waiting.block_on(async {
            tokio::pin!(work);
            // Asked before each wait too: a stream of quick batches never waits long enough for the timer.
            while !self.stop.as_ref().is_some_and(|stop| stop()) {
                tokio::select! {
                    biased;
                    done = &mut work => {
                        return done.map_err(|e| Error::from_engine(e.into(), sql, self.memory_limit));
                    }
                    () = tokio::time::sleep(STOP_INTERVAL) => {
                        self.tell(plan);
                        self.ceiling.check()?;
                    }
                }
            }
            Err(Error::Cancelled)
        })
    }

    fn tell(&self, plan: Option<&dyn ExecutionPlan>) {
        if let (Some(watch), Some(plan)) = (&self.watch, plan) {
            watch(&ScanProgress::of(plan));
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables: Vec<String> = self.tables().into_iter().map(|t| t.name).collect();
        f.debug_struct("Session").field("tables", &tables).field("memory_limit", &self.memory_limit).finish()
    }
}
