//! What contradicts itself, and what to look at before training on a dataset.

mod code;
mod index;
mod steps;

use serde::Serialize;

pub use code::{Code, Severity};
pub(super) use index::of_index;
pub(super) use steps::of_steps;

use super::index::Index;

/// How many episodes a finding names.
const NAMED: usize = 10;

/// One kind of fault, with the episodes that have it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The kind of fault.
    pub code: Code,
    /// Its name: `step-count` and so on.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, with the first or worst case.
    pub message: String,
    /// What to do.
    pub fix: &'static str,
    /// How many episodes have it; 0 where no episode is to blame.
    pub episodes: u64,
    /// How many episodes were looked at: all of them, or those of the sample.
    pub checked: u64,
    /// Up to ten of them, the worst first.
    pub episode_ids: Vec<i64>,
}

impl Finding {
    fn new(code: Code, message: String, episodes: u64, checked: u64, mut ids: Vec<i64>) -> Self {
        ids.truncate(NAMED);
        Self {
            code,
            name: code.name(),
            severity: code.severity(),
            message,
            fix: code.fix(),
            episodes,
            checked,
            episode_ids: ids,
        }
    }
}

/// Episodes with one fault, the worst first: what the first one has makes the message.
struct Cases<'a> {
    index: &'a Index,
    checked: u64,
    /// How bad, the row in the index, and the message.
    cases: Vec<(f64, usize, String)>,
}

impl<'a> Cases<'a> {
    fn new(index: &'a Index, checked: u64) -> Self {
        Self { index, checked, cases: Vec::new() }
    }

    fn push(&mut self, row: usize, badness: f64, message: impl FnOnce(i64) -> String) {
        self.cases.push((badness, row, message(self.index.ids[row])));
    }

    /// The finding, if there is a case.
    fn finding(mut self, code: Code) -> Option<Finding> {
        let id = |row: usize| self.index.ids[row];
        self.cases.sort_by(|a, b| b.0.total_cmp(&a.0).then(id(a.1).cmp(&id(b.1))));
        let message = self.cases.first()?.2.clone();
        let ids = self.cases.iter().map(|(_, row, _)| id(*row)).collect();
        Some(Finding::new(code, message, self.cases.len() as u64, self.checked, ids))
    }
}
