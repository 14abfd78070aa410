//! Group-by over sorted input: a group is a run of rows.
//!
//! DataFusion hashes every row's key even where the input is sorted by it. With steps sorted by episode, equal keys are
//! neighbours: the ends of the runs are found by comparing a few rows, and nothing is hashed. Aggregates of ours are told the
//! runs, and DataFusion's each row's group as ever.
//!
//! Groups are handed out as soon as they are complete, so memory holds a few thousand, however many there are, and only one
//! where it is short.

use std::sync::Arc;

use arrow::array::make_comparator;
use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::EmitTo;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode, PhysicalExpr};

use super::group_by::{Aggregate, GroupTable, Strategy};
use crate::functions::{Groups, Run};

/// Complete groups that are held back before they are handed out together.
const HELD_BACK: usize = 4096;

/// Bytes of complete groups that are held back, so that one partition does not fill a memory limit which the others need for
/// the one group that each must hold.
const HELD_BYTES: usize = 1 << 20;

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

    fn groups(&self, aggregate: &AggregateExec) -> Result<Box<dyn GroupTable>> {
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
            runs: Vec::new(),
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
    /// The runs of a batch and each row's group, kept for their memory.
    runs: Vec<Run>,
    group_of_row: Vec<usize>,
}

/// The runs of equal keys in a sorted column, as groups numbered from `first` on.
///
/// In sorted rows two equal keys have only equal keys between them, so a run's end is found in steps that double and then
/// halve, and not by looking at each row.
fn find_runs(key: &ArrayRef, first: usize, runs: &mut Vec<Run>) -> Result<()> {
    let compare = make_comparator(key, key, SortOptions::default())?;
    runs.clear();
    let mut start = 0;
    while start < key.len() {
        let same = |row: usize| compare(start, row).is_eq();
        // `known` has the key of the run, and `beyond` has another one or is the end.
        let (mut known, mut step) = (start, 1);
        let mut beyond = loop {
            match known + step {
                row if row >= key.len() => break key.len(),
                row if !same(row) => break row,
                row => (known, step) = (row, step * 2),
            }
        };
        while beyond - known > 1 {
            let middle = known + (beyond - known) / 2;
            if same(middle) { known = middle } else { beyond = middle }
        }
        runs.push(Run { group: first + runs.len(), rows: start..beyond });
        start = beyond;
    }
    Ok(())
}

impl GroupTable for Runs {
    fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(None);
        }
        let key = self.key.evaluate(batch)?.into_array(rows)?;
        let goes_on = match self.keys.last() {
            Some(last) => make_comparator(last, &key, SortOptions::default())?(last.len() - 1, 0).is_eq(),
            None => false,
        };
        let first = self.groups - usize::from(goes_on);
        find_runs(&key, first, &mut self.runs)?;
        let new = self.runs.iter().skip(usize::from(goes_on));
        let firsts: UInt32Array = new.map(|run| run.rows.start as u32).collect();
        if !firsts.is_empty() {
            self.add_keys(take(&key, &firsts, None)?);
        }
        self.group_of_row.clear();
        if self.aggregates.iter().any(Aggregate::needs_rows) {
            self.runs.iter().for_each(|run| self.group_of_row.resize(run.rows.end, run.group));
        }
        self.groups = first + self.runs.len();
        for aggregate in &mut self.aggregates {
            aggregate.update(batch, Groups::Runs(&self.runs), &self.group_of_row, self.groups)?;
        }
        if self.groups > HELD_BACK || self.size() > HELD_BYTES { self.shrink() } else { Ok(None) }
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
        let kept = self.runs.capacity() * size_of::<Run>() + self.group_of_row.capacity() * size_of::<usize>();
        self.key_bytes + aggregates + kept
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
            columns.push(aggregate.accumulator().evaluate(emit)?);
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
