//! An episode in memory: what a recorder, an importer or a rollout hands to the [`Writer`](crate::Writer).
//!
//! Shapes, with T steps and C components: frame `t` is what the agent saw, action `t` is what it then did.
//!
//! ```text
//! actions  [T, C] u8     poses  [T] or empty     rewards  [T] or empty     frames  [T] encoded images, or empty
//! ```

use serde::{Deserialize, Serialize};

use crate::action::ActionSpace;

/// Where the player stands and looks: metres and radians, z up. Telemetry, never shown to the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pose {
    /// East, metres.
    pub x: f32,
    /// North, metres.
    pub y: f32,
    /// Up, metres.
    pub z: f32,
    /// Heading, radians.
    pub yaw: f32,
    /// Look up or down, radians.
    pub pitch: f32,
}

/// Who chose the actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionSource {
    /// A person with a controller.
    Human,
    /// A hand-written player.
    Scripted,
    /// A trained model.
    Policy,
    /// Guessed from video by a model, so possibly wrong.
    Predicted,
}

impl ActionSource {
    /// The name in the column `action_source`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Scripted => "scripted",
            Self::Policy => "policy",
            Self::Predicted => "predicted",
        }
    }

    /// The source with this column name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Human, Self::Scripted, Self::Policy, Self::Predicted].into_iter().find(|s| s.as_str() == name)
    }
}

/// One episode of gameplay, from the first frame to the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// Unique within a dataset, 0 or more.
    pub episode_id: i64,
    /// Where it comes from: `arena`, `bleeding-edge`, a file's name.
    pub source: String,
    /// The map played on.
    pub map: Option<String>,
    /// Who played (an anonymous name, or a persona).
    pub player: Option<String>,
    /// The model that played; none for humans.
    pub policy: Option<String>,
    /// Where on the map it began.
    pub spawn: Option<String>,
    /// How it ended: `left`, `middle`, `right`, `fall`, `timeout`; none where a source does not say.
    pub outcome: Option<String>,
    /// `train`, `held_out`, ...; none where splits are left to SQL.
    pub split: Option<String>,
    /// Who chose the actions.
    pub action_source: ActionSource,
    /// The environment's seed, with which it can be re-rendered.
    pub seed: Option<i64>,
    /// Steps a second.
    pub hz: f32,
    /// Sum of rewards as the source states it (column `return`).
    pub episode_return: Option<f32>,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub started_at: Option<i64>,
    /// `[T, C]` buckets, one byte a component.
    pub actions: Vec<u8>,
    /// `[T]`, or empty where the source has no telemetry.
    pub poses: Vec<Pose>,
    /// `[T]`, or empty where the source has no rewards.
    pub rewards: Vec<f32>,
    /// The last step ended the episode by the environment's own rules.
    pub terminated: bool,
    /// The last step was cut off from outside: a time limit, the end of a recording.
    pub truncated: bool,
    /// `[T]` images encoded by the dataset's [`FrameSpec`](crate::FrameSpec), or empty where frames are left out.
    pub frames: Vec<Vec<u8>>,
}

impl Episode {
    /// Number of steps, T.
    pub fn num_steps(&self, actions: &ActionSpace) -> usize {
        self.actions.len() / actions.len().max(1)
    }
}
