//! Rows of the tables `steps` and `frames`, to Arrow.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray, StructArray,
    UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::SchemaRef;

use crate::action::{ActionSpace, Kind};
use crate::error::{Error, Result};
use crate::prepared::PreparedEpisode;
use crate::table::{STEP_PAGE_ROWS, TELEMETRY, Table, image_fields};

/// Rows of `steps`, column by column, until they fill a page: the pages of all columns begin at the same rows.
pub(crate) struct StepPage {
    schema: SchemaRef,
    /// Which components are buttons.
    kinds: Vec<Kind>,
    bits: Option<u8>,
    episode_id: Vec<i64>,
    t: Vec<i32>,
    /// One column a component, a byte a row.
    components: Vec<Vec<u8>>,
    telemetry: [Floats; TELEMETRY.len()],
    reward: Floats,
    terminated: Vec<u8>,
    truncated: Vec<u8>,
}

impl StepPage {
    pub(crate) fn new(actions: &ActionSpace) -> Self {
        Self {
            schema: Table::Steps.schema(actions),
            kinds: actions.components.iter().map(|c| c.kind).collect(),
            bits: actions.button_bits(),
            episode_id: Vec::new(),
            t: Vec::new(),
            components: vec![Vec::new(); actions.len()],
            telemetry: Default::default(),
            reward: Floats::default(),
            terminated: Vec::new(),
            truncated: Vec::new(),
        }
    }

    /// Appends an episode; `full` gets each page that this fills.
    pub(crate) fn push(
        &mut self,
        episode: &PreparedEpisode,
        mut full: impl FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let mut from = 0;
        while from < episode.steps {
            let to = episode.steps.min(from + STEP_PAGE_ROWS - self.t.len());
            self.append(episode, from..to);
            from = to;
            if self.t.len() == STEP_PAGE_ROWS {
                full(&self.take()?)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, episode: &PreparedEpisode, steps: Range<usize>) {
        let count = steps.len();
        self.episode_id.extend(std::iter::repeat_n(episode.row.episode_id, count));
        self.t.extend(steps.start as i32..steps.end as i32);
        for (column, values) in self.components.iter_mut().zip(episode.components.chunks_exact(episode.steps)) {
            column.extend_from_slice(&values[steps.clone()]);
        }
        for (column, values) in self.telemetry.iter_mut().zip(&episode.telemetry) {
            column.append(values, steps.clone());
        }
        self.reward.append(&episode.rewards, steps.clone());
        for (column, ended) in [(&mut self.terminated, episode.terminated), (&mut self.truncated, episode.truncated)] {
            column.resize(column.len() + count, 0);
            if let Some(last) = column.last_mut().filter(|_| steps.end == episode.steps) {
                *last = u8::from(ended);
            }
        }
    }

    /// The rows so far as a batch, none if there are none; the page is empty afterwards.
    pub(crate) fn rest(&mut self) -> Result<Option<RecordBatch>> {
        if self.t.is_empty() { Ok(None) } else { self.take().map(Some) }
    }

    fn take(&mut self) -> Result<RecordBatch> {
        let buttons = self.kinds.iter().zip(&self.components).filter(|(kind, _)| **kind == Kind::Button);
        let buttons: Vec<&[u8]> = buttons.map(|(_, column)| column.as_slice()).collect();
        let packed: Option<ArrayRef> = self.bits.map(|bits| -> ArrayRef {
            match bits {
                16 => Arc::new(UInt16Array::from(pack::<u16>(&buttons))),
                32 => Arc::new(UInt32Array::from(pack::<u32>(&buttons))),
                _ => Arc::new(UInt64Array::from(pack::<u64>(&buttons))),
            }
        });
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(std::mem::take(&mut self.episode_id))),
            Arc::new(Int32Array::from(std::mem::take(&mut self.t))),
        ];
        for (kind, column) in self.kinds.iter().zip(&mut self.components) {
            columns.push(match kind {
                Kind::Button => flags(std::mem::take(column)),
                Kind::Axis => Arc::new(UInt8Array::from(std::mem::take(column))),
            });
        }
        columns.extend(packed);
        columns.extend(self.telemetry.iter_mut().map(Floats::take));
        columns.push(self.reward.take());
        columns.push(flags(std::mem::take(&mut self.terminated)));
        columns.push(flags(std::mem::take(&mut self.truncated)));
        RecordBatch::try_new(self.schema.clone(), columns).map_err(|e| Error::Internal(format!("steps table: {e}")))
    }
}

/// A nullable column that whole episodes have or lack.
#[derive(Default)]
struct Floats {
    values: Vec<f32>,
    /// Empty while no value is null.
    valid: Vec<u8>,
}

impl Floats {
    /// Appends `steps` of an episode's values; an episode without any has nulls.
    fn append(&mut self, values: &[f32], steps: Range<usize>) {
        let there = u8::from(!values.is_empty());
        if there == 0 && self.valid.is_empty() {
            self.valid.resize(self.values.len(), 1);
        }
        if there == 0 || !self.valid.is_empty() {
            self.valid.resize(self.values.len() + steps.len(), there);
        }
        match values.get(steps.clone()) {
            Some(values) => self.values.extend_from_slice(values),
            None => self.values.resize(self.values.len() + steps.len(), 0.0),
        }
    }

    fn take(&mut self) -> ArrayRef {
        let valid = std::mem::take(&mut self.valid);
        let nulls = (!valid.is_empty()).then(|| NullBuffer::new(bitmap(&valid)));
        Arc::new(Float32Array::new(std::mem::take(&mut self.values).into(), nulls))
    }
}

/// Bytes 0 and 1 as a Boolean column.
fn flags(bytes: Vec<u8>) -> ArrayRef {
    Arc::new(BooleanArray::new(bitmap(&bytes), None))
}

/// Bytes 0 and 1 as bits, eight at a time: the product moves the lowest bit of byte i to bit 56 + i.
fn bitmap(bytes: &[u8]) -> BooleanBuffer {
    let mut bits: Vec<u8> = Vec::with_capacity(bytes.len().div_ceil(8));
    let eights = bytes.chunks_exact(8);
    let rest = eights.remainder();
    bits.extend(eights.map(|eight| {
        let word = eight.iter().rev().fold(0u64, |word, &byte| word << 8 | u64::from(byte));
        (word.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
    }));
    if !rest.is_empty() {
        bits.push(rest.iter().rev().fold(0, |bits, &byte| bits << 1 | byte));
    }
    BooleanBuffer::new(Buffer::from_vec(bits), 0, bytes.len())
}

/// A word of [`pack`].
pub(crate) trait Word: Copy + Default {
    /// Sets bit `k` where `down` is 1.
    fn set(&mut self, k: u32, down: u8);
}

macro_rules! words {
    ($($word:ty),*) => {$(
        impl Word for $word {
            fn set(&mut self, k: u32, down: u8) {
                *self |= <$word>::from(down) << k;
            }
        }
    )*};
}

words!(u16, u32, u64);

/// Columns of bytes 0 and 1 as one word a row: bit k is column k.
pub(crate) fn pack<W: Word>(columns: &[&[u8]]) -> Vec<W> {
    let mut words = vec![W::default(); columns.first().map_or(0, |column| column.len())];
    for (k, column) in columns.iter().enumerate() {
        words.iter_mut().zip(*column).for_each(|(word, &down)| word.set(k as u32, down));
    }
    words
}

/// Frames as one batch of the table `frames`: `(episode_id, t, encoded image)` a row.
pub(crate) fn frame_batch(rows: &[(i64, i32, Vec<u8>)], actions: &ActionSpace) -> Result<RecordBatch> {
    let mut bytes = BinaryBuilder::with_capacity(rows.len(), rows.iter().map(|r| r.2.len()).sum());
    rows.iter().for_each(|row| bytes.append_value(&row.2));
    let paths = StringArray::new_null(rows.len());
    let internal = |e| Error::Internal(format!("frames table: {e}"));
    let image = StructArray::try_new(image_fields(), vec![Arc::new(bytes.finish()), Arc::new(paths)], None)
        .map_err(internal)?;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.1).collect::<Int32Array>()),
        Arc::new(image),
    ];
    RecordBatch::try_new(Table::Frames.schema(actions), columns).map_err(internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_words_are_what_the_bytes_say() {
        let bytes: Vec<u8> = (0..77u8).map(|i| u8::from(i % 3 == 0 || i % 7 == 2)).collect();
        for length in [0, 1, 7, 8, 9, 64, 77] {
            let bits = bitmap(&bytes[..length]);
            assert_eq!(bits.len(), length);
            assert!(bits.iter().zip(&bytes).all(|(bit, byte)| bit == (*byte == 1)), "{length}");
        }
        let columns = [[1u8, 0, 1], [0, 0, 1], [0, 1, 1]];
        let columns: Vec<&[u8]> = columns.iter().map(|c| c.as_slice()).collect();
        assert_eq!(pack::<u16>(&columns), [0b001, 0b100, 0b111]);
        assert!(pack::<u64>(&[]).is_empty());
    }
}
