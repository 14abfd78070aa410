//! The process that cuts queries into tasks and gives them out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::extension::SessionConfigExt;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use playhouse_queries::remote;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::{MESSAGE, threads};

/// Threads of a scheduler, which plans and waits.
const THREADS: usize = 2;

/// Settings of a [`Scheduler`].
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// Where it listens; the system chooses a port for port 0.
    pub bind: SocketAddr,
    /// The name under which executors reach this machine; `None` for the address that it listens at.
    pub advertise: Option<String>,
    /// After how long a silence an executor counts as lost, and its tasks are given to others.
    pub patience: Duration,
}

/// A scheduler that listens.
pub struct Scheduler {
    runtime: Runtime,
    listener: TcpListener,
    config: SchedulerConfig,
}

impl Scheduler {
    /// Takes the address.
    ///
    /// # Errors
    /// [`Error::Bind`], and [`Error::Advertise`] if executors could not tell where it is.
    pub fn bind(options: &SchedulerOptions) -> Result<Self> {
        let bind = options.bind;
        let name = advertised(bind, options.advertise.as_deref())?;
        let runtime = threads(THREADS)?;
        let no_bind = |e: std::io::Error| Error::Bind { address: bind, reason: e.to_string() };
        let listener = runtime.block_on(TcpListener::bind(bind)).map_err(no_bind)?;
        let bind = listener.local_addr().map_err(no_bind)?;
        let patience = options.patience.as_secs().max(1);
        let config = SchedulerConfig {
            external_host: name,
            bind_host: bind.ip().to_string(),
            bind_port: bind.port(),
            executor_timeout_seconds: patience,
            expire_dead_executor_interval_seconds: 1,
            no_executors_grace_period_seconds: patience,
            task_distribution: TaskDistributionPolicy::RoundRobin,
            grpc_server_max_decoding_message_size: MESSAGE as u32,
            grpc_server_max_encoding_message_size: MESSAGE as u32,
            grpc_client_max_message_size: MESSAGE as u32,
            override_config_producer: Some(Arc::new(SessionConfig::new_with_ballista)),
            override_session_builder: Some(Arc::new(|config| Ok(remote::state(config, remote::runtime(None)?)))),
            override_physical_codec: Some(Arc::new(Codec::default())),
            ..SchedulerConfig::default()
        };
        Ok(Self { runtime, listener, config })
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("{}:{}", self.config.external_host, self.config.bind_port)
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub fn serve(self) -> Result<()> {
        let served = self.runtime.block_on(async {
            let cluster = BallistaCluster::new_from_config(&self.config).await?;
            let scheduler =
                create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(self.config)).await?;
            start_grpc_service_with_listener(self.listener, scheduler).await
        });
        served.map_err(|e| Error::Internal(e.to_string()))
    }
}

/// The name by which others reach a server at `bind`.
pub(crate) fn advertised(bind: SocketAddr, name: Option<&str>) -> Result<String> {
    match name {
        Some(name) => Ok(name.to_owned()),
        None if bind.ip().is_unspecified() => Err(Error::Advertise(bind)),
        None => Ok(bind.ip().to_string()),
    }
}
