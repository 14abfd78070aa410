//! `held_for(button, t)`: how long a button stays down.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use datafusion::logical_expr::{AggregateUDF, TypeSignature};

use super::aggregate::Spec;
use super::ordered::{Fragment, Ordered, state};
use super::presses::Presses;

pub(super) fn function() -> AggregateUDF {
    Spec {
        name: "held_for",
        arguments: TypeSignature::Exact(vec![DataType::Boolean, DataType::Int64]),
        returns: |_| Ok(DataType::Float64),
        syntax: "held_for(button, t)",
        description: "The mean length, in steps, of the presses of a button (or any condition): the number of steps at which it is true over \
            the number of presses, which are runs of such steps in the order of t, as presses(button, t) counts them. A press \
            that is cut off by the first or last step counts with the steps that are there; null is false. Divide by the \
            episode's hz for seconds. Group by episode: across episodes the order of t has no meaning. Null without a press.",
        example: "select episode_id, held_for(rt, t) as steps_a_shot from steps group by episode_id",
        state,
        grouped: Ordered::<HeldFor>::boxed,
    }
    .build()
}

#[derive(Clone, Copy)]
struct HeldFor {
    /// Steps at which the button is down.
    down: i64,
    presses: Presses,
}

impl Fragment for HeldFor {
    type Columns<'a> = BooleanBuffer;

    const BYTES: usize = 8 + Presses::BYTES;

    fn columns(arguments: &[ArrayRef]) -> BooleanBuffer {
        Presses::columns(arguments)
    }

    fn of(button: &BooleanBuffer, rows: Range<usize>) -> Self {
        let down = button.slice(rows.start, rows.len()).count_set_bits() as i64;
        Self { down, presses: Presses::of(button, rows) }
    }

    fn join(self, next: Self) -> Self {
        Self { down: self.down + next.down, presses: self.presses.join(next.presses) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.down.to_le_bytes());
        self.presses.write(out);
    }

    fn read(bytes: &[u8]) -> Self {
        let (down, presses) = bytes.split_at(8);
        let down = down.first_chunk().copied().unwrap_or_default();
        Self { down: i64::from_le_bytes(down), presses: Presses::read(presses) }
    }

    fn results(fragments: Vec<Option<Self>>) -> ArrayRef {
        let pressed = |one: &Option<Self>| one.filter(|one| one.presses.count > 0);
        let mean = |one: Self| one.down as f64 / one.presses.count as f64;
        Arc::new(fragments.iter().map(|one| pressed(one).map(mean)).collect::<Float64Array>())
    }
}
