//! Group-by over sorted input: a group is a run of rows.
//!
//! DataFusion hashes every row's key even where the input is sorted by it. With steps sorted by episode, equal keys are
//! neighbours: the ends of the runs are found by comparing each row with the next, and nothing is hashed. The aggregates
//! are DataFusion's own, or ours; they are told each row's group as ever.
//!
//! Groups are handed out as soon as they are complete, so memory holds a few thousand, however many there are, and only one
//! where it is short.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat, partition, take};
use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::EmitTo;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode, PhysicalExpr};

use super::group_by::{Aggregate, Groups, Strategy};

/// Complete groups that are held back before they are handed out together.
const HELD_BACK: usize = 4096;

/// Taken by a single-stage group-by of one key whose input is sorted by it.
#[derive(Clone)]
pub(crate) struct ByRuns;

impl Strategy for ByRuns {
    const RULE: &'static str = "run_aggregate";
    const NAME: &'static str = "RunAggregateExec";

    fn of(aggregate: &AggregateExec) -> Result<Option<Self>> {
        let applies = matches!(aggregate.mode(), AggregateMode::Single | AggregateMode::SinglePartitioned)
            && *aggregate.input_order_mode() == InputOrderMode::Sorted
            && aggregate.group_expr().expr().len() == 1;
        Ok(applies.then_some(Self))
    }

    fn describe(&self, aggregate: &AggregateExec) -> String {
        let keys = aggregate.group_expr().expr().iter().map(|(expr, name)| {
            let expr = expr.to_string();
            if *name == expr || expr.starts_with(&format!("{name}@")) { expr } else { format!("{expr} as {name}") }
        });
        format!("gby=[{}]", keys.collect::<Vec<_>>().join(", "))
    }

    fn groups(&self, aggregate: &AggregateExec) -> Result<Box<dyn Groups>> {
        let Some((key, _)) = aggregate.group_expr().expr().first() else {
            return internal_err!("a group-by without a key");
        };
        Ok(Box::new(Runs {
            schema: aggregate.schema(),
            key: Arc::clone(key),
            aggregates: Aggregate::all(aggregate)?,
            keys: Vec::new(),
            key_bytes: 0,
            groups: 0,
            group_of_row: Vec::new(),
        }))
    }
}

/// The groups of a partition that are not handed out.
struct Runs {
    schema: SchemaRef,
    key: Arc<dyn PhysicalExpr>,
    aggregates: Vec<Aggregate>,
    /// Their keys, in pieces; the last group may go on.
    keys: Vec<ArrayRef>,
    /// Bytes of the pieces, summed up as they come.
    key_bytes: usize,
    groups: usize,
    /// Each row's group, kept for its memory.
    group_of_row: Vec<usize>,
}

impl Groups for Runs {
    fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(None);
        }
        let key = self.key.evaluate(batch)?.into_array(rows)?;
        let runs = partition(&[Arc::clone(&key)])?.ranges();
        let goes_on = match self.keys.last() {
            Some(last) => {
                let pair = concat(&[&last.slice(last.len() - 1, 1), &key.slice(0, 1)])?;
                partition(&[pair])?.len() == 1
            }
            None => false,
        };
        let new = runs.iter().skip(usize::from(goes_on));
        let firsts: UInt32Array = new.map(|run| run.start as u32).collect();
        if !firsts.is_empty() {
            self.add_keys(take(&key, &firsts, None)?);
        }
        let mut group = self.groups - usize::from(goes_on);
        self.group_of_row.clear();
        for run in &runs {
            self.group_of_row.resize(run.end, group);
            group += 1;
        }
        self.groups = group;
        for aggregate in &mut self.aggregates {
            aggregate.update(batch, &self.group_of_row, self.groups)?;
        }
        if self.groups > HELD_BACK { self.emit(self.groups - 1).map(Some) } else { Ok(None) }
    }

    fn shrink(&mut self) -> Result<Option<RecordBatch>> {
        // The last group may go on.
        if self.groups > 1 { self.emit(self.groups - 1).map(Some) } else { Ok(None) }
    }

    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if self.groups == 0 { Ok(None) } else { self.emit(self.groups).map(Some) }
    }

    fn size(&self) -> usize {
        let aggregates: usize = self.aggregates.iter().map(Aggregate::size).sum();
        self.key_bytes + aggregates + self.group_of_row.capacity() * size_of::<usize>()
    }
}

impl Runs {
    fn add_keys(&mut self, keys: ArrayRef) {
        self.key_bytes += keys.get_array_memory_size();
        self.keys.push(keys);
    }

    fn emit(&mut self, count: usize) -> Result<RecordBatch> {
        let pieces: Vec<_> = self.keys.iter().map(AsRef::as_ref).collect();
        let keys = concat(&pieces)?;
        let mut columns = vec![keys.slice(0, count)];
        let emit = if count == self.groups { EmitTo::All } else { EmitTo::First(count) };
        for aggregate in &mut self.aggregates {
            columns.push(aggregate.accumulator.evaluate(emit)?);
        }
        self.groups -= count;
        self.keys.clear();
        self.key_bytes = 0;
        if self.groups > 0 {
            self.add_keys(keys.slice(count, self.groups));
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}
