//! An episode on its way into a part: checked, with its statistics, its actions turned into columns. That is most of the
//! work of writing one, and none of it needs the [`Writer`](crate::Writer): any thread can do it.

use std::sync::Arc;

use crate::episode::Episode;
use crate::error::Result;
use crate::row::EpisodeRow;
use crate::spec::DatasetSpec;
use crate::table::TELEMETRY;
use crate::validate;

/// A valid episode of one dataset, ready for [`Writer::push_prepared`](crate::Writer::push_prepared).
#[derive(Clone, Debug)]
pub struct PreparedEpisode {
    pub(crate) spec: Arc<DatasetSpec>,
    pub(crate) row: EpisodeRow,
    /// Number of steps, T: 1 or more.
    pub(crate) steps: usize,
    /// `[C, T]`: a byte a step, component after component.
    pub(crate) components: Vec<u8>,
    /// `[T]` each, or empty where the source does not know.
    pub(crate) telemetry: [Vec<f32>; TELEMETRY.len()],
    /// `[T]`, or empty.
    pub(crate) rewards: Vec<f32>,
    pub(crate) terminated: bool,
    pub(crate) truncated: bool,
    /// `[T]`, or empty for a dataset without frames.
    pub(crate) frames: Vec<Vec<u8>>,
}

impl PreparedEpisode {
    pub(crate) fn new(episode: Episode, spec: &Arc<DatasetSpec>) -> Result<Self> {
        let components = by_component(&episode.actions, spec.actions.len());
        let steps = validate::episode(&episode, &components, spec)?;
        let row = EpisodeRow::new(&episode, &components, &spec.actions);
        let poses = &episode.poses;
        Ok(Self {
            spec: spec.clone(),
            row,
            steps,
            components,
            telemetry: [
                poses.iter().map(|p| p.x).collect(),
                poses.iter().map(|p| p.y).collect(),
                poses.iter().map(|p| p.z).collect(),
                poses.iter().map(|p| p.yaw).collect(),
                poses.iter().map(|p| p.pitch).collect(),
            ],
            rewards: episode.rewards,
            terminated: episode.terminated,
            truncated: episode.truncated,
            frames: episode.frames,
        })
    }

    /// The same episode with nulls in a telemetry column (`pos_z`, `yaw` or `pitch`), for sources that do not know it.
    #[must_use]
    pub fn without(mut self, column: &str) -> Self {
        let known = TELEMETRY.iter().zip(&mut self.telemetry);
        known.filter(|(name, _)| **name == column).for_each(|(_, values)| values.clear());
        self
    }

    /// Its row in `episodes`.
    pub fn row(&self) -> &EpisodeRow {
        &self.row
    }
}

/// `[T, C]` to `[C, T]`; what is left of an action cut short is dropped.
pub(crate) fn by_component(actions: &[u8], count: usize) -> Vec<u8> {
    let steps = actions.len() / count.max(1);
    let mut components = vec![0; steps * count];
    for (c, column) in components.chunks_exact_mut(steps.max(1)).enumerate() {
        column.iter_mut().zip(actions[c..].iter().step_by(count)).for_each(|(to, from)| *to = *from);
    }
    components
}
