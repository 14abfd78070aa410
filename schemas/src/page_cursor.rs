//! The pages of one column of a file, forward: what the decoders of our own are fed by.

use std::ops::Range;
use std::sync::Arc;

use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::serialized_reader::SerializedPageReader;

use crate::error::{Error, Result};
use crate::parquet_file::{ParquetFile, guarded};
use crate::storage::Source;

/// Walks forward over the pages of a column that never is null.
pub(crate) struct PageCursor {
    file: Arc<ParquetFile>,
    source: Source,
    leaf: usize,
    group: Option<Group>,
}

/// The row group being read.
struct Group {
    number: usize,
    rows: Range<u64>,
    pages: SerializedPageReader<Source>,
    dictionary: Option<Page>,
    /// Number of the next data page that `pages` will hand out.
    next_page: usize,
}

/// A data page, decompressed.
pub(crate) struct Found {
    pub(crate) page: Page,
    /// Its rows in the file.
    pub(crate) rows: Range<u64>,
    /// The number of its row group, which has a dictionary of its own.
    pub(crate) group: usize,
}

impl PageCursor {
    pub(crate) fn new(file: Arc<ParquetFile>, source: Source, leaf: usize) -> Self {
        Self { file, source, leaf, group: None }
    }

    /// The page with `row`, which must lie behind those of earlier calls.
    ///
    /// # Errors
    /// A file that cannot be read, or whose index is damaged.
    pub(crate) fn find(&mut self, row: u64) -> Result<Found> {
        let mut group = match self.group.take() {
            Some(group) if group.rows.contains(&row) => group,
            _ => self.open(row)?,
        };
        let damaged = |reason: &str| ParquetError::General(reason.into());
        let found = guarded(&self.file.path, || {
            let index = self.file.metadata().offset_index().ok_or_else(|| damaged("no offset index"))?;
            let pages = index[group.number][self.leaf].page_locations();
            let in_group = (row - group.rows.start) as i64;
            let wanted = pages.partition_point(|page| page.first_row_index <= in_group).saturating_sub(1);
            while group.next_page < wanted {
                group.pages.skip_next_page()?;
                group.next_page += 1;
            }
            let page = group.pages.get_next_page()?.ok_or_else(|| damaged("a page is missing"))?;
            let from = group.rows.start + pages[wanted].first_row_index as u64;
            let to = pages.get(wanted + 1).map_or(group.rows.end, |p| group.rows.start + p.first_row_index as u64);
            // What a damaged index says must not become the size of a buffer.
            if !(from..to).contains(&row) || to > self.file.rows() {
                return Err(damaged("the offset index is damaged"));
            }
            group.next_page = wanted + 1;
            Ok(Found { page, rows: from..to, group: group.number })
        })?;
        self.group = Some(group);
        Ok(found)
    }

    /// The dictionary of the row group in which the last page was found.
    pub(crate) fn dictionary(&self) -> Option<&Page> {
        self.group.as_ref()?.dictionary.as_ref()
    }

    fn open(&self, row: u64) -> Result<Group> {
        let metadata = self.file.metadata();
        let mut start = 0;
        for (number, group) in metadata.row_groups().iter().enumerate() {
            let rows = start..start + group.num_rows().max(0) as u64;
            start = rows.end;
            if !rows.contains(&row) {
                continue;
            }
            let column = group.column(self.leaf);
            let locations = metadata.offset_index().map(|index| index[number][self.leaf].page_locations().clone());
            let (pages, dictionary) = guarded(&self.file.path, || {
                let source = Arc::new(self.source.clone());
                let mut pages = SerializedPageReader::new(source, column, group.num_rows() as usize, locations)?;
                let has_dictionary = column.dictionary_page_offset().is_some();
                let page = if has_dictionary { pages.get_next_page()? } else { None };
                Ok::<_, ParquetError>((pages, page))
            })?;
            return Ok(Group { number, rows, pages, dictionary, next_page: 0 });
        }
        Err(self.damaged(&format!("row {row} is asked for, and it has {start}")))
    }

    /// An error that names the file and the column.
    pub(crate) fn damaged(&self, reason: &str) -> Error {
        let column = self.file.metadata().file_metadata().schema_descr().column(self.leaf);
        Error::corrupt(&self.file.path, format!("column `{}`: {reason}", column.path().string()))
    }
}

/// The values of a page without nulls, and their encoding; none if it is no data page, or cut short.
pub(crate) fn values_of(page: Page) -> Option<(bytes::Bytes, parquet::basic::Encoding)> {
    match page {
        Page::DataPage { buf, encoding, .. } => Some((buf, encoding)),
        Page::DataPageV2 { buf, encoding, def_levels_byte_len, rep_levels_byte_len, .. } => {
            let levels = def_levels_byte_len as usize + rep_levels_byte_len as usize;
            (levels <= buf.len()).then(|| (buf.slice(levels..), encoding))
        }
        Page::DictionaryPage { .. } => None,
    }
}
