//! `count(*)` over small keys: a counter at each place.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::group_by::GroupTable;
use super::places::Places;

/// The rows at every place.
pub(super) struct Histogram {
    schema: SchemaRef,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    places: Places,
    /// Two counters a place, for rows in turns: of equal rows in a row, which play is full of, one need not wait for the other.
    counts: Vec<[u32; 2]>,
    /// Rows counted, which no counter exceeds.
    rows: usize,
    /// Each row's place, kept for its memory.
    place_of_row: Vec<u32>,
}

impl Histogram {
    pub(super) fn new(aggregate: &AggregateExec, places: &Places) -> Self {
        Self {
            schema: aggregate.schema(),
            keys: aggregate.group_expr().expr().iter().map(|(key, _)| Arc::clone(key)).collect(),
            places: places.clone(),
            counts: vec![[0; 2]; places.count()],
            rows: 0,
            place_of_row: Vec::new(),
        }
    }
}

impl GroupTable for Histogram {
    fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let rows = batch.num_rows();
        let keys = self.keys.iter().map(|key| key.evaluate(batch)?.into_array(rows)).collect::<Result<Vec<_>>>()?;
        if !self.places.find(&keys, rows, &mut self.place_of_row)? {
            // A value that was not thought of: the rows are groups of their own.
            let ones: ArrayRef = Arc::new(Int64Array::from(vec![1; rows]));
            let counts = self.schema.fields().len() - keys.len();
            let columns = keys.into_iter().chain(std::iter::repeat_n(ones, counts)).collect();
            return Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?));
        }
        let full = if self.rows + rows > u32::MAX as usize { self.shrink()? } else { None };
        let (pairs, last) = self.place_of_row.as_chunks::<2>();
        for [even, odd] in pairs {
            self.counts[*even as usize][0] += 1;
            self.counts[*odd as usize][1] += 1;
        }
        last.iter().for_each(|place| self.counts[*place as usize][0] += 1);
        self.rows += rows;
        Ok(full)
    }

    fn shrink(&mut self) -> Result<Option<RecordBatch>> {
        // The second stage adds up parts of a group, and can leave its groups on disk.
        let groups = self.finish()?;
        self.counts.fill([0; 2]);
        self.rows = 0;
        Ok(groups)
    }

    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let total = |counts: &[u32; 2]| i64::from(counts[0]) + i64::from(counts[1]);
        let used = self.counts.iter().zip(0u32..).filter(|(counts, _)| total(counts) > 0);
        let (rows, places): (Vec<i64>, Vec<u32>) = used.map(|(counts, place)| (total(counts), place)).unzip();
        let mut columns = self.places.keys_at(&places, &self.schema);
        let rows: ArrayRef = Arc::new(Int64Array::from(rows));
        columns.resize(self.schema.fields().len(), rows);
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }

    fn size(&self) -> usize {
        self.counts.capacity() * size_of::<[u32; 2]>() + self.place_of_row.capacity() * size_of::<u32>()
    }
}
