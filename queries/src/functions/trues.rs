//! Counting where a condition holds: `rate(condition)` and `count_true(condition)`.
//!
//! Steps carry buttons as bits, and counting bits is what a processor does 64 at a time; `avg(cast(button as int))` first
//! makes a float of each. A rule of the planner turns that into these.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{AggregateUDF, EmitTo, GroupsAccumulator, TypeSignature};

use super::aggregate::{Accumulate, Groups, Spec, counted};

/// `rate(condition)`.
pub(crate) fn rate() -> AggregateUDF {
    Spec {
        name: "rate",
        arguments: TypeSignature::Exact(vec![DataType::Boolean]),
        returns: |_| Ok(DataType::Float64),
        syntax: "rate(condition)",
        description: "The share of rows, 0 to 1, for which the condition is true, among those for which it is not null; null \
            without any. The same as avg(cast(condition as int)), at the price of counting bits.",
        example: "select rate(a) as a, rate(left_x <> 5) as moving from steps",
        state,
        grouped: || share_of(the_argument),
    }
    .build()
}

/// `count_true(condition)`.
pub(crate) fn count_true() -> AggregateUDF {
    Spec {
        name: "count_true",
        arguments: TypeSignature::Exact(vec![DataType::Boolean]),
        returns: |_| Ok(DataType::Int64),
        syntax: "count_true(condition)",
        description: "How many rows the condition is true for; null if it is null for all of them, or there are none. The same as \
            sum(cast(condition as int)), at the price of counting bits.",
        example: "select episode_id, count_true(rt) as shots from steps group by episode_id",
        state,
        grouped: || {
            let count = |trues: Vec<i64>, rows: &[i64]| Arc::new(Int64Array::new(trues.into(), some(rows))) as ArrayRef;
            Box::new(Trues::new(the_argument, count))
        },
    }
    .build()
}

/// A condition over the rows of a batch, from an aggregate's arguments.
type Condition = fn(&[ArrayRef]) -> Result<BooleanArray>;

fn the_argument(arguments: &[ArrayRef]) -> Result<BooleanArray> {
    Ok(arguments[0].as_boolean().clone())
}

/// What accumulates the share of rows for which a condition holds, among those for which it is not null.
pub(super) fn share_of(condition: Condition) -> Box<dyn Accumulate + Sync> {
    Box::new(Trues::new(condition, |trues, rows| Arc::new(shares(trues, rows))))
}

pub(super) fn state(name: &str) -> Vec<FieldRef> {
    let field = |part: &str| Arc::new(Field::new(format!("{name}[{part}]"), DataType::Int64, false));
    vec![field("trues"), field("rows")]
}

/// Null where there are no rows.
fn some(rows: &[i64]) -> Option<NullBuffer> {
    rows.contains(&0).then(|| rows.iter().map(|rows| *rows > 0).collect())
}

fn shares(trues: Vec<i64>, rows: &[i64]) -> Float64Array {
    let shares = trues.iter().zip(rows).map(|(trues, rows)| *trues as f64 / *rows as f64);
    Float64Array::new(shares.collect::<Vec<_>>().into(), some(rows))
}

/// Counts per group: rows for which the condition holds, and rows for which it is not null.
struct Trues {
    trues: Vec<i64>,
    rows: Vec<i64>,
    condition: Condition,
    result: fn(Vec<i64>, &[i64]) -> ArrayRef,
}

impl Trues {
    fn new(condition: Condition, result: fn(Vec<i64>, &[i64]) -> ArrayRef) -> Self {
        Self { trues: Vec::new(), rows: Vec::new(), condition, result }
    }

    fn take(&mut self, emit: EmitTo) -> (Vec<i64>, Vec<i64>) {
        (emit.take_needed(&mut self.trues), emit.take_needed(&mut self.rows))
    }

    fn grow(&mut self, groups: usize) {
        self.trues.resize(groups.max(self.trues.len()), 0);
        self.rows.resize(groups.max(self.rows.len()), 0);
    }
}

impl Accumulate for Trues {
    fn update(
        &mut self,
        values: &[ArrayRef],
        groups: Groups,
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        let values = (self.condition)(values)?;
        let counted = counted(&values, filter);
        let trues = match &counted {
            Some(counted) => values.values() & counted,
            None => values.values().clone(),
        };
        groups.for_each_run(|group, from, to| {
            let count = |bits: &arrow::buffer::BooleanBuffer| match to - from {
                1 => i64::from(bits.value(from)),
                length => bits.slice(from, length).count_set_bits() as i64,
            };
            self.trues[group] += count(&trues);
            self.rows[group] += counted.as_ref().map_or((to - from) as i64, count);
        });
        Ok(())
    }
}

impl GroupsAccumulator for Trues {
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
        self.grow(total);
        let [trues, rows] = states else { return Ok(()) };
        let (trues, rows) = (trues.as_primitive::<Int64Type>().values(), rows.as_primitive::<Int64Type>().values());
        for ((group, trues), rows) in groups.iter().zip(trues).zip(rows) {
            self.trues[*group] += trues;
            self.rows[*group] += rows;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let (trues, rows) = self.take(emit);
        Ok((self.result)(trues, &rows))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let (trues, rows) = self.take(emit);
        Ok(vec![Arc::new(Int64Array::from(trues)), Arc::new(Int64Array::from(rows))])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = (self.condition)(values)?;
        let counted = counted(&values, filter);
        let count = |row: usize| counted.as_ref().is_none_or(|counted| counted.value(row));
        let rows = (0..values.len()).map(|row| i64::from(count(row)));
        let trues = (0..values.len()).map(|row| i64::from(count(row) && values.value(row)));
        Ok(vec![Arc::new(Int64Array::from_iter_values(trues)), Arc::new(Int64Array::from_iter_values(rows))])
    }

    fn size(&self) -> usize {
        (self.trues.capacity() + self.rows.capacity()) * size_of::<i64>()
    }
}
