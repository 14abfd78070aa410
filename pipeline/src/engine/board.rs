//! Which stage may begin: the first, in the plan's order, whose inputs are all decided and that nobody has taken.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::plan::{Plan, stage_of};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting,
    Taken,
    Decided,
}

/// The stages of a plan, handed out to whoever works on them.
pub struct Board {
    /// For each stage, the stages of the plan that it needs.
    needs: Vec<Vec<usize>>,
    places: Mutex<Vec<Place>>,
    changed: Condvar,
}

impl Board {
    /// All of the plan's stages, none taken.
    pub fn new(plan: &Plan) -> Self {
        let place = |input: &str, fingerprint: &str| {
            plan.stages.iter().position(|item| item.stage == stage_of(input) && item.fingerprint == fingerprint)
        };
        let needs = plan.stages.iter().map(|item| item.inputs.iter().filter_map(|(i, f)| place(i, f)).collect());
        Self::of(needs.collect())
    }

    fn of(needs: Vec<Vec<usize>>) -> Self {
        let places = Mutex::new(vec![Place::Waiting; needs.len()]);
        Self { needs, places, changed: Condvar::new() }
    }

    /// Waits until a stage may begin, and takes it; none once all are taken.
    pub fn take(&self) -> Option<Turn<'_>> {
        let mut places = self.places();
        while places.contains(&Place::Waiting) {
            let ready =
                |&i: &usize| places[i] == Place::Waiting && self.needs[i].iter().all(|&n| places[n] == Place::Decided);
            if let Some(stage) = (0..places.len()).find(ready) {
                places[stage] = Place::Taken;
                return Some(Turn { board: self, stage });
            }
            places = self.changed.wait(places).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stage that somebody works on. Dropped, its fate is decided, and those that wait for it are told: in a panic too, or they would wait
/// for ever.
pub struct Turn<'a> {
    board: &'a Board,
    /// Its place in the plan.
    pub stage: usize,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.board.places()[self.stage] = Place::Decided;
        self.board.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_worker_takes_the_plans_order() {
        let board = Board::of(vec![vec![], vec![0], vec![], vec![1, 2]]);
        let order: Vec<usize> = std::iter::from_fn(|| board.take().map(|turn| turn.stage)).collect();
        assert_eq!(order, [0, 1, 2, 3]);
    }

    #[test]
    fn a_second_worker_takes_the_next_that_is_ready() {
        let board = Board::of(vec![vec![], vec![0], vec![], vec![1, 2]]);
        let first = board.take().unwrap();
        let second = board.take().unwrap();
        assert_eq!((first.stage, second.stage), (0, 2), "1 waits for 0");
        drop(first);
        assert_eq!(board.take().unwrap().stage, 1);
        drop(second);
        assert_eq!(board.take().unwrap().stage, 3);
        assert!(board.take().is_none());
    }

    #[test]
    fn workers_finish_everything_after_what_it_needs() {
        // Some of the three stages before it.
        let some = |i: usize| (1..=3).filter(move |back| i * 7 % 5 + back <= i).map(move |back| i - back).collect();
        let needs: Vec<Vec<usize>> = (0..200).map(some).collect();
        let board = Board::of(needs.clone());
        let (clock, ended) = (AtomicUsize::new(1), (0..200).map(|_| AtomicUsize::new(0)).collect::<Vec<_>>());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(turn) = board.take() {
                        assert!(needs[turn.stage].iter().all(|&n| ended[n].load(Ordering::SeqCst) > 0));
                        ended[turn.stage].store(clock.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(clock.into_inner(), 201);
    }
}
