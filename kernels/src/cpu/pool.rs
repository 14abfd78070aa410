//! Threads: an operator cuts its work into tasks by its shape alone, and any thread may run any task.
//!
//! Outputs are cut with the tasks: task i owns part i of every output, so a task needs no lock and the result cannot
//! depend on who ran it. Sums over tasks go through partial sums (one part a task) that are added in order.

use super::fork_join::ForkJoin;
use super::memory::Aligned;
use std::cell::RefCell;

/// Below this many elementary steps (multiply-adds, or elements touched) handing work to threads costs more than it
/// saves: about 20 us of one core.
const WORTH_SHARING: usize = 400_000;

/// The threads of one backend.
pub struct Pool {
    threads: usize,
    /// Work from which threads share it; tests lower it to have small shapes shared.
    pub(super) share_from: usize,
    helpers: Option<ForkJoin>,
}

/// An output and the number of elements of it that belong to each task; the last part may be short or empty.
pub struct Split<'a>(pub &'a mut [f32], pub usize);

#[derive(Clone, Copy)]
struct Part {
    base: *mut f32,
    len: usize,
    step: usize,
}

// SAFETY: a `Part` stands for an exclusive borrow of f32 values, which may move to another thread.
unsafe impl Sync for Part {}
// SAFETY: as above.
unsafe impl Send for Part {}

impl Part {
    /// # Safety
    /// Called at most once for each `i` while the borrow lives.
    unsafe fn part<'a>(self, i: usize) -> &'a mut [f32] {
        let start = (i * self.step).min(self.len);
        let end = (start + self.step).min(self.len);
        // SAFETY: start..end lies inside the slice; parts of different i are disjoint; each i comes once.
        unsafe { std::slice::from_raw_parts_mut(self.base.wrapping_add(start), end - start) }
    }
}

impl Pool {
    /// `threads` = 0 takes every core. Where threads cannot be started, the caller's thread does all the work.
    pub fn new(threads: usize) -> Pool {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { available() } else { threads };
        let helpers = if threads > 1 { ForkJoin::new(threads - 1) } else { None };
        Pool { threads: if helpers.is_some() { threads } else { 1 }, share_from: WORTH_SHARING, helpers }
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `task(i, parts)` for each i below `tasks`, where parts[o] is part i of output o. `work` is the number of
    /// elementary steps of all tasks together.
    pub fn run<const N: usize>(
        &mut self,
        tasks: usize,
        work: usize,
        outputs: [Split<'_>; N],
        task: impl Fn(usize, [&mut [f32]; N]) + Sync,
    ) {
        for Split(data, step) in &outputs {
            assert!(tasks.saturating_mul(*step) >= data.len(), "{} elements in {tasks} parts of {step}", data.len());
        }
        let parts = outputs.map(|Split(data, step)| Part { base: data.as_mut_ptr(), len: data.len(), step });
        // SAFETY: both branches call this once for each i; `outputs` borrows the data until the end of the call.
        let one = |i: usize| task(i, parts.map(|p| unsafe { p.part(i) }));
        match &mut self.helpers {
            Some(helpers) if tasks > 1 && work >= self.share_from => helpers.run(tasks, &one),
            _ => (0..tasks).for_each(one),
        }
    }
}

thread_local! {
    static LOCAL: RefCell<Aligned> = RefCell::default();
}

/// Lends a buffer of `len` values that this thread keeps for its next task: hot in cache, allocated once. Its content
/// is what the last task left. Not to be nested.
pub fn with_local<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    LOCAL.with_borrow_mut(|buffer| {
        buffer.grow(len);
        f(&mut buffer.as_mut_slice()[..len])
    })
}

/// Adds the parts, each of the length of `sum`, to `sum` in order.
pub fn add_parts(parts: &[f32], stride: usize, sum: &mut [f32]) {
    for part in parts.chunks_exact(stride) {
        for (s, p) in sum.iter_mut().zip(part) {
            *s += p;
        }
    }
}
