//! Images by row: where each page of the column `image.bytes` lies, and how to take images out of a page.
//!
//! The index costs 24 bytes a page of 32 images (of codec `fast`: 8): 270 MB for 10,000 hours, where the parquet crate's own page index of
//! all four columns would cost gigabytes. Pages hold plain, uncompressed images without levels (no column is null), so
//! an image is a slice of what was read: nothing is copied before the decoder.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescPtr;

use crate::error::{Error, Result};
use crate::parquet_file::{ParquetFile, guarded};
use crate::storage::Source;

/// Leaf of `image.bytes` in the table `frames`.
const BYTES_LEAF: usize = 2;

/// One page.
#[derive(Clone, Copy)]
struct PageRef {
    first_row: u64,
    offset: u64,
    length: u32,
}

impl PageRef {
    fn end(&self) -> u64 {
        self.offset + u64::from(self.length)
    }
}

/// The pages of one file's images.
pub(crate) struct FramePages {
    path: PathBuf,
    pages: Vec<PageRef>,
    rows: u64,
    column: ColumnDescPtr,
    compression: Compression,
}

impl FramePages {
    /// Takes the page index out of a file of `frames`.
    pub(crate) fn new(file: &ParquetFile) -> Result<Self> {
        let metadata = file.metadata();
        let damaged = || Error::corrupt(&file.path, "the page index of `image.bytes` is incomplete");
        let index = metadata.offset_index().ok_or_else(damaged)?;
        let mut pages = Vec::new();
        let mut group_start = 0;
        for (group, columns) in metadata.row_groups().iter().zip(index) {
            let locations = columns.get(BYTES_LEAF).ok_or_else(damaged)?.page_locations();
            for location in locations {
                pages.push(PageRef {
                    first_row: group_start + u64::try_from(location.first_row_index).map_err(|_| damaged())?,
                    offset: u64::try_from(location.offset).map_err(|_| damaged())?,
                    length: u32::try_from(location.compressed_page_size).map_err(|_| damaged())?,
                });
            }
            group_start += u64::try_from(group.num_rows()).map_err(|_| damaged())?;
        }
        let starts_at_zero = pages.first().is_none_or(|p| p.first_row == 0);
        if !starts_at_zero || !pages.is_sorted_by(|a, b| a.first_row < b.first_row) || group_start != file.rows() {
            return Err(damaged());
        }
        let column = metadata.file_metadata().schema_descr().column(BYTES_LEAF);
        let compression =
            metadata.row_groups().first().map_or(Compression::UNCOMPRESSED, |g| g.column(BYTES_LEAF).compression());
        Ok(Self { path: file.path.clone(), pages, rows: group_start, column, compression })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Calls `visit` with each of `rows` and its encoded image, in order.
    pub(crate) fn read(
        &self,
        source: &Source,
        rows: Range<u64>,
        mut visit: impl FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let first = self.pages.partition_point(|p| p.first_row <= rows.start).saturating_sub(1);
        let last = self.pages.partition_point(|p| p.first_row < rows.end);
        let wanted = self.pages.get(first..last).unwrap_or_default();
        let mut page_index = first;
        // Neighbouring pages lie side by side unless a row group ends between them: one read fetches them all.
        for run in wanted.chunk_by(|a, b| a.end() == b.offset) {
            let images = self.read_run(source, run)?;
            for (page, images) in run.iter().zip(images) {
                let next = self.pages.get(page_index + 1).map_or(self.rows, |p| p.first_row);
                page_index += 1;
                let damaged = || Error::corrupt(&self.path, format!("the page at row {} is damaged", page.first_row));
                let mut rest: &[u8] = &images;
                for row in page.first_row..next {
                    let (length, tail) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
                    let length = u32::from_le_bytes(*length) as usize;
                    let (image, tail) = tail.split_at_checked(length).ok_or_else(damaged)?;
                    rest = tail;
                    if rows.contains(&row) {
                        visit(row, image)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads adjacent pages at once; returns the values of each: images, each after its length in four bytes.
    fn read_run(&self, source: &Source, run: &[PageRef]) -> Result<Vec<Bytes>> {
        let damaged =
            |reason: String| Error::corrupt(&self.path, format!("images from row {}: {reason}", run[0].first_row));
        let start = run[0].offset;
        let length = run.iter().map(|p| p.length as usize).sum::<usize>();
        let buffer = guarded(&self.path, || source.read(start, length, run.len() as u64))?;
        // The parquet crate parses the page headers: it is shown a column chunk that consists of these pages alone.
        let locations = run
            .iter()
            .map(|p| PageLocation {
                offset: (p.offset - start) as i64,
                compressed_page_size: p.length as i32,
                first_row_index: 0,
            })
            .collect();
        let chunk = ColumnChunkMetaData::builder(self.column.clone())
            .set_compression(self.compression)
            .set_data_page_offset(0)
            .set_total_compressed_size(length as i64);
        let mut reader = guarded(&self.path, || {
            SerializedPageReader::new(Arc::new(buffer), &chunk.build()?, self.rows as usize, Some(locations))
        })?;
        let mut values = Vec::with_capacity(run.len());
        while values.len() < run.len() {
            match guarded(&self.path, || reader.get_next_page())? {
                Some(
                    Page::DataPage { buf, encoding: Encoding::PLAIN, .. }
                    | Page::DataPageV2 { buf, encoding: Encoding::PLAIN, .. },
                ) => values.push(buf),
                Some(page) => return Err(damaged(format!("a page is encoded as {}, not PLAIN", page.encoding()))),
                None => return Err(damaged("a page is missing".into())),
            }
        }
        Ok(values)
    }
}
