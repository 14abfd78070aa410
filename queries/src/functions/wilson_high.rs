//! `wilson_high(successes, trials)`: the upper end of a proportion's interval.

use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;

use super::scalar::Spec;
use super::wilson::ends;

pub(super) fn function() -> ScalarUDF {
    Spec {
        name: "wilson_high",
        arguments: vec![DataType::Int64, DataType::Int64],
        returns: DataType::Float64,
        syntax: "wilson_high(successes, trials)",
        description: "The upper end of Wilson's 95% interval for a proportion. Null without trials; more successes than \
            trials is an error.",
        example: "select wilson_high(count(*) filter (where outcome = 'left'), count(*)) as high from episodes",
        body: |args| ends("wilson_high", args, |interval| interval.1),
    }
    .build()
}
