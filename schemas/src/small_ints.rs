//! Decodes a column of small unsigned integers: stick buckets and packed buttons.
//!
//! Parquet stores them as 32-bit integers, and a general reader decodes to those and then narrows. Here a page of
//! dictionary indices becomes bytes in one step, through a table of the narrow values. What a page may hold is PLAIN or
//! dictionary indices without nulls, which is what our writer makes; [`SmallInts::can_read`] says no to anything else.
//!
//! The layout of indices is Parquet's RLE/bit-packed hybrid
//! (<https://parquet.apache.org/docs/file-format/data-pages/encodings/>).

use std::ops::Range;
use std::sync::Arc;

use parquet::basic::{Encoding, Type};
use parquet::column::page::Page;
use parquet::file::metadata::ParquetMetaData;

use crate::error::Result;
use crate::page_cursor::{PageCursor, values_of};
use crate::parquet_file::ParquetFile;
use crate::storage::Source;

/// An unsigned integer that a column is narrowed to.
pub(crate) trait Narrow: Copy + Default + Send + 'static {
    /// The low bits of a stored value; none if it does not fit.
    fn narrow(stored: i32) -> Option<Self>;
}

impl Narrow for u8 {
    fn narrow(stored: i32) -> Option<Self> {
        stored.try_into().ok()
    }
}

impl Narrow for u16 {
    fn narrow(stored: i32) -> Option<Self> {
        stored.try_into().ok()
    }
}

/// One column of one file, read forward.
pub(crate) struct SmallInts<T> {
    pages: PageCursor,
    /// The row group whose dictionary is known.
    group: Option<usize>,
    dictionary: Vec<T>,
    /// The decoded page, and its rows in the file.
    page: Vec<T>,
    page_rows: Range<u64>,
}

impl<T: Narrow> SmallInts<T> {
    /// Whether every page of the column is of a kind that is read here.
    pub(crate) fn can_read(metadata: &ParquetMetaData, leaf: usize) -> bool {
        let column = metadata.file_metadata().schema_descr().column(leaf);
        column.max_def_level() == 0
            && column.max_rep_level() == 0
            && column.physical_type() == Type::INT32
            && metadata.offset_index().is_some()
            && metadata.row_groups().iter().all(|group| {
                let known = [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY, Encoding::PLAIN_DICTIONARY];
                group.column(leaf).encodings().all(|encoding| known.contains(&encoding))
            })
    }

    pub(crate) fn new(file: Arc<ParquetFile>, source: Source, leaf: usize) -> Self {
        let pages = PageCursor::new(file, source, leaf);
        Self { pages, group: None, dictionary: Vec::new(), page: Vec::new(), page_rows: 0..0 }
    }

    /// Appends the values of `rows`, which must not lie before those of an earlier call.
    ///
    /// # Errors
    /// A damaged page.
    pub(crate) fn read(&mut self, rows: Range<u64>, out: &mut Vec<T>) -> Result<()> {
        let mut at = rows.start;
        while at < rows.end {
            self.seek(at)?;
            let end = rows.end.min(self.page_rows.end);
            let from = (at - self.page_rows.start) as usize;
            let values = self.page.get(from..from + (end - at) as usize);
            out.extend_from_slice(values.ok_or_else(|| self.pages.damaged("a page has fewer values than rows"))?);
            at = end;
        }
        Ok(())
    }

    /// Decodes the page with `row`, unless it is the current one.
    fn seek(&mut self, row: u64) -> Result<()> {
        if self.page_rows.contains(&row) {
            return Ok(());
        }
        let found = self.pages.find(row)?;
        // Until it is decoded whole, the page is none.
        self.page_rows = 0..0;
        if self.group != Some(found.group) {
            self.dictionary = match self.pages.dictionary() {
                None => Vec::new(),
                Some(Page::DictionaryPage { buf, num_values, .. }) => {
                    let mut values = Vec::with_capacity(*num_values as usize);
                    plain(buf, *num_values as usize, &mut values)
                        .ok_or_else(|| self.pages.damaged("its dictionary does not fit the column's type"))?;
                    values
                }
                Some(_) => return Err(self.pages.damaged("its dictionary is not where the footer says")),
            };
            self.group = Some(found.group);
        }
        let count = (found.rows.end - found.rows.start) as usize;
        self.page.clear();
        self.page.reserve(count);
        decode_page(found.page, count, &self.dictionary, &mut self.page)
            .ok_or_else(|| self.pages.damaged("a page of indices is damaged"))?;
        self.page_rows = found.rows;
        Ok(())
    }
}

fn decode_page<T: Narrow>(page: Page, count: usize, dictionary: &[T], out: &mut Vec<T>) -> Option<()> {
    let (values, encoding) = values_of(page)?;
    match encoding {
        Encoding::PLAIN => plain(&values, count, out),
        Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => {
            let (width, indices) = values.split_first()?;
            hybrid(indices, *width, count, dictionary, out)
        }
        _ => None,
    }
}

/// `count` little-endian 32-bit integers.
fn plain<T: Narrow>(values: &[u8], count: usize, out: &mut Vec<T>) -> Option<()> {
    let (stored, _) = values.get(..count.checked_mul(4)?)?.as_chunks::<4>();
    for value in stored {
        out.push(T::narrow(i32::from_le_bytes(*value))?);
    }
    Some(())
}

/// `count` dictionary indices of `width` bits in the hybrid encoding, looked up. None if the input is too short or an
/// index lies beyond the dictionary.
pub(crate) fn hybrid<T: Narrow>(
    mut input: &[u8],
    width: u8,
    count: usize,
    dictionary: &[T],
    out: &mut Vec<T>,
) -> Option<()> {
    if width > 16 {
        return None;
    }
    // One entry for every index that `width` bits can say, so that the inner loop needs no check.
    let mut table = dictionary.to_vec();
    table.resize((1usize << width).max(dictionary.len()), T::default());
    let pairs = if width == 4 { Some(Pairs::new(&table, dictionary.len())) } else { None };
    let mut largest = 0;
    // Values are written in blocks, the last of which may reach beyond the end.
    let mut at = out.len();
    let end = at + count;
    out.resize(end + BLOCK, T::default());
    while at < end {
        let (header, rest) = varint(input)?;
        input = rest;
        let wanted = end - at;
        if header & 1 == 0 {
            let run = ((header >> 1) as usize).min(wanted);
            let (bytes, rest) = input.split_at_checked(usize::from(width).div_ceil(8))?;
            input = rest;
            let index = bytes.iter().rev().fold(0usize, |index, byte| index << 8 | usize::from(*byte));
            largest = largest.max(index);
            // A run of no values would never end.
            if run == 0 {
                return None;
            }
            let block = [*table.get(index)?; BLOCK];
            for start in (at..at + run).step_by(BLOCK) {
                out[start..start + BLOCK].copy_from_slice(&block);
            }
            at += run;
        } else {
            let groups = (header >> 1) as usize;
            let stored = groups.checked_mul(usize::from(width))?;
            // A writer may cut the last group short.
            let (packed, rest) = input.split_at(stored.min(input.len()));
            input = rest;
            let values = groups.checked_mul(8)?.min(wanted);
            if groups == 0 || packed.len() < (values * usize::from(width)).div_ceil(8) {
                return None;
            }
            let to = &mut out[at..at + values.next_multiple_of(8)];
            match &pairs {
                Some(pairs) => pairs.unpack(packed, to)?,
                None => largest = largest.max(unpack(packed, width, &table, to)),
            }
            at += values;
        }
    }
    out.truncate(end);
    (largest < dictionary.len()).then_some(())
}

/// Values that a run writes at a time.
const BLOCK: usize = 16;

/// Indices of four bits, as a stick's eleven buckets have, looked up two at a time.
struct Pairs<T> {
    values: Vec<[T; 2]>,
    /// Whether one of the two lies beyond the dictionary.
    beyond: Vec<bool>,
}

impl<T: Narrow> Pairs<T> {
    fn new(table: &[T], known: usize) -> Self {
        let halves = |byte: usize| [byte & 15, byte >> 4];
        Self {
            values: (0..256).map(|byte| halves(byte).map(|index| table[index])).collect(),
            beyond: (0..256).map(|byte| halves(byte).iter().any(|index| *index >= known)).collect(),
        }
    }

    /// Fills `to`, whose length is even, from as many bytes as there are. None if an index lies beyond the dictionary.
    fn unpack(&self, packed: &[u8], to: &mut [T]) -> Option<()> {
        let (Ok(values), Ok(beyond)) =
            (<&[[T; 2]; 256]>::try_from(&self.values[..]), <&[bool; 256]>::try_from(&self.beyond[..]))
        else {
            return None;
        };
        let mut bad = false;
        for (pair, byte) in to.as_chunks_mut::<2>().0.iter_mut().zip(packed) {
            *pair = values[usize::from(*byte)];
            bad |= beyond[usize::from(*byte)];
        }
        (!bad).then_some(())
    }
}

/// Fills `to`, a multiple of eight values, with those whose indices are packed in `width` bits each, lowest bits first;
/// what the input lacks is index 0. Returns the largest index.
fn unpack<T: Narrow>(packed: &[u8], width: u8, table: &[T], to: &mut [T]) -> usize {
    macro_rules! widths {
        ($($w:literal),*) => {
            match width {
                $($w => unpack_width::<T, $w>(packed, table, to),)*
                _ => {
                    to.fill(table.first().copied().unwrap_or_default());
                    0
                }
            }
        };
    }
    widths!(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
}

fn unpack_width<T: Narrow, const W: usize>(packed: &[u8], table: &[T], to: &mut [T]) -> usize {
    let mask = (1u64 << W) - 1;
    // Known to the compiler, so that an index of W bits needs no check.
    let Some(table) = table.get(..1 << W) else { return usize::MAX };
    let mut largest = 0;
    for (i, eight) in to.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        // Eight indices of up to 16 bits are at most 16 bytes: the first four begin at byte 0, the others amid byte W / 2.
        let mut bytes = [0; 16];
        match packed.get(i * W..i * W + 16) {
            Some(whole) => bytes.copy_from_slice(whole),
            None => {
                let rest = packed.get(i * W..).unwrap_or_default();
                bytes[..rest.len()].copy_from_slice(rest);
            }
        }
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|k| bytes[at + k]));
        let halves = [word(0), word(W / 2) >> (W % 2 * 4)];
        for (k, value) in eight.iter_mut().enumerate() {
            let index = (halves[k / 4] >> (k % 4 * W) & mask) as usize;
            largest = largest.max(index);
            *value = table[index];
        }
    }
    largest
}

/// An unsigned LEB128 number of at most five bytes, and what follows it.
fn varint(input: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0u32;
    for (i, byte) in input.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, &input[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The encoding by the letter of the specification, one bit at a time.
    fn pack(indices: &[usize], width: u8) -> Vec<u8> {
        let mut bytes = vec![0; (indices.len() * usize::from(width)).div_ceil(8)];
        for (i, index) in indices.iter().enumerate() {
            for bit in 0..usize::from(width) {
                let at = i * usize::from(width) + bit;
                bytes[at / 8] |= ((index >> bit & 1) as u8) << (at % 8);
            }
        }
        bytes
    }

    #[test]
    fn packed_indices_of_every_width_come_back() {
        for width in 1..=16u8 {
            let dictionary: Vec<u16> = (0..1u32 << width).map(|v| (v * 7 % 65536) as u16).collect();
            let indices: Vec<usize> = (0..83).map(|i| (i * 2654435761usize) % dictionary.len()).collect();
            let padded: Vec<usize> = indices.iter().copied().chain([0; 5]).collect();
            let mut input = vec![(11 << 1) | 1];
            input.extend(pack(&padded, width));
            let mut out = Vec::new();
            assert!(hybrid(&input, width, indices.len(), &dictionary, &mut out).is_some(), "width {width}");
            let expected: Vec<u16> = indices.iter().map(|i| dictionary[*i]).collect();
            assert_eq!(out, expected, "width {width}");
        }
    }

    #[test]
    fn runs_and_groups_mix() {
        // 300 times index 2, then eight packed, then twice index 1.
        let mut input = vec![0xd8, 0x04, 2, 3];
        input.extend(pack(&[0, 1, 2, 3, 3, 2, 1, 0], 2));
        input.extend([2 << 1, 1]);
        let mut out: Vec<u8> = Vec::new();
        hybrid(&input, 2, 310, &[10, 11, 12, 13], &mut out).unwrap();
        let tail = [10, 11, 12, 13, 13, 12, 11, 10, 11, 11];
        assert_eq!(out, [&[12; 300][..], &tail[..]].concat());
    }

    #[test]
    fn damage_is_noticed() {
        let dictionary = [5u8, 6, 7];
        let decode = |input: &[u8], width| hybrid(input, width, 8, &dictionary, &mut Vec::new());
        assert!(decode(&[3, 0b1110_0100, 0b1110_0100], 2).is_none(), "index 3 of three");
        assert!(decode(&[3, 0b0110_0100], 2).is_none(), "too short");
        assert!(decode(&[3, 0x21, 0x02, 0x12, 0x20], 4).is_some());
        assert!(decode(&[3, 0x21, 0x02, 0x32, 0x20], 4).is_none(), "index 3 of three, in four bits");
        assert!(decode(&[3, 0x21, 0x02, 0x12], 4).is_none(), "too short, in four bits");
        assert!(decode(&[0, 1, 16, 1], 2).is_none(), "an empty run");
        assert!(decode(&[0xff, 0xff, 0xff, 0xff, 0xff], 2).is_none(), "a header without an end");
        assert!(decode(&[16, 9], 2).is_none(), "a run of an index that is not there");
        assert!(decode(&[16, 1], 40).is_none(), "indices of 40 bits");
        assert!(plain::<u8>(&[1, 0, 0, 0, 0, 1, 0, 0], 2, &mut Vec::new()).is_none(), "256 is no byte");
    }
}
