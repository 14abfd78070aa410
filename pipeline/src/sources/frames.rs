//! Frames and actions of a dataset by episode and step, wherever its frames come from: as pixels of the model's size, or as they are
//! stored, for a device that unpacks them itself.
//!
//! Blocks of 16 steps are kept in memory while the budget lasts, in whichever form is asked for: of packed frames there is room for
//! more than twice as many.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use playhouse_agent::{PackedFrames, shrink};
use playhouse_schemas::{Codec, Dataset, EpisodeRow, Window, WindowReader, gamepad::COMPONENTS};

use super::{CONTEXT, open_replay};
use crate::env::{Replay, SOURCE};

/// Timesteps of a cached block, and of the context that a window of a rollout only looks at.
pub(super) const BLOCK: usize = CONTEXT / 2;
/// Side of a stored or rendered frame.
const SIDE: usize = 128;

/// Where frames are put, one after another.
pub(super) enum Sink<'a> {
    /// What is left of a place for pixels.
    Pixels(&'a mut [u8]),
    /// Images of the codec `fast`.
    Packed(&'a mut PackedFrames),
}

impl<'a> Sink<'a> {
    /// The place of the next so many bytes of pixels.
    fn take(rest: &mut &'a mut [u8], bytes: usize) -> &'a mut [u8] {
        let (place, left) = std::mem::take(rest).split_at_mut(bytes);
        *rest = left;
        place
    }

    /// Adds frames of a block.
    fn copy(&mut self, block: &Stored, frames: Range<usize>, bytes: usize) {
        match (self, block) {
            (Sink::Pixels(rest), Stored::Pixels(from)) => {
                Self::take(rest, frames.len() * bytes).copy_from_slice(&from[frames.start * bytes..frames.end * bytes]);
            }
            (Sink::Packed(to), Stored::Packed(from)) => to.extend(from, frames),
            _ => unreachable!("blocks are dropped when their form changes"),
        }
    }

    /// Adds black frames up to the end of a window, of which `missing` are not there.
    pub(super) fn pad(&mut self, missing: usize) {
        match self {
            // A batch's memory is used again: what an earlier window left must not be seen.
            Sink::Pixels(rest) => rest.fill(0),
            Sink::Packed(to) => (0..missing).for_each(|_| to.push_black()),
        }
    }
}

/// Frames of a block.
enum Stored {
    Pixels(Vec<u8>),
    Packed(PackedFrames),
}

/// Sixteen steps (fewer at an episode's end).
struct Block {
    actions: Vec<u8>,
    frames: Stored,
}

impl Block {
    fn bytes(&self) -> usize {
        let frames = match &self.frames {
            Stored::Pixels(pixels) => pixels.len(),
            Stored::Packed(packed) => packed.held(),
        };
        self.actions.len() + frames
    }
}

/// Blocks of a dataset.
pub(super) struct Frames {
    origin: Origin,
    episodes: HashMap<i64, EpisodeRow>,
    pub(super) side: usize,
    /// Whether frames are handed out as they are stored.
    packed: bool,
    cache: Mutex<Cache>,
}

enum Origin {
    Stored(Box<WindowReader>),
    Arena { dataset: Dataset, replays: Mutex<HashMap<i64, Arc<Replay>>> },
}

struct Cache {
    blocks: HashMap<(i64, usize), Arc<Block>>,
    budget: usize,
}

impl Frames {
    pub(super) fn open(
        dataset: Dataset,
        episodes: HashMap<i64, EpisodeRow>,
        side: usize,
        budget: usize,
    ) -> Result<Self> {
        let origin = match &dataset.spec().frames {
            Some(spec) => {
                ensure!(
                    usize::from(spec.width) == SIDE && usize::from(spec.height) == SIDE,
                    "{}: frames are {}x{}, but the agent sees {SIDE}x{SIDE}: import or record at that size",
                    dataset.root().display(),
                    spec.width,
                    spec.height
                );
                Origin::Stored(Box::new(dataset.reader()?))
            }
            None => {
                if let Some(row) = episodes.values().find(|row| row.source != SOURCE) {
                    bail!(
                        "{} stores no frames, and episode {} was not played in the arena but comes from `{}`: record \
                         or import it with frames",
                        dataset.root().display(),
                        row.episode_id,
                        row.source
                    );
                }
                Origin::Arena { dataset, replays: Mutex::default() }
            }
        };
        let cache = Mutex::new(Cache { blocks: HashMap::new(), budget });
        Ok(Frames { origin, episodes, side, packed: false, cache })
    }

    /// From here on frames are handed out as they are stored where that is wanted, they are stored in the codec `fast` and not to be
    /// shrunk; whether it is so.
    pub(super) fn pack(&mut self, wanted: bool) -> bool {
        let can = match &self.origin {
            Origin::Stored(reader) => {
                self.side == SIDE && reader.spec().frames.as_ref().is_some_and(|spec| spec.codec == Codec::Fast)
            }
            Origin::Arena { .. } => false,
        };
        if self.packed == (wanted && can) {
            return self.packed;
        }
        self.packed = !self.packed;
        let cache = self.cache.get_mut().unwrap_or_else(PoisonError::into_inner);
        cache.budget += cache.blocks.drain().map(|(_, block)| block.bytes()).sum::<usize>();
        self.packed
    }

    pub(super) fn packed(&self) -> bool {
        self.packed
    }

    pub(super) fn frame_bytes(&self) -> usize {
        self.side * self.side * 3
    }

    /// A window's frames and actions `[length, components]`, from memory as far as they are there.
    pub(super) fn window(&self, window: &Window, frames: &mut Sink, actions: &mut [u8]) -> Result<()> {
        let (start, length) = (window.t_start as usize, window.length as usize);
        // Steps `missing..t` are in no block: they are read at once, since neighbours share pages.
        let (mut t, mut missing) = (0, 0);
        while t < length {
            let (index, offset) = ((start + t) / BLOCK, (start + t) % BLOCK);
            let end = (t + BLOCK - offset).min(length);
            if let Some(block) = self.block(window.episode_id, index)? {
                let (before, actions) = actions[..end * COMPONENTS].split_at_mut(t * COMPONENTS);
                self.read(window.episode_id, start + missing, frames, &mut before[missing * COMPONENTS..])?;
                frames.copy(&block.frames, offset..offset + end - t, self.frame_bytes());
                actions.copy_from_slice(&block.actions[offset * COMPONENTS..][..actions.len()]);
                missing = end;
            }
            t = end;
        }
        self.read(window.episode_id, start + missing, frames, &mut actions[missing * COMPONENTS..])
    }

    /// Block `index` of an episode, from memory if it is there, and else read and kept; none if there is no room for it.
    fn block(&self, episode_id: i64, index: usize) -> Result<Option<Arc<Block>>> {
        let key = (episode_id, index);
        {
            let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(block) = cache.blocks.get(&key) {
                return Ok(Some(Arc::clone(block)));
            }
            // Sampling is uniform, so which blocks stay does not matter: the first ones do, and nothing is ever evicted.
            if cache.budget < BLOCK * (self.frame_bytes() + COMPONENTS) {
                return Ok(None);
            }
        }
        let start = index * BLOCK;
        let count = BLOCK.min((self.row(episode_id)?.num_steps as usize).saturating_sub(start));
        let mut actions = vec![0; count * COMPONENTS];
        let frames = if self.packed {
            let mut packed = PackedFrames::default();
            self.read(episode_id, start, &mut Sink::Packed(&mut packed), &mut actions)?;
            // The budget is for what is held.
            packed.shrink_to_fit();
            Stored::Packed(packed)
        } else {
            let mut pixels = vec![0; count * self.frame_bytes()];
            self.read(episode_id, start, &mut Sink::Pixels(&mut pixels), &mut actions)?;
            Stored::Pixels(pixels)
        };
        let block = Arc::new(Block { actions, frames });
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let size = block.bytes();
        if size <= cache.budget && cache.blocks.insert(key, Arc::clone(&block)).is_none() {
            cache.budget -= size;
        }
        Ok(Some(block))
    }

    fn row(&self, episode_id: i64) -> Result<&EpisodeRow> {
        self.episodes.get(&episode_id).with_context(|| format!("episode {episode_id} is not known"))
    }

    /// Reads or renders the steps from `start` on, as many as `actions` has room for.
    fn read(&self, episode_id: i64, start: usize, frames: &mut Sink, actions: &mut [u8]) -> Result<()> {
        if actions.is_empty() {
            return Ok(());
        }
        let count = actions.len() / COMPONENTS;
        match (&self.origin, frames) {
            (Origin::Stored(reader), frames) => {
                let window = Window { episode_id, t_start: start as u32, length: count as u32, weight: 1.0 };
                let mut played = Vec::with_capacity(actions.len());
                match frames {
                    Sink::Packed(packed) => reader.visit(&window, &mut played, |spec, image| {
                        spec.verify_packed(image)?;
                        packed.push(image);
                        Ok(())
                    })?,
                    Sink::Pixels(rest) => {
                        let frames = Sink::take(rest, count * self.frame_bytes());
                        self.decode(reader, &window, &mut played, frames)?;
                    }
                }
                actions.copy_from_slice(&played);
            }
            (Origin::Arena { dataset, replays }, Sink::Pixels(rest)) => {
                let replay = replay(dataset, replays, self.row(episode_id)?)?;
                let frames = Sink::take(rest, count * self.frame_bytes());
                self.render(&replay, start, frames).with_context(|| format!("episode {episode_id}"))?;
                actions.copy_from_slice(&replay.actions[start * COMPONENTS..(start + count) * COMPONENTS]);
            }
            (Origin::Arena { .. }, Sink::Packed(_)) => unreachable!("what is rendered is not packed"),
        }
        Ok(())
    }

    /// Stored frames of a window as pixels of the model's size, and its actions.
    fn decode(
        &self,
        reader: &WindowReader,
        window: &Window,
        actions: &mut Vec<u8>,
        frames: &mut [u8],
    ) -> playhouse_schemas::Result<()> {
        if self.side == SIDE {
            return reader.read_into(window, actions, frames);
        }
        let mut stored = vec![0; SIDE * SIDE * 3];
        let mut slots = frames.chunks_exact_mut(self.frame_bytes());
        reader.visit(window, actions, |spec, image| {
            spec.decode_into(image, &mut stored)?;
            if let Some(slot) = slots.next() {
                shrink(&stored, SIDE, slot, self.side);
            }
            Ok(())
        })
    }

    /// The frames from `start` on of an episode that is played again.
    fn render(&self, replay: &Replay, start: usize, frames: &mut [u8]) -> Result<()> {
        if self.side == SIDE {
            return replay.render(start, frames);
        }
        let count = frames.len() / self.frame_bytes();
        let mut rendered = vec![0; count * playhouse_arena::FRAME_BYTES];
        replay.render(start, &mut rendered)?;
        let slots = frames.chunks_exact_mut(self.frame_bytes());
        let frames = rendered.chunks_exact(SIDE * SIDE * 3).zip(slots);
        frames.for_each(|(from, to)| shrink(from, SIDE, to, self.side));
        Ok(())
    }
}

fn replay(dataset: &Dataset, replays: &Mutex<HashMap<i64, Arc<Replay>>>, row: &EpisodeRow) -> Result<Arc<Replay>> {
    if let Some(replay) = replays.lock().unwrap_or_else(PoisonError::into_inner).get(&row.episode_id) {
        return Ok(Arc::clone(replay));
    }
    let replay = Arc::new(open_replay(dataset, row)?);
    replays.lock().unwrap_or_else(PoisonError::into_inner).insert(row.episode_id, Arc::clone(&replay));
    Ok(replay)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use playhouse_agent::{WindowBatch, WindowSource};
    use playhouse_kernels::reference::frames as oracle;

    use super::super::{Role, Windows};
    use super::*;
    use crate::progress::Silent;
    use crate::stages::record_into;

    fn recorded(root: &Path, frames: &str) -> PathBuf {
        let path = root.join(frames);
        let settings = format!("map = 'skygarden'\nepisodes = 2\nframes = '{frames}'").parse().unwrap();
        record_into(&path, &settings, 11, 2, &Silent).unwrap();
        path
    }

    /// At the start, off the grid of blocks, and at the end of each episode.
    fn windows(dataset: &Path) -> Vec<Window> {
        let window = |row: &EpisodeRow, t_start: u32| {
            let length = (row.num_steps - t_start).min(32);
            Window { episode_id: row.episode_id, t_start, length, weight: 0.5 }
        };
        let rows = Dataset::open(dataset).unwrap().episodes().unwrap();
        rows.iter().flat_map(|row| [window(row, 0), window(row, 7), window(row, row.num_steps - 5)]).collect()
    }

    fn loaded(source: &mut Windows) -> WindowBatch {
        let (mut batch, all) = (WindowBatch::default(), (0..source.len()).collect::<Vec<_>>());
        source.load(&all, &mut batch).unwrap();
        batch
    }

    fn frames_of(batch: &WindowBatch, window: usize) -> &[u8] {
        let bytes = CONTEXT * SIDE * SIDE * 3;
        &batch.frames[window * bytes..][..bytes]
    }

    /// With nothing kept, and with everything.
    fn opened(dataset: &Path, side: usize) -> [Windows; 2] {
        [0, 1 << 30].map(|budget| Windows::open(dataset, windows(dataset), Role::Whole, side, budget).unwrap())
    }

    #[test]
    fn packed_windows_are_those_of_pixels() {
        let dir = tempfile::tempdir().unwrap();
        let fast = recorded(dir.path(), "fast");
        for mut source in opened(&fast, SIDE) {
            let pixels = loaded(&mut source);
            assert!(source.pack(true), "frames are as a device takes them");
            let packed = loaded(&mut source);
            assert!(packed.frames.len() < pixels.frames.len() * 2 / 3, "{} bytes", packed.frames.len());
            let frames = oracle::decode(&packed.frames, source.len() * CONTEXT, SIDE);
            assert!(WindowBatch { frames, ..packed.clone() } == pixels);
            // The second time, of blocks that are kept or not.
            assert!(loaded(&mut source) == packed);
            // Fewer windows take the memory of more.
            let mut one = WindowBatch::default();
            source.load(&[1], &mut one).unwrap();
            assert!(oracle::decode(&one.frames, CONTEXT, SIDE) == frames_of(&pixels, 1));
            assert!(!source.pack(false));
            assert!(loaded(&mut source) == pixels);
        }
    }

    #[test]
    fn what_is_shrunk_or_stored_otherwise_is_not_packed() {
        let dir = tempfile::tempdir().unwrap();
        let fast = recorded(dir.path(), "fast");
        let [jpeg, none] = ["jpeg", "none"].map(|frames| recorded(dir.path(), frames));
        for (dataset, side) in [(&fast, SIDE / 2), (&jpeg, SIDE), (&none, SIDE)] {
            for mut source in opened(dataset, side) {
                let pixels = loaded(&mut source);
                assert!(!source.pack(true), "{} at {side}", dataset.display());
                assert!(loaded(&mut source) == pixels);
            }
        }
    }

    #[test]
    fn more_packed_frames_are_kept_and_the_budget_is_kept_to() {
        let dir = tempfile::tempdir().unwrap();
        let fast = recorded(dir.path(), "fast");
        let budget = 3 * BLOCK * (SIDE * SIDE * 3 + COMPONENTS);
        let mut source = Windows::open(&fast, windows(&fast), Role::Whole, SIDE, budget).unwrap();
        let kept = |source: &mut Windows| {
            loaded(source);
            let cache = source.frames.cache.get_mut().unwrap();
            let held: usize = cache.blocks.values().map(|block| block.bytes()).sum();
            assert_eq!(held + cache.budget, budget);
            cache.blocks.len()
        };
        assert_eq!(kept(&mut source), 3);
        assert!(source.pack(true));
        assert!(kept(&mut source) > 3);
    }

    /// One byte of a group is changed: the writer sees that nothing is missing, and only the checksum that it is another image.
    #[test]
    fn a_damaged_image_is_the_same_error_packed_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let fast = Dataset::open(&recorded(dir.path(), "fast")).unwrap();
        let mut episode = fast.read_episode(1).unwrap();
        let end = episode.frames[9].len() - 60;
        episode.frames[9][end] ^= 4;
        let damaged = Dataset::create(&dir.path().join("damaged"), fast.spec()).unwrap();
        let mut writer = damaged.writer().unwrap();
        writer.push(episode).unwrap();
        writer.finish().unwrap();
        for mut source in opened(damaged.root(), SIDE) {
            let error = |source: &mut Windows| source.load(&[0], &mut WindowBatch::default()).unwrap_err().to_string();
            let pixels = error(&mut source);
            assert!(pixels.contains("frames/part-") && pixels.contains("episode 1, frame 9:"), "{pixels}");
            assert!(pixels.contains("its checksum is another"), "{pixels}");
            assert!(source.pack(true));
            assert_eq!(error(&mut source), pixels);
        }
    }
}
