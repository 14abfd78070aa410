//! Any aggregates over keys that have places: a group at each.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::logical_expr::EmitTo;

use super::group_by::Aggregate;
use super::places::Places;
use crate::functions::{Groups, Run};

/// The groups of a partition.
pub(super) struct PlaceTable {
    places: Places,
    aggregates: Vec<Aggregate>,
    /// The group at each place, numbered as they came: aggregates count on every number below the greatest having rows.
    group_at: Vec<u32>,
    /// Each group's place.
    place_of: Vec<u32>,
    /// Each row's place and its group, and runs of rows of one group, which play is full of; kept for their memory.
    place_of_row: Vec<u32>,
    group_of_row: Vec<usize>,
    runs: Vec<Run>,
}

/// No group.
const NONE: u32 = u32::MAX;

impl PlaceTable {
    pub(super) fn new(places: &Places, aggregates: Vec<Aggregate>) -> Self {
        Self {
            places: places.clone(),
            aggregates,
            group_at: vec![NONE; places.count()],
            place_of: Vec::new(),
            place_of_row: Vec::new(),
            group_of_row: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Adds the rows of a batch; false, and nothing done, if a key has no place.
    pub(super) fn push(&mut self, keys: &[ArrayRef], batch: &RecordBatch) -> Result<bool> {
        if !self.places.find(keys, &mut self.place_of_row) {
            return Ok(false);
        }
        self.runs.clear();
        self.group_of_row.clear();
        for same in self.place_of_row.chunk_by(|a, b| a == b) {
            let group = &mut self.group_at[same[0] as usize];
            if *group == NONE {
                *group = self.place_of.len() as u32;
                self.place_of.push(same[0]);
            }
            let (group, from) = (*group as usize, self.group_of_row.len());
            self.group_of_row.resize(from + same.len(), group);
            self.runs.push(Run { group, rows: from..from + same.len() });
        }
        for aggregate in &mut self.aggregates {
            aggregate.update(batch, Groups::Runs(&self.runs), &self.group_of_row, self.place_of.len())?;
        }
        Ok(true)
    }

    /// Hands out the groups and begins anew.
    pub(super) fn take(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        if self.place_of.is_empty() {
            return Ok(None);
        }
        let mut columns = self.places.keys_at(&self.place_of, schema)?;
        for aggregate in &mut self.aggregates {
            columns.extend(aggregate.accumulator().state(EmitTo::All)?);
        }
        self.group_at.fill(NONE);
        self.place_of.clear();
        Ok(Some(RecordBatch::try_new(Arc::clone(schema), columns)?))
    }

    pub(super) fn size(&self) -> usize {
        let aggregates: usize = self.aggregates.iter().map(Aggregate::size).sum();
        let places = self.group_at.capacity() + self.place_of.capacity() + self.place_of_row.capacity();
        let rows = self.group_of_row.capacity() * size_of::<usize>() + self.runs.capacity() * size_of::<Run>();
        aggregates + places * size_of::<u32>() + rows
    }
}
