//! The engine's functions that make much of little, within the memory limit.
//!
//! `repeat('x', 2000000000)` is one call and two gigabytes, made at once and without asking the memory pool. How much such a
//! call makes follows from its arguments: it is worked out first, and refused where it is more than a share of the limit.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::prelude::SessionContext;

/// Of the memory limit, what one call may make: a result is copied on its way through a plan.
const SHARE: usize = 8;

/// Bytes of a value in a list, as far as they are not known better.
const VALUE: i128 = 8;

/// Puts functions that know a memory limit in the place of those of the engine.
pub(crate) fn bound(context: &SessionContext, limit: usize) {
    for name in ["repeat", "lpad", "rpad", "range", "generate_series", "array_repeat", "array_resize"] {
        let state = context.state();
        if let Some(inner) = state.scalar_functions().get(name) {
            context.register_udf(ScalarUDF::new_from_impl(Bounded { inner: Arc::clone(inner), most: limit / SHARE }));
        }
    }
}

/// A function of the engine that asks first.
struct Bounded {
    inner: Arc<ScalarUDF>,
    /// Bytes that a call may make.
    most: usize,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner && self.most == other.most
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
        self.most.hash(state);
    }
}

impl fmt::Debug for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded").field("name", &self.inner.name()).field("most", &self.most).finish_non_exhaustive()
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = wanted(self.name(), &args.args, args.number_rows)?;
        if wanted > self.most as i128 {
            let message = format!(
                "one call of {} would make {}, and may make an eighth of the limit, {}",
                self.name(),
                size(wanted),
                size(self.most as i128)
            );
            return Err(DataFusionError::ResourcesExhausted(message));
        }
        self.inner.invoke_with_args(args)
    }
}

fn size(bytes: i128) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Bytes that a call makes. Arguments that the function itself refuses make nothing.
fn wanted(name: &str, arguments: &[ColumnarValue], rows: usize) -> Result<i128> {
    let constant = arguments.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
    let rows = if constant { 1 } else { rows };
    let columns = arguments.iter().map(Column::of).collect::<Result<Vec<_>>>()?;
    let row: Box<dyn Fn(usize) -> Option<i128>> = match (name, columns.as_slice()) {
        ("repeat", [text, count]) => {
            let (lengths, counts) = (text.lengths()?, count.numbers()?);
            Box::new(move |row| Some(lengths(row)? * counts(row)?.max(0)))
        }
        // A character has four bytes at most, and one where nobody said which.
        ("lpad" | "rpad", [_, count, rest @ ..]) => {
            let (counts, bytes) = (count.numbers()?, if rest.is_empty() { 1 } else { 4 });
            Box::new(move |row| Some(counts(row)?.max(0) * bytes))
        }
        ("array_repeat", [value, count]) => {
            let bytes = value.array.to_data().get_slice_memory_size()? / value.array.len().max(1);
            let bytes = VALUE.max(bytes as i128);
            let counts = count.numbers()?;
            Box::new(move |row| Some(counts(row)?.max(0) * bytes))
        }
        ("array_resize", [_, count, ..]) => {
            let counts = count.numbers()?;
            Box::new(move |row| Some(counts(row)?.max(0) * VALUE))
        }
        (_, [stop]) => {
            let stops = stop.numbers()?;
            Box::new(move |row| Some(stops(row)?.max(0) * VALUE))
        }
        (_, [start, stop]) => {
            let (starts, stops) = (start.numbers()?, stop.numbers()?);
            Box::new(move |row| Some((stops(row)? - starts(row)?).max(0) * VALUE))
        }
        (_, [start, stop, step]) => {
            let (starts, stops, steps) = (start.numbers()?, stop.numbers()?, step.numbers()?);
            Box::new(move |row| {
                // Backwards with a step of less than nothing.
                let steps = (stops(row)? - starts(row)?).checked_div(steps(row)?)?;
                Some(steps.max(0) * VALUE)
            })
        }
        _ => return Ok(0),
    };
    Ok((0..rows).filter_map(row).sum())
}

/// An argument: one value for all rows, or one for each.
struct Column {
    array: ArrayRef,
    constant: bool,
}

impl Column {
    fn of(value: &ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Scalar(scalar) => Self { array: scalar.to_array()?, constant: true },
            ColumnarValue::Array(array) => Self { array: Arc::clone(array), constant: false },
        })
    }

    /// Whole numbers; of dates, times and intervals the nanoseconds.
    fn numbers(&self) -> Result<impl Fn(usize) -> Option<i128> + use<>> {
        const DAY: i128 = 86_400_000_000_000;
        let constant = self.constant;
        let (numbers, unit) = match self.array.data_type() {
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                let intervals = self.array.as_primitive::<IntervalMonthDayNanoType>();
                let nanos = intervals.iter().map(|interval| {
                    let interval = interval?;
                    // The shortest month makes the most of them.
                    let days = i128::from(interval.months) * 28 + i128::from(interval.days);
                    i64::try_from(days * DAY + i128::from(interval.nanoseconds)).ok()
                });
                (nanos.collect::<Int64Array>(), 1)
            }
            other => {
                let unit = match other {
                    DataType::Date32 => DAY,
                    DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
                    DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
                    DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
                    _ => 1,
                };
                // By way of its own whole number, for a date is not cast to one of 64 bits.
                let array = if *other == DataType::Date32 {
                    cast(&self.array, &DataType::Int32)?
                } else {
                    Arc::clone(&self.array)
                };
                (cast(&array, &DataType::Int64)?.as_primitive::<Int64Type>().clone(), unit)
            }
        };
        Ok(move |row: usize| {
            let row = if constant { 0 } else { row };
            numbers.is_valid(row).then(|| i128::from(numbers.value(row)) * unit)
        })
    }

    /// Bytes of texts.
    fn lengths(&self) -> Result<impl Fn(usize) -> Option<i128> + use<>> {
        let (texts, constant) = (cast(&self.array, &DataType::LargeUtf8)?, self.constant);
        Ok(move |row: usize| {
            let (texts, row) = (texts.as_string::<i64>(), if constant { 0 } else { row });
            texts.is_valid(row).then(|| texts.value(row).len() as i128)
        })
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::ScalarValue;

    use super::*;

    fn constants(name: &str, values: &[ScalarValue]) -> i128 {
        let values: Vec<_> = values.iter().cloned().map(ColumnarValue::Scalar).collect();
        wanted(name, &values, 8192).unwrap()
    }

    #[test]
    fn what_a_call_makes_follows_from_its_arguments() {
        let int = |number| ScalarValue::Int64(Some(number));
        assert_eq!(constants("repeat", &[ScalarValue::from("abc"), int(5)]), 15);
        assert_eq!(constants("repeat", &[ScalarValue::from("abc"), int(-5)]), 0);
        assert_eq!(constants("repeat", &[ScalarValue::from("abc"), ScalarValue::Int64(None)]), 0);
        assert_eq!(constants("lpad", &[ScalarValue::from("abc"), int(1000)]), 1000);
        assert_eq!(constants("range", &[int(1000)]), 8000);
        assert_eq!(constants("generate_series", &[int(-10), int(1000)]), 8080);
        assert_eq!(constants("range", &[int(1000), int(0), int(-10)]), 800);
        assert_eq!(constants("range", &[int(0), int(1000), int(-10)]), 0);
        assert_eq!(constants("range", &[int(0), int(1000), int(0)]), 0);
        assert_eq!(constants("range", &[int(i64::MIN), int(i64::MAX), int(1)]), (i128::from(u64::MAX)) * 8);
        assert_eq!(constants("array_resize", &[int(1), int(100)]), 800);
    }

    #[test]
    fn dates_count_too() {
        let day = ScalarValue::Date32(Some(0));
        let year = ScalarValue::Date32(Some(365));
        let hour = ScalarValue::new_interval_mdn(0, 0, 3_600_000_000_000);
        assert_eq!(constants("range", &[day, year, hour]), 365 * 24 * 8);
    }

    #[test]
    fn columns_are_added_up_row_by_row() {
        let text = ColumnarValue::Scalar(ScalarValue::from("ab"));
        let counts = ColumnarValue::Array(Arc::new(Int64Array::from(vec![Some(1), None, Some(10)])));
        assert_eq!(wanted("repeat", &[text, counts], 3).unwrap(), 22);
    }
}
