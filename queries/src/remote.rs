//! What a cluster needs to run the plans of a session.
//!
//! ```text
//!   session      SQL ──> plan ──> Cluster::run
//!                                   pack: scans of steps as what can be sent
//!   scheduler    cuts the plan into stages and those into tasks
//!   executor                        unpack: scans by its own index, our operators
//! ```
//!
//! A plan is made by the session alone, from its own tables. So the other machines need no tables, and see the parts and
//! episodes that the session saw.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::prelude::{SessionConfig, SessionContext};
use playhouse_schemas::StepIndex;

use crate::environment;
use crate::operators;
pub use crate::steps::SentStepsExec;
use crate::steps::StepsExec;

/// Machines that run plans.
pub trait Cluster: fmt::Debug + Send + Sync {
    /// The settings under which plans for it are made.
    fn configure(&self, config: SessionConfig) -> SessionConfig;

    /// A plan that has `plan` run there and hands on its rows. What can only run here comes back as it is.
    ///
    /// # Errors
    /// If the plan cannot be sent.
    fn run(&self, plan: Arc<dyn ExecutionPlan>, config: &SessionConfig) -> Result<Arc<dyn ExecutionPlan>>;
}

/// What failed is the cluster, and not the query: says so in a sentence for the user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ClusterFailure(pub String);

impl From<ClusterFailure> for DataFusionError {
    fn from(failure: ClusterFailure) -> Self {
        Self::External(Box::new(failure))
    }
}

/// What plans run in on every machine: files and buckets by their names, spilled rows in `folder`; temporary ones where none is
/// given. Settings of buckets come from the environment of the process.
///
/// # Errors
/// If the folder cannot be used.
pub fn runtime(folder: Option<&Path>) -> Result<Arc<RuntimeEnv>> {
    let runtime = environment::runtime();
    match folder {
        Some(folder) => runtime.with_temp_file_path(folder).build_arc(),
        None => runtime.build_arc(),
    }
}

/// A state that knows every function of a session, ours and DataFusion's, and no tables.
pub fn state(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> SessionState {
    let state =
        SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features().build();
    let context = SessionContext::new_with_state(state);
    crate::functions::register_all(&context);
    context.state()
}

/// A plan of a session, ready to be sent.
///
/// # Errors
/// None that are known of.
pub fn pack(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| match node.downcast_ref::<StepsExec>() {
        Some(scan) => Ok(Transformed::yes(Arc::new(scan.send()?) as Arc<dyn ExecutionPlan>)),
        None => Ok(Transformed::no(node)),
    })
    .data()
}

/// Whether a plan keeps its meaning on the way: of a function of windows that runs from their end, that is forgotten.
pub fn can_be_sent(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let bounded = plan.downcast_ref::<BoundedWindowAggExec>().map(BoundedWindowAggExec::window_expr);
    let windows = bounded.or_else(|| plan.downcast_ref::<WindowAggExec>().map(WindowAggExec::window_expr));
    !windows.unwrap_or_default().iter().any(operators::is_reversed) && plan.children().into_iter().all(can_be_sent)
}

/// A plan, or a piece of one, that was sent: ready to run, with our operators in it. `open` finds the index of the dataset at a
/// place.
///
/// # Errors
/// If a dataset is not here, or lacks an episode that the plan reads.
pub fn unpack(
    plan: Arc<dyn ExecutionPlan>,
    settings: &ConfigOptions,
    open: &dyn Fn(&str) -> Result<Arc<StepIndex>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let received = plan.transform_up(|node| match node.downcast_ref::<SentStepsExec>() {
        Some(sent) => Ok(Transformed::yes(Arc::new(sent.receive(open(sent.dataset())?)?) as Arc<dyn ExecutionPlan>)),
        None => Ok(Transformed::no(node)),
    });
    operators::rules().iter().try_fold(received.data()?, |plan, rule| rule.optimize(plan, settings))
}
