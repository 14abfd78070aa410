//! Work that several threads do and one takes, in order.
//!
//! ```text
//!   jobs --next, one thread at a time--> work, on every thread --by number--> take, on the caller's
//! ```
//!
//! What `take` sees does not depend on the number of threads or on their speed: results come in the order of the jobs, and
//! the first error in that order ends it. Threads wait when they are far ahead of `take`, so memory is bounded.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Jobs begun and not yet taken, for each thread.
const AHEAD: u64 = 4;

/// Runs `work` on every job and hands the results to `take`, until there are no more jobs or `take` breaks off. With one
/// thread everything happens on the caller's; otherwise `threads` others do the jobs and the caller's only takes.
///
/// # Errors
/// The first error of a job, of its work or of taking it.
pub fn in_order<J, R: Send, E: Send>(
    threads: usize,
    jobs: impl Iterator<Item = Result<J, E>> + Send,
    work: impl Fn(J) -> Result<R, E> + Sync,
    mut take: impl FnMut(R) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    if threads <= 1 {
        for job in jobs {
            if take(work(job?)?)?.is_break() {
                break;
            }
        }
        return Ok(());
    }
    let line = Line { state: Mutex::new(State::default()), changed: Condvar::new(), most: AHEAD * threads as u64 };
    let jobs = Mutex::new(jobs);
    std::thread::scope(|scope| {
        // Whatever ends the taking, the threads must not wait for it.
        let _stop = StopOnDrop { line: &line, always: true };
        for _ in 0..threads {
            scope.spawn(|| {
                let _stop = StopOnDrop { line: &line, always: false };
                loop {
                    let (number, job) = {
                        let mut jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
                        let Some(number) = line.enter() else { return };
                        let job = jobs.next();
                        if !matches!(job, Some(Ok(_))) {
                            line.end(number + u64::from(job.is_some()));
                        }
                        let Some(job) = job else { return };
                        (number, job)
                    };
                    line.put(number, job.and_then(&work));
                }
            });
        }
        while let Some(result) = line.next() {
            if take(result?)?.is_break() {
                break;
            }
        }
        Ok(())
    })
}

/// Results by number, between the threads and the one that takes them.
struct Line<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// Jobs that may be begun and not yet taken.
    most: u64,
}

struct State<T> {
    begun: u64,
    taken: u64,
    /// The number of jobs, once it is known.
    end: Option<u64>,
    stopped: bool,
    done: BTreeMap<u64, T>,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self { begun: 0, taken: 0, end: None, stopped: false, done: BTreeMap::new() }
    }
}

impl<T> Line<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next job, once there is room for it; none when there is no more to do.
    fn enter(&self) -> Option<u64> {
        let mut state = self.state();
        while !state.stopped && state.end.is_none() && state.begun - state.taken >= self.most {
            state = self.wait(state);
        }
        if state.stopped || state.end.is_some() {
            return None;
        }
        state.begun += 1;
        Some(state.begun - 1)
    }

    fn end(&self, count: u64) {
        self.state().end = Some(count);
        self.changed.notify_all();
    }

    fn put(&self, number: u64, result: T) {
        self.state().done.insert(number, result);
        self.changed.notify_all();
    }

    /// The next result in order; none after the last one, and when a thread has panicked.
    fn next(&self) -> Option<T> {
        let mut state = self.state();
        loop {
            let taken = state.taken;
            if let Some(result) = state.done.remove(&taken) {
                state.taken += 1;
                self.changed.notify_all();
                return Some(result);
            }
            if state.stopped || state.end == Some(taken) {
                return None;
            }
            state = self.wait(state);
        }
    }
}

/// Stops everybody when its thread leaves: by a panic, or in any way.
struct StopOnDrop<'a, T> {
    line: &'a Line<T>,
    always: bool,
}

impl<T> Drop for StopOnDrop<'_, T> {
    fn drop(&mut self) {
        if self.always || std::thread::panicking() {
            self.line.state().stopped = true;
            self.line.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(threads: usize, jobs: u64, fail: u64, stop: u64) -> (Vec<u64>, Result<(), u64>) {
        let mut taken = Vec::new();
        let result = in_order(
            threads,
            (0..jobs).map(Ok),
            |job| {
                // The later ones of every few are done first.
                std::thread::sleep(std::time::Duration::from_micros(200 * (7 - job % 7)));
                if job == fail || job == fail + 1 { Err(job) } else { Ok(job * job) }
            },
            |square| {
                taken.push(square);
                Ok(if taken.len() as u64 == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            },
        );
        (taken, result)
    }

    #[test]
    fn results_and_the_first_error_come_in_order_on_any_number_of_threads() {
        let squares = |n: u64| (0..n).map(|i| i * i).collect::<Vec<_>>();
        for threads in [1, 2, 3, 8] {
            assert_eq!(run(threads, 100, 1000, 1000), (squares(100), Ok(())));
            assert_eq!(run(threads, 100, 40, 1000), (squares(40), Err(40)));
            assert_eq!(run(threads, 100, 40, 12), (squares(12), Ok(())));
            assert_eq!(run(threads, 0, 40, 12), (vec![], Ok(())));
        }
    }

    #[test]
    fn a_bad_job_ends_it_after_those_before() {
        let jobs = (0..50u64).map(|job| if job == 20 { Err("bad") } else { Ok(job) });
        let mut taken = 0;
        let result = in_order(4, jobs, Ok, |_| {
            taken += 1;
            Ok(ControlFlow::Continue(()))
        });
        assert_eq!((taken, result), (20, Err("bad")));
    }

    #[test]
    fn threads_wait_for_whoever_takes() {
        let begun = std::sync::atomic::AtomicU64::new(0);
        let mut taken = 0;
        let result: Result<(), ()> = in_order(
            2,
            (0..100u64).map(Ok),
            |job| {
                begun.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                Ok(job)
            },
            |_| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                taken += 1;
                assert!(begun.load(std::sync::atomic::Ordering::SeqCst) <= taken + 2 * AHEAD);
                Ok(ControlFlow::Continue(()))
            },
        );
        assert_eq!(result, Ok(()));
        assert_eq!(taken, 100);
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_is_passed_on() {
        let work = |job: u64| if job == 9 { panic!("broken") } else { Ok::<u64, ()>(job) };
        let _ = in_order(3, (0..100u64).map(Ok), work, |_| Ok(ControlFlow::Continue(())));
    }
}
