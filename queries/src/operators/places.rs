//! The place of each combination of small values in a table of all combinations.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowNativeType, DataType, Int8Type, Int16Type, Int32Type, Int64Type, Schema, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use datafusion::common::Result;

/// Combinations of keys at most: a table of them stays in the processor's cache.
const MOST_PLACES: u64 = 1 << 18;

/// Values of each key; the last key changes fastest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    keys: Vec<Values>,
}

/// The values of a key, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) least: i64,
    /// None for a key of which nothing is known yet.
    pub(super) count: u32,
}

/// `$then` with the Arrow type of a column of whole numbers, else `$other`.
macro_rules! of_integers {
    ($column:expr, $type:ident => $then:expr, $other:expr) => {
        match $column.data_type() {
            DataType::Int8 => of_integers!(@ $type, Int8Type, $then),
            DataType::Int16 => of_integers!(@ $type, Int16Type, $then),
            DataType::Int32 => of_integers!(@ $type, Int32Type, $then),
            DataType::Int64 => of_integers!(@ $type, Int64Type, $then),
            DataType::UInt8 => of_integers!(@ $type, UInt8Type, $then),
            DataType::UInt16 => of_integers!(@ $type, UInt16Type, $then),
            DataType::UInt32 => of_integers!(@ $type, UInt32Type, $then),
            DataType::UInt64 => of_integers!(@ $type, UInt64Type, $then),
            _ => $other,
        }
    };
    (@ $type:ident, $arrow:ty, $then:expr) => {{
        type $type = $arrow;
        $then
    }};
}

impl Values {
    /// Nothing is known of them.
    pub(super) const UNKNOWN: Self = Self { least: 0, count: 0 };

    fn holds(self, least: i64, greatest: i64) -> bool {
        least >= self.least && greatest.checked_sub(self.least).is_some_and(|top| top < i64::from(self.count))
    }

    /// With other values too, and room for more on the side where they are. None if that is too much for any table.
    fn wider(self, least: i64, greatest: i64) -> Option<Self> {
        if self.holds(least, greatest) {
            return Some(self);
        }
        let (mut low, mut high) = (least, greatest);
        if self.count > 0 {
            let room = i64::from(self.count);
            let last = self.least + room - 1;
            low = if least < self.least { least.min(self.least.saturating_sub(room)) } else { self.least };
            high = if greatest > last { greatest.max(last.saturating_add(room)) } else { last };
        }
        let count = high.checked_sub(low)?.checked_add(1).filter(|count| *count as u64 <= MOST_PLACES)?;
        Some(Self { least: low, count: count as u32 })
    }
}

impl Places {
    /// None if there are too many combinations for a table.
    pub(super) fn new(keys: Vec<Values>) -> Option<Self> {
        let places = keys.iter().try_fold(1u64, |places, key| places.checked_mul(u64::from(key.count)))?;
        (places <= MOST_PLACES).then_some(Self { keys })
    }

    /// Whether keys of a type can have places at all.
    pub(super) fn may_have(data_type: &DataType) -> bool {
        *data_type == DataType::Boolean || data_type.is_integer()
    }

    /// Combinations.
    pub(super) fn count(&self) -> usize {
        self.keys.iter().map(|key| key.count as usize).product()
    }

    pub(super) fn keys(&self) -> &[Values] {
        &self.keys
    }

    /// Places for these rows too; none if there can be no table of them.
    pub(super) fn wider(&self, columns: &[ArrayRef]) -> Option<Self> {
        let wider = self.keys.iter().zip(columns).map(|(key, column)| {
            let (least, greatest) = range(column)?;
            key.wider(least, greatest)
        });
        let wider = wider.collect::<Option<Vec<_>>>()?;
        // Room for more is a courtesy.
        Self::new(wider).or_else(|| {
            let exact = self.keys.iter().zip(columns).map(|(key, column)| {
                let (least, greatest) = range(column)?;
                let least = if key.count > 0 { least.min(key.least) } else { least };
                let greatest =
                    if key.count > 0 { greatest.max(key.least + i64::from(key.count) - 1) } else { greatest };
                Values::UNKNOWN.wider(least, greatest)
            });
            Self::new(exact.collect::<Option<Vec<_>>>()?)
        })
    }

    /// Writes the place of each row; false if a value has none.
    pub(super) fn find(&self, columns: &[ArrayRef], places: &mut Vec<u32>) -> bool {
        let fits = |(key, column): (&Values, &ArrayRef)| range(column).is_some_and(|(l, g)| key.holds(l, g));
        if !self.keys.iter().zip(columns).all(fits) {
            return false;
        }
        places.clear();
        places.resize(columns.first().map_or(0, |column| column.len()), 0);
        for (key, column) in self.keys.iter().zip(columns) {
            let count = key.count;
            of_integers!(
                column,
                T => append_numbers::<T>(column, key.least, count, places),
                append_bits(column.as_boolean().values(), places)
            );
        }
        true
    }

    /// The keys at these places, as columns of the types with which `schema` begins.
    ///
    /// # Errors
    /// None that are known of.
    pub(super) fn keys_at(&self, places: &[u32], schema: &Schema) -> Result<Vec<ArrayRef>> {
        let mut below = self.count() as u32;
        let columns = self.keys.iter().zip(schema.fields()).map(|(key, field)| {
            below /= key.count;
            let digits = places.iter().map(|place| i64::from(place / below % key.count));
            if *field.data_type() == DataType::Boolean {
                return Ok(Arc::new(digits.map(|digit| Some(digit == 1)).collect::<BooleanArray>()) as ArrayRef);
            }
            let values = Int64Array::from_iter_values(digits.map(|digit| key.least + digit));
            Ok(cast(&values, field.data_type())?)
        });
        columns.collect()
    }
}

/// The least and the greatest value of a column; none if it has no rows, or has nulls, or is of another kind.
fn range(column: &ArrayRef) -> Option<(i64, i64)> {
    if column.is_empty() || column.null_count() > 0 {
        return None;
    }
    of_integers!(
        column,
        T => range_of::<T>(column),
        (*column.data_type() == DataType::Boolean).then_some((0, 1))
    )
}

fn range_of<T: ArrowPrimitiveType<Native: Ord>>(column: &ArrayRef) -> Option<(i64, i64)> {
    let (first, rest) = column.as_primitive::<T>().values().split_first()?;
    let wider =
        |(least, greatest): (T::Native, T::Native), value: &T::Native| (least.min(*value), greatest.max(*value));
    let (least, greatest) = rest.iter().fold((*first, *first), wider);
    Some((least.to_i64()?, greatest.to_i64()?))
}

/// Makes each place `count` times as great and adds what a number, which is within the range, is above the least.
fn append_numbers<T: ArrowPrimitiveType>(column: &ArrayRef, least: i64, count: u32, places: &mut [u32]) {
    // The difference is small, so its lower half is all of it.
    let above = |value: &T::Native| (value.as_usize() as u32).wrapping_sub(least as u32);
    let values = column.as_primitive::<T>().values();
    places.iter_mut().zip(values).for_each(|(place, value)| *place = *place * count + above(value));
}

/// Makes each place twice as great and adds a bit, eight rows at a time.
fn append_bits(bits: &BooleanBuffer, places: &mut [u32]) {
    let chunks = bits.bit_chunks();
    let words = chunks.iter().chain([chunks.remainder_bits()]);
    for (places, word) in places.chunks_mut(64).zip(words) {
        for (eight, byte) in places.chunks_mut(8).zip(word.to_le_bytes()) {
            for (bit, place) in eight.iter_mut().enumerate() {
                *place = *place * 2 + u32::from(byte >> bit & 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, UInt8Array, UInt64Array};
    use arrow::datatypes::Field;

    use super::*;

    fn values(least: i64, count: u32) -> Values {
        Values { least, count }
    }

    #[test]
    fn every_combination_has_its_place() {
        let places = Places::new(vec![values(0, 3), values(0, 2), values(-5, 11)]).unwrap();
        assert_eq!(places.count(), 66);
        let rows: Vec<(u8, bool, i32)> =
            (0..3).flat_map(|a| [false, true].into_iter().flat_map(move |b| (-5..6).map(move |c| (a, b, c)))).collect();
        // Begins amid a byte, and ends amid another.
        let bits: BooleanArray = [true; 3].into_iter().chain(rows.iter().map(|row| row.1)).map(Some).collect();
        let keys: Vec<ArrayRef> = vec![
            Arc::new(UInt8Array::from_iter_values(rows.iter().map(|row| row.0))),
            Arc::new(bits.slice(3, rows.len())),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.2))),
        ];
        let mut found = vec![7];
        assert!(places.find(&keys, &mut found));
        assert_eq!(found, (0..66).collect::<Vec<_>>());
        let field = |name: &str, data_type| Field::new(name, data_type, false);
        let schema = Schema::new(vec![
            field("a", DataType::UInt8),
            field("b", DataType::Boolean),
            field("c", DataType::Int32),
            field("n", DataType::Int64),
        ]);
        assert_eq!(places.keys_at(&found, &schema).unwrap(), keys);
        let one = |c: i32| -> Vec<ArrayRef> {
            vec![
                Arc::new(UInt8Array::from(vec![2])),
                Arc::new(BooleanArray::from(vec![true])),
                Arc::new(Int32Array::from(vec![c])),
            ]
        };
        assert!(!places.find(&one(6), &mut found));
        assert!(!places.find(&one(-6), &mut found));
        assert_eq!(places.wider(&one(6)), Places::new(vec![values(0, 3), values(0, 2), values(-5, 22)]));
        assert_eq!(places.wider(&one(-6)), Places::new(vec![values(0, 3), values(0, 2), values(-16, 22)]));
        assert_eq!(places.wider(&one(5)).as_ref(), Some(&places));
        assert_eq!(places.wider(&one(i32::MAX)), None);
        // Without room to spare there is still a table.
        assert_eq!(places.wider(&one(30_000)), Places::new(vec![values(0, 3), values(0, 2), values(-5, 30_006)]));
        assert!(Places::new(vec![values(0, 3), values(0, 2), values(0, 1 << 17)]).is_none());
    }

    #[test]
    fn what_is_not_known_is_learnt() {
        let unknown = Places::new(vec![Values::UNKNOWN]).unwrap();
        assert_eq!(unknown.count(), 0);
        let ids = |ids: Vec<i64>| -> Vec<ArrayRef> { vec![Arc::new(Int64Array::from(ids))] };
        let mut found = Vec::new();
        assert!(!unknown.find(&ids(vec![70, 75]), &mut found));
        let known = unknown.wider(&ids(vec![70, 75])).unwrap();
        assert_eq!(known.keys(), [values(70, 6)]);
        assert!(known.find(&ids(vec![75, 70]), &mut found));
        assert_eq!(found, [5, 0]);
        assert_eq!(unknown.wider(&ids(vec![i64::MIN, i64::MAX])), None);
        assert_eq!(known.wider(&ids(vec![i64::MIN])), None);
        assert_eq!(known.wider(&[Arc::new(Int64Array::from(vec![Some(70), None]))]), None, "a null has no place");
        assert_eq!(known.wider(&[Arc::new(UInt64Array::from(vec![u64::MAX]))]), None);
    }
}
