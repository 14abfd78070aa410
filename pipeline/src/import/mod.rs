//! Gameplay that others recorded, into datasets.
//!
//! ```text
//!   SOURCE (file or folder) --> one clip at a time, members streamed --> checked --> resized, encoded --> Writer
//! ```
//!
//! An importer refuses what it does not understand: every error names the file, the member, the row, the column and
//! the value, and says what to do. It never guesses a range, a rate or an order.

use std::path::{Path, PathBuf};

use playhouse_schemas::Codec;

use crate::progress::Progress;
use crate::stages;

pub mod bleeding_edge;
mod npz;
#[cfg(test)]
mod tests;

/// The formats that [`run`] reads.
pub const FORMATS: &[&str] = &["bleeding-edge"];

/// Why a clip cannot be imported. Except for [`Error::Dataset`], the source is at fault.
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
    /// The user asked to stop; what is committed stays.
    #[error("stopped; the clips imported so far are kept, and the same command goes on with the others")]
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
    /// A clip, or a folder of clips (searched recursively, in the order of their paths).
    pub source: PathBuf,
    /// The dataset to write; made if it does not exist.
    pub dataset: PathBuf,
    /// How.
    pub options: Options,
    /// The dataset is this import's own: clip i is episode `first_id + i`, and what is there is skipped. Otherwise clips
    /// are added, except those whose actions an imported episode of the dataset already has.
    pub resume: bool,
}

/// How to import.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How frames are stored.
    pub frames: Images,
    /// How the source writes its sticks.
    pub sticks: Sticks,
    /// Episode id of the first clip; without it, ids continue after the dataset's last.
    pub first_id: Option<i64>,
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
    /// Uncompressed.
    Raw,
}

impl Images {
    fn codec(self) -> Codec {
        match self {
            Images::Jpeg => Codec::Jpeg { quality: 90 },
            Images::Png => Codec::Png,
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
    /// Clips that became episodes.
    pub episodes: u64,
    /// Timesteps in them.
    pub steps: u64,
    /// Clips that were already there.
    pub skipped: u64,
}

/// Imports `request.source`, one clip in memory at a time.
///
/// # Errors
/// See [`Error`]. Episodes committed before an error stay.
pub fn run(request: &Request, progress: &dyn Progress) -> Result<Imported, Error> {
    match request.format.as_str() {
        "bleeding-edge" => bleeding_edge::import(request, progress),
        other => Err(Error::Format(other.to_owned())),
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
    progress: &dyn Progress,
) -> anyhow::Result<Imported> {
    let options = stages::parse("import", settings)?;
    let (format, source, dataset) = (format.to_owned(), source.to_owned(), dataset.to_owned());
    Ok(run(&Request { format, source, dataset, options, resume: false }, progress)?)
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
