//! Group-by over small keys: the group is computed, not looked up.
//!
//! Sticks have eleven buckets and buttons two states, so even six of them make fewer groups than fit a table in the
//! processor's cache; so do minutes, or the cells of a map. Each combination has its place in that table, and no row is
//! hashed. What values there are is known from the statistics, or else learnt from the rows: if a table turns out too small,
//! its groups are handed out and a wider one begins, and if none is wide enough, keys are hashed after all. This is the
//! first stage of two: each partition has groups of its own, and DataFusion's final stage puts them together.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, Statistics, internal_err};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode, PhysicalExpr};

use super::floor::Floor;
use super::group_by::{Aggregate, GroupTable, Strategy};
use super::hash_table::HashTable;
use super::histogram::Histogram;
use super::place_table::PlaceTable;
use super::places::{Places, Values};
use super::quick::quick;

/// Taken by the first stage of a group-by whose keys are all whole numbers or booleans.
#[derive(Clone)]
pub(crate) struct ByPlace {
    /// As far as they are known.
    places: Places,
}

impl Strategy for ByPlace {
    const RULE: &'static str = "dense_aggregate";
    const NAME: &'static str = "DenseAggregateExec";

    fn of(aggregate: &AggregateExec) -> Result<Option<Self>> {
        let keys = aggregate.group_expr().expr();
        let unordered = aggregate.aggr_expr().iter().all(|one| one.order_bys().is_empty());
        // Of sorted input DataFusion promises sorted groups, which a table hands out in an order of its own.
        let promises_order = *aggregate.input_order_mode() != InputOrderMode::Linear;
        if *aggregate.mode() != AggregateMode::Partial || keys.is_empty() || !unordered || promises_order {
            return Ok(None);
        }
        let (input, schema) = (aggregate.input(), aggregate.input().schema());
        let statistics = StatisticsContext::new().compute(input.as_ref(), &StatisticsArgs::new())?;
        let mut values = Vec::with_capacity(keys.len());
        for (key, _) in keys {
            let data_type = key.data_type(&schema)?;
            if !Places::may_have(&data_type) {
                return Ok(None);
            }
            values.push(match (data_type, key.downcast_ref::<Column>()) {
                (DataType::Boolean, _) => Values { least: 0, count: 2 },
                (_, Some(column)) => known_values(&statistics, column.index()),
                _ => Values::UNKNOWN,
            });
        }
        Ok(Places::new(values).map(|places| Self { places }))
    }

    fn describe(&self, aggregate: &AggregateExec) -> String {
        let keys = aggregate.group_expr().expr().iter().zip(self.places.keys());
        let keys: Vec<String> = keys
            .map(
                |((key, _), values)| if values.count > 0 { format!("{key}<{}", values.count) } else { key.to_string() },
            )
            .collect();
        format!("mode=Partial, gby=[{}]", keys.join(", "))
    }

    fn groups(&self, aggregate: &AggregateExec) -> Result<Box<dyn GroupTable>> {
        let rows = Rows::at(&self.places, aggregate)?;
        let keys = aggregate
            .group_expr()
            .expr()
            .iter()
            .map(|(key, _)| quick::<Floor>(key).unwrap_or_else(|| Arc::clone(key)))
            .collect();
        Ok(Box::new(Dense { aggregate: aggregate.clone(), keys, places: self.places.clone(), rows }))
    }
}

/// How many values a column may have, by its greatest.
fn known_values(statistics: &Statistics, column: usize) -> Values {
    let greatest = statistics.column_statistics.get(column).and_then(|column| column.max_value.get_value());
    match greatest {
        Some(ScalarValue::UInt8(Some(greatest))) => Values { least: 0, count: u32::from(*greatest) + 1 },
        _ => Values::UNKNOWN,
    }
}

/// The groups of a partition.
struct Dense {
    aggregate: AggregateExec,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    places: Places,
    rows: Rows,
}

/// How a row's group is found.
enum Rows {
    Counted(Histogram),
    Placed(PlaceTable),
    Hashed(HashTable),
}

impl Rows {
    fn at(places: &Places, aggregate: &AggregateExec) -> Result<Self> {
        Ok(if Aggregate::counts_rows(aggregate) {
            Self::Counted(Histogram::new(places))
        } else {
            Self::Placed(PlaceTable::new(places, Aggregate::all(aggregate)?))
        })
    }
}

impl GroupTable for Dense {
    fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(None);
        }
        let keys = self.keys.iter().map(|key| key.evaluate(batch)?.into_array(rows)).collect::<Result<Vec<_>>>()?;
        if let Rows::Hashed(table) = &mut self.rows {
            return table.push(keys, batch, &self.aggregate.schema());
        }
        if self.count(&keys, batch)? {
            return Ok(None);
        }
        let so_far = self.shrink()?;
        match self.places.wider(&keys) {
            Some(wider) => {
                self.rows = Rows::at(&wider, &self.aggregate)?;
                self.places = wider;
                if !self.count(&keys, batch)? {
                    return internal_err!("a table that was made for a batch has no place for it");
                }
            }
            None => {
                let schema = self.aggregate.schema();
                let mut table = HashTable::new(&schema, keys.len(), Aggregate::all(&self.aggregate)?)?;
                // It hands nothing on so soon.
                table.push(keys, batch, &schema)?;
                self.rows = Rows::Hashed(table);
            }
        }
        Ok(so_far)
    }

    fn shrink(&mut self) -> Result<Option<RecordBatch>> {
        // The second stage adds up parts of a group, and can leave its groups on disk.
        let schema = self.aggregate.schema();
        match &mut self.rows {
            Rows::Counted(table) => table.take(&schema),
            Rows::Placed(table) => table.take(&schema),
            Rows::Hashed(table) => table.take(&schema),
        }
    }

    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        self.shrink()
    }

    fn size(&self) -> usize {
        match &self.rows {
            Rows::Counted(table) => table.size(),
            Rows::Placed(table) => table.size(),
            Rows::Hashed(table) => table.size(),
        }
    }
}

impl Dense {
    /// Adds rows whose keys have places; false, and nothing done, if one has none.
    fn count(&mut self, keys: &[ArrayRef], batch: &RecordBatch) -> Result<bool> {
        match &mut self.rows {
            Rows::Counted(table) => Ok(table.push(keys, batch.num_rows())),
            Rows::Placed(table) => table.push(keys, batch),
            Rows::Hashed(_) => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{AsArray, BooleanArray, Int32Array, Int64Array};
    use arrow::datatypes::Int64Type;
    use arrow::util::display::array_value_to_string;
    use datafusion::functions_aggregate::count::count_udaf;
    use datafusion::functions_aggregate::sum::sum_udaf;
    use datafusion::physical_expr::aggregate::AggregateExprBuilder;
    use datafusion::physical_expr::expressions::{col, lit};
    use datafusion::physical_plan::aggregates::PhysicalGroupBy;
    use datafusion::physical_plan::empty::EmptyExec;

    use super::*;

    /// Sums of `v` by keys, of batches pushed one after the other, added up as the second stage does; and how many times
    /// groups were handed out before the end.
    fn sums(batches: &[RecordBatch], keys: &[&str], counted: bool) -> (BTreeMap<Vec<String>, i64>, usize) {
        let schema = batches[0].schema();
        let key = |name: &&str| (col(name, &schema).unwrap(), (*name).to_owned());
        let of = |column: &str| col(column, &schema).unwrap();
        let aggregate = if counted {
            AggregateExprBuilder::new(count_udaf(), vec![lit(1i64)])
        } else {
            AggregateExprBuilder::new(sum_udaf(), vec![of("v")])
        };
        let aggregate = AggregateExec::try_new(
            AggregateMode::Partial,
            PhysicalGroupBy::new_single(keys.iter().map(key).collect()),
            vec![Arc::new(aggregate.schema(Arc::clone(&schema)).alias("sum").build().unwrap())],
            vec![None],
            Arc::new(EmptyExec::new(Arc::clone(&schema))),
            Arc::clone(&schema),
        )
        .unwrap();
        let mut groups = ByPlace::of(&aggregate).unwrap().unwrap().groups(&aggregate).unwrap();
        let mut out: Vec<RecordBatch> = batches.iter().filter_map(|batch| groups.push(batch).unwrap()).collect();
        let early = out.len();
        out.extend(groups.finish().unwrap());
        assert!(groups.finish().unwrap().is_none(), "what was handed out begins anew");
        let mut sums = BTreeMap::new();
        for batch in out {
            let text = |row: usize| {
                (0..keys.len()).map(|key| array_value_to_string(batch.column(key), row).unwrap()).collect::<Vec<_>>()
            };
            for row in 0..batch.num_rows() {
                *sums.entry(text(row)).or_default() += batch.column(keys.len()).as_primitive::<Int64Type>().value(row);
            }
        }
        (sums, early)
    }

    fn expected(batches: &[RecordBatch], keys: &[&str], counted: bool) -> BTreeMap<Vec<String>, i64> {
        let mut sums = BTreeMap::new();
        for batch in batches {
            for row in 0..batch.num_rows() {
                let text = |key: &&str| array_value_to_string(batch.column_by_name(key).unwrap(), row).unwrap();
                let v = batch.column_by_name("v").unwrap().as_primitive::<Int64Type>().value(row);
                *sums.entry(keys.iter().map(text).collect::<Vec<_>>()).or_default() += if counted { 1 } else { v };
            }
        }
        sums
    }

    fn batch(k: Vec<Option<i32>>, seed: i64) -> RecordBatch {
        let rows = k.len() as i64;
        let columns: [(&str, ArrayRef, bool); 3] = [
            ("k", Arc::new(Int32Array::from(k)), true),
            ("b", Arc::new((0..rows).map(|i| Some(i * seed % 3 == 0)).collect::<BooleanArray>()), false),
            ("v", Arc::new((0..rows).map(|i| Some(i * seed % 1000)).collect::<Int64Array>()), false),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    #[test]
    fn tables_grow_and_give_up_with_the_same_sums() {
        let some = |range: std::ops::Range<i32>| range.map(Some).collect::<Vec<_>>();
        let small = batch(some(10..60), 7);
        let wider = batch(some(-100..200), 11);
        let odd = batch(vec![Some(3), None, Some(3), None], 5);
        let far = batch(vec![Some(i32::MIN), Some(i32::MAX), Some(10)], 13);
        let cases: [(&[&RecordBatch], usize); 4] = [
            (&[&small, &small], 0),
            (&[&small, &wider, &small], 1),
            (&[&small, &odd, &small], 1),
            (&[&small, &wider, &far, &wider, &odd, &small], 2),
        ];
        for (batches, early) in cases {
            let batches: Vec<RecordBatch> = batches.iter().map(|batch| (*batch).clone()).collect();
            for counted in [false, true] {
                for keys in [&["k"][..], &["k", "b"], &["b", "k"]] {
                    let (sums, out) = sums(&batches, keys, counted);
                    assert_eq!(sums, expected(&batches, keys, counted));
                    assert_eq!(out, early, "{keys:?}");
                }
            }
        }
    }

    #[test]
    fn groups_that_are_as_many_as_rows_are_handed_on() {
        let scattered = |i: i32| Some(i.wrapping_mul(0x9E37_79B1_u32 as i32));
        let batches: Vec<RecordBatch> =
            (0..20).map(|part| batch((part * 8192..(part + 1) * 8192).map(scattered).collect(), 3)).collect();
        for counted in [false, true] {
            let (sums, early) = sums(&batches, &["k"], counted);
            assert_eq!(sums, expected(&batches, &["k"], counted));
            // All rows of the trial at once, and then batch by batch.
            assert_eq!(early, 1 + 20 - 13);
        }
    }
}
