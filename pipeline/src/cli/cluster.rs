//! `cluster`: this machine as a part of many, and the way to them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use playhouse_cluster::{Cluster, Executor, ExecutorOptions, PARTITIONS, Scheduler, SchedulerOptions};

use super::Context;
use super::args::{ClusterArgs, ClusterPart};
use crate::engine::Error;

/// `playhouse cluster`
pub(super) fn cluster(context: &mut Context, args: ClusterArgs) -> Result<()> {
    match args.part {
        ClusterPart::Scheduler(args) => {
            let patience = Duration::from_secs(args.patience);
            let options = SchedulerOptions { bind: args.bind, advertise: args.advertise, patience };
            let scheduler = Scheduler::bind(&options).map_err(told)?;
            // Whoever starts it with port 0 reads here which it became.
            writeln!(context.out, "scheduler at {}", scheduler.address())?;
            context.out.flush()?;
            scheduler.serve().map_err(told)
        }
        ClusterPart::Executor(args) => {
            let options = ExecutorOptions {
                scheduler: args.scheduler,
                bind: args.bind,
                advertise: args.advertise,
                slots: context.threads,
                memory_limit: context.memory_limit,
                work_dir: args.work_dir,
            };
            let executor = Executor::new(&options).map_err(told)?;
            writeln!(context.out, "executor at {}, {} slots", executor.address(), context.threads)?;
            context.out.flush()?;
            executor.serve().map_err(told)
        }
    }
}

/// The cluster that was named, if one was.
pub(super) fn connect(address: Option<&str>) -> Result<Option<Arc<dyn Cluster>>> {
    address.map(|address| playhouse_cluster::connect(address, PARTITIONS)).transpose().map_err(told)
}

/// What was typed wrong is told from what went wrong.
fn told(error: playhouse_cluster::Error) -> anyhow::Error {
    use playhouse_cluster::Error::{Address, Advertise};
    match error {
        Address(_) | Advertise(_) => Error::Usage(error.to_string()).into(),
        other => other.into(),
    }
}
