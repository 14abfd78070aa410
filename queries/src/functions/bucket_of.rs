//! `bucket_of(value)`: the stick bucket of a continuous position.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt8Builder};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ScalarUDF;
use playhouse_schemas::{ActionSpace, gamepad};

use super::scalar::Spec;

pub(super) fn function() -> ScalarUDF {
    Spec {
        name: "bucket_of",
        arguments: vec![DataType::Float64],
        returns: DataType::UInt8,
        syntax: "bucket_of(value)",
        description: "The stick bucket (0 to 10, 5 is the centre) of a position between -1 and 1 in the gamepad action \
            space, as importers digitise it. NaN and positions outside the edges are errors.",
        example: "select bucket_of(-0.3) as bucket",
        body,
    }
    .build()
}

fn body(args: &[ArrayRef]) -> Result<ArrayRef> {
    let space = ActionSpace::gamepad();
    let axis = &space.components[gamepad::LEFT_X];
    let values = args[0].as_primitive::<Float64Type>();
    let mut buckets = UInt8Builder::with_capacity(values.len());
    for value in values {
        match value.map(|v| axis.bucket(v as f32)) {
            None => buckets.append_null(),
            Some(Ok(bucket)) => buckets.append_value(bucket),
            Some(Err(e)) => return exec_err!("bucket_of: {e}"),
        }
    }
    Ok(Arc::new(buckets.finish()))
}
