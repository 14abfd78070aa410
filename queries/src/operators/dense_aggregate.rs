//! Group-by over small keys: the group is computed, not looked up.
//!
//! Sticks have eleven buckets and buttons two states, so even six of them make fewer groups than fit a table in the
//! processor's cache. Each combination has its place in that table, and no row is hashed. This is the first stage of two:
//! each partition fills a table of its own, and DataFusion's final stage puts their groups together.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{Result, ScalarValue, Statistics};
use datafusion::logical_expr::EmitTo;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::group_by::{Aggregate, GroupTable, Strategy};
use super::histogram::Histogram;
use super::places::Places;
use crate::functions::Groups;

/// Places of a table at most: it stays in the processor's cache.
const MOST_PLACES: u32 = 1 << 18;

/// Taken by the first stage of a group-by whose keys are all small.
#[derive(Clone)]
pub(crate) struct ByPlace {
    places: Places,
}

impl Strategy for ByPlace {
    const RULE: &'static str = "dense_aggregate";
    const NAME: &'static str = "DenseAggregateExec";

    fn of(aggregate: &AggregateExec) -> Result<Option<Self>> {
        let keys = aggregate.group_expr().expr();
        let unordered = aggregate.aggr_expr().iter().all(|one| one.order_bys().is_empty());
        if *aggregate.mode() != AggregateMode::Partial || keys.is_empty() || !unordered {
            return Ok(None);
        }
        let (input, schema) = (aggregate.input(), aggregate.input().schema());
        let mut types = Vec::with_capacity(keys.len());
        for (key, _) in keys {
            match key.data_type(&schema)? {
                small @ (DataType::Boolean | DataType::UInt8) if !key.nullable(&schema)? => types.push(small),
                _ => return Ok(None),
            }
        }
        let statistics = StatisticsContext::new().compute(input.as_ref(), &StatisticsArgs::new())?;
        let count = |((key, _), data_type): (&(Arc<dyn PhysicalExpr>, String), &DataType)| match data_type {
            DataType::Boolean => Some(2),
            _ => number_of_values(&statistics, key.downcast_ref::<Column>()?.index()),
        };
        let Some(values) = keys.iter().zip(&types).map(count).collect::<Option<Vec<_>>>() else { return Ok(None) };
        Ok(Places::new(&values, MOST_PLACES).map(|places| Self { places }))
    }

    fn describe(&self, aggregate: &AggregateExec) -> String {
        let keys = aggregate.group_expr().expr().iter().zip(self.places.values());
        let keys: Vec<String> = keys.map(|((key, _), values)| format!("{key}<{values}")).collect();
        format!("mode=Partial, gby=[{}]", keys.join(", "))
    }

    fn groups(&self, aggregate: &AggregateExec) -> Result<Box<dyn GroupTable>> {
        if Aggregate::counts_rows(aggregate) {
            return Ok(Box::new(Histogram::new(aggregate, &self.places)));
        }
        Ok(Box::new(Table::new(aggregate, &self.places)?))
    }
}

/// How many values a column may have, by its greatest.
fn number_of_values(statistics: &Statistics, column: usize) -> Option<u32> {
    match statistics.column_statistics.get(column)?.max_value.get_value()? {
        ScalarValue::UInt8(Some(greatest)) => Some(u32::from(*greatest) + 1),
        _ => None,
    }
}

/// The groups of a partition.
struct Table {
    schema: SchemaRef,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    places: Places,
    aggregates: Vec<Aggregate>,
    /// The group at each place, numbered as they came: aggregates count on every number below the greatest having rows.
    group_at: Vec<u32>,
    /// Each group's place.
    place_of: Vec<u32>,
    /// Each row's place and its group, kept for their memory.
    place_of_row: Vec<u32>,
    group_of_row: Vec<usize>,
}

/// No group.
const NONE: u32 = u32::MAX;

impl Table {
    fn new(aggregate: &AggregateExec, places: &Places) -> Result<Self> {
        Ok(Self {
            schema: aggregate.schema(),
            keys: aggregate.group_expr().expr().iter().map(|(key, _)| Arc::clone(key)).collect(),
            places: places.clone(),
            aggregates: Aggregate::all(aggregate)?,
            group_at: vec![NONE; places.count()],
            place_of: Vec::new(),
            place_of_row: Vec::new(),
            group_of_row: Vec::new(),
        })
    }

    /// Finds every row's group; false if a value has no place.
    fn find_groups(&mut self, keys: &[ArrayRef], rows: usize) -> Result<bool> {
        if !self.places.find(keys, rows, &mut self.place_of_row)? {
            return Ok(false);
        }
        self.group_of_row.clear();
        for place in &self.place_of_row {
            let group = &mut self.group_at[*place as usize];
            if *group == NONE {
                *group = self.place_of.len() as u32;
                self.place_of.push(*place);
            }
            self.group_of_row.push(*group as usize);
        }
        Ok(true)
    }
}

impl GroupTable for Table {
    /// Adds rows. If a key has more values than was thought, the rows come back as groups of their own.
    fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let rows = batch.num_rows();
        let keys = self.keys.iter().map(|key| key.evaluate(batch)?.into_array(rows)).collect::<Result<Vec<_>>>()?;
        if !self.find_groups(&keys, rows)? {
            let mut columns = keys;
            for aggregate in &self.aggregates {
                columns.extend(aggregate.convert(batch)?);
            }
            return Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?));
        }
        for aggregate in &mut self.aggregates {
            let groups = Groups::OfRows(&self.group_of_row);
            aggregate.update(batch, groups, &self.group_of_row, self.place_of.len())?;
        }
        Ok(None)
    }

    fn shrink(&mut self) -> Result<Option<RecordBatch>> {
        // The second stage adds up parts of a group, and can leave its groups on disk.
        let groups = self.finish()?;
        self.group_at.fill(NONE);
        self.place_of.clear();
        Ok(groups)
    }

    fn size(&self) -> usize {
        let aggregates: usize = self.aggregates.iter().map(Aggregate::size).sum();
        let places = self.group_at.capacity() + self.place_of.capacity() + self.place_of_row.capacity();
        aggregates + places * size_of::<u32>() + self.group_of_row.capacity() * size_of::<usize>()
    }

    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if self.place_of.is_empty() {
            return Ok(None);
        }
        let mut columns = self.places.keys_at(&self.place_of, &self.schema);
        for aggregate in &mut self.aggregates {
            columns.extend(aggregate.accumulator().state(EmitTo::All)?);
        }
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, BooleanArray, Int64Array, UInt8Array};
    use arrow::datatypes::{Field, Int64Type, Schema, UInt8Type};
    use datafusion::functions_aggregate::sum::sum_udaf;
    use datafusion::physical_expr::aggregate::AggregateExprBuilder;
    use datafusion::physical_expr::expressions::col;
    use datafusion::physical_plan::aggregates::PhysicalGroupBy;
    use datafusion::physical_plan::empty::EmptyExec;

    use super::*;

    #[test]
    fn values_beyond_the_statistics_are_groups_of_their_own() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("k", DataType::UInt8, false),
            Field::new("b", DataType::Boolean, false),
            Field::new("v", DataType::Int64, false),
        ]));
        let batch = |k: Vec<u8>, b: Vec<bool>, v: Vec<i64>| {
            let columns: Vec<ArrayRef> =
                vec![Arc::new(UInt8Array::from(k)), Arc::new(BooleanArray::from(b)), Arc::new(Int64Array::from(v))];
            RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
        };
        let key = |name: &str| (col(name, &schema).unwrap(), name.to_owned());
        let sum = AggregateExprBuilder::new(sum_udaf(), vec![col("v", &schema).unwrap()]);
        let sum = sum.schema(Arc::clone(&schema)).alias("sum").build().unwrap();
        let aggregate = AggregateExec::try_new(
            AggregateMode::Partial,
            PhysicalGroupBy::new_single(vec![key("k"), key("b")]),
            vec![Arc::new(sum)],
            vec![None],
            Arc::new(EmptyExec::new(Arc::clone(&schema))),
            Arc::clone(&schema),
        );
        let mut table = Table::new(&aggregate.unwrap(), &Places::new(&[3, 2], 6).unwrap()).unwrap();
        let rows = |batch: &RecordBatch| {
            let (k, b) = (batch.column(0).as_primitive::<UInt8Type>(), batch.column(1).as_boolean());
            let sums = batch.column(2).as_primitive::<Int64Type>();
            (0..batch.num_rows()).map(|row| (k.value(row), b.value(row), sums.value(row))).collect::<Vec<_>>()
        };
        assert!(table.push(&batch(vec![2, 0, 2], vec![true, false, true], vec![1, 2, 3])).unwrap().is_none());
        let beyond = table.push(&batch(vec![2, 9], vec![true, true], vec![10, 20])).unwrap().unwrap();
        assert_eq!(rows(&beyond), [(2, true, 10), (9, true, 20)]);
        assert!(table.push(&batch(vec![0, 1], vec![false, true], vec![100, 200])).unwrap().is_none());
        let groups = table.shrink().unwrap().unwrap();
        assert_eq!(rows(&groups), [(2, true, 4), (0, false, 102), (1, true, 200)]);
        // What was handed out begins anew.
        assert!(table.push(&batch(vec![1, 2], vec![true, true], vec![5, 6])).unwrap().is_none());
        assert_eq!(rows(&table.finish().unwrap().unwrap()), [(1, true, 5), (2, true, 6)]);
    }
}
