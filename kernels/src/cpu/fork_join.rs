//! Fork and join: a caller and its helpers run the tasks of one job, handed out by a counter.
//!
//! An operator of a small model takes a tenth of a millisecond, and waking a thread that sleeps can take half of that. So a helper
//! without work looks out for the next job for a while before it sleeps, and the caller works along.
//!
//! ```text
//! state      number of the job | open | helpers inside       one atomic word: nobody can enter a job that is over
//! caller     writes the job, opens it -> tasks -> closes it -> waits until nobody is inside
//! helper     enters a job that is open and new -> tasks -> leaves
//! ```

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a helper looks out for work before it sleeps: longer than the stretches that operators spend on one thread, and too short to
/// keep a core from others.
const LOOK_OUT: Duration = Duration::from_micros(50);

/// Pauses of the processor between two looks, so that looking does not slow those who work.
const PAUSES: usize = 32;

/// Helpers inside the open job.
const INSIDE: u64 = 0xffff;
/// The job may be entered.
const OPEN: u64 = 1 << 16;
/// The threads are to end.
const OVER: u64 = 1 << 17;
/// Where the job's number begins.
const NUMBER: u32 = 18;

#[derive(Clone, Copy)]
struct Job {
    task: *const (dyn Fn(usize) + Sync),
    tasks: usize,
}

struct Shared {
    state: AtomicU64,
    /// The next task that nobody has taken.
    next: AtomicUsize,
    /// Written by the caller while nobody is inside, read by those who are.
    job: UnsafeCell<Option<Job>>,
    /// The first panic of a helper's task.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Whether each helper sleeps, or is about to.
    asleep: Vec<AtomicBool>,
    look_out: Duration,
}

// SAFETY: `job` is written only while `state` says that nobody is inside and nobody may enter; the pointer's target is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is followed only while the caller that lent it waits.
unsafe impl Send for Shared {}

impl Shared {
    /// Enters the open job, unless it is the one `seen` last; its number.
    fn enter(&self, seen: u64) -> Option<u64> {
        let mut state = self.state.load(Ordering::SeqCst);
        loop {
            let number = state >> NUMBER;
            if state & OPEN == 0 || number == seen {
                return None;
            }
            match self.state.compare_exchange_weak(state, state + 1, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Some(number),
                Err(now) => state = now,
            }
        }
    }

    fn over(&self) -> bool {
        self.state.load(Ordering::SeqCst) & OVER != 0
    }

    fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.panic.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes tasks until there are none.
    fn work(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= tasks {
                return;
            }
            task(i);
        }
    }

    /// A helper's life.
    fn help(&self, me: usize) {
        let mut seen = 0;
        let mut idle = Instant::now();
        while !self.over() {
            if let Some(number) = self.enter(seen) {
                seen = number;
                // SAFETY: inside; the caller wrote the job before it opened it and waits until we leave.
                let job = unsafe { *self.job.get() };
                if let Some(job) = job {
                    // SAFETY: as above, so the task still lives.
                    let task = unsafe { &*job.task };
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.work(job.tasks, task))) {
                        self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
                    }
                }
                self.state.fetch_sub(1, Ordering::Release);
                idle = Instant::now();
            } else if idle.elapsed() < self.look_out {
                for _ in 0..PAUSES {
                    std::hint::spin_loop();
                }
            } else {
                // Said before the last look: whoever opens a job after it sees that we sleep.
                self.asleep[me].store(true, Ordering::SeqCst);
                let state = self.state.load(Ordering::SeqCst);
                let work = state & OPEN != 0 && state >> NUMBER != seen;
                if !work && state & OVER == 0 {
                    std::thread::park();
                }
                self.asleep[me].store(false, Ordering::SeqCst);
                idle = Instant::now();
            }
        }
    }
}

/// A caller's helpers.
pub struct ForkJoin {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

impl ForkJoin {
    /// Starts `helpers` threads; none if the system refuses one.
    pub fn new(helpers: usize) -> Option<ForkJoin> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            panic: Mutex::new(None),
            asleep: (0..helpers).map(|_| AtomicBool::new(false)).collect(),
            // With more threads than cores, who looks out keeps another from working.
            look_out: if helpers < cores { LOOK_OUT } else { Duration::ZERO },
        });
        let mut all = ForkJoin { shared, helpers: Vec::with_capacity(helpers) };
        for me in 0..helpers {
            let shared = Arc::clone(&all.shared);
            let builder = std::thread::Builder::new().name(format!("kernels-{}", me + 1));
            all.helpers.push(builder.spawn(move || shared.help(me)).ok()?);
        }
        Some(all)
    }

    /// Runs `task(i)` once for each i below `tasks`, in any order, on this thread and the helpers. A panic of a task is passed on when
    /// all are out.
    pub fn run(&mut self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        // Where the caller's own task panicked too, that of a helper was not passed on.
        shared.take_panic();
        // SAFETY: only the lifetime goes: `Closing` waits, even in a panic, until nobody can call the task any more.
        let erased: *const (dyn Fn(usize) + Sync) =
            unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(task) };
        // SAFETY: the last job was closed and left, and `&mut self` keeps others from opening one.
        unsafe { *shared.job.get() = Some(Job { task: erased, tasks }) };
        shared.next.store(0, Ordering::Relaxed);
        let number = (shared.state.load(Ordering::Relaxed) >> NUMBER) + 1;
        shared.state.store(number << NUMBER | OPEN, Ordering::SeqCst);
        let closing = Closing(shared);
        self.wake(tasks.saturating_sub(1));
        shared.work(tasks, task);
        drop(closing);
        if let Some(panic) = shared.take_panic() {
            resume_unwind(panic);
        }
    }

    fn wake(&self, most: usize) {
        for (helper, asleep) in self.helpers.iter().zip(&self.shared.asleep).take(most) {
            if asleep.load(Ordering::SeqCst) {
                helper.thread().unpark();
            }
        }
    }
}

impl Drop for ForkJoin {
    fn drop(&mut self) {
        self.shared.state.fetch_or(OVER, Ordering::SeqCst);
        for helper in self.helpers.drain(..) {
            helper.thread().unpark();
            // A helper catches the panics of tasks, so it ends in no other way.
            let _ = helper.join();
        }
    }
}

/// The end of a job, come what may.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_and(!OPEN, Ordering::SeqCst);
        let began = Instant::now();
        while self.0.state.load(Ordering::Acquire) & INSIDE != 0 {
            // Somebody inside may wait for this core.
            if began.elapsed() < LOOK_OUT { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// With one helper threads look out for work, with more than there are cores they sleep at once.
    #[test]
    fn every_task_runs_once_in_each_of_many_short_jobs() {
        for helpers in [1, 64] {
            let mut threads = ForkJoin::new(helpers).unwrap();
            for job in 0..5_000usize {
                let tasks = job % 7;
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                threads.run(tasks, &|i| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    counts.iter().all(|n| n.load(Ordering::Relaxed) == 1),
                    "{helpers} helpers, job {job}: {counts:?}"
                );
                if job % 100 == 0 {
                    // Long enough for all of them to be asleep.
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    /// Runs two tasks of which neither ends before the other has begun, so that two threads take one each.
    fn together(threads: &mut ForkJoin, task: &(dyn Fn(usize) + Sync)) {
        let began = Instant::now();
        let inside = AtomicUsize::new(0);
        threads.run(2, &|i| {
            inside.fetch_add(1, Ordering::SeqCst);
            while inside.load(Ordering::SeqCst) < 2 {
                assert!(began.elapsed() < Duration::from_secs(20), "task {i} is alone");
                std::thread::yield_now();
            }
            task(i);
        });
    }

    #[test]
    fn helpers_take_part() {
        let mut threads = ForkJoin::new(1).unwrap();
        let seen = Mutex::new(HashSet::new());
        together(&mut threads, &|_| {
            seen.lock().unwrap().insert(std::thread::current().id());
        });
        assert_eq!(seen.into_inner().unwrap().len(), 2);
    }

    #[test]
    fn a_panic_is_passed_on_and_the_threads_go_on() {
        let mut threads = ForkJoin::new(1).unwrap();
        let caller = std::thread::current().id();
        // Of the caller's task, of the helper's, of both: two are not passed on, one after the other.
        for (ours, theirs) in [(true, false), (false, true), (true, true)] {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                together(&mut threads, &|_| {
                    let mine = std::thread::current().id() == caller;
                    assert!(!(if mine { ours } else { theirs }), "a task fails");
                });
            }));
            let message = *caught.unwrap_err().downcast::<&str>().unwrap();
            assert_eq!(message, "a task fails");
            let sum = AtomicUsize::new(0);
            threads.run(100, &|i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 4950);
        }
    }
}
