//! Plain Parquet tables of steps and episodes.
//!
//! ```text
//!   SOURCE/steps/*.parquet      --> one thread reads, checks the order, cuts episodes --+
//!   SOURCE/episodes.parquet     --> map, player, outcome, .. by episode                 |
//!                                                                                       v
//!   Writer <-- one thread encodes <-- in order <-- every thread: values, checks, statistics
//! ```
//!
//! Which column is what stands in a [`mapping`]. In memory are the episodes' table, a few episodes, and one part of the
//! dataset, encoded. What is already there is not read again: parts are committed in the order of the episodes.

mod episodes;
pub mod mapping;
mod resolve;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use playhouse_schemas::plain::{PlainTable, Play, Plays, StepColumns};
use playhouse_schemas::{Dataset, DatasetSpec, Episode, PartLimits, PreparedEpisode};

use super::{Error, Imported, Request, fitting};
use crate::ordered::in_order;
use crate::progress::Progress;
use episodes::EpisodeTable;
use mapping::Mapping;

/// Imports the tables of `request.source`.
///
/// # Errors
/// See [`Error`]. Episodes committed before an error stay.
pub fn import(request: &Request, progress: &dyn Progress) -> Result<Imported, Error> {
    in_parts(request, PartLimits::default(), progress)
}

fn in_parts(request: &Request, limits: PartLimits, progress: &dyn Progress) -> Result<Imported, Error> {
    let mapping = Mapping::of(request.options.mapping.as_ref())?;
    let steps = PlainTable::open(&files(&request.source, mapping.steps.path.as_deref(), "steps")?)?;
    let about = PlainTable::open(&files(&request.source, mapping.episodes.path.as_deref(), "episodes")?)?;
    let columns = resolve::resolve(&mapping, &request.options, &request.source, &steps, &about)?;
    columns.steps.check(&steps)?;
    let table = EpisodeTable::read(&about, columns.episodes)?;
    columns.notes.iter().for_each(|note| progress.note(note));

    let spec = DatasetSpec { actions: columns.steps.actions.clone(), frames: None };
    let dataset = Dataset::create(&request.dataset, &spec)?;
    let offset = match (request.options.first_id, table.key(0), table.key(table.len().saturating_sub(1))) {
        (Some(first), Some(from), Some(to)) => fitting(first, to.saturating_sub(from))?.saturating_sub(from),
        _ => 0,
    };
    let there = already_there(&dataset, &table, offset)?;
    let first = (0..table.len()).find(|&i| table.key(i).is_some_and(|key| !there.contains(&key)));
    let mut imported = Imported::default();
    let Some(first) = first else {
        return Ok(Imported { skipped: there.len() as u64, ..imported });
    };

    let job = Import { table: &table, columns: &columns.steps, dataset: &dataset, there: &there, offset };
    let mut writer = dataset.writer_with(limits)?;
    // What is skipped counts as done; row groups begin anywhere, so by its share of the episodes.
    let total = steps.rows();
    let mut done = (total as u128 * first as u128 / table.len() as u128) as u64;
    imported.skipped = first as u64;
    // Steps of no episode must be found: only what an earlier import has read is passed over.
    let from = table.key(first).filter(|_| first > 0).unwrap_or(i64::MIN);
    let plays = Matched { plays: Plays::new(&steps, &columns.steps, from), table: &table, next: first, ended: false };
    progress.update(done, total, "steps");
    in_order(
        request.threads,
        plays,
        |play| job.prepare(play),
        |(steps, episode)| {
            if progress.stop() {
                return Err(Error::Stopped);
            }
            done += steps;
            match episode {
                Some(episode) => {
                    writer.push_prepared(episode)?;
                    imported.episodes += 1;
                    imported.steps += steps;
                }
                None => imported.skipped += 1,
            }
            progress.update(done, total.max(done), "steps");
            Ok(ControlFlow::Continue(()))
        },
    )?;
    writer.finish()?;
    progress.update(total, total, "steps");
    Ok(imported)
}

/// The files that an import reads, its mapping included.
///
/// # Errors
/// A folder that cannot be read or holds no such file.
pub(crate) fn reads(source: &Path, mapping: Option<&toml::Value>) -> Result<Vec<PathBuf>, Error> {
    let said = Mapping::of(mapping)?;
    let mut paths = files(source, said.steps.path.as_deref(), "steps")?;
    paths.extend(files(source, said.episodes.path.as_deref(), "episodes")?);
    paths.extend(mapping.and_then(|mapping| mapping.as_str()).map(PathBuf::from));
    Ok(paths)
}

/// The Parquet files of a table, by name: those of `path` (a folder or a file, relative to the source), else of the folder
/// `name`, else `name.parquet`.
fn files(source: &Path, path: Option<&Path>, name: &str) -> Result<Vec<PathBuf>, Error> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Read { path, source }
    };
    source.metadata().map_err(read(source))?;
    let (folder, file) = (source.join(name), source.join(format!("{name}.parquet")));
    let place = match path {
        Some(path) => source.join(path),
        None if folder.is_dir() => folder,
        None if file.is_file() => file,
        None => return Err(Error::NoTable { folder: source.to_owned(), name: name.to_owned() }),
    };
    if place.metadata().map_err(read(&place))?.is_file() {
        return Ok(vec![place]);
    }
    let mut found = Vec::new();
    for entry in place.read_dir().map_err(read(&place))? {
        let path = entry.map_err(read(&place))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']));
        if !hidden && path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() { Err(Error::NoParquet(place)) } else { Ok(found) }
}

/// The keys of episodes that the dataset has already.
///
/// # Errors
/// An id of the table is taken by an episode that is another one.
fn already_there(dataset: &Dataset, table: &EpisodeTable, offset: i64) -> Result<HashSet<i64>, Error> {
    let mut there = HashSet::new();
    dataset.visit_episodes(|row| {
        let Some(index) = row.episode_id.checked_sub(offset).and_then(|key| table.find(key)) else { return Ok(()) };
        if let Some(difference) = table.difference(index, &row) {
            let root = dataset.root().display();
            return Err(Error::Row(format!(
                "{root}: episode {} is there already and is another one: {difference}; import into another folder, or \
                 give the first one's new id with --option first_id=N",
                row.episode_id
            )));
        }
        there.extend(table.key(index));
        Ok(())
    })?;
    Ok(there)
}

/// The plays of the steps, each with its row of the episodes.
struct Matched<'a> {
    plays: Plays<'a>,
    table: &'a EpisodeTable,
    /// The row whose play comes next.
    next: usize,
    ended: bool,
}

impl Iterator for Matched<'_> {
    type Item = Result<(usize, Play), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let play = match self.plays.next() {
            Some(Ok(play)) => Some(play),
            Some(Err(error)) => {
                self.ended = true;
                return Some(Err(error.into()));
            }
            None => None,
        };
        let (play, key) = match (play, self.table.key(self.next)) {
            (None, None) => return None,
            (Some(play), Some(key)) if play.key == key => {
                self.next += 1;
                return Some(Ok((self.next - 1, play)));
            }
            other => other,
        };
        self.ended = true;
        Some(Err(Error::Row(match (play, key) {
            (Some(play), key) if key.is_none_or(|key| play.key < key) => format!(
                "{}: episode {} has steps, but no row in {}; add the row or remove the steps",
                play.place(),
                play.key,
                self.table.path().display()
            ),
            (_, key) => format!(
                "{}: episode {} has no steps; remove the row or add its steps",
                self.table.place(self.next),
                key.unwrap_or_default()
            ),
        })))
    }
}

/// What the threads need to make an episode.
struct Import<'a> {
    table: &'a EpisodeTable,
    columns: &'a StepColumns,
    dataset: &'a Dataset,
    there: &'a HashSet<i64>,
    offset: i64,
}

impl Import<'_> {
    /// The steps of a play, and its episode if the dataset lacks it.
    fn prepare(&self, (index, play): (usize, Play)) -> Result<(u64, Option<PreparedEpisode>), Error> {
        let steps = play.steps();
        if self.there.contains(&play.key) {
            return Ok((steps, None));
        }
        if let Some(stated) = self.table.num_steps(index).filter(|stated| *stated != steps as i64) {
            return Err(Error::Row(format!(
                "{}: episode {} is said to have {stated} steps, but {steps} are there (from {}); correct the row or the steps",
                self.table.place(index),
                play.key,
                play.place()
            )));
        }
        let played = self.columns.played(&play)?;
        let about = self.table.row(index)?;
        let episode = Episode {
            episode_id: play.key + self.offset,
            actions: played.actions,
            poses: played.poses,
            rewards: played.rewards,
            terminated: played.terminated.unwrap_or(false),
            // Without a word on its end, an episode ends because the recording does.
            truncated: played.truncated.unwrap_or(played.terminated.is_none()),
            ..about
        };
        let prepared = self.dataset.prepare(episode)?;
        Ok((steps, Some(played.unknown.iter().fold(prepared, |episode, column| episode.without(column)))))
    }
}
