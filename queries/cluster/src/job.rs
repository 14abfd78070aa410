//! A query on its way through the cluster.
//!
//! ```text
//!   submit ──> ask how it goes, again and again ──> where its rows are ──> fetch them, executor by executor
//!                └─ dropped: cancel
//! ```

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use ballista_core::client::BallistaClient;
use ballista_core::serde::protobuf::execute_query_params::Query as Kind;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelJobParams, ExecuteQueryParams, GetJobStatusParams, KeyValuePair, PartitionLocation, execute_query_result,
    job_status::Status,
};
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_endpoint};
use ballista_core::version::insert_version_header;
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use playhouse_queries::remote::ClusterFailure;
use tonic::transport::Channel;

use crate::MESSAGE;
use crate::error::Error;
use crate::failure::received;

/// Between two questions how a job goes: short for quick queries, long for others.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_millis(100);

/// How often a query is run again because an executor went away with rows that nobody has seen.
const ATTEMPTS: usize = 3;

/// How long a scheduler has to take note that a job is cancelled.
const FAREWELL: Duration = Duration::from_millis(900);

/// A query, ready to be submitted.
#[derive(Clone)]
pub(crate) struct Query {
    /// Where the scheduler listens: HOST:PORT.
    pub(crate) scheduler: Arc<str>,
    pub(crate) session: Arc<str>,
    pub(crate) plan: Arc<[u8]>,
    pub(crate) settings: Vec<KeyValuePair>,
}

/// The rows of a query.
pub(crate) async fn answer(query: Query) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let mut attempt = 1;
    loop {
        let mut rows = fetch(run(&query).await?);
        match rows.next().await {
            // Nothing was handed on, so nothing would come twice.
            Some(Err(_)) if attempt < ATTEMPTS => attempt += 1,
            Some(first) => return Ok(stream::iter([first]).chain(rows).boxed()),
            None => return Ok(rows),
        }
    }
}

/// Submits a query, and returns where its rows are once it is done.
async fn run(query: &Query) -> Result<Vec<PartitionLocation>> {
    let mut scheduler = connect(&query.scheduler).await?;
    let mut request = tonic::Request::new(ExecuteQueryParams {
        query: Some(Kind::PhysicalPlan(query.plan.to_vec())),
        settings: query.settings.clone(),
        session_id: query.session.to_string(),
        operation_id: query.session.to_string(),
    });
    insert_version_header(request.metadata_mut());
    let lost = |status: tonic::Status| {
        let scheduler = &query.scheduler;
        ClusterFailure(format!("the scheduler at {scheduler} did not go on with the query: {}", status.message()))
    };
    let submitted = scheduler.execute_query(request).await.map_err(lost)?.into_inner();
    let job = match submitted.result {
        Some(execute_query_result::Result::Success(submitted)) => submitted.job_id,
        refused => return Err(ClusterFailure(format!("the scheduler refused the query: {refused:?}")).into()),
    };
    let mut running = Running { scheduler: Arc::clone(&query.scheduler), job: job.clone(), over: false };
    let mut pause = *PAUSES.start();
    loop {
        let question = GetJobStatusParams { job_id: job.clone() };
        let status = scheduler.get_job_status(question).await.map_err(lost)?.into_inner().status;
        match status.and_then(|job| job.status) {
            Some(Status::Successful(done)) => {
                running.over = true;
                return Ok(done.partition_location);
            }
            Some(Status::Failed(failed)) => {
                running.over = true;
                return Err(received(&failed.error));
            }
            Some(Status::Queued(_) | Status::Running(_)) | None => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(*PAUSES.end());
    }
}

async fn connect(address: &str) -> Result<SchedulerGrpcClient<Channel>> {
    let away = |reason: String| ClusterFailure(Error::Away { address: address.to_owned(), reason }.to_string());
    let endpoint = create_grpc_client_endpoint(format!("http://{address}"), Some(&GrpcClientConfig::default()))
        .map_err(|e| away(e.to_string()))?;
    let channel = endpoint.connect().await.map_err(|e| away(innermost(&e)))?;
    Ok(SchedulerGrpcClient::new(channel).max_encoding_message_size(MESSAGE).max_decoding_message_size(MESSAGE))
}

/// The reason at the bottom of an error.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The rows of every partition, one after the other.
fn fetch(partitions: Vec<PartitionLocation>) -> BoxStream<'static, Result<RecordBatch>> {
    stream::iter(partitions).then(open).try_flatten().boxed()
}

async fn open(location: PartitionLocation) -> Result<SendableRecordBatchStream> {
    let layout = location.layout();
    let (Some(executor), Some(partition)) = (location.executor_meta, location.partition_id) else {
        return Err(DataFusionError::Internal("a partition of a result is nowhere".to_owned()));
    };
    let (host, port) = (executor.host, executor.port as u16);
    let gone = |e: ballista_core::error::BallistaError| {
        ClusterFailure(format!(
            "the executor at {host}:{port} went away with rows of the result; run the query again ({e})"
        ))
    };
    let client = BallistaClient::try_new(&host, port, MESSAGE, false, None, 1, 100, 0, 0).await;
    let mut client = client.map_err(gone)?;
    let rows = client.fetch_partition(&executor.id, &partition.into(), location.file_id, layout, true).await;
    Ok(rows.map_err(gone)?)
}

/// A job that is cancelled when nobody waits for it any more.
struct Running {
    scheduler: Arc<str>,
    job: String,
    over: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let (scheduler, job_id) = (Arc::clone(&self.scheduler), std::mem::take(&mut self.job));
        // The program may be about to end, and its threads with it: the scheduler is told first.
        let told = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                let cancel = async {
                    let mut scheduler = connect(&scheduler).await.ok()?;
                    scheduler.cancel_job(CancelJobParams { job_id }).await.ok()
                };
                // A scheduler that is away has no job to cancel.
                let _ = tokio::time::timeout(FAREWELL, cancel).await;
            });
        });
        let _ = told.join();
    }
}
