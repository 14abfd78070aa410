//! What will be read of an object, fetched before it is asked for.
//!
//! ```text
//!   pages that a scan will read     |a1||a2|..........|b1|b2||b3|   |c1|
//!   chunks: one request each        |------|          |----------------|      gaps of up to 256 KiB are fetched too
//!   in flight or at hand            at most 16 MiB beyond what is being read; a chunk is let go when all of it was read
//! ```
//!
//! A scan reads its columns side by side, a page of each, so several chunks are in use at once. What is needed and was not
//! begun is fetched at once, whatever the limit says: nothing can wait for ever.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError, mpsc};

use bytes::Bytes;
use parquet::file::metadata::ParquetMetaData;

use super::object::Object;

/// Bytes between two ranges that are rather fetched than asked for anew: what a connection brings during a round trip.
const GAP: u64 = 256 << 10;
/// A chunk is not joined with more beyond this size.
const CHUNK: u64 = 8 << 20;
/// Bytes in flight or at hand, beyond what is needed now.
const AHEAD: u64 = 16 << 20;

/// An object with what will be read of it.
pub(super) struct Ahead {
    pub(super) object: Object,
    /// Ascending, apart.
    chunks: Vec<Range<u64>>,
    state: Mutex<State>,
}

struct State {
    slots: Vec<Slot>,
    /// Bytes of the chunks that are in flight or at hand.
    held: u64,
}

struct Slot {
    content: Content,
    /// Ends of the expected ranges of the chunk that have not been read.
    ends: BTreeSet<u64>,
}

enum Content {
    Idle,
    Coming(mpsc::Receiver<object_store::Result<Bytes>>),
    Here(Bytes),
    /// All of it has been read.
    Gone,
}

impl Ahead {
    /// Begins to fetch `ranges`, which may be in any order.
    pub(super) fn new(object: Object, mut ranges: Vec<Range<u64>>) -> Self {
        ranges.retain(|range| !range.is_empty() && range.end <= object.size && object.held(range).is_none());
        ranges.sort_by_key(|range| range.start);
        let (mut chunks, mut slots) = (Vec::<Range<u64>>::new(), Vec::<Slot>::new());
        for range in ranges {
            match (chunks.last_mut(), slots.last_mut()) {
                (Some(chunk), Some(slot))
                    if range.start <= chunk.end.saturating_add(GAP)
                        && range.end.max(chunk.end) - chunk.start <= CHUNK =>
                {
                    chunk.end = chunk.end.max(range.end);
                    slot.ends.insert(range.end);
                }
                // A damaged index may name overlapping pages: what the chunk before has is read from there or anew.
                (Some(chunk), _) if range.start < chunk.end => {}
                _ => {
                    slots.push(Slot { content: Content::Idle, ends: BTreeSet::from([range.end]) });
                    chunks.push(range);
                }
            }
        }
        let ahead = Self { object, chunks, state: Mutex::new(State { slots, held: 0 }) };
        ahead.begin(&mut ahead.lock(), 0);
        ahead
    }

    /// Bytes of the object, expected or not. What is only `looked` at will be read once more.
    pub(super) fn read(&self, range: Range<u64>, looked: bool) -> io::Result<Bytes> {
        let at = self.chunks.partition_point(|chunk| chunk.end <= range.start);
        let Some(chunk) = self.chunks.get(at).filter(|chunk| chunk.start <= range.start && range.end <= chunk.end)
        else {
            return self.object.read(range);
        };
        let mut state = self.lock();
        let Some(bytes) = self.content(&mut state, at)? else {
            drop(state);
            return self.object.read(range);
        };
        let slot = &mut state.slots[at];
        if !looked {
            slot.ends.remove(&range.end);
        }
        if slot.ends.is_empty() {
            slot.content = Content::Gone;
            state.held -= chunk.end - chunk.start;
        }
        self.begin(&mut state, at);
        Ok(bytes.slice((range.start - chunk.start) as usize..(range.end - chunk.start) as usize))
    }

    /// Where the chunk with this byte ends, if it is one.
    pub(super) fn chunk_end(&self, at: u64) -> Option<u64> {
        let chunk = self.chunks.get(self.chunks.partition_point(|chunk| chunk.end <= at))?;
        (chunk.start <= at).then_some(chunk.end)
    }

    /// A chunk's bytes, waited for; none if it was let go.
    fn content(&self, state: &mut State, at: usize) -> io::Result<Option<Bytes>> {
        if matches!(state.slots[at].content, Content::Idle) {
            self.fetch(state, at).map_err(io::Error::other)?;
        }
        if let Content::Coming(request) = &state.slots[at].content {
            let bytes = self.object.wait(request);
            // A failed request is made again by whoever asks next.
            state.slots[at].content = match &bytes {
                Ok(bytes) => Content::Here(bytes.clone()),
                Err(_) => Content::Gone,
            };
            if bytes.is_err() {
                state.held -= self.chunks[at].end - self.chunks[at].start;
            }
            return bytes.map(Some).map_err(io::Error::other);
        }
        Ok(match &state.slots[at].content {
            Content::Here(bytes) => Some(bytes.clone()),
            _ => None,
        })
    }

    fn fetch(&self, state: &mut State, at: usize) -> crate::Result<()> {
        let chunk = self.chunks[at].clone();
        let size = chunk.end - chunk.start;
        state.slots[at].content = Content::Coming(self.object.start(chunk)?);
        state.held += size;
        Ok(())
    }

    /// Begins to fetch what comes after chunk `from`, as far as the limit goes.
    fn begin(&self, state: &mut State, from: usize) {
        for at in from..self.chunks.len() {
            let size = self.chunks[at].end - self.chunks[at].start;
            if !matches!(state.slots[at].content, Content::Idle) {
                continue;
            }
            // What cannot be begun now fails when it is needed.
            if state.held + size > AHEAD || self.fetch(state, at).is_err() {
                break;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the pages lie that a reader of some rows (all, when none are given; else ascending and apart) of some leaf columns
/// (all, when none are given) will ask for.
pub(super) fn expected(
    metadata: &ParquetMetaData,
    leaves: Option<&[usize]>,
    rows: Option<&[Range<u64>]>,
) -> Vec<Range<u64>> {
    let mut expected = Vec::new();
    let mut first_row = 0;
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let group_rows = first_row..first_row + u64::try_from(group.num_rows()).unwrap_or(0);
        first_row = group_rows.end;
        if rows.is_some_and(|rows| !overlap(rows, &group_rows)) {
            continue;
        }
        for leaf in 0..group.num_columns() {
            if leaves.is_some_and(|leaves| !leaves.contains(&leaf)) {
                continue;
            }
            let (start, length) = group.column(leaf).byte_range();
            let whole = start..start.saturating_add(length);
            let index = metadata.offset_index().and_then(|index| index.get(number)?.get(leaf));
            let (Some(rows), Some(index)) = (rows, index) else {
                expected.push(whole);
                continue;
            };
            let pages = index.page_locations();
            let page_start = |page: usize| u64::try_from(pages[page].offset).unwrap_or(u64::MAX);
            let row = |page: usize| match pages.get(page) {
                Some(page) => group_rows.start.saturating_add_signed(page.first_row_index),
                None => group_rows.end,
            };
            // The dictionary lies before the first page.
            if !pages.is_empty() && page_start(0) <= whole.end {
                expected.push(whole.start..page_start(0).max(whole.start));
            }
            for (number, page) in pages.iter().enumerate() {
                if overlap(rows, &(row(number)..row(number + 1))) {
                    let size = u64::try_from(page.compressed_page_size).unwrap_or(0);
                    expected.push(page_start(number)..page_start(number).saturating_add(size));
                }
            }
        }
    }
    expected
}

/// Whether one of `ranges`, which are ascending and apart, has a row of `wanted`.
fn overlap(ranges: &[Range<u64>], wanted: &Range<u64>) -> bool {
    ranges.get(ranges.partition_point(|range| range.end <= wanted.start)).is_some_and(|range| range.start < wanted.end)
}
