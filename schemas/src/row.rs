//! Rows of the table `episodes`, to and from Arrow.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, Int32Array, Int64Array, RecordBatch, StringDictionaryBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    Float32Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt16Type, UInt32Type, UInt64Type,
};

use crate::action::ActionSpace;
use crate::episode::{ActionSource, Episode};
use crate::error::{Error, Result};
use crate::stats::EpisodeStats;
use crate::table::{BUTTONS, Table, press_columns};

/// A row of the table `episodes`: an [`Episode`] without its steps, and its statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct EpisodeRow {
    /// Unique within the dataset.
    pub episode_id: i64,
    /// Where it comes from.
    pub source: String,
    /// The map played on.
    pub map: Option<String>,
    /// Who played.
    pub player: Option<String>,
    /// The model that played; none for humans.
    pub policy: Option<String>,
    /// Where on the map it began.
    pub spawn: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// The split it was recorded for.
    pub split: Option<String>,
    /// Who chose the actions.
    pub action_source: ActionSource,
    /// The environment's seed.
    pub seed: Option<i64>,
    /// Steps a second.
    pub hz: f32,
    /// Number of steps, T.
    pub num_steps: u32,
    /// Sum of rewards as the source states it (column `return`).
    pub episode_return: Option<f32>,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub started_at: Option<i64>,
    /// Statistics computed when it was written.
    pub stats: EpisodeStats,
}

impl EpisodeRow {
    /// The row of a valid episode, whose actions are `components` as `[C, T]`.
    pub(crate) fn new(episode: &Episode, components: &[u8], actions: &ActionSpace) -> Self {
        Self {
            episode_id: episode.episode_id,
            source: episode.source.clone(),
            map: episode.map.clone(),
            player: episode.player.clone(),
            policy: episode.policy.clone(),
            spawn: episode.spawn.clone(),
            outcome: episode.outcome.clone(),
            split: episode.split.clone(),
            action_source: episode.action_source,
            seed: episode.seed,
            hz: episode.hz,
            num_steps: episode.num_steps(actions) as u32,
            episode_return: episode.episode_return,
            started_at: episode.started_at,
            stats: EpisodeStats::of(episode, components, actions),
        }
    }
}

/// The rows as one batch, in the order given.
pub(crate) fn to_batch(rows: &[EpisodeRow], actions: &ActionSpace) -> Result<RecordBatch> {
    let text = |of: fn(&EpisodeRow) -> Option<&str>| -> ArrayRef {
        let mut builder = StringDictionaryBuilder::<Int32Type>::new();
        rows.iter().for_each(|row| builder.append_option(of(row)));
        Arc::new(builder.finish())
    };
    let float =
        |of: fn(&EpisodeRow) -> Option<f32>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Float32Array>()) };
    let long =
        |of: fn(&EpisodeRow) -> Option<i64>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Int64Array>()) };
    let int = |of: &dyn Fn(&EpisodeRow) -> i32| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<Int32Array>())
    };
    let started: TimestampMicrosecondArray = rows.iter().map(|row| row.started_at).collect();
    let mut columns = vec![
        long(|r| Some(r.episode_id)),
        text(|r| Some(&r.source)),
        text(|r| r.map.as_deref()),
        text(|r| r.player.as_deref()),
        text(|r| r.policy.as_deref()),
        text(|r| r.spawn.as_deref()),
        text(|r| r.outcome.as_deref()),
        text(|r| r.split.as_deref()),
        text(|r| Some(r.action_source.as_str())),
        long(|r| r.seed),
        float(|r| Some(r.hz)),
        int(&|r| r.num_steps as i32),
        float(|r| r.episode_return),
        Arc::new(started.with_timezone("UTC")),
        float(|r| Some(r.stats.idle_fraction)),
        float(|r| r.stats.distance),
        float(|r| r.stats.net_displacement),
        float(|r| Some(r.stats.action_entropy)),
    ];
    columns.extend((0..press_columns(actions).count()).map(|i| int(&|r| r.stats.presses[i])));
    columns.extend([
        float(|r| Some(r.stats.mean_stick_deflection)),
        int(&|r| r.stats.longest_repeat),
        long(|r| Some(r.stats.action_hash)),
    ]);
    RecordBatch::try_new(Table::Episodes.schema(actions), columns)
        .map_err(|e| Error::Internal(format!("episodes table: {e}")))
}

/// Reads rows back from a batch whose strings are plain Utf8 (the Arrow schema in the footer is ignored on reading).
///
/// # Errors
/// [`Error::Corrupt`] for a value that no writer of ours stores. `first_row` is the batch's first row in the file.
pub(crate) fn from_batch(
    path: &Path,
    first_row: usize,
    batch: &RecordBatch,
    actions: &ActionSpace,
) -> Result<Vec<EpisodeRow>> {
    let columns = Columns { path, batch };
    let presses = press_columns(actions).map(|name| columns.ints(&name)).collect::<Result<Vec<_>>>()?;
    let (ids, lengths) = (columns.longs("episode_id")?, columns.ints("num_steps")?);
    let (hz, seeds) = (columns.floats("hz")?, columns.longs("seed")?);
    let returns = columns.floats("return")?;
    let started = columns.get("started_at", |a| a.as_primitive_opt::<TimestampMicrosecondType>())?;
    let (idle, distance) = (columns.floats("idle_fraction")?, columns.floats("distance")?);
    let (net, entropy) = (columns.floats("net_displacement")?, columns.floats("action_entropy")?);
    let (deflection, repeat) = (columns.floats("mean_stick_deflection")?, columns.ints("longest_repeat")?);
    let hashes = columns.longs("action_hash")?;
    let text = |name: &'static str| columns.texts(name);
    let (sources, maps, players, policies) = (text("source")?, text("map")?, text("player")?, text("policy")?);
    let (spawns, outcomes, splits) = (text("spawn")?, text("outcome")?, text("split")?);
    let action_sources = text("action_source")?;
    (0..batch.num_rows())
        .map(|i| {
            let fault = |column: &str, value: &dyn std::fmt::Display| {
                Error::corrupt(path, format!("row {}, column `{column}`: {value} is not a value of it", first_row + i))
            };
            let owned = |texts: &arrow::array::StringArray| (!texts.is_null(i)).then(|| texts.value(i).to_owned());
            let num_steps = u32::try_from(lengths.value(i)).ok().filter(|&n| n > 0);
            Ok(EpisodeRow {
                episode_id: ids.value(i),
                source: sources.value(i).to_owned(),
                map: owned(maps),
                player: owned(players),
                policy: owned(policies),
                spawn: owned(spawns),
                outcome: owned(outcomes),
                split: owned(splits),
                action_source: ActionSource::from_name(action_sources.value(i))
                    .ok_or_else(|| fault("action_source", &action_sources.value(i)))?,
                seed: (!seeds.is_null(i)).then(|| seeds.value(i)),
                hz: hz.value(i),
                num_steps: num_steps.ok_or_else(|| fault("num_steps", &lengths.value(i)))?,
                episode_return: (!returns.is_null(i)).then(|| returns.value(i)),
                started_at: (!started.is_null(i)).then(|| started.value(i)),
                stats: EpisodeStats {
                    idle_fraction: idle.value(i),
                    distance: (!distance.is_null(i)).then(|| distance.value(i)),
                    net_displacement: (!net.is_null(i)).then(|| net.value(i)),
                    action_entropy: entropy.value(i),
                    presses: presses.iter().map(|p| p.value(i)).collect(),
                    mean_stick_deflection: deflection.value(i),
                    longest_repeat: repeat.value(i),
                    action_hash: hashes.value(i),
                },
            })
        })
        .collect()
}

/// A batch's columns by name, with an error that names the file.
pub(crate) struct Columns<'a> {
    pub(crate) path: &'a Path,
    pub(crate) batch: &'a RecordBatch,
}

impl<'a> Columns<'a> {
    pub(crate) fn get<A: ?Sized>(
        &self,
        name: &str,
        downcast: impl Fn(&'a dyn Array) -> Option<&'a A>,
    ) -> Result<&'a A> {
        let column = self.batch.column_by_name(name).and_then(|column| downcast(column.as_ref()));
        column.ok_or_else(|| Error::foreign(self.path, format!("column `{name}` is missing or of another type")))
    }

    pub(crate) fn longs(&self, name: &str) -> Result<&'a Int64Array> {
        self.get(name, |a| a.as_primitive_opt::<Int64Type>())
    }

    pub(crate) fn ints(&self, name: &str) -> Result<&'a Int32Array> {
        self.get(name, |a| a.as_primitive_opt::<Int32Type>())
    }

    pub(crate) fn floats(&self, name: &str) -> Result<&'a Float32Array> {
        self.get(name, |a| a.as_primitive_opt::<Float32Type>())
    }

    fn texts(&self, name: &str) -> Result<&'a arrow::array::StringArray> {
        self.get(name, |a| a.as_string_opt::<i32>())
    }
}

/// The column `buttons` of a batch of steps, whatever its width.
pub(crate) fn packed_buttons(columns: &Columns) -> Result<Vec<u64>> {
    let column = columns.get(BUTTONS, Some)?;
    let words = None
        .or_else(|| column.as_primitive_opt::<UInt16Type>().map(|a| a.values().iter().map(|&w| w.into()).collect()))
        .or_else(|| column.as_primitive_opt::<UInt32Type>().map(|a| a.values().iter().map(|&w| w.into()).collect()))
        .or_else(|| column.as_primitive_opt::<UInt64Type>().map(|a| a.values().to_vec()));
    words.ok_or_else(|| {
        let reason =
            format!("column `{BUTTONS}` has type {}, not an unsigned integer of 16, 32 or 64 bits", column.data_type());
        Error::foreign(columns.path, reason)
    })
}
