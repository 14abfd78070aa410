//! `wilson_low(successes, trials)`: the lower end of a proportion's interval.

use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;

use super::scalar::Spec;
use super::wilson::ends;

pub(super) fn function() -> ScalarUDF {
    Spec {
        name: "wilson_low",
        arguments: vec![DataType::Int64, DataType::Int64],
        returns: DataType::Float64,
        syntax: "wilson_low(successes, trials)",
        description: "The lower end of Wilson's 95% interval for a proportion. Null without trials; more successes than \
            trials is an error.",
        example: "select wilson_low(count(*) filter (where outcome = 'left'), count(*)) as low from episodes",
        body: |args| ends("wilson_low", args, |interval| interval.0),
    }
    .build()
}
