//! Gameplay that others recorded, into datasets.
//!
//! ```text
//!   bleeding-edge   SOURCE (file or folder) --> one clip at a time, members streamed --> checked --> resized, encoded --> Writer
//!   table           SOURCE (Parquet tables) --> episodes, in order --> checked, statistics on all cores --> Writer
//! ```
//!
//! An importer refuses what it does not understand: every error names the file, the member, the row, the column and
//! the value, and says what to do. It never guesses a range, a rate or an order.

use std::path::{Path, PathBuf};

use playhouse_schemas::{ActionSource, Codec};

use crate::progress::Progress;
use crate::stages;

pub mod bleeding_edge;
mod npz;
pub(crate) mod table;
#[cfg(test)]
mod tests;

/// The formats that [`run`] reads.
pub const FORMATS: &[&str] = &["bleeding-edge", "table"];

/// A mapping to begin with, for the format `table`.
pub const EXAMPLE_MAPPING: &str = table::mapping::EXAMPLE;

/// Why a clip or a table cannot be imported. Except for [`Error::Dataset`], the source is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The format's name is not one of [`FORMATS`].
    #[error("import format `{0}` is not known; use one of: {list}", list = FORMATS.join(", "))]
    Format(String),
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {source}; check that it exists and is readable")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder without clips.
    #[error("{0} holds no .npz clip; unpack the archives first and name the folder with the .npz files")]
    Empty(PathBuf),
    /// Not a readable npz archive, or its bytes end early.
    #[error("{path}: member `{member}`: {problem}")]
    Corrupt {
        /// The clip.
        path: PathBuf,
        /// The array inside it, or `archive`.
        member: String,
        /// What is wrong, and the fix.
        problem: String,
    },
    /// An array that must be there is not.
    #[error("{path}: there is no member `{member}`; it has: {found}. A clip needs `images` and `actions`")]
    Missing {
        /// The clip.
        path: PathBuf,
        /// The array that is missing.
        member: String,
        /// The arrays that are there.
        found: String,
    },
    /// An array of another shape or element type.
    #[error("{path}: member `{member}` is {found}, expected {expected}")]
    Shape {
        /// The clip.
        path: PathBuf,
        /// The array.
        member: String,
        /// Element type and shape as found.
        found: String,
        /// What can be read.
        expected: String,
    },
    /// A single value that cannot be meant.
    #[error("{path}: member `{member}`, row {row}, column {column} ({name}): value {value} {problem}")]
    Value {
        /// The clip.
        path: PathBuf,
        /// The array.
        member: String,
        /// Row, counted from 0.
        row: usize,
        /// Column, counted from 0.
        column: usize,
        /// The component's name.
        name: String,
        /// The value as read.
        value: f32,
        /// What is wrong with it, and the fix.
        problem: String,
    },
    /// A folder without a table that must be there.
    #[error(
        "{folder} holds neither a folder `{name}` nor a file {name}.parquet; name the table with path = \"...\" under \
         [{name}] of a mapping"
    )]
    NoTable {
        /// The source.
        folder: PathBuf,
        /// `steps` or `episodes`.
        name: String,
    },
    /// A folder without Parquet files.
    #[error("{0} holds no .parquet file; name the folder that does, with path = \"...\" in a mapping")]
    NoParquet(PathBuf),
    /// A mapping that says what it cannot, or leaves out what must be said.
    #[error("{place}: {problem}")]
    Mapping {
        /// The mapping's file or section, or the table that lacks a column.
        place: String,
        /// What is wrong, and the fix.
        problem: String,
    },
    /// Rows of episodes that no steps fit, the reverse, or a value that an episode cannot have: with place and fix.
    #[error("{0}")]
    Row(String),
    /// A first id from which on the episodes' ids do not fit.
    #[error("first_id is {0}: ids start at 0 and end at 9223372036854775807; give another --option first_id=N")]
    FirstId(i64),
    /// An option that the format does not have.
    #[error("format `{format}` has no option `{option}`; leave it out")]
    Option {
        /// The format.
        format: &'static str,
        /// The option.
        option: &'static str,
    },
    /// The user asked to stop; what is committed stays.
    #[error("stopped; what is imported so far is kept, and the same command goes on with the rest")]
    Stopped,
    /// The dataset could not be written.
    #[error(transparent)]
    Dataset(#[from] playhouse_schemas::Error),
}

/// What to import, and where to.
#[derive(Debug, Clone)]
pub struct Request {
    /// One of [`FORMATS`].
    pub format: String,
    /// A clip, or a folder of clips (searched recursively, in the order of their paths); for tables, their folder.
    pub source: PathBuf,
    /// The dataset to write; made if it does not exist.
    pub dataset: PathBuf,
    /// How.
    pub options: Options,
    /// The dataset is this import's own: clip i is episode `first_id + i`, and what is there is skipped. Otherwise clips
    /// are added, except those whose actions an imported episode of the dataset already has. Tables number their episodes
    /// themselves, so what is there is skipped either way.
    pub resume: bool,
    /// Threads that convert tables.
    pub threads: usize,
}

/// How to import.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How frames are stored; JPEG, if not given. Tables have none.
    pub frames: Option<Images>,
    /// How the source writes its sticks; as buckets, if not given.
    pub sticks: Option<Sticks>,
    /// Episode id of the first clip; without it, ids continue after the dataset's last. For tables the id of the first
    /// episode; without it, ids are those of the source.
    pub first_id: Option<i64>,
    /// Which column of a table is what: the path of a TOML file, or its content.
    pub mapping: Option<toml::Value>,
    /// Steps a second of a table's episodes.
    pub hz: Option<f32>,
    /// Who chose the actions of a table's episodes.
    pub action_source: Option<ActionSource>,
}

/// The first id, if ids up to `more` above it fit too.
fn fitting(first_id: i64, more: i64) -> Result<i64, Error> {
    let fits = first_id >= 0 && first_id.checked_add(more).is_some();
    if fits { Ok(first_id) } else { Err(Error::FirstId(first_id)) }
}

/// How imported images are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Images {
    /// JPEG of quality 90.
    #[default]
    Jpeg,
    /// Lossless.
    Png,
    /// Lossless, larger, and decoded several times as fast as JPEG: for training sets.
    Fast,
    /// Uncompressed.
    Raw,
}

impl Images {
    fn codec(self) -> Codec {
        match self {
            Images::Jpeg => Codec::Jpeg { quality: 90 },
            Images::Png => Codec::Png,
            Images::Fast => Codec::Fast,
            Images::Raw => Codec::Raw,
        }
    }
}

/// How a source writes a stick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sticks {
    /// Bucket indices 0..10 with 5 at rest.
    #[default]
    Buckets,
    /// Deflections in -1..1, put into the action space's buckets.
    Continuous,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Episodes added.
    pub episodes: u64,
    /// Timesteps in them.
    pub steps: u64,
    /// Clips or episodes that were already there.
    pub skipped: u64,
}

/// Imports `request.source`, one clip or a few episodes in memory at a time.
///
/// # Errors
/// See [`Error`]. Episodes committed before an error stay.
pub fn run(request: &Request, progress: &dyn Progress) -> Result<Imported, Error> {
    let given = |format, options: &[(&'static str, bool)]| match options.iter().find(|(_, given)| *given) {
        Some(&(option, _)) => Err(Error::Option { format, option }),
        None => Ok(()),
    };
    let Options { frames, mapping, hz, action_source, .. } = &request.options;
    match request.format.as_str() {
        "bleeding-edge" => {
            let others =
                [("mapping", mapping.is_some()), ("hz", hz.is_some()), ("action_source", action_source.is_some())];
            given("bleeding-edge", &others)?;
            bleeding_edge::import(request, progress)
        }
        "table" => {
            given("table", &[("frames", frames.is_some())])?;
            table::import(request, progress)
        }
        other => Err(Error::Format(other.to_owned())),
    }
}

/// The files that an import stage with these settings reads.
///
/// # Errors
/// The source cannot be read, or holds nothing to import.
pub(crate) fn reads(source: &Path, settings: &toml::Table) -> Result<Vec<PathBuf>, Error> {
    if settings.get("format").and_then(|format| format.as_str()) == Some("table") {
        table::reads(source, settings.get("mapping"))
    } else {
        clips(source)
    }
}

/// Imports from the command line: `settings` are [`Options`], and clips that the dataset lacks are added after its last episode.
///
/// # Errors
/// An unknown setting, or whatever [`run`] meets.
pub fn import(
    format: &str,
    source: &Path,
    dataset: &Path,
    settings: &toml::Table,
    threads: usize,
    progress: &dyn Progress,
) -> anyhow::Result<Imported> {
    let options = stages::parse("import", settings)?;
    let (format, source, dataset) = (format.to_owned(), source.to_owned(), dataset.to_owned());
    Ok(run(&Request { format, source, dataset, options, resume: false, threads }, progress)?)
}

/// The `.npz` files at or below `source`, sorted by path.
pub(crate) fn clips(source: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Read { path, source }
    };
    if source.metadata().map_err(read(source))?.is_file() {
        return Ok(vec![source.to_owned()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![source.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().map_err(read(&folder))? {
            let entry = entry.map_err(read(&folder))?;
            // `file_type` does not follow links, so a link to a parent cannot loop.
            let kind = entry.file_type().map_err(read(&folder))?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "npz") {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    if found.is_empty() { Err(Error::Empty(source.to_owned())) } else { Ok(found) }
}
