//! From a mapping and the columns that are there to what is read.

use std::path::Path;

use arrow::datatypes::DataType;
use playhouse_schemas::plain::{PlainTable, StepColumns};
use playhouse_schemas::{ActionSource, ActionSpace, Component, Kind};

use super::episodes::{EpisodeColumns, Numbers, Texts};
use super::mapping::{Constant, Field, Mapping, Space, SpaceComponent};
use crate::engine::nearest::hint;
use crate::import::{Error, Options, Sticks};

/// What an import reads, and what it tells before it begins.
pub struct Resolved {
    pub steps: StepColumns,
    pub episodes: EpisodeColumns,
    pub notes: Vec<String>,
}

/// Of the numbers of a mapping, the largest that is what was written.
const MOST_EXACT: f64 = (1u64 << 53) as f64;

/// Telemetry, and the names under which plain tables have it.
const TELEMETRY: [(&str, &str); 5] =
    [("pos_x", "x"), ("pos_y", "y"), ("pos_z", "z"), ("yaw", "yaw"), ("pitch", "pitch")];

/// Finds the column of everything that a dataset stores.
///
/// # Errors
/// A column that must be there is not, or a field that must be known is not said.
pub fn resolve(
    mapping: &Mapping,
    options: &Options,
    source: &Path,
    steps: &PlainTable,
    episodes: &PlainTable,
) -> Result<Resolved, Error> {
    let mut notes = Vec::new();
    let mut found = Columns::new("steps", steps);
    let step_columns = step_columns(mapping, options, &mut found, &mut notes)?;
    found.tell_unused(&mut notes);
    let mut found = Columns::new("episodes", episodes);
    let episode_columns = episode_columns(mapping, options, source, &mut found, &mut notes)?;
    found.tell_unused(&mut notes);
    Ok(Resolved { steps: step_columns, episodes: episode_columns, notes })
}

/// The columns of a table, and which of them are taken.
struct Columns {
    table: &'static str,
    columns: Vec<(String, DataType, bool)>,
}

impl Columns {
    fn new(table: &'static str, plain: &PlainTable) -> Self {
        Self { table, columns: plain.columns().into_iter().map(|(name, ty)| (name, ty, false)).collect() }
    }

    /// Takes the column that the mapping names, whether it is there or not: reading says so.
    fn take(&mut self, name: &str) -> String {
        self.columns.iter_mut().filter(|(column, ..)| column == name).for_each(|(.., taken)| *taken = true);
        name.to_owned()
    }

    /// Takes the first of some names that is there and free.
    fn first(&mut self, names: &[&str], fits: impl Fn(&DataType) -> bool) -> Option<String> {
        let free = |name: &&&str| self.columns.iter().any(|(column, ty, taken)| column == **name && !taken && fits(ty));
        let name = names.iter().find(free)?;
        Some(self.take(name))
    }

    /// What the mapping says, else the first of some names.
    fn optional(&mut self, said: Option<&String>, names: &[&str], fits: impl Fn(&DataType) -> bool) -> Option<String> {
        match said {
            Some(name) => Some(self.take(name)),
            None => self.first(names, fits),
        }
    }

    fn required(&mut self, said: Option<&String>, names: &[&str], key: &str) -> Result<String, Error> {
        self.optional(said, names, |_| true).ok_or_else(|| {
            let wanted = names.join("` or `");
            let there: Vec<&str> = self.columns.iter().map(|(name, ..)| name.as_str()).collect();
            Error::Mapping {
                place: self.table.to_owned(),
                problem: format!(
                    "no column `{wanted}`; name the one that is meant in a mapping, as {key} (the table has: {})",
                    there.join(", ")
                ),
            }
        })
    }

    fn tell_unused(&self, notes: &mut Vec<String>) {
        let unused: Vec<&str> =
            self.columns.iter().filter(|(.., taken)| !taken).map(|(name, ..)| name.as_str()).collect();
        if !unused.is_empty() {
            notes.push(format!("{}: left out, as nothing is mapped to them: {}", self.table, unused.join(", ")));
        }
    }
}

fn is_number(ty: &DataType) -> bool {
    ty.is_integer() || matches!(ty, DataType::Float32 | DataType::Float64)
}

fn is_flag(ty: &DataType) -> bool {
    *ty == DataType::Boolean
}

fn step_columns(
    mapping: &Mapping,
    options: &Options,
    found: &mut Columns,
    notes: &mut Vec<String>,
) -> Result<StepColumns, Error> {
    let said = &mapping.steps;
    let episode =
        found.required(said.episode.as_ref(), &["episode_id", "episode"], "episode = \"COLUMN\" under [steps]")?;
    let t = found.required(said.t.as_ref(), &["t"], "t = \"COLUMN\" under [steps]")?;
    let (actions, components) = components(mapping, found)?;
    let mut telemetry: [Option<String>; 5] = Default::default();
    for (place, (name, plain)) in TELEMETRY.into_iter().enumerate() {
        let named = [&said.pos_x, &said.pos_y, &said.pos_z, &said.yaw, &said.pitch][place];
        telemetry[place] = found.optional(named.as_ref(), &[name, plain], is_number);
    }
    let absent: Vec<&str> =
        TELEMETRY.iter().zip(&telemetry).filter(|(_, column)| column.is_none()).map(|((name, _), _)| *name).collect();
    if !absent.is_empty() {
        notes.push(format!("steps: no column for {}; stored as null", absent.join(", ")));
    }
    Ok(StepColumns {
        actions,
        episode,
        t,
        components,
        continuous: options.sticks.or(said.sticks).unwrap_or_default() == Sticks::Continuous,
        telemetry,
        reward: found.optional(said.reward.as_ref(), &["reward"], is_number),
        terminated: found.optional(said.terminated.as_ref(), &["terminated"], is_flag),
        truncated: found.optional(said.truncated.as_ref(), &["truncated"], is_flag),
    })
}

/// The action space, and the column of each of its components.
fn components(mapping: &Mapping, found: &mut Columns) -> Result<(ActionSpace, Vec<String>), Error> {
    let said = &mapping.steps.actions;
    let wrong = |problem: String| Error::Mapping { place: "[steps.actions]".into(), problem };
    let Some(space) = &mapping.action_space else {
        let space = ActionSpace::gamepad();
        if let Some(name) = said.keys().find(|name| space.index_of(name).is_none()) {
            let near = hint(name, space.components.iter().map(|c| c.name.as_str()));
            return Err(wrong(format!("`{name}` is no component of the gamepad{near}")));
        }
        let mut columns = Vec::new();
        for component in &space.components {
            let name = component.name.as_str();
            let long = format!("button_{name}");
            let names = if component.kind == Kind::Button { vec![long.as_str(), name] } else { vec![name] };
            let key =
                format!("{name} = \"COLUMN\" under [steps.actions], or describe your controller under [action_space]");
            columns.push(found.required(said.get(name), &names, &key)?);
        }
        return Ok((space, columns));
    };
    if !said.is_empty() {
        return Err(wrong(
            "with an [action_space] each component names its own `column`; leave [steps.actions] out".into(),
        ));
    }
    let columns = space.components.iter().map(|c| found.take(c.column.as_ref().unwrap_or(&c.name))).collect();
    let space = custom(space)?;
    space.check()?;
    Ok((space, columns))
}

fn custom(space: &Space) -> Result<ActionSpace, Error> {
    let component = |c: &SpaceComponent| -> Result<Component, Error> {
        let wrong = |problem: &str| Error::Mapping {
            place: "[action_space]".into(),
            problem: format!("component `{}`: {problem}", c.name),
        };
        if c.kind == Kind::Button {
            let more = c.cardinality.is_some_and(|n| n != 2) || c.edges.is_some() || c.centres.is_some();
            return match more {
                true => Err(wrong("a button has two values, and neither edges nor centres")),
                false => Ok(Component::button(&c.name)),
            };
        }
        let count = c.cardinality.map(usize::from).or(c.edges.as_ref().map(|e| e.len().saturating_sub(1)));
        let count =
            count.filter(|n| (2..=255).contains(n)).ok_or_else(|| wrong("an axis needs a cardinality of 2 to 255"))?;
        // Even buckets, the outer ones centred on -1 and 1.
        let half = 1.0 / (count - 1) as f32;
        let even = || (0..=count).map(|i| -1.0 - half + 2.0 * half * i as f32).collect::<Vec<f32>>();
        let edges = c.edges.clone().unwrap_or_else(even);
        let middles = || edges.windows(2).map(|e| (e[0] + e[1]) / 2.0).collect::<Vec<f32>>();
        let centres = c.centres.clone().unwrap_or_else(middles);
        Ok(Component { name: c.name.clone(), kind: Kind::Axis, cardinality: count as u8, edges, centres })
    };
    let components = space.components.iter().map(component).collect::<Result<_, _>>()?;
    Ok(ActionSpace { name: space.name.clone(), components })
}

fn episode_columns(
    mapping: &Mapping,
    options: &Options,
    source: &Path,
    found: &mut Columns,
    notes: &mut Vec<String>,
) -> Result<EpisodeColumns, Error> {
    let said = &mapping.episodes;
    let mut text = |name: &str, said: &Option<Field>, names: &[&str]| -> Result<Texts, Error> {
        match said {
            Some(Field::Column(column)) => Ok(Texts::Column(found.take(column))),
            Some(Field::Value { value: Constant::Text(text) }) => Ok(Texts::Same(Some(text.clone()))),
            Some(Field::Value { value: Constant::Number(number) }) => Ok(Texts::Same(Some(number.to_string()))),
            Some(Field::Number(number)) => Err(Error::Mapping {
                place: "[episodes]".into(),
                problem: format!(
                    "{name} = {number}: write {name} = {{ value = \"{number}\" }} for a text that all have"
                ),
            }),
            None => Ok(found.first(names, |_| true).map_or(Texts::Same(None), Texts::Column)),
        }
    };
    let mut action_source = text("action_source", &said.action_source, &["action_source"])?;
    let mut origin = text("source", &said.source, &["source"])?;
    let map = text("map", &said.map, &["map"])?;
    let player = text("player", &said.player, &["player", "player_id"])?;
    let policy = text("policy", &said.policy, &["policy"])?;
    let spawn = text("spawn", &said.spawn, &["spawn"])?;
    let outcome = text("outcome", &said.outcome, &["outcome"])?;
    let split = text("split", &said.split, &["split"])?;
    let mut number = |name: &str, said: &Option<Field>, names: &[&str]| -> Result<Numbers, Error> {
        match said {
            Some(Field::Column(column)) => Ok(Numbers::Column(found.take(column))),
            Some(Field::Number(number) | Field::Value { value: Constant::Number(number) }) => {
                Ok(Numbers::Same(Some(*number)))
            }
            Some(Field::Value { value: Constant::Text(text) }) => Err(Error::Mapping {
                place: "[episodes]".into(),
                problem: format!("{name} = {{ value = \"{text}\" }}: it is a number"),
            }),
            None => Ok(found.first(names, |_| true).map_or(Numbers::Same(None), Numbers::Column)),
        }
    };
    let seed = number("seed", &said.seed, &["seed"])?;
    if let Numbers::Same(Some(number)) = seed
        && (number.fract() != 0.0 || number.abs() > MOST_EXACT)
    {
        return Err(Error::Mapping {
            place: "[episodes]".into(),
            problem: format!("seed = {number}: it is a whole number, at most 2^53; for others name a column"),
        });
    }
    let mut hz = number("hz", &said.hz, &["hz"])?;
    let episode_return = number("return", &said.episode_return, &["return"])?;
    let started_at = number("started_at", &said.started_at, &["started_at"])?;
    if let Numbers::Same(Some(number)) = started_at {
        return Err(Error::Mapping {
            place: "[episodes]".into(),
            problem: format!("started_at = {number}: it is a time; name a column of timestamps"),
        });
    }
    let key = "episode = \"COLUMN\" under [episodes]";
    let episode = found.required(said.episode.as_ref(), &["episode_id", "episode"], key)?;
    let num_steps = found.optional(said.num_steps.as_ref(), &["num_steps"], DataType::is_integer);

    if let Some(rate) = options.hz {
        hz = Numbers::Same(Some(f64::from(rate)));
    }
    if hz == Numbers::Same(None) {
        return Err(Error::Mapping {
            place: "episodes".into(),
            problem:
                "no column `hz`; say how many steps a second were played: --option hz=10, or hz = 10 under [episodes] \
                      of a mapping"
                    .into(),
        });
    }
    if let Some(who) = options.action_source {
        action_source = Texts::Same(Some(who.as_str().to_owned()));
    }
    if action_source == Texts::Same(None) {
        action_source = Texts::Same(Some(ActionSource::Human.as_str().to_owned()));
        notes.push(
            "episodes: no column `action_source`; taken as human (--option action_source=scripted|policy|predicted)"
                .into(),
        );
    }
    if origin == Texts::Same(None) {
        // The folder's own name, also of `.` and of `x/..`.
        let full = source.canonicalize().unwrap_or_else(|_| source.to_owned());
        let name = full.file_stem().map_or_else(|| "table".into(), |name| name.to_string_lossy().into_owned());
        origin = Texts::Same(Some(name));
    }
    let source = origin;
    Ok(EpisodeColumns {
        episode,
        num_steps,
        texts: [source, map, player, policy, spawn, outcome, split, action_source],
        numbers: [seed, hz, episode_return, started_at],
    })
}
