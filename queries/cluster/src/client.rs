//! The session's side of a cluster.

use std::fmt;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ballista_core::config::BALLISTA_CLIENT_IO_RETRY_WAIT_TIME_MS;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::KeyValuePair;
use datafusion::common::Result as EngineResult;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::analyze::AnalyzeExec;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use datafusion::prelude::SessionConfig;
use futures::{TryStreamExt, stream};
use playhouse_queries::remote::{Cluster, can_be_sent, pack, runtime, state};

use crate::MESSAGE;
use crate::codec::Codec;
use crate::cut::can_be_cut;
use crate::error::{Error, Result};
use crate::job::{Query, answer};
use crate::leaf::{leaf, properties};
use crate::whole::WholeExec;

/// How long a scheduler has to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Partitions of a scan unless there is a reason for another number.
pub const PARTITIONS: usize = 16;

/// Milliseconds until a task asks again for the rows of an executor that did not answer; three times, and then they count as
/// lost.
const RETRY_AFTER: usize = 300;

/// The cluster whose scheduler listens at `address` (HOST:PORT), for the options of a session. A scan has so many `partitions`,
/// and a query can use as many slots; a slot takes several if there are fewer. With one, every query goes to one executor whole.
///
/// # Errors
/// [`Error::Address`], and [`Error::Away`] if nobody listens there.
pub fn connect(address: &str, partitions: usize) -> Result<Arc<dyn Cluster>> {
    reach(address)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let session = format!("playhouse-{}-{}", std::process::id(), now.as_nanos());
    Ok(Arc::new(Client { address: address.into(), session: session.into(), partitions, codec: Arc::default() }))
}

/// Makes sure that somebody listens at HOST:PORT.
pub(crate) fn reach(address: &str) -> Result<()> {
    let away = |e: std::io::Error| Error::Away { address: address.to_owned(), reason: e.to_string() };
    let known = address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !known {
        return Err(Error::Address(address.to_owned()));
    }
    let mut last = std::io::ErrorKind::AddrNotAvailable.into();
    for candidate in address.to_socket_addrs().map_err(away)? {
        match TcpStream::connect_timeout(&candidate, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(away(last))
}

/// A session's connection to a scheduler.
struct Client {
    address: Arc<str>,
    /// Executors keep what they know of files for as long as they hear of the same session.
    session: Arc<str>,
    partitions: usize,
    codec: Arc<Codec>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.address).finish()
    }
}

impl Cluster for Client {
    fn configure(&self, config: SessionConfig) -> SessionConfig {
        let mut config = config
            .with_target_partitions(self.partitions)
            .upgrade_for_ballista()
            .with_ballista_grpc_client_max_message_size(MESSAGE)
            .set_usize(BALLISTA_CLIENT_IO_RETRY_WAIT_TIME_MS, RETRY_AFTER);
        let options = &mut config.options_mut().optimizer;
        // The order of rows that come from several tasks is lost between stages.
        options.prefer_existing_sort = false;
        // As without a cluster: rows of a join that is written to a file come in the same order.
        options.prefer_hash_join = true;
        config
    }

    fn run(&self, plan: Arc<dyn ExecutionPlan>, config: &SessionConfig) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let packed = pack(Arc::clone(&plan))?;
        if packed.is::<AnalyzeExec>() || !reads(&packed) || !can_be_sent(&packed) {
            return Ok(plan);
        }
        let cut = config.target_partitions() > 1 && can_be_cut(&packed);
        let sent = if cut { packed } else { Arc::new(WholeExec::new(packed)) };
        let Ok(encoded) = self.codec.encode(sent) else { return Ok(plan) };
        // Some plans can be written and not be read again: an executor would refuse the task.
        let context = state(config.clone(), runtime(None)?).task_ctx();
        if !self.codec.arrives(&encoded, &context) {
            return Ok(plan);
        }
        let entries = config.options().entries().into_iter();
        let settings = entries.map(|entry| KeyValuePair { key: entry.key, value: entry.value }).collect();
        Ok(Arc::new(ClusterExec {
            query: Query {
                scheduler: Arc::clone(&self.address),
                session: Arc::clone(&self.session),
                plan: encoded.into(),
                settings,
            },
            properties: properties(plan.schema()),
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }
}

/// Whether there is a table in the plan.
fn reads(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<DataSourceExec>() || plan.children().into_iter().any(reads)
}

/// Has a query run on the cluster, and hands on its rows.
struct ClusterExec {
    query: Query,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl DisplayAs for ClusterExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ClusterExec: scheduler={}", self.query.scheduler)
    }
}

impl fmt::Debug for ClusterExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl ExecutionPlan for ClusterExec {
    leaf!("ClusterExec");

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> EngineResult<SendableRecordBatchStream> {
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let rows = stream::once(answer(self.query.clone())).try_flatten();
        let rows = rows.map_ok(move |batch| batch.record_output(&baseline));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
