//! What an executor does with a task: it makes the plan that was sent its own.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::serde::protobuf::{RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::prelude::SessionConfig;
use playhouse_queries::remote::unpack;
use playhouse_schemas::{Dataset, StepIndex};

use crate::failure::sent;
use crate::whole::WholeExec;

/// Indices that an executor keeps: those of the jobs that it works on, and a few more.
const KEPT: usize = 16;

/// Ballista's engine, for our plans.
#[derive(Default)]
pub(crate) struct Engine {
    ballista: DefaultExecutionEngine,
    indices: Indices,
}

impl ExecutionEngine for Engine {
    fn create_query_stage_exec(
        &self,
        job: JobId,
        stage: usize,
        task: usize,
        partitions: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        let plan = self.own(&job, plan, config).map_err(sent)?;
        let task = self.ballista.create_query_stage_exec(job, stage, task, partitions, plan, work_dir, config)?;
        Ok(Arc::new(Task(task)))
    }
}

impl Engine {
    /// The plan of a task, ready to run here.
    fn own(&self, job: &JobId, plan: Arc<dyn ExecutionPlan>, config: &SessionConfig) -> Result<Arc<dyn ExecutionPlan>> {
        let open = |dataset: &str| self.indices.of(job, dataset);
        let plan = plan.transform_up(|node| match node.downcast_ref::<WholeExec>() {
            Some(whole) => {
                let plan = unpack(Arc::clone(whole.plan()), config.options(), &open)?;
                Ok(Transformed::yes(Arc::new(WholeExec::new(plan)) as Arc<dyn ExecutionPlan>))
            }
            None => Ok(Transformed::no(node)),
        });
        unpack(plan.data()?, config.options(), &open)
    }
}

/// Ballista's task, with errors for users.
#[derive(Debug)]
struct Task(Arc<dyn QueryStageExecutor>);

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl QueryStageExecutor for Task {
    async fn execute_query_stage(&self, task: usize, context: Arc<TaskContext>) -> Result<Vec<ShuffleWritePartition>> {
        self.0.execute_query_stage(task, context).await.map_err(sent)
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        self.0.collect_plan_metrics()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.0.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        self.0.collect_window_state_reports()
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.0.collect_column_stats()
    }
}

/// Indices of datasets, each read once a job: its tasks share it, and no later job takes it for what the dataset has become.
#[derive(Default)]
struct Indices(Mutex<VecDeque<(JobId, String, Arc<StepIndex>)>>);

impl Indices {
    fn of(&self, job: &JobId, dataset: &str) -> Result<Arc<StepIndex>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., index)) = kept.iter().find(|(of, at, _)| of == job && at == dataset) {
            return Ok(Arc::clone(index));
        }
        let external = |e: playhouse_schemas::Error| DataFusionError::External(Box::new(e));
        let index = Dataset::open(Path::new(dataset)).and_then(|dataset| dataset.step_index()).map_err(external)?;
        let Some(index) = index else {
            let message = format!("{dataset}: its parts have come to overlap since the query began; run it again");
            return Err(DataFusionError::Execution(message));
        };
        let index = Arc::new(index);
        kept.push_front((job.clone(), dataset.to_owned(), Arc::clone(&index)));
        kept.truncate(KEPT);
        Ok(index)
    }
}
