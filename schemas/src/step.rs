//! Rows of the tables `steps` and `frames`, to Arrow.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray, StructArray,
    UInt8Array,
};

use crate::action::{ActionSpace, Kind};
use crate::episode::{Episode, Pose};
use crate::error::{Error, Result};
use crate::table::{Table, image_fields};

/// Steps of whole episodes, row by row, waiting for their part to be committed: about 56 bytes a gamepad step.
#[derive(Default)]
pub(crate) struct StepBuffer {
    episode_id: Vec<i64>,
    t: Vec<i32>,
    /// `[rows, C]`
    actions: Vec<u8>,
    poses: Vec<Option<Pose>>,
    rewards: Vec<Option<f32>>,
    terminated: Vec<bool>,
    truncated: Vec<bool>,
}

impl StepBuffer {
    /// Appends a valid episode.
    pub(crate) fn push(&mut self, episode: &Episode, steps: usize) {
        self.actions.extend_from_slice(&episode.actions);
        for t in 0..steps {
            let last = t + 1 == steps;
            self.episode_id.push(episode.episode_id);
            self.t.push(t as i32);
            self.poses.push(episode.poses.get(t).copied());
            self.rewards.push(episode.rewards.get(t).copied());
            self.terminated.push(last && episode.terminated);
            self.truncated.push(last && episode.truncated);
        }
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.t.len()
    }

    /// Rows `from..to` as a batch.
    pub(crate) fn batch(&self, from: usize, to: usize, actions: &ActionSpace) -> Result<RecordBatch> {
        let rows = from..to;
        let component = |i: usize| rows.clone().map(move |row| self.actions[row * actions.len() + i]);
        let pose = |of: fn(&Pose) -> f32| -> ArrayRef {
            Arc::new(self.poses[rows.clone()].iter().map(|p| p.as_ref().map(of)).collect::<Float32Array>())
        };
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(self.episode_id[rows.clone()].to_vec())),
            Arc::new(Int32Array::from(self.t[rows.clone()].to_vec())),
        ];
        for (i, c) in actions.components.iter().enumerate() {
            columns.push(match c.kind {
                Kind::Button => Arc::new(component(i).map(|b| Some(b == 1)).collect::<BooleanArray>()),
                Kind::Axis => Arc::new(component(i).collect::<UInt8Array>()),
            });
        }
        columns.extend([pose(|p| p.x), pose(|p| p.y), pose(|p| p.z), pose(|p| p.yaw), pose(|p| p.pitch)]);
        columns.push(Arc::new(self.rewards[rows.clone()].iter().copied().collect::<Float32Array>()));
        columns.push(Arc::new(BooleanArray::from(self.terminated[rows.clone()].to_vec())));
        columns.push(Arc::new(BooleanArray::from(self.truncated[rows].to_vec())));
        RecordBatch::try_new(Table::Steps.schema(actions), columns)
            .map_err(|e| Error::Internal(format!("steps table: {e}")))
    }
}

/// Frames as one batch of the table `frames`: `(episode_id, t, encoded image)` a row.
pub(crate) fn frame_batch(rows: &[(i64, i32, Vec<u8>)], actions: &ActionSpace) -> Result<RecordBatch> {
    let mut bytes = BinaryBuilder::with_capacity(rows.len(), rows.iter().map(|r| r.2.len()).sum());
    rows.iter().for_each(|row| bytes.append_value(&row.2));
    let paths = StringArray::new_null(rows.len());
    let internal = |e| Error::Internal(format!("frames table: {e}"));
    let image = StructArray::try_new(image_fields(), vec![Arc::new(bytes.finish()), Arc::new(paths)], None)
        .map_err(internal)?;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.1).collect::<Int32Array>()),
        Arc::new(image),
    ];
    RecordBatch::try_new(Table::Frames.schema(actions), columns).map_err(internal)
}
