//! `count(*)` over keys that have places: a counter at each.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;

use super::places::Places;

/// The rows at every place.
pub(super) struct Histogram {
    places: Places,
    /// Two counters a place, for rows in turns: of equal rows in a row, which play is full of, one need not wait for the other.
    counts: Vec<[u32; 2]>,
    /// Rows counted, which no counter exceeds.
    rows: usize,
    /// Each row's place, kept for its memory.
    place_of_row: Vec<u32>,
}

impl Histogram {
    pub(super) fn new(places: &Places) -> Self {
        Self { places: places.clone(), counts: vec![[0; 2]; places.count()], rows: 0, place_of_row: Vec::new() }
    }

    /// Counts the rows of a batch; false, and nothing done, if it has to be emptied or made wider before.
    pub(super) fn push(&mut self, keys: &[ArrayRef], rows: usize) -> bool {
        if self.rows + rows > u32::MAX as usize || !self.places.find(keys, &mut self.place_of_row) {
            return false;
        }
        let (pairs, last) = self.place_of_row.as_chunks::<2>();
        for [even, odd] in pairs {
            self.counts[*even as usize][0] += 1;
            self.counts[*odd as usize][1] += 1;
        }
        last.iter().for_each(|place| self.counts[*place as usize][0] += 1);
        self.rows += rows;
        true
    }

    /// Hands out the groups, with as many counts as `schema` has columns behind the keys, and begins anew.
    pub(super) fn take(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let total = |counts: &[u32; 2]| i64::from(counts[0]) + i64::from(counts[1]);
        let used = self.counts.iter().zip(0u32..).filter(|(counts, _)| total(counts) > 0);
        let (rows, places): (Vec<i64>, Vec<u32>) = used.map(|(counts, place)| (total(counts), place)).unzip();
        let mut columns = self.places.keys_at(&places, schema)?;
        let rows: ArrayRef = Arc::new(Int64Array::from(rows));
        columns.resize(schema.fields().len(), rows);
        self.counts.fill([0; 2]);
        self.rows = 0;
        Ok(Some(RecordBatch::try_new(Arc::clone(schema), columns)?))
    }

    pub(super) fn size(&self) -> usize {
        self.counts.capacity() * size_of::<[u32; 2]>() + self.place_of_row.capacity() * size_of::<u32>()
    }
}
