//! Reads a column of booleans as the bitmap it is stored as.
//!
//! Parquet stores booleans as Arrow keeps them in memory, one bit a value, lowest first
//! (<https://parquet.apache.org/docs/file-format/data-pages/encodings/>). A general reader makes a byte of each and packs them
//! again. Here a page, once it is decompressed, is the array.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::BooleanBufferBuilder;
use arrow::buffer::{BooleanBuffer, Buffer};
use parquet::basic::{Encoding, Type};
use parquet::column::page::Page;
use parquet::file::metadata::ParquetMetaData;

use crate::error::Result;
use crate::page_cursor::{PageCursor, values_of};
use crate::parquet_file::ParquetFile;
use crate::small_ints::hybrid;
use crate::storage::Source;

/// One column of one file, read forward.
pub(crate) struct Bitmaps {
    pages: PageCursor,
    /// The current page, and its rows in the file.
    page: BooleanBuffer,
    page_rows: Range<u64>,
}

impl Bitmaps {
    /// Whether every page of the column is of a kind that is read here.
    pub(crate) fn can_read(metadata: &ParquetMetaData, leaf: usize) -> bool {
        let column = metadata.file_metadata().schema_descr().column(leaf);
        column.max_def_level() == 0
            && column.max_rep_level() == 0
            && column.physical_type() == Type::BOOLEAN
            && metadata.offset_index().is_some()
            && metadata.row_groups().iter().all(|group| {
                group.column(leaf).encodings().all(|encoding| matches!(encoding, Encoding::PLAIN | Encoding::RLE))
            })
    }

    pub(crate) fn new(file: Arc<ParquetFile>, source: Source, leaf: usize) -> Self {
        let pages = PageCursor::new(file, source, leaf);
        Self { pages, page: BooleanBuffer::new_unset(0), page_rows: 0..0 }
    }

    /// The values of `rows`, ascending and apart, which must not lie before those of an earlier call. Where they lie within
    /// one page, it is not copied.
    ///
    /// # Errors
    /// A damaged page.
    pub(crate) fn read(&mut self, rows: &[Range<u64>]) -> Result<BooleanBuffer> {
        if let [only] = rows
            && !only.is_empty()
        {
            self.seek(only.start)?;
            if only.end <= self.page_rows.end {
                return Ok(self.slice(only.clone()));
            }
        }
        let count = rows.iter().map(|range| (range.end - range.start) as usize).sum();
        let mut all = BooleanBufferBuilder::new(count);
        for range in rows {
            let mut at = range.start;
            while at < range.end {
                self.seek(at)?;
                let end = range.end.min(self.page_rows.end);
                all.append_buffer(&self.slice(at..end));
                at = end;
            }
        }
        Ok(all.finish())
    }

    /// Rows of the current page.
    fn slice(&self, rows: Range<u64>) -> BooleanBuffer {
        self.page.slice((rows.start - self.page_rows.start) as usize, (rows.end - rows.start) as usize)
    }

    /// Decodes the page with `row`, unless it is the current one.
    fn seek(&mut self, row: u64) -> Result<()> {
        if !self.page_rows.contains(&row) {
            let found = self.pages.find(row)?;
            let count = (found.rows.end - found.rows.start) as usize;
            self.page = decode(found.page, count).ok_or_else(|| self.pages.damaged("a page of bits is damaged"))?;
            self.page_rows = found.rows;
        }
        Ok(())
    }
}

/// The bits of a page of `count` values.
fn decode(page: Page, count: usize) -> Option<BooleanBuffer> {
    let (values, encoding) = values_of(page)?;
    match encoding {
        Encoding::PLAIN => {
            (values.len() >= count.div_ceil(8)).then(|| BooleanBuffer::new(Buffer::from(values), 0, count))
        }
        Encoding::RLE => {
            // The runs follow their length in bytes.
            let (length, runs) = values.split_first_chunk()?;
            let runs = runs.get(..u32::from_le_bytes(*length) as usize)?;
            let mut bytes: Vec<u8> = Vec::new();
            hybrid(runs, 1, count, &[0, 1], &mut bytes)?;
            Some(BooleanBuffer::collect_bool(count, |row| bytes[row] == 1))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(bytes: &[u8], encoding: Encoding) -> Page {
        let (buf, num_values) = (bytes::Bytes::copy_from_slice(bytes), 0);
        let (def_level_encoding, rep_level_encoding, statistics) = (Encoding::RLE, Encoding::RLE, None);
        Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, statistics }
    }

    #[test]
    fn both_encodings_are_read() {
        let bits = [0b1010_0110, 0b01];
        let plain = decode(page(&bits, Encoding::PLAIN), 10).unwrap();
        assert_eq!(plain, BooleanBuffer::new(Buffer::from(&bits), 0, 10));
        // Eight packed, then a run of two.
        let rle = decode(page(&[4, 0, 0, 0, 3, 0b1010_0110, 2 << 1, 1], Encoding::RLE), 10).unwrap();
        assert_eq!(rle.iter().collect::<Vec<_>>(), [false, true, true, false, false, true, false, true, true, true]);
    }

    #[test]
    fn damage_is_noticed() {
        assert!(decode(page(&[0xff], Encoding::PLAIN), 9).is_none(), "too short");
        assert!(decode(page(&[9, 0, 0, 0, 3, 1], Encoding::RLE), 8).is_none(), "its length lies");
        assert!(decode(page(&[1, 0, 0, 0, 3], Encoding::RLE), 8).is_none(), "no bits");
        assert!(decode(page(&[1, 0], Encoding::RLE), 8).is_none(), "no length");
        assert!(decode(page(&[1, 0], Encoding::BYTE_STREAM_SPLIT), 8).is_none(), "an encoding that is not read");
    }
}
