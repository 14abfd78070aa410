//! A dataset: a folder of parts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{Disk, LocalDisk};
use crate::episode::Episode;
use crate::error::{Error, Result};
use crate::ids::IdSet;
use crate::parquet_file::{ParquetFile, read_episodes};
use crate::part;
use crate::prepared::PreparedEpisode;
use crate::reader::WindowReader;
use crate::row::EpisodeRow;
use crate::spec::DatasetSpec;
use crate::step_index::StepIndex;
use crate::storage::{self, BucketDisk, is_local, open_each};
use crate::table::Table;
use crate::writer::{PartLimits, Writer};

/// A dataset in a folder, or under a prefix of a bucket (`s3://bucket/prefix`). Cheap to open: one footer is read.
pub struct Dataset {
    root: PathBuf,
    spec: Arc<DatasetSpec>,
    /// The reader behind [`Dataset::read_actions`] and [`Dataset::read_episode`].
    reader: Mutex<Option<Arc<WindowReader>>>,
}

impl Dataset {
    /// Makes the folders of an empty dataset, or opens the one that is there if it has the same spec.
    ///
    /// # Errors
    /// [`Error::Conflict`] when episodes with another action space or frame spec are stored there, [`Error::Invalid`]
    /// for a broken spec, [`Error::ReadOnly`] and the other errors of a disk.
    pub fn create(root: &Path, spec: &DatasetSpec) -> Result<Self> {
        spec.check()?;
        // Looked at first: what is refused is left as it was.
        let dataset = match Self::open(root) {
            Err(Error::NoDataset { .. }) => Self::with(root, spec.clone()),
            Ok(existing) => match existing.spec.difference(spec) {
                None => existing,
                Some(difference) => {
                    let reason =
                        format!("what it holds and what is to be written differ in {difference}; use another folder");
                    return Err(Error::conflict(root, reason));
                }
            },
            Err(e) => return Err(e),
        };
        // A bucket has no folders.
        if is_local(root) {
            let tables = Table::COMMIT_ORDER.into_iter();
            for table in tables.filter(|table| *table != Table::Frames || spec.frames.is_some()) {
                let folder = root.join(table.name());
                fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, "create", e))?;
            }
            LocalDisk.sync_folder(root).map_err(|e| Error::io(root, "flush", e))?;
        }
        Ok(dataset)
    }

    /// Opens a dataset that holds at least one episode.
    ///
    /// # Errors
    /// [`Error::NoDataset`], and what a footer may have: [`Error::Corrupt`], [`Error::Foreign`], [`Error::Version`].
    pub fn open(root: &Path) -> Result<Self> {
        let parts = part::list(root, Table::Episodes)?.unwrap_or_default().parts;
        let first = parts.first().ok_or_else(|| Error::NoDataset { root: root.to_owned() })?;
        let file = ParquetFile::open(&part::file(root, Table::Episodes, first), Table::Episodes)?;
        Ok(Self::with(root, file.spec))
    }

    fn with(root: &Path, spec: DatasetSpec) -> Self {
        Self { root: root.to_owned(), spec: Arc::new(spec), reader: Mutex::new(None) }
    }

    /// The dataset's folder, or its URL.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What its actions and frames are.
    pub fn spec(&self) -> &DatasetSpec {
        &self.spec
    }

    pub(crate) fn shared_spec(&self) -> &Arc<DatasetSpec> {
        &self.spec
    }

    /// Checks an episode and computes its statistics, which is most of the work of writing it: on any thread, for
    /// [`Writer::push_prepared`] of a writer of this dataset.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the episode, the step and the column.
    pub fn prepare(&self, episode: Episode) -> Result<PreparedEpisode> {
        PreparedEpisode::new(episode, &self.spec)
    }

    /// A writer that adds episodes, with parts of the default size.
    ///
    /// # Errors
    /// Those of [`Dataset::episodes`].
    pub fn writer(&self) -> Result<Writer> {
        self.writer_with(PartLimits::default())
    }

    /// A writer with parts of another size.
    ///
    /// # Errors
    /// Those of [`Dataset::episodes`].
    pub fn writer_with(&self, limits: PartLimits) -> Result<Writer> {
        self.writer_on(limits, self.disk()?)
    }

    /// How its files are written.
    pub(crate) fn disk(&self) -> Result<Box<dyn Disk>> {
        Ok(if is_local(&self.root) { Box::new(LocalDisk) } else { Box::new(BucketDisk::new()?) })
    }

    pub(crate) fn writer_on(&self, limits: PartLimits, disk: Box<dyn Disk>) -> Result<Writer> {
        let mut stored = Vec::new();
        self.visit_episodes(|row| {
            stored.push(row.episode_id);
            Ok(())
        })?;
        Ok(Writer::new(self, stored.into_iter().collect::<IdSet>(), limits, disk))
    }

    /// Hands every row of the table `episodes` to `visit`, part after part, a part in memory at a time.
    ///
    /// # Errors
    /// Those of [`Dataset::episodes`], and whatever `visit` returns.
    pub fn visit_episodes<E: From<Error>>(
        &self,
        mut visit: impl FnMut(EpisodeRow) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let names = part::list(&self.root, Table::Episodes)?.unwrap_or_default().parts;
        let files = names.iter().map(|name| part::file(&self.root, Table::Episodes, name)).collect();
        for (path, source) in open_each(files) {
            let (spec, rows) = read_episodes(&path, source?)?;
            if let Some(difference) = self.spec.difference(&spec) {
                let reason = format!("the dataset and this file differ in {difference}; keep datasets apart");
                return Err(Error::conflict(&path, reason).into());
            }
            rows.into_iter().try_for_each(&mut visit)?;
        }
        Ok(())
    }

    /// The rows of the table `episodes`, by ascending id; none for a dataset just created.
    ///
    /// # Errors
    /// A damaged or foreign file in `episodes/`, or one with another spec.
    pub fn episodes(&self) -> Result<Vec<EpisodeRow>> {
        match self.reader() {
            Ok(reader) => Ok(reader.episodes().to_vec()),
            Err(Error::NoDataset { .. }) => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    /// A reader over the episodes that are committed now. Later ones are not in it.
    ///
    /// # Errors
    /// Those of [`Dataset::episodes`], and [`Error::NoDataset`] when there is no episode.
    pub fn reader(&self) -> Result<WindowReader> {
        WindowReader::open(&self.root)
    }

    /// The committed files of every table that the dataset has, in order, from one look at the folder: what `episodes/`
    /// names. Globs over the folders find the same, and orphans after a crash.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be listed, [`Error::Corrupt`] naming the steps or frames of a committed part
    /// that are not there.
    pub fn files(&self) -> Result<Vec<(Table, Vec<PathBuf>)>> {
        let parts = part::list(&self.root, Table::Episodes)?.unwrap_or_default().parts;
        let mut tables = Vec::new();
        for table in [Table::Episodes, Table::Steps, Table::Frames] {
            if table == Table::Frames && self.spec.frames.is_none() {
                continue;
            }
            let files: Vec<PathBuf> = parts.iter().map(|name| part::file(&self.root, table, name)).collect();
            // Those of episodes have just been listed.
            if table != Table::Episodes {
                let folder = self.root.join(table.name());
                if let Some((number, file)) = storage::first_missing(&folder, &files)? {
                    return Err(part::missing(file, &parts[number]));
                }
            }
            tables.push((table, files));
        }
        Ok(tables)
    }

    /// Where every episode's steps lie, for scans; `None` when parts overlap in their ids, as two writers at once may leave
    /// them, and no order of the files is the order of the episodes.
    ///
    /// # Errors
    /// A damaged or foreign file in `episodes/`.
    pub fn step_index(&self) -> Result<Option<StepIndex>> {
        StepIndex::open(&self.root, &self.spec)
    }

    /// All actions of an episode, `[T, C]`.
    ///
    /// # Errors
    /// [`Error::NoSuchEpisode`], and damaged files.
    pub fn read_actions(&self, episode_id: i64) -> Result<Vec<u8>> {
        self.with_reader(|reader| reader.read_actions(episode_id))
    }

    /// A whole episode as it was written, its frames still encoded.
    ///
    /// # Errors
    /// [`Error::NoSuchEpisode`], and damaged files.
    pub fn read_episode(&self, episode_id: i64) -> Result<Episode> {
        self.with_reader(|reader| reader.read_episode(episode_id))
    }

    /// Reads through the kept reader, and through a fresh one when that does not know the episode.
    fn with_reader<T>(&self, read: impl Fn(&WindowReader) -> Result<T>) -> Result<T> {
        let kept = self.reader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(reader) = kept {
            match read(&reader) {
                Err(Error::NoSuchEpisode { .. }) => {}
                result => return result,
            }
        }
        let fresh = Arc::new(self.reader()?);
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh.clone());
        read(&fresh)
    }
}
