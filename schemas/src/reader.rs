//! Reading: windows and episodes out of committed parts.
//!
//! ```text
//! open   episodes/*.parquet -> episode_id -> (part, first row, T)          once
//! read   steps/<part>   -> a block of actions, kept                        one page a component, the first time
//!        frames/<part>  -> the one or two pages with the window's images   one read, then decoded
//! ```
//!
//! Footers and page indexes are read when a part is first touched, and kept.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, BooleanArray};

use crate::action_blocks::ActionBlocks;
use crate::episode::{Episode, Pose};
use crate::error::{Error, Result};
use crate::frame::FrameSpec;
use crate::frame_pages::FramePages;
use crate::parquet_file::{ParquetFile, read_episodes};
use crate::part;
use crate::row::{Columns, EpisodeRow};
use crate::spec::DatasetSpec;
use crate::storage::{Handles, open_each};
use crate::table::{TELEMETRY, Table};
use crate::window::Window;

/// Where an episode's steps and frames lie.
#[derive(Clone, Copy)]
struct Location {
    part: usize,
    first_row: u64,
}

/// One part: its files are opened when first needed.
struct Part {
    name: String,
    /// Steps by its rows in `episodes`; the other two files must have as many.
    rows: u64,
    steps: Mutex<Option<Arc<ParquetFile>>>,
    frames: Mutex<Option<Arc<FramePages>>>,
}

/// Reads windows and episodes of the parts that were committed when it was opened. Shared by reference between threads.
pub struct WindowReader {
    root: PathBuf,
    spec: DatasetSpec,
    parts: Vec<Part>,
    /// By ascending id.
    episodes: Vec<EpisodeRow>,
    /// Parallel to `episodes`.
    locations: Vec<Location>,
    handles: Handles,
    actions: ActionBlocks,
}

impl WindowReader {
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let names = part::list(root, Table::Episodes)?.unwrap_or_default().parts;
        let mut spec: Option<DatasetSpec> = None;
        let mut parts = Vec::with_capacity(names.len());
        let mut found = Vec::new();
        let files = names.iter().map(|name| part::file(root, Table::Episodes, name)).collect();
        for (index, (name, (path, source))) in names.into_iter().zip(open_each(files)).enumerate() {
            let (file_spec, rows) = read_episodes(&path, source?)?;
            let first = spec.get_or_insert_with(|| file_spec.clone());
            if let Some(difference) = first.difference(&file_spec) {
                let reason =
                    format!("the dataset's first file and this one differ in {difference}; keep datasets apart");
                return Err(Error::conflict(&path, reason));
            }
            let mut first_row = 0;
            for row in rows {
                let length = u64::from(row.num_steps);
                found.push((row, Location { part: index, first_row }));
                first_row += length;
            }
            parts.push(Part { name, rows: first_row, steps: Mutex::default(), frames: Mutex::default() });
        }
        let spec = spec.ok_or_else(|| Error::NoDataset { root: root.to_owned() })?;
        found.sort_by_key(|(row, _)| row.episode_id);
        if let Some(pair) = found.windows(2).find(|pair| pair[0].0.episode_id == pair[1].0.episode_id) {
            let place = part::file(root, Table::Episodes, &parts[pair[1].1.part].name);
            let first = &parts[pair[0].1.part].name;
            let reason = format!("episode {} is stored twice, also in {first}", pair[0].0.episode_id);
            return Err(Error::corrupt(&place, reason));
        }
        let (episodes, locations) = found.into_iter().unzip();
        Ok(Self {
            root: root.to_owned(),
            spec,
            parts,
            episodes,
            locations,
            handles: Handles::default(),
            actions: ActionBlocks::default(),
        })
    }

    /// What actions and frames are.
    pub fn spec(&self) -> &DatasetSpec {
        &self.spec
    }

    /// The rows of the table `episodes`, by ascending id.
    pub fn episodes(&self) -> &[EpisodeRow] {
        &self.episodes
    }

    /// Data pages read so far, of actions and images.
    pub fn pages_read(&self) -> u64 {
        self.handles.counters.pages.load(Ordering::Relaxed)
    }

    /// Bytes of these pages.
    pub fn bytes_read(&self) -> u64 {
        self.handles.counters.bytes.load(Ordering::Relaxed)
    }

    /// Reads a window. `actions` becomes `[length, C]`, `frames_rgb` becomes `[length, height, width, 3]`, or empty for
    /// a dataset without frames; their memory is reused.
    ///
    /// # Errors
    /// [`Error::NoSuchEpisode`], [`Error::Invalid`] for a window that reaches past its episode's end, and damaged files.
    pub fn read(&self, w: &Window, actions: &mut Vec<u8>, frames_rgb: &mut Vec<u8>) -> Result<()> {
        self.locate(w)?;
        frames_rgb.resize(w.length as usize * self.spec.frames.as_ref().map_or(0, FrameSpec::bytes), 0);
        self.read_into(w, actions, frames_rgb)
    }

    /// As [`read`](Self::read), the frames into a place of theirs, as a batch has one for each of its windows.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), and [`Error::Invalid`] when `frames_rgb` has another length.
    pub fn read_into(&self, w: &Window, actions: &mut Vec<u8>, frames_rgb: &mut [u8]) -> Result<()> {
        let bytes = self.spec.frames.as_ref().map_or(0, FrameSpec::bytes);
        let wanted = w.length as usize * bytes;
        if frames_rgb.len() != wanted {
            let reason = format!("{} bytes for {} frames, which take {wanted}", frames_rgb.len(), w.length);
            return Err(Error::invalid("output buffer", reason));
        }
        let mut slots = frames_rgb.chunks_exact_mut(bytes.max(1));
        self.visit(w, actions, |spec, image| slots.next().map_or(Ok(()), |slot| spec.decode_into(image, slot)))
    }

    /// Reads a window whose images the caller decodes: `actions` as for [`read`](Self::read), and `visit` is called with each
    /// image in turn.
    ///
    /// # Errors
    /// Those of [`read`](Self::read); what `visit` returns becomes [`Error::Corrupt`] that names the frame.
    pub fn visit(
        &self,
        w: &Window,
        actions: &mut Vec<u8>,
        mut visit: impl FnMut(&FrameSpec, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let (location, rows) = self.locate(w)?;
        actions.clear();
        self.append_actions(location.part, rows.clone(), actions)?;
        let Some(frame_spec) = &self.spec.frames else { return Ok(()) };
        self.visit_images(location.part, rows, |path, file_row, bytes| {
            visit(frame_spec, bytes).map_err(|e| {
                let t = file_row - location.first_row;
                Error::corrupt(path, format!("episode {}, frame {t}: {e}", w.episode_id))
            })
        })
    }

    /// A window's rows in its part.
    fn locate(&self, w: &Window) -> Result<(Location, Range<u64>)> {
        let (row, location) = self.find(w.episode_id)?;
        let end = u64::from(w.t_start) + u64::from(w.length);
        if w.length == 0 || end > u64::from(row.num_steps) {
            let place = format!("window of episode {} at t {}, length {}", w.episode_id, w.t_start, w.length);
            let reason = format!("the episode has {} steps; shorten the window", row.num_steps);
            return Err(Error::invalid(place, reason));
        }
        Ok((location, location.first_row + u64::from(w.t_start)..location.first_row + end))
    }

    /// All actions of an episode, `[T, C]`.
    ///
    /// # Errors
    /// [`Error::NoSuchEpisode`], and damaged files.
    pub fn read_actions(&self, episode_id: i64) -> Result<Vec<u8>> {
        let (row, location) = self.find(episode_id)?;
        let mut actions = Vec::with_capacity(row.num_steps as usize * self.spec.actions.len());
        let rows = location.first_row..location.first_row + u64::from(row.num_steps);
        self.append_actions(location.part, rows, &mut actions)?;
        Ok(actions)
    }

    /// A whole episode as it was written, its frames still encoded.
    ///
    /// # Errors
    /// [`Error::NoSuchEpisode`], and damaged files.
    pub fn read_episode(&self, episode_id: i64) -> Result<Episode> {
        let (row, location) = self.find(episode_id)?;
        let rows = location.first_row..location.first_row + u64::from(row.num_steps);
        let mut episode = Episode {
            episode_id,
            source: row.source.clone(),
            map: row.map.clone(),
            player: row.player.clone(),
            policy: row.policy.clone(),
            spawn: row.spawn.clone(),
            outcome: row.outcome.clone(),
            split: row.split.clone(),
            action_source: row.action_source,
            seed: row.seed,
            hz: row.hz,
            episode_return: row.episode_return,
            started_at: row.started_at,
            actions: self.read_actions(episode_id)?,
            poses: Vec::new(),
            rewards: Vec::new(),
            terminated: false,
            truncated: false,
            frames: Vec::new(),
        };
        self.read_telemetry(location.part, rows.clone(), &mut episode)?;
        if self.spec.frames.is_some() {
            self.visit_images(location.part, rows, |_, _, bytes| {
                episode.frames.push(bytes.to_vec());
                Ok(())
            })?;
        }
        Ok(episode)
    }

    fn find(&self, episode_id: i64) -> Result<(&EpisodeRow, Location)> {
        match self.episodes.binary_search_by_key(&episode_id, |row| row.episode_id) {
            Ok(i) => Ok((&self.episodes[i], self.locations[i])),
            Err(_) => Err(Error::NoSuchEpisode { root: self.root.clone(), episode_id }),
        }
    }

    fn append_actions(&self, part: usize, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        let file = self.steps(part)?;
        self.actions.append(part, &file, &self.handles.get(&file.path)?, rows, out)
    }

    /// Poses, rewards and end flags of `rows`, and a check that the rows are this episode's.
    fn read_telemetry(&self, part: usize, rows: Range<u64>, episode: &mut Episode) -> Result<()> {
        let file = self.steps(part)?;
        let source = self.handles.get(&file.path)?;
        let mut t = 0;
        for batch in file.batches(source, rows, None)? {
            let batch = batch?;
            let columns = Columns { path: &file.path, batch: &batch };
            let ids = columns.longs("episode_id")?;
            let times = columns.ints("t")?;
            let [x, y, z, yaw, pitch] = TELEMETRY.map(|name| columns.floats(name));
            let (x, y, z, yaw, pitch) = (x?, y?, z?, yaw?, pitch?);
            let rewards = columns.floats("reward")?;
            let flag = |name: &str| -> Result<&BooleanArray> { columns.get(name, |a| a.as_boolean_opt()) };
            let (terminated, truncated) = (flag("terminated")?, flag("truncated")?);
            for i in 0..batch.num_rows() {
                if ids.value(i) != episode.episode_id || times.value(i) != t {
                    let (id, found) = (ids.value(i), times.value(i));
                    let reason = format!(
                        "step {t} of episode {} is expected where step {found} of episode {id} lies",
                        episode.episode_id
                    );
                    return Err(Error::corrupt(&file.path, reason));
                }
                t += 1;
                if !x.is_null(i) {
                    let (x, y, z) = (x.value(i), y.value(i), z.value(i));
                    episode.poses.push(Pose { x, y, z, yaw: yaw.value(i), pitch: pitch.value(i) });
                }
                if !rewards.is_null(i) {
                    episode.rewards.push(rewards.value(i));
                }
                episode.terminated = terminated.value(i);
                episode.truncated = truncated.value(i);
            }
        }
        Ok(())
    }

    /// Calls `visit` with the file, the row and the encoded image of each of `rows`.
    fn visit_images(
        &self,
        part: usize,
        rows: Range<u64>,
        mut visit: impl FnMut(&Path, u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let frames = self.frames(part)?;
        let source = self.handles.get(frames.path())?;
        frames.read(&source, rows, |row, bytes| visit(frames.path(), row, bytes))
    }

    fn steps(&self, part: usize) -> Result<Arc<ParquetFile>> {
        once(&self.parts[part].steps, || Ok(self.open_file(part, Table::Steps)?.into()))
    }

    fn frames(&self, part: usize) -> Result<Arc<FramePages>> {
        once(&self.parts[part].frames, || Ok(FramePages::new(&self.open_file(part, Table::Frames)?)?.into()))
    }

    /// Opens a part's file and checks that it fits the part's rows in `episodes`.
    fn open_file(&self, part: usize, table: Table) -> Result<ParquetFile> {
        let Part { name, rows, .. } = &self.parts[part];
        let path = part::file(&self.root, table, name);
        let source =
            self.handles.get(&path).map_err(|e| if e.is_missing() { part::missing(&path, name) } else { e })?;
        let file = ParquetFile::load(&source, &path, table)?;
        if let Some(difference) = self.spec.difference(&file.spec) {
            let reason =
                format!("episodes/{name}.parquet and this file differ in {difference}; restore it from a copy");
            return Err(Error::conflict(&path, reason));
        }
        if file.rows() != *rows {
            let reason = format!("it has {} rows, but the episodes of this part have {rows} steps", file.rows());
            return Err(Error::corrupt(&path, reason));
        }
        Ok(file)
    }
}

/// The value in the cell, made if it is not there. Other threads wait meanwhile: a footer is read once.
fn once<T>(cell: &Mutex<Option<Arc<T>>>, make: impl FnOnce() -> Result<Arc<T>>) -> Result<Arc<T>> {
    let mut cell = cell.lock().unwrap_or_else(PoisonError::into_inner);
    match &*cell {
        Some(value) => Ok(value.clone()),
        None => Ok(cell.insert(make()?).clone()),
    }
}
