//! The threads that queries run on.

use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};

/// How long a session that ends waits for its threads.
const PATIENCE: Duration = Duration::from_secs(1);

/// Stack of a worker. Plans are trees and planned and run by recursion, whose frames are large in a debug build.
/// Only what is touched takes memory; an expression of some thousand terms touches a lot.
const STACK: usize = 64 << 20;

/// Threads of a session, and those it had before.
pub(crate) struct Threads {
    count: usize,
    running: Background,
    /// What waits for threads that were replaced.
    retired: Vec<JoinHandle<()>>,
}

/// Threads that are not waited for longer than [`PATIENCE`]: a function that has begun on a huge value cannot be stopped,
/// and whoever cancelled its query must not wait for it. Not waiting at all would detach threads while they exit, which
/// glibc before 2.37 does not survive (its bug 19951).
struct Background(Option<Runtime>);

impl Threads {
    pub(crate) fn start(count: usize) -> Result<Self> {
        Ok(Self { count, running: Background::start(count)?, retired: Vec::new() })
    }

    /// Other threads from now on; the old ones end in the background.
    pub(crate) fn renew(&mut self) -> Result<()> {
        let old = std::mem::replace(&mut self.running, Background::start(self.count)?);
        self.retired.push(std::thread::spawn(move || drop(old)));
        Ok(())
    }
}

impl Background {
    fn start(count: usize) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(count)
            .thread_name("playhouse-query")
            .thread_stack_size(STACK)
            .enable_all()
            .build()
            .map_err(|e| Error::Internal(format!("cannot start the query threads: {e}")))?;
        Ok(Self(Some(runtime)))
    }
}

impl std::ops::Deref for Threads {
    type Target = Runtime;

    fn deref(&self) -> &Self::Target {
        self.running.0.as_ref().expect("only drop takes it")
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for thread in self.retired.drain(..) {
            // It has nothing to say, and ends within the patience that all threads get.
            let _ = thread.join();
        }
    }
}
