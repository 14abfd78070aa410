//! `path_length(x, y, t)`: how far somebody went.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::logical_expr::{AggregateUDF, TypeSignature};

use super::aggregate::Spec;
use super::ordered::{Fragment, Ordered, state};

pub(super) fn function() -> AggregateUDF {
    Spec {
        name: "path_length",
        arguments: TypeSignature::Exact(vec![DataType::Float64, DataType::Float64, DataType::Int64]),
        returns: |_| Ok(DataType::Float64),
        syntax: "path_length(x, y, t)",
        description: "The length of the path through the points (x, y) in the order of t, in their unit: the sum of the straight lines \
            from each step's point to the next. A line with a null end counts nothing; null where no line has both ends.",
        example: "select episode_id, path_length(pos_x, pos_y, t) as metres from steps group by episode_id",
        state,
        grouped: Ordered::<PathLength>::boxed,
    }
    .build()
}

type Point = (f64, f64);

#[derive(Clone, Copy)]
struct PathLength {
    sum: f64,
    lines: u64,
    first: Option<Point>,
    last: Option<Point>,
}

fn line(from: Point, to: Point) -> f64 {
    let (x, y) = (to.0 - from.0, to.1 - from.1);
    (x * x + y * y).sqrt()
}

impl Fragment for PathLength {
    type Columns<'a> = (&'a Float64Array, &'a Float64Array);

    const BYTES: usize = 8 + 8 + 2 * 17;

    fn columns(arguments: &[ArrayRef]) -> Self::Columns<'_> {
        (arguments[0].as_primitive::<Float64Type>(), arguments[1].as_primitive::<Float64Type>())
    }

    fn of((x, y): &Self::Columns<'_>, rows: Range<usize>) -> Self {
        let point = |row: usize| (x.is_valid(row) && y.is_valid(row)).then(|| (x.value(row), y.value(row)));
        let mut found = Self { sum: 0.0, lines: 0, first: point(rows.start), last: point(rows.end - 1) };
        if x.null_count() + y.null_count() == 0 {
            let (x, y) = (&x.values()[rows.clone()], &y.values()[rows]);
            // Eight sums side by side, for vector instructions; the order is fixed, and so is the result.
            let mut lanes = [0f64; 8];
            let lines = x.len() - 1;
            for start in (0..lines).step_by(8) {
                for (lane, at) in (start..lines.min(start + 8)).enumerate() {
                    lanes[lane] += line((x[at], y[at]), (x[at + 1], y[at + 1]));
                }
            }
            found.sum = lanes.iter().sum();
            found.lines = lines as u64;
            return found;
        }
        for row in rows.start + 1..rows.end {
            if let (Some(from), Some(to)) = (point(row - 1), point(row)) {
                found.sum += line(from, to);
                found.lines += 1;
            }
        }
        found
    }

    fn join(self, next: Self) -> Self {
        let between = self.last.zip(next.first).map(|(from, to)| line(from, to));
        Self {
            sum: self.sum + between.unwrap_or(0.0) + next.sum,
            lines: self.lines + u64::from(between.is_some()) + next.lines,
            first: self.first,
            last: next.last,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.sum.to_le_bytes());
        out.extend(self.lines.to_le_bytes());
        for point in [self.first, self.last] {
            let (x, y) = point.unwrap_or_default();
            out.push(u8::from(point.is_some()));
            out.extend(x.to_le_bytes());
            out.extend(y.to_le_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Self {
        let eight = |at: usize| bytes[at..].first_chunk().copied().unwrap_or_default();
        let point = |at: usize| {
            (bytes[at] == 1).then(|| (f64::from_le_bytes(eight(at + 1)), f64::from_le_bytes(eight(at + 9))))
        };
        Self {
            sum: f64::from_le_bytes(eight(0)),
            lines: u64::from_le_bytes(eight(8)),
            first: point(16),
            last: point(33),
        }
    }

    fn results(fragments: Vec<Option<Self>>) -> ArrayRef {
        let sum = |one: &Option<Self>| one.filter(|one| one.lines > 0).map(|one| one.sum);
        Arc::new(fragments.iter().map(sum).collect::<Float64Array>())
    }
}
