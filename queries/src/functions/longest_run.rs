//! `longest_run(condition, t)`: the longest time for which a condition holds.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use datafusion::logical_expr::{AggregateUDF, TypeSignature};

use super::aggregate::Spec;
use super::ordered::{Fragment, Ordered, state};

pub(super) fn function() -> AggregateUDF {
    Spec {
        name: "longest_run",
        arguments: TypeSignature::Exact(vec![DataType::Boolean, DataType::Int64]),
        returns: |_| Ok(DataType::Int64),
        syntax: "longest_run(condition, t)",
        description: "The greatest number of steps in a row, in the order of t, for which the condition is true; 0 if it never is, null \
            without rows. Divide by the episode's hz for seconds. A null counts as false.",
        example: "select episode_id, longest_run(rt, t) as longest_shot from steps group by episode_id",
        state,
        grouped: Ordered::<LongestRun>::boxed,
    }
    .build()
}

/// Numbers of steps: the longest run, those at the two ends, and all.
#[derive(Clone, Copy)]
struct LongestRun {
    longest: i64,
    first: i64,
    last: i64,
    steps: i64,
}

impl Fragment for LongestRun {
    type Columns<'a> = BooleanBuffer;

    const BYTES: usize = 32;

    fn columns(arguments: &[ArrayRef]) -> BooleanBuffer {
        let condition = arguments[0].as_boolean();
        match condition.nulls() {
            Some(nulls) => condition.values() & nulls.inner(),
            None => condition.values().clone(),
        }
    }

    fn of(condition: &BooleanBuffer, rows: Range<usize>) -> Self {
        let slice = condition.slice(rows.start, rows.len());
        let mut found = Self { longest: 0, first: 0, last: 0, steps: rows.len() as i64 };
        for (from, to) in slice.set_slices() {
            let length = (to - from) as i64;
            found.longest = found.longest.max(length);
            if from == 0 {
                found.first = length;
            }
            if to == rows.len() {
                found.last = length;
            }
        }
        found
    }

    fn join(self, next: Self) -> Self {
        let through = self.last + next.first;
        Self {
            longest: self.longest.max(next.longest).max(through),
            first: if self.first == self.steps { self.steps + next.first } else { self.first },
            last: if next.last == next.steps { next.steps + self.last } else { next.last },
            steps: self.steps + next.steps,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        for number in [self.longest, self.first, self.last, self.steps] {
            out.extend(number.to_le_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Self {
        let mut numbers = bytes.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
        let mut next = || numbers.next().unwrap_or_default();
        Self { longest: next(), first: next(), last: next(), steps: next() }
    }

    fn results(fragments: Vec<Option<Self>>) -> ArrayRef {
        Arc::new(fragments.iter().map(|one| one.map(|one| one.longest)).collect::<Int64Array>())
    }
}
