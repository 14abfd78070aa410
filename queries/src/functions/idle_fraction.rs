//! `idle_fraction(buttons, left_x, left_y, right_x, right_y)`: how much of the time nothing was touched.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Scalar, UInt8Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{and_kleene, cast};
use arrow::datatypes::{DataType, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{AggregateUDF, TypeSignature};
use playhouse_schemas::gamepad;

use super::aggregate::Spec;
use super::trues::{share_of, state};

pub(super) fn function() -> AggregateUDF {
    // As `steps` stores them, by the number of buttons; and any whole numbers.
    let stored = |buttons| TypeSignature::Exact([vec![buttons], vec![DataType::UInt8; STICKS.len()]].concat());
    Spec {
        name: "idle_fraction",
        arguments: TypeSignature::OneOf(vec![
            stored(DataType::UInt16),
            stored(DataType::UInt32),
            stored(DataType::UInt64),
            TypeSignature::Exact(vec![DataType::Int64; 1 + STICKS.len()]),
        ]),
        returns: |_| Ok(DataType::Float64),
        syntax: "idle_fraction(buttons, left_x, left_y, right_x, right_y)",
        description: "The share of steps, 0 to 1, at which no button was down and both sticks stood in the middle (bucket 5 of the gamepad \
            action space). Over an episode's steps it is the column idle_fraction of episodes. The same as rate(buttons = 0 and \
            left_x = 5 and left_y = 5 and right_x = 5 and right_y = 5), nulls included: a step at which that is null is not counted; \
            null without steps.",
        example: "select episode_id, idle_fraction(buttons, left_x, left_y, right_x, right_y) as idle from steps group by episode_id",
        state,
        grouped: || share_of(idle),
    }
    .build()
}

/// Where the axes are among the arguments.
const STICKS: Range<usize> = 1..5;

fn idle(arguments: &[ArrayRef]) -> Result<BooleanArray> {
    if arguments.iter().any(|argument| argument.null_count() > 0) {
        return idle_with_nulls(arguments);
    }
    let idle = match arguments[0].data_type() {
        DataType::UInt16 => idle_of::<UInt16Type, UInt8Type>(arguments),
        DataType::UInt32 => idle_of::<UInt32Type, UInt8Type>(arguments),
        DataType::UInt64 => idle_of::<UInt64Type, UInt8Type>(arguments),
        DataType::Int64 => idle_of::<Int64Type, Int64Type>(arguments),
        other => return internal_err!("buttons of type {other}"),
    };
    Ok(BooleanArray::new(idle, None))
}

/// All comparisons of a row at once: as terms of a condition, each would be a pass of its own over the batch.
fn idle_of<B, S>(arguments: &[ArrayRef]) -> BooleanBuffer
where
    B: ArrowPrimitiveType,
    S: ArrowPrimitiveType,
    S::Native: From<u8>,
{
    let rows = arguments[0].len();
    let (none, centre) = (B::Native::default(), S::Native::from(gamepad::CENTRE));
    let buttons = &arguments[0].as_primitive::<B>().values()[..rows];
    let [left_x, left_y, right_x, right_y] =
        [1, 2, 3, 4].map(|axis| &arguments[axis].as_primitive::<S>().values()[..rows]);
    BooleanBuffer::collect_bool(rows, |row| {
        (buttons[row] == none)
            & (left_x[row] == centre)
            & (left_y[row] == centre)
            & (right_x[row] == centre)
            & (right_y[row] == centre)
    })
}

/// As SQL has it: false where one of them is at odds, otherwise null where one is null.
fn idle_with_nulls(arguments: &[ArrayRef]) -> Result<BooleanArray> {
    let is = |argument: &ArrayRef, value: u8| {
        let value = cast(&UInt8Array::from(vec![value]), argument.data_type())?;
        eq(argument, &Scalar::new(value))
    };
    let mut idle = is(&arguments[0], 0)?;
    for axis in &arguments[STICKS] {
        idle = and_kleene(&idle, &is(axis, gamepad::CENTRE)?)?;
    }
    Ok(idle)
}
