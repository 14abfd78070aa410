//! What a training run tells: progress while it runs, metrics and a model file at the end.

use std::path::PathBuf;

/// Watches long work. The defaults watch nothing.
pub trait Observer {
    /// `done` of `total` units are finished.
    fn progress(&mut self, _done: u64, _total: u64, _message: &str) {}

    /// Asked between steps; true ends the work with [`Error::Interrupted`](crate::Error::Interrupted). Training saves its state first.
    fn stop(&self) -> bool {
        false
    }
}

/// Watches nothing.
impl Observer for () {}

/// Name of the metric that says which step's weights the model file holds, written where that is not simply the last.
pub const KEPT_STEP: &str = "kept_step";

/// One number at one step.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricRow {
    /// Optimiser step or update, counted from 1: the number of steps done when it was measured.
    pub step: u64,
    /// What it is, such as `train/loss` or `held_out/loss/left_x`.
    pub name: String,
    /// Its value.
    pub value: f64,
}

/// The result of a training run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The model file.
    pub model: PathBuf,
    /// Every metric from the first step on, also those from before an interruption.
    pub metrics: Vec<MetricRow>,
    /// The step whose weights the model file holds: the last one, or with [`patience`](crate::Training::patience) that of the best
    /// evaluation.
    pub kept_step: u64,
}

impl Report {
    /// The last value recorded under `name`.
    pub fn last(&self, name: &str) -> Option<f64> {
        self.metrics.iter().rev().find(|row| row.name == name).map(|row| row.value)
    }
}
