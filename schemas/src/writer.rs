//! Writing: episodes in, committed parts out.
//!
//! ```text
//! push -> prepare (check, statistics) -> frames and steps stream to temporary files, rows wait in memory
//!              when the part is large enough, or on flush and finish:
//!   frames:   finish, fsync, rename, fsync folder
//!   steps:    finish, fsync, rename, fsync folder
//!   episodes: write,  fsync, rename, fsync folder      <- from here on, and not before, the part exists
//! ```
//!
//! What is prepared on several threads is written by one: [`Dataset::prepare`], then [`Writer::push_prepared`].
//!
//! A crash at any instant leaves the parts committed so far, and at most files that no reader looks at: temporary ones,
//! which [`verify`](crate::verify()) removes, and orphans, which a run that writes the same episodes again replaces. An
//! error removes them at once.
//!
//! In a bucket the same happens with uploads in place of renames, from files in the machine's temporary folder.
//!
//! Several writers may fill one dataset at the same time as long as each has its own ids. Of two with the same ids the
//! first to commit wins: commits take turns (a lock on `episodes/`, a claim in a bucket), and a committed part is never
//! replaced.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::dataset::Dataset;
use crate::disk::{Disk, DiskFile};
use crate::episode::Episode;
use crate::error::{Error, Result};
use crate::ids::IdSet;
use crate::part;
use crate::prepared::PreparedEpisode;
use crate::row::{self, EpisodeRow};
use crate::spec::DatasetSpec;
use crate::step::{self, StepPage};
use crate::table::{FRAME_PAGE_ROWS, STEP_GROUP_ROWS, Table};
use crate::table_writer::TableWriter;

/// When a part is large enough to be committed. A part is what a crash can lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLimits {
    /// Most steps of a part; one longer episode makes a part of its own.
    pub steps: u64,
    /// Bytes of encoded frames after which a part is committed.
    pub frame_bytes: u64,
}

impl Default for PartLimits {
    /// A row group of steps (1,048,576: 29 hours at 10 Hz) or 1 GiB of frames.
    fn default() -> Self {
        Self { steps: STEP_GROUP_ROWS as u64, frame_bytes: 1 << 30 }
    }
}

/// What a writer has stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Episodes committed.
    pub episodes: u64,
    /// Steps committed.
    pub steps: u64,
    /// Parts committed.
    pub parts: u64,
}

/// Frames of a row group are held in memory until it is full.
const FRAME_GROUP_BYTES: usize = 32 << 20;

/// Adds episodes to a dataset, in ascending order of their ids.
pub struct Writer {
    root: PathBuf,
    spec: Arc<DatasetSpec>,
    limits: PartLimits,
    disk: Box<dyn Disk>,
    /// Ids that the dataset held when the writer was made.
    stored: IdSet,
    last_id: Option<i64>,
    open: Option<OpenPart>,
    summary: Summary,
    failed: bool,
}

impl Writer {
    pub(crate) fn new(dataset: &Dataset, stored: IdSet, limits: PartLimits, disk: Box<dyn Disk>) -> Self {
        Self {
            root: dataset.root().to_owned(),
            spec: dataset.shared_spec().clone(),
            limits,
            disk,
            stored,
            last_id: None,
            open: None,
            summary: Summary::default(),
            failed: false,
        }
    }

    /// Adds an episode. It is stored for good once its part is committed: when that is large enough, or by
    /// [`flush`](Self::flush) or [`finish`](Self::finish).
    ///
    /// # Errors
    /// - [`Error::Invalid`], [`Error::Conflict`] naming the episode: it breaks a rule, or its id was taken when the writer
    ///   was made. It is not added, and the writer goes on.
    /// - [`Error::Conflict`] naming a file, when this call commits a part: another writer has committed one of the same
    ///   name meanwhile. Any other error: the disk failed. After both the part in flight is lost and removed, and the
    ///   writer takes no more: every further call is [`Error::Conflict`].
    pub fn push(&mut self, episode: Episode) -> Result<()> {
        self.check_usable()?;
        let episode = PreparedEpisode::new(episode, &self.spec)?;
        self.push_prepared(episode)
    }

    /// Adds an episode that [`Dataset::prepare`] made.
    ///
    /// # Errors
    /// Those of [`push`](Self::push), and [`Error::Invalid`] for one that was prepared for a dataset with another spec.
    pub fn push_prepared(&mut self, episode: PreparedEpisode) -> Result<()> {
        self.check_usable()?;
        let id = episode.row.episode_id;
        if !Arc::ptr_eq(&self.spec, &episode.spec) && self.spec != episode.spec {
            let reason = "it was prepared for a dataset with another spec; prepare it for this one";
            return Err(Error::invalid(format!("episode {id}"), reason));
        }
        self.check_id(id)?;
        if self.open.as_ref().is_some_and(|part| part.steps + episode.steps as u64 > self.limits.steps) {
            self.flush()?;
        }
        self.last_id = Some(id);
        self.guarded(|writer| {
            if writer.open.is_none() {
                writer.open = Some(OpenPart::new(writer, id)?);
            }
            let limits = writer.limits;
            let Some(part) = writer.open.as_mut() else { return Ok(()) };
            part.push(episode, writer.disk.as_ref(), &writer.spec)?;
            let full = part.steps >= limits.steps || part.frame_bytes() >= limits.frame_bytes;
            if full { writer.commit() } else { Ok(()) }
        })
    }

    /// Commits what was pushed so far, so that a crash cannot lose it.
    ///
    /// # Errors
    /// Another writer committed this part, or the disk failed: the part is lost and the writer takes no more, see
    /// [`push`](Self::push).
    pub fn flush(&mut self) -> Result<()> {
        self.check_usable()?;
        self.guarded(Self::commit)
    }

    /// Commits the rest.
    ///
    /// # Errors
    /// Another writer committed this part, or the disk failed: the part is lost, and those committed before it stay; see
    /// [`push`](Self::push).
    pub fn finish(mut self) -> Result<Summary> {
        self.flush()?;
        Ok(self.summary)
    }

    /// What has been committed so far.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    fn check_usable(&self) -> Result<()> {
        if self.failed {
            let reason = "an earlier write failed; mend what it named and make a new writer";
            return Err(Error::conflict(&self.root, reason));
        }
        Ok(())
    }

    fn check_id(&self, id: i64) -> Result<()> {
        if self.stored.contains(id) || self.last_id == Some(id) {
            return Err(Error::conflict(&self.root, format!("episode {id} is stored already; choose other ids")));
        }
        match self.last_id {
            Some(last) if id < last => {
                let reason = format!("pushed after episode {last}; a writer takes ascending ids");
                Err(Error::invalid(format!("episode {id}"), reason))
            }
            _ => Ok(()),
        }
    }

    /// Runs a step that writes; if it fails, removes the part in flight and closes the writer.
    fn guarded(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let result = step(self);
        if result.is_err() {
            self.failed = true;
            self.discard();
        }
        result
    }

    fn commit(&mut self) -> Result<()> {
        let Some(part) = &self.open else { return Ok(()) };
        let index = part::file(&self.root, Table::Episodes, &part.name);
        let content = blake3::hash(format!("{:?}{:?}", self.spec, part.rows).as_bytes()).to_string();
        let _lock = self.disk.lock(&index, &content).map_err(|e| Error::io(&index, "lock", e))?;
        let result = self.publish_all();
        if result.is_err() {
            // Under the lock: what bears the part's name is still ours.
            self.discard();
        }
        result
    }

    fn publish_all(&mut self) -> Result<()> {
        let Some(part) = self.open.as_mut() else { return Ok(()) };
        let index = part::file(&self.root, Table::Episodes, &part.name);
        if self.disk.exists(&index).map_err(|e| Error::io(&index, "look for it", e))? {
            return Err(taken(&index));
        }
        let (root, disk, spec) = (self.root.as_path(), self.disk.as_ref(), &self.spec);
        if let Some(frames) = part.frames.take() {
            let file = frames.finish(spec)?;
            part.publish(disk, root, Table::Frames, file)?;
        }
        if let Some(rows) = part.step_rows.take() {
            let file = rows.finish(disk, spec)?;
            part.publish(disk, root, Table::Steps, file)?;
        }
        let file = part.write_rows(disk, root, spec)?;
        part.publish(disk, root, Table::Episodes, file)?;
        self.summary.episodes += part.rows.len() as u64;
        self.summary.steps += part.steps;
        self.summary.parts += 1;
        // Ids ascend, so the committed ones need not be added to `stored`.
        self.open = None;
        Ok(())
    }

    /// Removes every file of the part in flight, the ones that make it visible first. Failures are not reported: the
    /// error that led here is, and what remains is invisible or is named by `verify`.
    fn discard(&mut self) {
        let Some(part) = self.open.take() else { return };
        for path in part.published.iter().rev() {
            let _ = self.disk.remove(path);
        }
        for table in Table::COMMIT_ORDER {
            let _ = self.disk.remove(&part.temp_file(&self.root, table));
        }
    }
}

impl Drop for Writer {
    /// A writer dropped without `finish` loses its part in flight, and leaves no file of it.
    fn drop(&mut self) {
        self.discard();
    }
}

fn taken(index: &Path) -> Error {
    Error::conflict(index, "another writer committed this part meanwhile; choose other ids")
}

/// A part being filled.
struct OpenPart {
    name: String,
    /// Of its three files until they are published.
    temp_name: String,
    rows: Vec<EpisodeRow>,
    /// Steps so far.
    steps: u64,
    /// Its steps, until they are published.
    step_rows: Option<StepSink>,
    /// Its frames, until they are published; none in a dataset without.
    frames: Option<FrameSink>,
    /// Files renamed into place by the commit under way, in order.
    published: Vec<PathBuf>,
}

impl OpenPart {
    fn new(writer: &Writer, first_id: i64) -> Result<Self> {
        let name = part::name(first_id);
        let temp_name = part::temp_name(&name);
        let temp = |table: Table| writer.root.join(table.name()).join(&temp_name);
        let frames = match &writer.spec.frames {
            None => None,
            Some(_) => Some(FrameSink::new(writer.disk.as_ref(), &temp(Table::Frames), &writer.spec)?),
        };
        let page = StepPage::new(&writer.spec.actions);
        let step_rows = Some(StepSink { temp: temp(Table::Steps), writer: None, page });
        Ok(Self { name, temp_name, rows: Vec::new(), steps: 0, step_rows, frames, published: Vec::new() })
    }

    fn temp_file(&self, root: &Path, table: Table) -> PathBuf {
        root.join(table.name()).join(&self.temp_name)
    }

    /// Makes a finished temporary file durable, and visible under its own name.
    fn publish(&mut self, disk: &dyn Disk, root: &Path, table: Table, mut file: Box<dyn DiskFile>) -> Result<()> {
        let (temp, target) = (self.temp_file(root, table), part::file(root, table, &self.name));
        file.sync().map_err(|e| Error::io(&temp, "flush", e))?;
        drop(file);
        // Steps and frames may replace orphans of a crash; what `episodes` names is never replaced.
        let renamed = match table {
            Table::Episodes => disk.rename_new(&temp, &target),
            Table::Steps | Table::Frames => disk.rename(&temp, &target),
        };
        renamed.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => taken(&target),
            _ => Error::io(&target, "rename into place", e),
        })?;
        self.published.push(target);
        let folder = root.join(table.name());
        disk.sync_folder(&folder).map_err(|e| Error::io(&folder, "flush", e))
    }

    fn push(&mut self, episode: PreparedEpisode, disk: &dyn Disk, spec: &DatasetSpec) -> Result<()> {
        self.steps += episode.steps as u64;
        if let Some(sink) = &mut self.step_rows {
            sink.push(&episode, disk, spec)?;
        }
        let id = episode.row.episode_id;
        self.rows.push(episode.row);
        match &mut self.frames {
            None => Ok(()),
            Some(sink) => sink.push(id, episode.frames, spec),
        }
    }

    fn frame_bytes(&self) -> u64 {
        self.frames.as_ref().map_or(0, |sink| sink.bytes)
    }

    /// Writes the part's rows of `episodes` to a temporary file.
    fn write_rows(&self, disk: &dyn Disk, root: &Path, spec: &DatasetSpec) -> Result<Box<dyn DiskFile>> {
        let temp = self.temp_file(root, Table::Episodes);
        let mut writer = TableWriter::create(disk, &temp, Table::Episodes, spec, None)?;
        writer.write(&row::to_batch(&self.rows, &spec.actions)?)?;
        writer.finish()
    }
}

/// Steps on their way to the part's temporary file: encoded page by page, kept in memory as one row group.
struct StepSink {
    temp: PathBuf,
    /// Made with the first page, whose values decide on the layout.
    writer: Option<TableWriter>,
    page: StepPage,
}

impl StepSink {
    fn push(&mut self, episode: &PreparedEpisode, disk: &dyn Disk, spec: &DatasetSpec) -> Result<()> {
        let Self { temp, writer, page } = self;
        page.push(episode, |rows| write_steps(temp, writer, rows, disk, spec))
    }

    fn finish(mut self, disk: &dyn Disk, spec: &DatasetSpec) -> Result<Box<dyn DiskFile>> {
        if let Some(rows) = self.page.rest()? {
            write_steps(&self.temp, &mut self.writer, &rows, disk, spec)?;
        }
        let writer = self.writer.ok_or_else(|| Error::Internal("a part without steps".into()))?;
        writer.finish()
    }
}

fn write_steps(
    temp: &Path,
    writer: &mut Option<TableWriter>,
    rows: &RecordBatch,
    disk: &dyn Disk,
    spec: &DatasetSpec,
) -> Result<()> {
    let writer = match writer {
        Some(writer) => writer,
        None => writer.insert(TableWriter::create(disk, temp, Table::Steps, spec, Some(rows))?),
    };
    writer.write(rows)
}

/// Frames on their way to the part's temporary file.
struct FrameSink {
    writer: TableWriter,
    /// Fewer rows than a page holds: pages are written whole.
    pending: Vec<(i64, i32, Vec<u8>)>,
    bytes: u64,
}

impl FrameSink {
    fn new(disk: &dyn Disk, temp: &Path, spec: &DatasetSpec) -> Result<Self> {
        let writer = TableWriter::create(disk, temp, Table::Frames, spec, None)?;
        Ok(Self { writer, pending: Vec::with_capacity(FRAME_PAGE_ROWS), bytes: 0 })
    }

    fn push(&mut self, episode_id: i64, frames: Vec<Vec<u8>>, spec: &DatasetSpec) -> Result<()> {
        for (t, bytes) in frames.into_iter().enumerate() {
            self.bytes += bytes.len() as u64;
            self.pending.push((episode_id, t as i32, bytes));
            if self.pending.len() == FRAME_PAGE_ROWS {
                self.write_pending(spec)?;
            }
        }
        Ok(())
    }

    fn write_pending(&mut self, spec: &DatasetSpec) -> Result<()> {
        let batch = step::frame_batch(&self.pending, &spec.actions)?;
        self.pending.clear();
        self.writer.write(&batch)?;
        if self.writer.group_bytes() >= FRAME_GROUP_BYTES { self.writer.end_group() } else { Ok(()) }
    }

    fn finish(mut self, spec: &DatasetSpec) -> Result<Box<dyn DiskFile>> {
        if !self.pending.is_empty() {
            self.write_pending(spec)?;
        }
        self.writer.finish()
    }
}
