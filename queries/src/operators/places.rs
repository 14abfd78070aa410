//! The place of each combination of small values in a table of all combinations.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, UInt8Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Schema, UInt8Type};
use datafusion::common::{Result, internal_err};

/// Keys of so many values each, 0, 1, 2 and so on; the last one changes fastest.
#[derive(Clone)]
pub(super) struct Places {
    values: Vec<u32>,
}

impl Places {
    /// None if there are more than `most` combinations.
    pub(super) fn new(values: &[u32], most: u32) -> Option<Self> {
        let places = values.iter().try_fold(1u32, |places, count| places.checked_mul(*count))?;
        (places <= most).then(|| Self { values: values.to_vec() })
    }

    /// Combinations.
    pub(super) fn count(&self) -> usize {
        self.values.iter().product::<u32>() as usize
    }

    /// Values of each key.
    pub(super) fn values(&self) -> &[u32] {
        &self.values
    }

    /// Writes the place of each row, whose keys are never null; false if a value has none.
    pub(super) fn find(&self, keys: &[ArrayRef], rows: usize, places: &mut Vec<u32>) -> Result<bool> {
        places.clear();
        places.resize(rows, 0);
        for (key, count) in keys.iter().zip(&self.values) {
            match key.data_type() {
                DataType::Boolean => append_bits(key.as_boolean().values(), places),
                DataType::UInt8 => {
                    let buckets: &[u8] = key.as_primitive::<UInt8Type>().values();
                    let greatest = buckets.iter().fold(0, |greatest, bucket| (*bucket).max(greatest));
                    if u32::from(greatest) >= *count && rows > 0 {
                        return Ok(false);
                    }
                    let places = places.iter_mut().zip(buckets);
                    places.for_each(|(place, bucket)| *place = *place * count + u32::from(*bucket));
                }
                other => return internal_err!("a small key is {other}"),
            }
        }
        Ok(true)
    }

    /// The keys at these places, as columns of the types with which `schema` begins.
    pub(super) fn keys_at(&self, places: &[u32], schema: &Schema) -> Vec<ArrayRef> {
        let mut below = self.count() as u32;
        let columns = self.values.iter().zip(schema.fields()).map(|(count, field)| {
            below /= count;
            let digits = places.iter().map(|place| (place / below % count) as u8);
            match field.data_type() {
                DataType::Boolean => {
                    Arc::new(digits.map(|digit| Some(digit == 1)).collect::<BooleanArray>()) as ArrayRef
                }
                _ => Arc::new(UInt8Array::from_iter_values(digits)),
            }
        });
        columns.collect()
    }
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
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn every_combination_has_its_place() {
        let places = Places::new(&[3, 2, 11], 66).unwrap();
        assert!(Places::new(&[3, 2, 11], 65).is_none());
        assert!(Places::new(&[u32::MAX, 2], u32::MAX).is_none());
        let rows: Vec<(u8, bool, u8)> =
            (0..3).flat_map(|a| [false, true].into_iter().flat_map(move |b| (0..11).map(move |c| (a, b, c)))).collect();
        // Begins amid a byte, and ends amid another.
        let bits: BooleanArray = [true; 3].into_iter().chain(rows.iter().map(|row| row.1)).map(Some).collect();
        let keys: [ArrayRef; 3] = [
            Arc::new(UInt8Array::from_iter_values(rows.iter().map(|row| row.0))),
            Arc::new(bits.slice(3, rows.len())),
            Arc::new(UInt8Array::from_iter_values(rows.iter().map(|row| row.2))),
        ];
        let mut found = vec![7];
        assert!(places.find(&keys, rows.len(), &mut found).unwrap());
        assert_eq!(found, (0..66).collect::<Vec<_>>());
        let field = |name: &str, data_type| Field::new(name, data_type, false);
        let schema = Schema::new(vec![
            field("a", DataType::UInt8),
            field("b", DataType::Boolean),
            field("c", DataType::UInt8),
            field("n", DataType::Int64),
        ]);
        assert_eq!(places.keys_at(&found, &schema), keys);
        let beyond: [ArrayRef; 3] = [
            Arc::new(UInt8Array::from(vec![3])),
            Arc::new(BooleanArray::from(vec![true])),
            Arc::new(UInt8Array::from(vec![0])),
        ];
        assert!(!places.find(&beyond, 1, &mut found).unwrap());
    }
}
