//! The table of episodes: who played, where, and how it ended.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use playhouse_schemas::plain::PlainTable;
use playhouse_schemas::{ActionSource, Episode, EpisodeRow};

use crate::import::Error;

/// Where a text of an episode comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Texts {
    /// A column; whole numbers become texts.
    Column(String),
    /// The same for all; none is null.
    Same(Option<String>),
}

/// Where a number or a time of an episode comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// A column.
    Column(String),
    /// The same for all; none is null.
    Same(Option<f64>),
}

/// Which column of the table is what.
#[derive(Debug, Clone)]
pub struct EpisodeColumns {
    /// Whole numbers from 0.
    pub episode: String,
    /// The stated number of steps.
    pub num_steps: Option<String>,
    /// In the order of [`TEXTS`].
    pub texts: [Texts; 8],
    /// In the order of [`NUMBERS`].
    pub numbers: [Numbers; 4],
}

/// Fields that are texts.
const TEXTS: [&str; 8] = ["source", "map", "player", "policy", "spawn", "outcome", "split", "action_source"];
const SOURCE: usize = 0;
const ACTION_SOURCE: usize = 7;
/// Fields that are numbers, and the type that each is read as.
const NUMBERS: [&str; 4] = ["seed", "hz", "return", "started_at"];
const SEED: usize = 0;
const HZ: usize = 1;
const RETURN: usize = 2;
const STARTED_AT: usize = 3;

/// The whole table in memory, columns converted, sorted by episode.
pub struct EpisodeTable {
    columns: EpisodeColumns,
    /// Key, batch and row, by ascending key.
    index: Vec<(i64, u32, u32)>,
    batches: Vec<Batch>,
    path: Arc<Path>,
}

/// Rows of the table, with the columns that are not the same for all.
struct Batch {
    path: Arc<Path>,
    first_row: u64,
    num_steps: Option<ArrayRef>,
    texts: [Option<ArrayRef>; 8],
    numbers: [Option<ArrayRef>; 4],
}

impl EpisodeTable {
    /// Reads and checks every row.
    ///
    /// # Errors
    /// A column that is missing or of another type, an episode that is null, below 0 or there twice, or a value that its
    /// field cannot have: file, row, column and value.
    pub fn read(table: &PlainTable, columns: EpisodeColumns) -> Result<Self, Error> {
        let mut names = vec![columns.episode.as_str()];
        names.extend(columns.num_steps.as_deref());
        names.extend(columns.texts.iter().filter_map(|field| match field {
            Texts::Column(name) => Some(name.as_str()),
            Texts::Same(_) => None,
        }));
        names.extend(columns.numbers.iter().filter_map(|field| match field {
            Numbers::Column(name) => Some(name.as_str()),
            Numbers::Same(_) => None,
        }));
        names.sort_unstable();
        names.dedup();
        table.require(names.iter().copied(), |name, ty| accepts(&columns, name, ty))?;
        let mut index = Vec::new();
        let mut batches = Vec::new();
        for (path, first_row, batch) in table.read(&names)? {
            let keys = whole(&path, first_row, &batch, &columns.episode)?;
            let keys = keys.as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let place =
                    || format!("{}, row {}, column `{}`", path.display(), first_row + row as u64, columns.episode);
                if keys.is_null(row) {
                    return Err(Error::Row(format!("{}: null; every episode needs a number", place())));
                }
                if keys.value(row) < 0 {
                    return Err(Error::Row(format!("{}: {} is below 0; number them from 0", place(), keys.value(row))));
                }
                index.push((keys.value(row), batches.len() as u32, row as u32));
            }
            batches.push(Batch::convert(&path, first_row, &batch, &columns)?);
        }
        index.sort_unstable();
        let path = batches.first().map_or_else(|| Path::new("episodes").into(), |batch| batch.path.clone());
        let read = Self { columns, index, batches, path };
        if let Some(i) = read.index.windows(2).position(|pair| pair[0].0 == pair[1].0) {
            let key = read.index[i].0;
            return Err(Error::Row(format!(
                "{}: episode {key} is also at {}; leave one of the rows out",
                read.place(i + 1),
                read.place(i)
            )));
        }
        if read.index.is_empty() {
            return Err(Error::Row(format!("{}: it has no row; nothing to import", read.path.display())));
        }
        (0..read.len()).try_for_each(|i| read.row(i).map(|_| ()))?;
        Ok(read)
    }

    /// Number of episodes.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// The key of the i-th episode.
    pub fn key(&self, i: usize) -> Option<i64> {
        self.index.get(i).map(|(key, ..)| *key)
    }

    /// The place of an episode in the order of keys.
    pub fn find(&self, key: i64) -> Option<usize> {
        self.index.binary_search_by_key(&key, |(key, ..)| *key).ok()
    }

    /// The first file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// File and row of the i-th episode.
    pub fn place(&self, i: usize) -> String {
        self.index.get(i).map_or_else(
            || self.path.display().to_string(),
            |&(_, batch, row)| {
                let batch = &self.batches[batch as usize];
                format!("{}, row {}", batch.path.display(), batch.first_row + u64::from(row))
            },
        )
    }

    /// The stated number of steps of the i-th episode.
    pub fn num_steps(&self, i: usize) -> Option<i64> {
        let &(_, batch, row) = self.index.get(i)?;
        let column = self.batches[batch as usize].num_steps.as_ref()?.as_primitive::<Int64Type>();
        column.is_valid(row as usize).then(|| column.value(row as usize))
    }

    fn text(&self, i: usize, field: usize) -> Option<&str> {
        match &self.columns.texts[field] {
            Texts::Same(text) => text.as_deref(),
            Texts::Column(_) => {
                let &(_, batch, row) = self.index.get(i)?;
                let column = self.batches[batch as usize].texts[field].as_ref()?.as_string::<i32>();
                column.is_valid(row as usize).then(|| column.value(row as usize))
            }
        }
    }

    /// The array of a number, and the row in it; none where it is the same for all.
    fn cell(&self, i: usize, field: usize) -> Option<(&ArrayRef, usize)> {
        let &(_, batch, row) = self.index.get(i)?;
        Some((self.batches[batch as usize].numbers[field].as_ref()?, row as usize))
    }

    fn integer(&self, i: usize, field: usize) -> Option<i64> {
        match &self.columns.numbers[field] {
            Numbers::Same(number) => number.map(|n| n as i64),
            Numbers::Column(_) => self.cell(i, field).filter(|(a, row)| a.is_valid(*row)).map(|(a, row)| {
                if field == STARTED_AT {
                    a.as_primitive::<TimestampMicrosecondType>().value(row)
                } else {
                    a.as_primitive::<Int64Type>().value(row)
                }
            }),
        }
    }

    fn number(&self, i: usize, field: usize) -> Option<f64> {
        match &self.columns.numbers[field] {
            Numbers::Same(number) => *number,
            Numbers::Column(_) => {
                let (array, row) = self.cell(i, field)?;
                array.is_valid(row).then(|| array.as_primitive::<Float64Type>().value(row))
            }
        }
    }

    /// The i-th episode without its steps; its id is its key.
    ///
    /// # Errors
    /// A value that its field cannot have.
    pub fn row(&self, i: usize) -> Result<Episode, Error> {
        let text = |field: usize| self.text(i, field).map(str::to_owned);
        let wrong = |name: &str, reason: String| Error::Row(format!("{}, {name}: {reason}", self.place(i)));
        let who = self.text(i, ACTION_SOURCE).unwrap_or_default();
        let action_source = ActionSource::from_name(who).ok_or_else(|| {
            wrong(
                "action_source",
                format!("`{who}` is not one of human, scripted, policy, predicted; map or change it"),
            )
        })?;
        let hz = self.number(i, HZ).filter(|hz| hz.is_finite() && *hz > 0.0);
        let hz = hz.ok_or_else(|| {
            let found = self.number(i, HZ).map_or_else(|| "null".to_owned(), |hz| hz.to_string());
            wrong("hz", format!("{found} is no number of steps a second; it is above 0"))
        })?;
        let episode_return = self.number(i, RETURN).map(|r| r as f32);
        if let Some(r) = episode_return.filter(|r| !r.is_finite()) {
            return Err(wrong("return", format!("{r} is not finite; repair it or make it null")));
        }
        Ok(Episode {
            episode_id: self.key(i).unwrap_or_default(),
            source: text(SOURCE).ok_or_else(|| wrong("source", "null; every episode comes from somewhere".into()))?,
            map: text(1),
            player: text(2),
            policy: text(3),
            spawn: text(4),
            outcome: text(5),
            split: text(6),
            action_source,
            seed: self.integer(i, SEED),
            hz: hz as f32,
            episode_return,
            started_at: self.integer(i, STARTED_AT),
            actions: Vec::new(),
            poses: Vec::new(),
            rewards: Vec::new(),
            terminated: false,
            truncated: false,
            frames: Vec::new(),
        })
    }

    /// The first field in which a stored episode differs from the i-th one; none if it is the same.
    pub fn difference(&self, i: usize, stored: &EpisodeRow) -> Option<String> {
        let shown = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
        let found = [
            Some(&stored.source),
            stored.map.as_ref(),
            stored.player.as_ref(),
            stored.policy.as_ref(),
            stored.spawn.as_ref(),
            stored.outcome.as_ref(),
            stored.split.as_ref(),
        ];
        for (field, found) in found.into_iter().enumerate() {
            let (found, ours) = (found.map(String::as_str), self.text(i, field));
            if found != ours {
                let (found, ours) = (shown(found.map(str::to_owned)), shown(ours.map(str::to_owned)));
                return Some(format!("{} {found}, and {ours} in {}", TEXTS[field], self.place(i)));
            }
        }
        let steps = self.num_steps(i).filter(|steps| *steps != i64::from(stored.num_steps));
        steps.map(|steps| format!("num_steps {}, and {steps} in {}", stored.num_steps, self.place(i)))
    }
}

/// What a column of this name can be read as.
fn accepts(columns: &EpisodeColumns, name: &str, ty: &DataType) -> Result<(), String> {
    let is = |field: &Texts| matches!(field, Texts::Column(column) if column == name);
    let holds = |field: usize| matches!(&columns.numbers[field], Numbers::Column(column) if column == name);
    let float = matches!(ty, DataType::Float32 | DataType::Float64);
    if (name == columns.episode || columns.num_steps.as_deref() == Some(name) || holds(SEED)) && !ty.is_integer() {
        return Err("whole numbers".into());
    }
    if (holds(HZ) || holds(RETURN)) && !(ty.is_integer() || float) {
        return Err("numbers".into());
    }
    if holds(STARTED_AT) && !matches!(ty, DataType::Timestamp(..)) {
        return Err("timestamps".into());
    }
    let text = match ty {
        DataType::Dictionary(_, values) => matches!(**values, DataType::Utf8 | DataType::LargeUtf8),
        _ => ty.is_integer() || matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
    };
    if columns.texts.iter().any(is) && !text {
        return Err("texts or whole numbers".into());
    }
    Ok(())
}

fn cast(path: &Path, row: u64, batch: &RecordBatch, name: &str, to: &DataType) -> Result<ArrayRef, Error> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&batch[name], to, &options)
        .map_err(|e| Error::Row(format!("{}, column `{name}`, in row {row} or a later one: {e}", path.display())))
}

fn whole(path: &Path, row: u64, batch: &RecordBatch, name: &str) -> Result<ArrayRef, Error> {
    cast(path, row, batch, name, &DataType::Int64)
}

impl Batch {
    fn convert(path: &Arc<Path>, first_row: u64, batch: &RecordBatch, columns: &EpisodeColumns) -> Result<Self, Error> {
        let as_type = |name: &str, to: &DataType| cast(path, first_row, batch, name, to);
        let num_steps = columns.num_steps.as_ref().map(|name| as_type(name, &DataType::Int64)).transpose()?;
        let (mut texts, mut numbers): ([Option<ArrayRef>; 8], [Option<ArrayRef>; 4]) = Default::default();
        for (field, place) in columns.texts.iter().zip(&mut texts) {
            if let Texts::Column(name) = field {
                *place = Some(as_type(name, &DataType::Utf8)?);
            }
        }
        for (i, (field, place)) in columns.numbers.iter().zip(&mut numbers).enumerate() {
            if let Numbers::Column(name) = field {
                let to = match NUMBERS[i] {
                    "seed" => DataType::Int64,
                    "started_at" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                    _ => DataType::Float64,
                };
                *place = Some(as_type(name, &to)?);
            }
        }
        Ok(Self { path: path.clone(), first_row, num_steps, texts, numbers })
    }
}
