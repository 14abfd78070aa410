//! The shape of a dataset, the distributions of what people did in it, and what is odd about it.
//!
//! ```text
//!   episodes/*.parquet ──> one row an episode: size, lengths, outcomes, players, idleness, oddities
//!   steps/*.parquet    ──> one pass over the action columns: how often every value of every component was chosen
//! ```
//!
//! Polars does the reading and the grouping. The index answers in milliseconds at any size; the pass over the steps is
//! exact, and left out above [`MAX_STEPS`] rows.

mod display;
mod frame;
mod histogram;
mod oddities;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use playhouse_schemas::{ActionSpace, Codec, Kind};
use polars::prelude::{DataFrame, col, len, lit};
use serde::Serialize;

use crate::error::Result;
use crate::files::{TableFiles, dataset_tables};
use crate::functions::wilson_interval;

pub use histogram::Histogram;
pub use oddities::Oddity;

/// Rows of `steps` up to which every action is read.
pub const MAX_STEPS: u64 = 50_000_000;

/// What [`dataset`] finds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DatasetStats {
    /// The dataset's folder.
    pub root: PathBuf,
    /// Number of episodes.
    pub episodes: u64,
    /// Number of timesteps.
    pub steps: u64,
    /// Hours of play: steps over their rate.
    pub hours: f64,
    /// The rates that occur, steps a second.
    pub hz: Vec<f32>,
    /// How frames are stored; none for a dataset without.
    pub frames: Option<String>,
    /// Size on disk of every table.
    pub tables: Vec<TableSize>,
    /// Episodes by `source`, `map`, `action_source`, `player` and `policy`.
    pub groups: Vec<Group>,
    /// Lengths of the episodes in seconds.
    pub lengths: Histogram,
    /// How episodes end, by map.
    pub outcomes: Vec<Outcome>,
    /// Outcomes of every player or policy.
    pub outcomes_by_player: Vec<Outcome>,
    /// Share of an episode's steps without input.
    pub idle: Histogram,
    /// Share of an episode that its longest unchanged action fills.
    pub repeat: Histogram,
    /// How the components of an action are used; empty if the steps were not read.
    pub components: Vec<Component>,
    /// What to look at, the worst first.
    pub oddities: Vec<Oddity>,
}

/// Size of a table on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableSize {
    /// The table.
    pub name: String,
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Episodes that share a value of a column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// The column of `episodes`.
    pub column: &'static str,
    /// Its value; none for null.
    pub value: Option<String>,
    /// Number of episodes.
    pub episodes: u64,
    /// Their hours.
    pub hours: f64,
}

/// How often an outcome occurred among the episodes of a map or a player.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The map, or the player.
    pub of: Option<String>,
    /// The outcome; none where the source does not say.
    pub outcome: Option<String>,
    /// Episodes that ended so.
    pub episodes: u64,
    /// Their share.
    pub share: f64,
    /// Wilson 95% interval of the share.
    pub interval: (f64, f64),
}

/// How one component of the actions is used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Component {
    /// The component.
    pub name: String,
    /// Steps by value: up and down for a button, the buckets of an axis.
    pub counts: Vec<u64>,
    /// Share of the steps away from rest.
    pub active: f64,
}

/// Statistics of the dataset at `root`.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) and [`Error::Dataset`](crate::Error::Dataset), naming the folder or file that is
/// not readable gameplay.
pub fn dataset(root: &Path) -> Result<DatasetStats> {
    let (dataset, tables) = dataset_tables(root)?;
    let spec = dataset.spec();
    let files = |name: &str| tables.iter().find(|t| t.name == name).map_or(&[][..], |t| t.files.as_slice());
    let episodes = frame::episodes(root, files("episodes"))?;
    let steps = frame::sum(&episodes, "num_steps")? as u64;
    let components = match files("steps") {
        [] => Vec::new(),
        _ if steps > MAX_STEPS => Vec::new(),
        parts => components(root, parts, &spec.actions)?,
    };
    let mut oddities = oddities::of_episodes(root, &episodes)?;
    oddities.extend(oddities::of_components(&components));
    oddities.sort_by(|a, b| b.episodes.cmp(&a.episodes).then(a.code.cmp(b.code)));
    // As they are stored: widened to doubles, 10.1 would read 10.100000381469727.
    let mut hz: Vec<f32> = frame::numbers(&episodes, "hz")?.into_iter().map(|hz| hz as f32).collect();
    hz.sort_by(f32::total_cmp);
    hz.dedup();
    Ok(DatasetStats {
        root: root.to_owned(),
        episodes: episodes.height() as u64,
        steps,
        hours: frame::sum(&episodes, "hours")?,
        hz,
        frames: spec.frames.as_ref().map(|f| {
            let codec = match f.codec {
                Codec::Jpeg { quality } => format!("jpeg quality {quality}"),
                Codec::Png => "png".to_owned(),
                Codec::Raw => "raw".to_owned(),
            };
            format!("{}x{} {codec}", f.width, f.height)
        }),
        tables: tables.iter().map(table_size).collect(),
        groups: groups(root, &episodes)?,
        lengths: Histogram::of("s", &frame::numbers(&episodes, "seconds")?, None),
        outcomes: outcomes(root, &episodes, "map")?,
        outcomes_by_player: outcomes(root, &episodes, "played_by")?,
        idle: Histogram::of("", &frame::numbers(&episodes, "idle_fraction")?, Some((0.0, 1.0))),
        repeat: Histogram::of("", &frame::numbers(&episodes, "repeat_fraction")?, Some((0.0, 1.0))),
        components,
        oddities,
    })
}

fn table_size(table: &TableFiles) -> TableSize {
    let bytes = table.files.iter().filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum();
    TableSize { name: table.name.clone(), files: table.files.len() as u64, bytes }
}

/// Columns worth a line each, unless every episode has null there.
const GROUPED: [&str; 5] = ["source", "map", "action_source", "player", "policy"];

fn groups(root: &Path, episodes: &DataFrame) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    for column in GROUPED {
        let counted = frame::collect(
            root,
            frame::lazy(episodes).group_by([col(column)]).agg([len().alias("episodes"), col("hours").sum()]),
        )?;
        let names = frame::texts(&counted, column)?;
        let rows = names.into_iter().zip(frame::numbers(&counted, "episodes")?).zip(frame::numbers(&counted, "hours")?);
        let mut rows: Vec<Group> =
            rows.map(|((value, n), hours)| Group { column, value, episodes: n as u64, hours }).collect();
        if rows.iter().any(|group| group.value.is_some()) {
            rows.sort_by(|a, b| b.episodes.cmp(&a.episodes).then(a.value.cmp(&b.value)));
            groups.append(&mut rows);
        }
    }
    Ok(groups)
}

fn outcomes(root: &Path, episodes: &DataFrame, by: &'static str) -> Result<Vec<Outcome>> {
    let groups = frame::lazy(episodes).group_by([col(by), col("outcome")]).agg([len().alias("episodes")]);
    let counted = frame::collect(root, groups)?;
    let (of, outcome) = (frame::texts(&counted, by)?, frame::texts(&counted, "outcome")?);
    let counts = frame::numbers(&counted, "episodes")?;
    let mut totals: BTreeMap<Option<String>, f64> = BTreeMap::new();
    for (of, n) in of.iter().zip(&counts) {
        *totals.entry(of.clone()).or_default() += n;
    }
    let rows = of.into_iter().zip(outcome).zip(counts).map(|((of, outcome), n)| {
        let total = totals.get(&of).copied().unwrap_or(n);
        let interval = wilson_interval(n as i64, total as i64);
        Outcome { of, outcome, episodes: n as u64, share: n / total, interval }
    });
    let mut rows: Vec<Outcome> = rows.collect();
    if rows.iter().all(|row| row.outcome.is_none()) {
        return Ok(Vec::new());
    }
    rows.sort_by(|a, b| (&a.of, b.episodes, &a.outcome).cmp(&(&b.of, a.episodes, &b.outcome)));
    Ok(rows)
}

/// One pass over the action columns: for every value of every component, the steps that chose it.
fn components(root: &Path, steps: &[PathBuf], space: &ActionSpace) -> Result<Vec<Component>> {
    let mut counts = vec![len().alias("steps")];
    for component in &space.components {
        match component.kind {
            Kind::Button => counts.push(col(component.name.as_str()).sum().alias(format!("{}#1", component.name))),
            Kind::Axis => counts.extend((0..component.cardinality).map(|value| {
                let chosen = col(component.name.as_str()).eq(lit(value));
                chosen.sum().alias(format!("{}#{value}", component.name))
            })),
        }
    }
    let counted = frame::collect(root, frame::scan(root, steps)?.select(counts))?;
    let steps = frame::sum(&counted, "steps")? as u64;
    let mut components = Vec::with_capacity(space.len());
    for component in &space.components {
        let count = |value: u8| frame::sum(&counted, &format!("{}#{value}", component.name)).map(|n| n as u64);
        let counts = match component.kind {
            Kind::Button => count(1).map(|down| vec![steps.saturating_sub(down), down]),
            Kind::Axis => (0..component.cardinality).map(count).collect(),
        }?;
        let at_rest = counts[usize::from(component.neutral())];
        let active = (steps - at_rest.min(steps)) as f64 / steps.max(1) as f64;
        components.push(Component { name: component.name.clone(), counts, active });
    }
    Ok(components)
}
