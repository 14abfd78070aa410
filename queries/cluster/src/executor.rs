//! The process that runs tasks.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use ballista_core::extension::SessionConfigExt;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use datafusion::common::DataFusionError;
use datafusion::prelude::SessionConfig;
use playhouse_queries::remote;
use tempfile::TempDir;

use crate::client::reach;
use crate::codec::Codec;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::scheduler::advertised;
use crate::{MESSAGE, threads};

/// Threads of an executor besides those that run tasks.
const THREADS: usize = 2;

/// Share of the machine's memory that tasks may take, unless a limit is set. Blocks of rows on their way are not counted.
const MEMORY: f64 = 0.5;

/// Settings of an [`Executor`].
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// Where the scheduler listens: HOST:PORT.
    pub scheduler: String,
    /// Where it listens: for rows at this port, for tasks at the next one. The system chooses both for port 0.
    pub bind: SocketAddr,
    /// The name under which others reach this machine; `None` for the address that it listens at.
    pub advertise: Option<String>,
    /// Tasks at a time.
    pub slots: usize,
    /// Bytes that all tasks together may take; beyond it they spill. `None` for half of the machine's memory.
    pub memory_limit: Option<usize>,
    /// Where rows between stages and spilled ones lie; `None` for a folder that goes with the process.
    pub work_dir: Option<PathBuf>,
}

/// An executor that is ready to run.
pub struct Executor {
    config: ExecutorProcessConfig,
    /// Removed when it is dropped.
    _work_dir: Option<TempDir>,
}

impl Executor {
    /// Looks for the scheduler, and for ports.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Away`], [`Error::Bind`], [`Error::Advertise`], [`Error::Folder`].
    pub fn new(options: &ExecutorOptions) -> Result<Self> {
        reach(&options.scheduler)?;
        let no_address = || Error::Address(options.scheduler.clone());
        let (host, port) = options.scheduler.rsplit_once(':').ok_or_else(no_address)?;
        let ip = options.bind.ip();
        let (rows, tasks) = match options.bind.port() {
            0 => free_ports(ip)?,
            given => (free(ip, given)?, free(ip, given.saturating_add(1))?),
        };
        let no_folder = |path: String| |e: std::io::Error| Error::Folder { path, reason: e.to_string() };
        let (path, temporary) = match &options.work_dir {
            Some(path) => {
                let path = path.to_string_lossy().into_owned();
                std::fs::create_dir_all(&path).map_err(no_folder(path.clone()))?;
                (path, None)
            }
            None => {
                let builder = tempfile::Builder::new().prefix("playhouse-executor-").tempdir();
                let folder = builder.map_err(no_folder(std::env::temp_dir().to_string_lossy().into_owned()))?;
                (folder.path().to_string_lossy().into_owned(), Some(folder))
            }
        };
        let internal = |e: DataFusionError| Error::Internal(e.to_string());
        let known = remote::state(SessionConfig::new(), remote::runtime(None).map_err(internal)?);
        let spilled = PathBuf::from(&path);
        let config = ExecutorProcessConfig {
            bind_host: ip.to_string(),
            external_host: Some(advertised(options.bind, options.advertise.as_deref())?),
            port: rows,
            grpc_port: tasks,
            scheduler_host: host.to_owned(),
            scheduler_port: port.parse().map_err(|_| no_address())?,
            vcores: options.slots.max(1),
            work_dir: Some(path),
            memory_pool_size: options.memory_limit.map(|bytes| bytes as u64),
            memory_pool_fraction: MEMORY,
            executor_heartbeat_interval_seconds: 1,
            grpc_max_decoding_message_size: MESSAGE as u32,
            grpc_max_encoding_message_size: MESSAGE as u32,
            override_execution_engine: Some(Arc::new(Engine::default())),
            override_function_registry: Some(Arc::new(BallistaFunctionRegistry::from(&known))),
            override_runtime_producer: Some(Arc::new(move |_| remote::runtime(Some(&spilled)))),
            override_config_producer: Some(Arc::new(SessionConfig::new_with_ballista)),
            override_physical_codec: Some(Arc::new(Codec::default())),
            ..ExecutorProcessConfig::default()
        };
        Ok(Self { config, _work_dir: temporary })
    }

    /// Where it listens for those who want rows.
    pub fn address(&self) -> String {
        format!("{}:{}", self.config.external_host.as_deref().unwrap_or(&self.config.bind_host), self.config.port)
    }

    /// Runs tasks until the process is told to end, or the scheduler is gone. Tasks that run are finished first.
    ///
    /// # Errors
    /// [`Error::Internal`] if the scheduler refuses it.
    pub fn serve(self) -> Result<()> {
        let runtime = threads(THREADS)?;
        let served = runtime.block_on(start_executor_process(Arc::new(self.config)));
        runtime.shutdown_background();
        served.map_err(|e| Error::Internal(e.to_string()))
    }
}

/// Two ports that nobody has.
fn free_ports(ip: IpAddr) -> Result<(u16, u16)> {
    let no_bind = |e: std::io::Error| Error::Bind { address: SocketAddr::new(ip, 0), reason: e.to_string() };
    // Both are held until both are known.
    let pair = [TcpListener::bind((ip, 0)).map_err(no_bind)?, TcpListener::bind((ip, 0)).map_err(no_bind)?];
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port()).map_err(no_bind);
    Ok((port(&pair[0])?, port(&pair[1])?))
}

/// A port, if nobody has it.
fn free(ip: IpAddr, port: u16) -> Result<u16> {
    let address = SocketAddr::new(ip, port);
    TcpListener::bind(address).map_err(|e| Error::Bind { address, reason: e.to_string() })?;
    Ok(port)
}
