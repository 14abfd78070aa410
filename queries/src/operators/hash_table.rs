//! Groups of any keys, found by hashing: where keys that might have had places turn out not to.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::logical_expr::EmitTo;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use super::group_by::Aggregate;
use crate::functions::Groups;

/// Rows after which it is clear whether grouping them makes them fewer.
const TRIAL: usize = 100_000;

/// The groups of a partition, by DataFusion's table.
pub(super) struct HashTable {
    groups: Box<dyn GroupValues>,
    aggregates: Vec<Aggregate>,
    rows: usize,
    /// Nearly every row is a group of its own: they are handed on, and the second stage groups them.
    in_vain: bool,
    /// Each row's group, kept for its memory.
    group_of_row: Vec<usize>,
}

impl HashTable {
    /// Groups by as many columns as `schema` has before those of the partial results.
    pub(super) fn new(schema: &SchemaRef, keys: usize, aggregates: Vec<Aggregate>) -> Result<Self> {
        let keys: Schema = schema.project(&(0..keys).collect::<Vec<_>>())?;
        let groups = new_group_values(Arc::new(keys), &GroupOrdering::None)?;
        Ok(Self { groups, aggregates, rows: 0, in_vain: false, group_of_row: Vec::new() })
    }

    /// Adds the rows of a batch, or hands groups on.
    pub(super) fn push(
        &mut self,
        keys: Vec<ArrayRef>,
        batch: &RecordBatch,
        schema: &SchemaRef,
    ) -> Result<Option<RecordBatch>> {
        if self.in_vain {
            let mut columns = keys;
            for aggregate in &self.aggregates {
                columns.extend(aggregate.convert(batch)?);
            }
            return Ok(Some(RecordBatch::try_new(Arc::clone(schema), columns)?));
        }
        self.groups.intern(&keys, &mut self.group_of_row)?;
        for aggregate in &mut self.aggregates {
            let groups = Groups::OfRows(&self.group_of_row);
            aggregate.update(batch, groups, &self.group_of_row, self.groups.len())?;
        }
        self.rows += batch.num_rows();
        if self.rows >= TRIAL && self.groups.len() > self.rows / 5 * 4 {
            self.in_vain = true;
            return self.take(schema);
        }
        Ok(None)
    }

    /// Hands out the groups and begins anew.
    pub(super) fn take(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        if self.groups.is_empty() {
            return Ok(None);
        }
        let mut columns = self.groups.emit(EmitTo::All)?;
        for aggregate in &mut self.aggregates {
            columns.extend(aggregate.accumulator().state(EmitTo::All)?);
        }
        self.groups.clear_shrink(0);
        Ok(Some(RecordBatch::try_new(Arc::clone(schema), columns)?))
    }

    pub(super) fn size(&self) -> usize {
        let aggregates: usize = self.aggregates.iter().map(Aggregate::size).sum();
        self.groups.size() + aggregates + self.group_of_row.capacity() * size_of::<usize>()
    }
}
