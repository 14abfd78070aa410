//! `count(*)` of groups whose rows come in runs.
//!
//! DataFusion's own looks at every row's group; of a run it is enough to know the length.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{Int64Type, Schema};
use datafusion::common::Result;
use datafusion::functions_aggregate::count::Count;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use crate::functions::{Accumulate, Groups};

/// Rows of each group that the filter lets through.
#[derive(Default)]
pub(super) struct RowCount {
    rows: Vec<i64>,
}

impl RowCount {
    /// Whether an aggregate counts rows, whatever is in them.
    pub(super) fn is(aggregate: &AggregateFunctionExpr, input: &Schema) -> bool {
        let is_count = (aggregate.fun().inner().as_ref() as &dyn std::any::Any).is::<Count>();
        let never_null = || aggregate.expressions().iter().all(|expr| matches!(expr.nullable(input), Ok(false)));
        is_count && !aggregate.is_distinct() && never_null()
    }
}

impl Accumulate for RowCount {
    fn update(&mut self, _: &[ArrayRef], groups: Groups, filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.rows.resize(total.max(self.rows.len()), 0);
        let passes = filter.map(|filter| match filter.nulls() {
            Some(nulls) => filter.values() & nulls.inner(),
            None => filter.values().clone(),
        });
        match (&passes, groups) {
            (None, Groups::OfRows(groups)) => groups.iter().for_each(|group| self.rows[*group] += 1),
            (None, groups) => groups.for_each_run(|group, from, to| self.rows[group] += (to - from) as i64),
            (Some(passes), groups) => groups.for_each_run(|group, from, to| {
                self.rows[group] += passes.slice(from, to - from).count_set_bits() as i64;
            }),
        }
        Ok(())
    }
}

impl GroupsAccumulator for RowCount {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.update(values, Groups::OfRows(groups), filter, total)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.rows.resize(total.max(self.rows.len()), 0);
        let [counts] = states else { return Ok(()) };
        for (group, count) in groups.iter().zip(counts.as_primitive::<Int64Type>().values()) {
            self.rows[*group] += count;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(emit.take_needed(&mut self.rows))))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit)?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |values| values.len());
        let passes = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        Ok(vec![Arc::new(Int64Array::from_iter_values((0..rows).map(|row| i64::from(passes(row)))))])
    }

    fn size(&self) -> usize {
        self.rows.capacity() * size_of::<i64>()
    }
}
