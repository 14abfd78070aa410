//! One client a bucket, with settings from the environment, for the whole process.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::SpawnedReqwestConnector;
use object_store::path::Path as Key;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

use super::fault;
use super::location::Location;
use crate::error::{Error, Result};

/// Threads for requests. They wait for the network; what arrives is decoded elsewhere.
const THREADS: usize = 2;

/// Retries of one request, with growing pauses: about five seconds in all, so that a wrong address is told soon.
const RETRIES: usize = 6;
/// No retry begins later than this.
const PATIENCE: Duration = Duration::from_secs(60);

type Stores = Mutex<HashMap<String, Arc<dyn ObjectStore>>>;

fn stores() -> &'static Stores {
    static STORES: OnceLock<Stores> = OnceLock::new();
    STORES.get_or_init(Stores::default)
}

/// Uses `store` for `s3://bucket` from now on, in place of a client with settings from the environment: for programs that
/// keep their settings elsewhere.
pub fn use_store(bucket: &str, store: Arc<dyn ObjectStore>) {
    stores().lock().unwrap_or_else(PoisonError::into_inner).insert(bucket.to_owned(), store);
}

/// A bucket, for engines that bring their own Parquet reader.
#[derive(Clone)]
pub struct Bucket {
    /// `s3://bucket`
    pub url: String,
    /// Its client.
    pub store: Arc<dyn ObjectStore>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The bucket that a path lies in; none for a path of this machine.
///
/// # Errors
/// [`Error::Invalid`] for what is no location, [`Error::Store`] for settings that are missing.
pub fn bucket_of(path: &Path) -> Result<Option<Bucket>> {
    match Location::of(path)? {
        Location::Local(_) => Ok(None),
        Location::S3 { bucket, .. } => {
            Ok(Some(Bucket { store: client(path, &bucket)?, url: format!("s3://{bucket}") }))
        }
    }
}

/// The client for an object or a prefix, and its key.
pub(super) fn resolve(path: &Path) -> Result<(Arc<dyn ObjectStore>, Key)> {
    match Location::of(path)? {
        Location::S3 { bucket, key } => Ok((client(path, &bucket)?, key)),
        Location::Local(_) => Err(Error::Internal(format!("{} is no object", path.display()))),
    }
}

fn client(path: &Path, bucket: &str) -> Result<Arc<dyn ObjectStore>> {
    let mut stores = stores().lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(store) = stores.get(bucket) {
        return Ok(store.clone());
    }
    let store = connect(path, bucket)?;
    stores.insert(bucket.to_owned(), store.clone());
    Ok(store)
}

fn connect(path: &Path, bucket: &str) -> Result<Arc<dyn ObjectStore>> {
    let fault = |reason: &str| Error::Store { path: path.to_owned(), action: "connect", reason: reason.to_owned() };
    let settings = AmazonS3Builder::from_env();
    let set = |key: AmazonS3ConfigKey| settings.get_config_value(&key).filter(|value| !value.is_empty());
    let endpoint = set(AmazonS3ConfigKey::S3Endpoint).or_else(|| set(AmazonS3ConfigKey::Endpoint));
    let is_true = |key| set(key).is_some_and(|value| value == "true");
    if let Some(endpoint) = &endpoint {
        if endpoint.starts_with("http://") && !is_true(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)) {
            return Err(fault(&format!(
                "AWS_ENDPOINT_URL is {endpoint}, which is not encrypted; set AWS_ALLOW_HTTP=true if that is meant"
            )));
        }
        // A server of one's own has none of the services that Amazon's machines get credentials from.
        let other = [
            AmazonS3ConfigKey::AccessKeyId,
            AmazonS3ConfigKey::WebIdentityTokenFile,
            AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
            AmazonS3ConfigKey::ContainerCredentialsFullUri,
        ];
        if !other.into_iter().any(|key| set(key).is_some()) && !is_true(AmazonS3ConfigKey::SkipSignature) {
            return Err(fault(
                "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for \
                 a public bucket",
            ));
        }
    }
    let retries = RetryConfig { max_retries: RETRIES, retry_timeout: PATIENCE, ..RetryConfig::default() };
    let built = settings
        .with_bucket_name(bucket)
        .with_retry(retries)
        // Connections belong to the runtime that opened them: without this, those that a query opened would die with it.
        .with_http_connector(SpawnedReqwestConnector::new(runtime()?.handle().clone()))
        .build();
    Ok(Arc::new(built.map_err(|e| fault(&fault::explain(&e)))?))
}

fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::result::Result<Runtime, String>> = OnceLock::new();
    let started = RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("playhouse-store").enable_all();
        builder.build().map_err(|e| e.to_string())
    });
    started.as_ref().map_err(|e| Error::Internal(format!("cannot start the threads for requests: {e}")))
}

/// Starts some work on the threads for requests; its result comes through the channel.
pub(super) fn start<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<mpsc::Receiver<T>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime()?.spawn(async move {
        // Nobody may wait for it any more.
        let _ = sender.send(work.await);
    });
    Ok(receiver)
}

/// Waits for what was started. In a thread of an async runtime its other tasks go on meanwhile, where the runtime can do that.
pub(super) fn receive<T>(receiver: &mpsc::Receiver<T>) -> Result<T> {
    let multi = Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    let received = if multi { tokio::task::block_in_place(|| receiver.recv()) } else { receiver.recv() };
    received.map_err(|_| Error::Internal("a request ended early".to_owned()))
}

/// Does some work on the threads for requests, and waits for it.
pub(crate) fn wait<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T> {
    receive(&start(work)?)
}
