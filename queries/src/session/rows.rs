//! The rows of a query while it runs.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use futures::channel::mpsc;
use tokio::task::JoinHandle;

use super::{STOP_INTERVAL, Session};
use crate::error::{Error, Result};
use crate::output::plain_batch;
use crate::scan_progress::ScanProgress;

/// The rows of a running query; dropping it ends the query.
pub struct Rows<'a> {
    pub(super) session: &'a Session,
    pub(super) sql: String,
    pub(super) receiver: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
    /// Gone when the query has ended.
    pub(super) task: Option<JoinHandle<()>>,
    pub(super) schema: SchemaRef,
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// When the watch was last told although no batch kept us waiting.
    pub(super) watched: Instant,
    /// What the caller keeps.
    pub(super) held: MemoryReservation,
}

impl Rows<'_> {
    /// The columns of every batch.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Counts a batch that the caller keeps towards the session's memory limit, until the rows are dropped.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is no room for it.
    pub fn hold(&mut self, batch: &RecordBatch) -> Result<()> {
        // Batches may be windows on the same memory.
        let bytes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size());
        let bytes = bytes.sum::<Result<usize, _>>().map_err(|e| Error::Internal(e.to_string()))?;
        self.held.try_grow(bytes).map_err(|_| Error::Memory {
            limit: self.session.memory_limit,
            message: format!("its result alone takes {:.1} MiB so far", self.held.size() as f64 / f64::from(1 << 20)),
        })
    }

    /// How far the query has come.
    pub fn progress(&self) -> ScanProgress {
        ScanProgress::of(self.plan.as_ref())
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let task = self.task.as_mut()?;
        // A stream of quick batches never waits long enough to be told of.
        if self.watched.elapsed() > STOP_INTERVAL {
            self.watched = Instant::now();
            self.session.tell(Some(self.plan.as_ref()));
            if let Err(error) = self.session.ceiling.check() {
                self.end();
                return Some(Err(error));
            }
        }
        let next = self.session.block(&self.sql, Some(self.plan.as_ref()), async {
            match self.receiver.next().await {
                Some(batch) => batch.map(Some),
                // No more rows because the query ended, or because it panicked: the task knows.
                None => task.await.map(|()| None).map_err(|e| DataFusionError::ExecutionJoin(Box::new(e))),
            }
        });
        let item = next.and_then(|batch| batch.map(|batch| plain_batch(batch, &self.schema)).transpose()).transpose();
        if !matches!(item, Some(Ok(_))) {
            self.end();
        }
        item
    }
}

impl Rows<'_> {
    fn end(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("sql", &self.sql).finish_non_exhaustive()
    }
}
