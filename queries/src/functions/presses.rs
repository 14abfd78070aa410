//! `presses(button, t)`: how often a button goes down.

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
        name: "presses",
        arguments: TypeSignature::Exact(vec![DataType::Boolean, DataType::Int64]),
        returns: |_| Ok(DataType::Int64),
        syntax: "presses(button, t)",
        description: "How often the button (or any condition) goes from false to true in the order of t; being true at the first step \
            counts, null is false. Group by episode: across episodes the order of t has no meaning. Null without rows.",
        example: "select episode_id, presses(a, t) as jumps from steps group by episode_id",
        state,
        grouped: Ordered::<Presses>::boxed,
    }
    .build()
}

#[derive(Clone, Copy)]
pub(super) struct Presses {
    pub(super) count: i64,
    /// Down at the first step, and at the last.
    first: bool,
    last: bool,
}

impl Fragment for Presses {
    type Columns<'a> = BooleanBuffer;

    const BYTES: usize = 10;

    fn columns(arguments: &[ArrayRef]) -> BooleanBuffer {
        let button = arguments[0].as_boolean();
        match button.nulls() {
            Some(nulls) => button.values() & nulls.inner(),
            None => button.values().clone(),
        }
    }

    fn of(button: &BooleanBuffer, rows: Range<usize>) -> Self {
        let down = button.slice(rows.start, rows.len());
        // Sixty-four steps at a time: down now, and not down one step before.
        let chunks = down.bit_chunks();
        let (mut count, mut before) = (0, 0);
        for word in chunks.iter().chain(std::iter::once(chunks.remainder_bits())) {
            count += (word & !(word << 1 | before)).count_ones();
            before = word >> 63;
        }
        Self { count: i64::from(count), first: down.value(0), last: down.value(rows.len() - 1) }
    }

    fn join(self, next: Self) -> Self {
        let held = i64::from(self.last && next.first);
        Self { count: self.count + next.count - held, first: self.first, last: next.last }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.count.to_le_bytes());
        out.extend([u8::from(self.first), u8::from(self.last)]);
    }

    fn read(bytes: &[u8]) -> Self {
        let mut count = [0; 8];
        count.copy_from_slice(&bytes[..8]);
        Self { count: i64::from_le_bytes(count), first: bytes[8] == 1, last: bytes[9] == 1 }
    }

    fn results(fragments: Vec<Option<Self>>) -> ArrayRef {
        Arc::new(fragments.iter().map(|one| one.map(|one| one.count)).collect::<Int64Array>())
    }
}
