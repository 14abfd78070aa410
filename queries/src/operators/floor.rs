//! `cast(floor(x / 10) as int)`, as people write the cells of a map and the minutes of a session.
//!
//! DataFusion floors by a call for each row, and casts in a second pass. A float becomes a whole number by cutting off, which
//! is one instruction for several rows; what is below zero and was not whole is then one too great.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::Result;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::CastExpr;
use datafusion::physical_plan::PhysicalExpr;

use super::quick::Way;

/// The floor of a number, as a whole number.
#[derive(Debug)]
pub(super) struct Floor {
    /// What is floored.
    number: Arc<dyn PhysicalExpr>,
    to: DataType,
}

/// The floors of numbers, of which each has to be within the type; none if one is not, or is null or NaN.
macro_rules! floors {
    ($numbers:expr, $float:ty, $whole:ty, $array:ty) => {{
        let numbers: &[$float] = $numbers.values();
        // Both are floats: the least whole number is, and the greatest is one below the negative of it.
        let (least, beyond) = (<$whole>::MIN as $float, -(<$whole>::MIN as $float));
        let within = numbers.iter().fold(true, |all, number| all & (*number >= least) & (*number < beyond));
        let floor = |number: &$float| {
            let cut = *number as $whole;
            cut - <$whole>::from(cut as $float > *number)
        };
        within.then(|| Arc::new(<$array>::from_iter_values(numbers.iter().map(floor))) as ArrayRef)
    }};
}

impl Way for Floor {
    fn of(expr: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        let cast = expr.downcast_ref::<CastExpr>()?;
        let to = cast.cast_type().clone();
        let floor = cast.expr().downcast_ref::<ScalarFunctionExpr>().filter(|function| function.name() == "floor")?;
        let [number] = floor.args() else { return None };
        matches!(to, DataType::Int32 | DataType::Int64).then(|| Self { number: Arc::clone(number), to })
    }

    fn compute(&self, batch: &RecordBatch) -> Result<Option<ArrayRef>> {
        let numbers = self.number.evaluate(batch)?.into_array(batch.num_rows())?;
        if numbers.null_count() > 0 {
            return Ok(None);
        }
        Ok(match (numbers.data_type(), &self.to) {
            (DataType::Float32, DataType::Int32) => {
                floors!(numbers.as_primitive::<Float32Type>(), f32, i32, Int32Array)
            }
            (DataType::Float64, DataType::Int32) => {
                floors!(numbers.as_primitive::<Float64Type>(), f64, i32, Int32Array)
            }
            (DataType::Float64, DataType::Int64) => {
                floors!(numbers.as_primitive::<Float64Type>(), f64, i64, Int64Array)
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array};
    use datafusion::config::ConfigOptions;
    use datafusion::functions::math::floor;
    use datafusion::physical_expr::expressions::{cast, col};

    use super::super::quick::quick;
    use super::*;

    fn check(numbers: ArrayRef, to: DataType) {
        let batch = RecordBatch::try_from_iter_with_nullable([("x", numbers, true)]).unwrap();
        let schema = batch.schema();
        let config = Arc::new(ConfigOptions::default());
        let floored = ScalarFunctionExpr::try_new(floor(), vec![col("x", &schema).unwrap()], &schema, config).unwrap();
        let expr = cast(Arc::new(floored), &schema, to).unwrap();
        let quick = quick::<Floor>(&expr).unwrap();
        let value = |expr: &Arc<dyn PhysicalExpr>| {
            expr.evaluate(&batch).and_then(|value| value.into_array(batch.num_rows())).map_err(|e| e.to_string())
        };
        assert_eq!(value(&quick), value(&expr));
    }

    #[test]
    fn floors_are_those_of_datafusion() {
        let plain = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.999_999_9, -7.000_001, 1e6 + 0.25, -2_147_483_648.0];
        let odd = [2_147_483_648.0, -2_147_483_904.0, 1e300, f64::NAN, f64::INFINITY, -9.3e18, 9.3e18];
        let lists = [plain.to_vec()].into_iter().chain(odd.iter().map(|number| [&plain[..], &[*number]].concat()));
        for list in lists {
            let narrow = list.iter().map(|number| *number as f32);
            check(Arc::new(Float32Array::from_iter_values(narrow)), DataType::Int32);
            check(Arc::new(Float64Array::from(list.clone())), DataType::Int32);
            check(Arc::new(Float64Array::from(list)), DataType::Int64);
        }
        check(Arc::new(Float64Array::from(vec![Some(-0.5), None])), DataType::Int64);
        check(Arc::new(Float32Array::from(vec![Some(1.5)])), DataType::Int64);
    }
}
