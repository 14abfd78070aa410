//! Parts of a dataset that are looked at side by side.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use playhouse_schemas::storage::is_local;

use crate::error::{Error, Result};

/// Parts of a dataset in a bucket that are read at a time: a server takes longer to answer than a part to be decoded. Each holds
/// some megabytes.
const REMOTE: usize = 8;

/// How many parts of the dataset at `root` are read at a time where so many threads can compute.
pub(super) fn readers(root: &Path, threads: usize) -> usize {
    if is_local(root) { threads } else { threads.max(REMOTE) }
}

/// What `of` makes of the numbers 0 to `count`, on so many threads.
///
/// # Errors
/// That of the least number for which it fails: the same on any number of threads.
pub(super) fn side_by_side<T: Send>(
    count: usize,
    threads: usize,
    of: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return found;
            }
            let one = of(at);
            if one.is_err() {
                // The other threads need not begin what nobody will see. Lesser numbers have begun, and are finished.
                next.store(count, Ordering::Relaxed);
            }
            found.push((at, one));
        }
    };
    let mut found = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.clamp(1, count.max(1))).map(|_| scope.spawn(work)).collect();
        let lost = || Error::Internal("a thread ended early".to_owned());
        let found: Result<Vec<_>> = workers.into_iter().map(|worker| worker.join().map_err(|_| lost())).collect();
        Ok::<_, Error>(found?.into_iter().flatten().collect::<Vec<_>>())
    })?;
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn all_are_found_in_order_and_the_first_error_counts() {
        for threads in [1, 3, 64] {
            assert_eq!(side_by_side(40, threads, |at| Ok(at * at)).unwrap(), Vec::from_iter((0..40).map(|at| at * at)));
            assert!(side_by_side(0, threads, Ok).unwrap().is_empty());
            let fails = |at: usize| if at < 7 { Ok(at) } else { Err(Error::Read(at.to_string())) };
            let error = side_by_side(40, threads, fails).unwrap_err();
            assert!(matches!(&error, Error::Read(at) if at == "7"), "{error}");
        }
    }

    #[test]
    fn parts_in_a_bucket_are_waited_for_together() {
        let readers = readers(Path::new("s3://gameplay/play"), 1);
        // Nobody gets past this before all are there.
        let barrier = Barrier::new(readers);
        side_by_side(2 * readers, readers, |_| Ok(barrier.wait().is_leader())).unwrap();
        assert_eq!((readers, super::readers(Path::new("play"), 2)), (REMOTE, 2));
    }
}
