//! Reads columns of `steps` in order: what queries read.
//!
//! ```text
//!   episode_id, t        from the index, not from the file
//!   a, b, terminated, .. pages as they are (`bitmaps`); buttons beside the packed column: bits of it
//!   buttons, sticks      pages decoded straight to their type (`small_ints`)
//!   telemetry            the parquet crate
//! ```

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, UInt8Array, UInt16Array,
};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::datatypes::{DataType, SchemaRef};

use crate::action::Kind;
use crate::bitmaps::Bitmaps;
use crate::error::{Error, Result};
use crate::small_ints::SmallInts;
use crate::step_index::StepIndex;
use crate::storage::Counters;
use crate::table::BUTTONS;

/// Some rows and columns of one part of `steps`, batch by batch.
pub struct StepScan {
    index: Arc<StepIndex>,
    part: u32,
    schema: SchemaRef,
    columns: Vec<Column>,
    /// The packed buttons, where a column needs them.
    packed: Option<SmallInts<u16>>,
    /// What the parquet crate decodes, its columns in the order of their numbers.
    others: Option<Batches>,
    /// Rows not read yet, ascending and apart.
    rows: VecDeque<Range<u64>>,
    /// Places among the columns, and the flag that is wanted there.
    wanted: Vec<(usize, bool)>,
    batch_rows: usize,
    counters: Arc<Counters>,
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// How a column comes about.
enum Column {
    Episode,
    Time,
    /// A bit of the packed buttons.
    Button(usize),
    Flag(Box<Bitmaps>),
    Packed,
    Bucket(Box<SmallInts<u8>>),
    /// A column of `others`.
    Other(usize),
}

impl StepScan {
    /// A scan of `columns` (numbers in the schema of `steps`) over `rows` of `part`: ranges of rows, ascending and apart.
    /// Batches have `batch_rows` rows, but for the last.
    ///
    /// # Errors
    /// A file that is missing, damaged, or of another dataset.
    pub fn open(
        index: &Arc<StepIndex>,
        part: u32,
        columns: &[usize],
        rows: Vec<Range<u64>>,
        batch_rows: usize,
    ) -> Result<Self> {
        let (source, file) = index.part(part)?;
        let counters = Arc::<Counters>::default();
        let source = source.counted_by(counters.clone());
        let schema =
            Arc::new(index.schema().project(columns).map_err(|e| Error::Internal(format!("a scan of steps: {e}")))?);
        let packed_leaf = index.schema().index_of(BUTTONS).ok();
        let packed_leaf = packed_leaf.filter(|leaf| {
            *index.schema().field(*leaf).data_type() == DataType::UInt16
                && SmallInts::<u16>::can_read(file.metadata(), *leaf)
        });
        let buttons = index.spec().actions.components.iter().filter(|c| c.kind == Kind::Button);
        let buttons: Vec<&str> = buttons.map(|c| c.name.as_str()).collect();

        let bit_of = |leaf: usize| buttons.iter().position(|name| name == index.schema().field(leaf).name());
        let bitmap = |leaf: usize| Bitmaps::can_read(file.metadata(), leaf);
        // A bitmap costs so much less than the column of all that even twelve are read in less time.
        let apart = columns.iter().all(|leaf| bit_of(*leaf).is_none() || bitmap(*leaf));
        // The column of all of them, where it is read anyway or is the only way.
        let packed_leaf = packed_leaf.filter(|leaf| columns.contains(leaf) || !apart);

        // What will be read: for an object, which is fetched ahead.
        let stored = columns.iter().filter(|leaf| **leaf > 1);
        let stored = stored.map(|leaf| packed_leaf.filter(|_| bit_of(*leaf).is_some()).unwrap_or(*leaf));
        let stored: Vec<usize> = stored.collect();
        let source = source.expecting(file.metadata(), Some(&stored), Some(&rows));

        let mut others = Vec::new();
        let mut made = Vec::with_capacity(columns.len());
        for (&leaf, field) in columns.iter().zip(schema.fields()) {
            made.push(match (leaf, bit_of(leaf), packed_leaf) {
                (0, ..) => Column::Episode,
                (1, ..) => Column::Time,
                (_, Some(bit), Some(_)) => Column::Button(bit),
                (_, _, Some(packed)) if packed == leaf => Column::Packed,
                _ if *field.data_type() == DataType::UInt8 && SmallInts::<u8>::can_read(file.metadata(), leaf) => {
                    Column::Bucket(Box::new(SmallInts::new(file.clone(), source.clone(), leaf)))
                }
                _ if *field.data_type() == DataType::Boolean && bitmap(leaf) => {
                    Column::Flag(Box::new(Bitmaps::new(file.clone(), source.clone(), leaf)))
                }
                _ => {
                    others.push(leaf);
                    Column::Other(leaf)
                }
            });
        }
        // The parquet crate hands columns out in the order of the file, each once.
        others.sort_unstable();
        others.dedup();
        for column in &mut made {
            if let Column::Other(place) = column {
                *place = others.binary_search(place).unwrap_or_default();
            }
        }
        let rows: VecDeque<_> = rows.into_iter().filter(|range| !range.is_empty()).collect();
        let needs_packed = made.iter().any(|column| matches!(column, Column::Button(_) | Column::Packed));
        let packed =
            packed_leaf.filter(|_| needs_packed).map(|leaf| SmallInts::new(file.clone(), source.clone(), leaf));
        let others: Option<Batches> = if others.is_empty() {
            None
        } else {
            let ranges: Vec<Range<u64>> = rows.iter().cloned().collect();
            Some(Box::new(file.select(source, &ranges, Some(&others), batch_rows)?))
        };
        let wanted = Vec::new();
        Ok(Self {
            index: index.clone(),
            part,
            schema,
            columns: made,
            packed,
            others,
            rows,
            wanted,
            batch_rows,
            counters,
        })
    }

    /// Leaves batches out in which no row has all of the flags `wanted`: pairs of a column's place among the columns, and what
    /// it is to be. Of the other columns, their pages are then not read. Places of columns that are no flags, or are not read
    /// as such, are ignored.
    #[must_use]
    pub fn where_flags(mut self, wanted: &[(usize, bool)]) -> Self {
        // What the parquet crate decodes has to be asked for all rows.
        if self.others.is_none() {
            let is_flag = |(place, _): &&(usize, bool)| matches!(self.columns.get(*place), Some(Column::Flag(_)));
            self.wanted = wanted.iter().filter(is_flag).copied().collect();
        }
        self
    }

    /// The flags that are wanted, by the places of their columns; none if no row has them all.
    fn wanted(&mut self, rows: &[Range<u64>]) -> Result<Option<Vec<(usize, BooleanBuffer)>>> {
        let mut known: Vec<(usize, BooleanBuffer)> = Vec::with_capacity(self.wanted.len());
        let mut all: Option<BooleanBuffer> = None;
        for (place, down) in &self.wanted {
            let Some(Column::Flag(reader)) = self.columns.get_mut(*place) else { continue };
            let flags = match known.iter().find(|(at, _)| at == place) {
                Some((_, flags)) => flags.clone(),
                None => reader.read(rows)?,
            };
            known.push((*place, flags.clone()));
            let flags = if *down { flags } else { !&flags };
            let both = all.map_or(flags.clone(), |all| &all & &flags);
            if both.count_set_bits() == 0 {
                return Ok(None);
            }
            all = Some(both);
        }
        Ok(Some(known))
    }

    /// The columns of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Pages read so far.
    pub fn pages_read(&self) -> u64 {
        self.counters.pages.load(Ordering::Relaxed)
    }

    /// Bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.counters.bytes.load(Ordering::Relaxed)
    }

    /// The rows of the next batch.
    fn take(&mut self) -> Vec<Range<u64>> {
        let mut taken = Vec::new();
        let mut left = self.batch_rows as u64;
        while left > 0 {
            let Some(range) = self.rows.front_mut() else { break };
            let end = range.end.min(range.start + left);
            left -= end - range.start;
            taken.push(range.start..end);
            range.start = end;
            if range.is_empty() {
                self.rows.pop_front();
            }
        }
        taken
    }

    /// A batch, of which the flags of some places are read already: no reader goes back.
    fn batch(&mut self, rows: &[Range<u64>], known: &[(usize, BooleanBuffer)]) -> Result<RecordBatch> {
        let count = rows.iter().map(|range| (range.end - range.start) as usize).sum();
        let mut packed = Vec::new();
        if let Some(reader) = &mut self.packed {
            packed.reserve(count);
            for range in rows {
                reader.read(range.clone(), &mut packed)?;
            }
        }
        let packed = Buffer::from_vec(packed);
        let others = match &mut self.others {
            None => None,
            Some(reader) => reader.next().transpose()?.filter(|batch| batch.num_rows() == count),
        };
        let mut arrays = Vec::<ArrayRef>::with_capacity(self.columns.len());
        for (place, column) in self.columns.iter_mut().enumerate() {
            arrays.push(match column {
                Column::Episode => Arc::new(self.index.episode_ids(self.part, rows)),
                Column::Time => Arc::new(self.index.times(self.part, rows)),
                Column::Button(bit) => Arc::new(BooleanArray::new(bits(packed.typed_data(), *bit), None)),
                Column::Flag(reader) => {
                    let flags = match known.iter().find(|(at, _)| *at == place) {
                        Some((_, flags)) => flags.clone(),
                        None => reader.read(rows)?,
                    };
                    Arc::new(BooleanArray::new(flags, None))
                }
                Column::Packed => Arc::new(UInt16Array::new(packed.clone().into(), None)),
                Column::Bucket(reader) => {
                    let mut buckets = Vec::with_capacity(count);
                    for range in rows {
                        reader.read(range.clone(), &mut buckets)?;
                    }
                    Arc::new(UInt8Array::from(buckets))
                }
                Column::Other(place) => match &others {
                    Some(batch) => batch.column(*place).clone(),
                    None => return Err(Error::Internal("the columns of a scan have different lengths".into())),
                },
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|e| Error::Internal(format!("a scan of steps: {e}")))
    }
}

impl Iterator for StepScan {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rows = self.take();
            if rows.is_empty() {
                return None;
            }
            match self.wanted(&rows) {
                Ok(Some(known)) => return Some(self.batch(&rows, &known)),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl std::fmt::Debug for StepScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepScan").field("part", &self.part).field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Bit `bit` of every value.
fn bits(values: &[u16], bit: usize) -> BooleanBuffer {
    let mut bytes = Vec::with_capacity(values.len().div_ceil(8));
    let (sixteens, rest) = values.as_chunks::<16>();
    bytes.extend(sixteens.iter().flat_map(|sixteen| bit_of_sixteen(sixteen, bit).to_le_bytes()));
    bytes.extend(rest.chunks(8).map(|some| {
        let mut eight = [0; 8];
        eight[..some.len()].copy_from_slice(some);
        bit_of_eight(&eight, bit)
    }));
    BooleanBuffer::new(Buffer::from_vec(bytes), 0, values.len())
}

/// Every x86-64 gathers the top bits of sixteen bytes in one instruction.
#[cfg(target_arch = "x86_64")]
fn bit_of_sixteen(values: &[u16; 16], bit: usize) -> u16 {
    use std::arch::x86_64::{_mm_cvtsi32_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set_epi64x, _mm_sll_epi16};

    #[target_feature(enable = "sse2")]
    fn gather(fours: [i64; 4], to_top: i32) -> i32 {
        let to_top = _mm_cvtsi32_si128(to_top);
        let low = _mm_sll_epi16(_mm_set_epi64x(fours[1], fours[0]), to_top);
        let high = _mm_sll_epi16(_mm_set_epi64x(fours[3], fours[2]), to_top);
        // Narrowing saturates, which keeps the sign.
        _mm_movemask_epi8(_mm_packs_epi16(low, high))
    }
    let four = |i: usize| (0..4).fold(0u64, |word, k| word | u64::from(values[4 * i + k]) << (16 * k)) as i64;
    // SAFETY: SSE2 is part of x86-64.
    unsafe { gather(std::array::from_fn(four), 15 - bit as i32) as u16 }
}

#[cfg(not(target_arch = "x86_64"))]
fn bit_of_sixteen(values: &[u16; 16], bit: usize) -> u16 {
    let eight = |at: usize| bit_of_eight(&std::array::from_fn(|k| values[at + k]), bit);
    u16::from_le_bytes([eight(0), eight(8)])
}

fn bit_of_eight(values: &[u16; 8], bit: usize) -> u8 {
    let lanes = values.map(|value| (value >> bit & 1) as u8);
    // The product puts the lowest bit of lane i at bit 56 + i.
    (u64::from_le_bytes(lanes).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

impl StepIndex {
    /// The episodes of the rows, and their steps among the rows.
    fn runs(&self, part: u32, rows: &[Range<u64>]) -> impl Iterator<Item = (i64, Range<u32>)> {
        let episodes = self.part_episodes(part);
        rows.iter().flat_map(move |range| {
            let first = episodes.partition_point(|episode| episode.first_row <= range.start).saturating_sub(1);
            let touched = episodes[first.min(episodes.len())..].iter().take_while(|e| e.first_row < range.end);
            touched.map(|episode| {
                let from = range.start.max(episode.first_row) - episode.first_row;
                let to = (range.end - episode.first_row).min(u64::from(episode.steps));
                (episode.episode_id, from as u32..to as u32)
            })
        })
    }

    fn episode_ids(&self, part: u32, rows: &[Range<u64>]) -> Int64Array {
        let mut ids = Vec::with_capacity(rows.iter().map(|range| (range.end - range.start) as usize).sum());
        for (episode, steps) in self.runs(part, rows) {
            ids.resize(ids.len() + steps.len(), episode);
        }
        Int64Array::from(ids)
    }

    fn times(&self, part: u32, rows: &[Range<u64>]) -> Int32Array {
        let mut times = Vec::with_capacity(rows.iter().map(|range| (range.end - range.start) as usize).sum());
        for (_, steps) in self.runs(part, rows) {
            times.extend(steps.start as i32..steps.end as i32);
        }
        Int32Array::from(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_the_values() {
        let values: Vec<u16> = (0..77u32).map(|i| (i * 40503 % 65536) as u16).collect();
        for bit in 0..16 {
            let found = bits(&values, bit);
            assert_eq!(found.len(), values.len());
            for (i, value) in values.iter().enumerate() {
                assert_eq!(found.value(i), value >> bit & 1 == 1, "bit {bit} of value {i}");
            }
        }
    }
}
