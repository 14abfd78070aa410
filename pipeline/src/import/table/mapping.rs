//! What a mapping file says: which column of somebody's tables is what.

use std::collections::BTreeMap;
use std::path::PathBuf;

use playhouse_schemas::Kind;
use serde::Deserialize;

use crate::import::{Error, Sticks};

/// A mapping to begin with: it fits the tables of `gen_steps.py`, and says what else there is.
pub const EXAMPLE: &str = include_str!("example.toml");

/// A mapping file. What it leaves out is looked for under its own name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// The table of steps.
    pub steps: Steps,
    /// The table of episodes.
    pub episodes: Episodes,
    /// An action space of its own; the gamepad if there is none.
    pub action_space: Option<Space>,
}

/// Columns of the table of steps.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Steps {
    /// A folder of Parquet files, or one file, relative to the source.
    pub path: Option<PathBuf>,
    /// The episode that a row belongs to.
    pub episode: Option<String>,
    /// The step's number within it.
    pub t: Option<String>,
    /// How axes are written.
    pub sticks: Option<Sticks>,
    /// Components of the gamepad: their columns.
    pub actions: BTreeMap<String, String>,
    /// East.
    pub pos_x: Option<String>,
    /// North.
    pub pos_y: Option<String>,
    /// Up.
    pub pos_z: Option<String>,
    /// Heading, radians.
    pub yaw: Option<String>,
    /// Look up or down, radians.
    pub pitch: Option<String>,
    /// Rewards.
    pub reward: Option<String>,
    /// The environment ended the episode with this step.
    pub terminated: Option<String>,
    /// The episode was cut off after this step.
    pub truncated: Option<String>,
}

/// Columns of the table of episodes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Episodes {
    /// A folder of Parquet files, or one file, relative to the source.
    pub path: Option<PathBuf>,
    /// The episode.
    pub episode: Option<String>,
    /// Its number of steps, checked against the steps that are there.
    pub num_steps: Option<String>,
    /// Where it comes from.
    pub source: Option<Field>,
    /// The map played on.
    pub map: Option<Field>,
    /// Who played.
    pub player: Option<Field>,
    /// The model that played.
    pub policy: Option<Field>,
    /// Where on the map it began.
    pub spawn: Option<Field>,
    /// How it ended.
    pub outcome: Option<Field>,
    /// The split it belongs to.
    pub split: Option<Field>,
    /// Who chose the actions: human, scripted, policy or predicted.
    pub action_source: Option<Field>,
    /// The environment's seed.
    pub seed: Option<Field>,
    /// Steps a second.
    pub hz: Option<Field>,
    /// The sum of rewards as the source states it.
    #[serde(rename = "return")]
    pub episode_return: Option<Field>,
    /// When it began.
    pub started_at: Option<Field>,
}

/// What an episode's field is: a column's name, a number for all episodes, or `{ value = .. }` for all.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "a column's name, a number, or { value = \"the same for all\" }")]
pub enum Field {
    /// The column with the values.
    Column(String),
    /// A number for all.
    Number(f64),
    /// A value for all.
    Value {
        /// The value.
        value: Constant,
    },
}

/// A value that all episodes have.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "a text or a number")]
pub enum Constant {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
}

/// An action space.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// Its name.
    pub name: String,
    /// Its components, in the order of an action.
    pub components: Vec<SpaceComponent>,
}

/// A component of an action space.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceComponent {
    /// Its column in the dataset.
    pub name: String,
    /// Button or axis.
    pub kind: Kind,
    /// Its column in the source; its name, if not given.
    pub column: Option<String>,
    /// Buckets of an axis.
    pub cardinality: Option<u8>,
    /// Edges of the buckets, one more than there are; even ones around -1 to 1, if not given.
    pub edges: Option<Vec<f32>>,
    /// What each bucket stands for; the middles between the edges, if not given.
    pub centres: Option<Vec<f32>>,
}

impl Mapping {
    /// The mapping that an option names or contains; an empty one without it.
    ///
    /// # Errors
    /// The file cannot be read, or says something that a mapping cannot say.
    pub fn of(said: Option<&toml::Value>) -> Result<Self, Error> {
        let wrong = |place: &str, error: toml::de::Error| {
            let problem = error.to_string().trim().replace('\n', "\n  ");
            Error::Mapping { place: place.to_owned(), problem }
        };
        match said {
            None => Ok(Self::default()),
            Some(toml::Value::String(path)) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| Error::Read { path: PathBuf::from(path), source })?;
                toml::from_str(&text).map_err(|e| wrong(path, e))
            }
            Some(inline) => Self::deserialize(inline.clone()).map_err(|e| wrong("mapping", e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_mapping() {
        let mapping: Mapping = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(mapping.steps.actions.len(), 16);
        assert_eq!(mapping.episodes.hz, Some(Field::Number(10.0)));
        // What it shows behind `#` is true as well.
        let all: String =
            EXAMPLE.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n").collect();
        let all: Mapping = toml::from_str(&all).unwrap();
        assert_eq!(all.action_space.unwrap().components.len(), 2);
        assert!(all.steps.terminated.is_some() && all.episodes.started_at.is_some());
    }

    #[test]
    fn what_a_mapping_cannot_say_is_named() {
        let refused =
            |text: &str| Mapping::of(Some(&toml::Value::Table(text.parse().unwrap()))).unwrap_err().to_string();
        assert!(refused("[steps]\nepisod = 'e'").contains("unknown field `episod`"));
        assert!(refused("[episodes]\nhz = true").contains("a column's name, a number"));
        assert!(refused("[steps]\nsticks = 'analog'").contains("buckets"));
    }
}
