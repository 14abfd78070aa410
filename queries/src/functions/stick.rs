//! `stick(bucket)`: where a stick stood.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Builder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ScalarUDF;
use playhouse_schemas::{ActionSpace, gamepad};

use super::scalar::Spec;

pub(super) fn function() -> ScalarUDF {
    Spec {
        name: "stick",
        arguments: vec![DataType::Int64],
        returns: DataType::Float32,
        syntax: "stick(bucket)",
        description: "The centre of a stick bucket of the gamepad action space, from -1 (left, back) over 0 (bucket 5) \
            to 1 (right, forward). A bucket outside 0 to 10 is an error.",
        example: "select avg(stick(left_y)) as forward from steps",
        body,
    }
    .build()
}

fn body(args: &[ArrayRef]) -> Result<ArrayRef> {
    let space = ActionSpace::gamepad();
    let axis = &space.components[gamepad::LEFT_X];
    let buckets = args[0].as_primitive::<Int64Type>();
    let mut centres = Float32Builder::with_capacity(buckets.len());
    for bucket in buckets {
        match bucket.map(u8::try_from) {
            None => centres.append_null(),
            Some(Ok(bucket)) if bucket < axis.cardinality => centres.append_value(axis.centre(bucket)),
            Some(_) => {
                let (found, last) = (bucket.unwrap_or_default(), axis.cardinality - 1);
                return exec_err!("stick: {found} is not a stick bucket; buckets are 0 to {last}");
            }
        }
    }
    Ok(Arc::new(centres.finish()))
}
