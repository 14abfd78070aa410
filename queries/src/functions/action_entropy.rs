//! `action_entropy(a, b, ...)`: how unpredictable the actions are.
//!
//! The values of a row are packed into one number, and each group counts how often each number occurs. Counts of parts of
//! a group add up, so that partial results may come from anywhere and in any order.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float64Array, LargeBinaryArray, LargeBinaryBuilder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Field, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::common::{Result, exec_datafusion_err, internal_err, plan_err};
use datafusion::logical_expr::{AggregateUDF, EmitTo, GroupsAccumulator, TypeSignature};

use super::aggregate::{Accumulate, Groups, Spec};

pub(super) fn function() -> AggregateUDF {
    Spec {
        name: "action_entropy",
        arguments: TypeSignature::VariadicAny,
        returns: result_type,
        syntax: "action_entropy(component, ...)",
        description: "The Shannon entropy, in bits, of the actions of a group: of the joint distribution of the arguments' values, each \
            combination as probable as it is frequent. 0 where one action is repeated throughout. A row with a null among the \
            arguments is not counted; null without rows. The arguments are booleans and whole numbers of at most 64 bits in all. \
            With all components (or buttons and the sticks) over an episode's steps it is the column action_entropy of episodes.",
        example: "select episode_id, action_entropy(buttons, left_x, left_y, right_x, right_y) as bits from steps group by episode_id",
        state: |name| vec![Arc::new(Field::new(format!("{name}[counts]"), DataType::LargeBinary, false))],
        grouped: || Box::new(Entropy::default()),
    }
    .build()
}

/// Bits that a value takes; none for types that are no components.
fn bits(data_type: &DataType) -> Option<u32> {
    match data_type {
        DataType::Boolean => Some(1),
        integer if integer.is_integer() => Some(8 * integer.primitive_width()? as u32),
        _ => None,
    }
}

fn result_type(arguments: &[DataType]) -> Result<DataType> {
    let mut all = 0;
    for argument in arguments {
        match bits(argument) {
            Some(bits) => all += bits,
            None => {
                return plan_err!(
                    "action_entropy takes booleans and whole numbers, and one argument is {argument}: leave it out, or count \
                     classes of it, as in action_entropy(pos_x > 0)"
                );
            }
        }
    }
    if all > u64::BITS {
        return plan_err!(
            "action_entropy takes values of 64 bits in all, and these have {all}: buttons holds all buttons in 16; cast what is small, \
             as in cast(x as smallint)"
        );
    }
    Ok(DataType::Float64)
}

/// How often each action occurs.
type Counts = HashMap<u64, u64, BuildHasherDefault<ActionHasher>>;

/// Counts per group.
#[derive(Default)]
struct Entropy {
    groups: Vec<Counts>,
    /// Entries that the groups have room for.
    room: usize,
    /// Each row's action, kept for its memory.
    actions: Vec<u64>,
}

impl Entropy {
    fn grow(&mut self, groups: usize) {
        self.groups.resize_with(groups.max(self.groups.len()), Counts::default);
    }

    fn add(&mut self, group: usize, action: u64, count: u64) {
        let counts = &mut self.groups[group];
        let room = counts.capacity();
        *counts.entry(action).or_default() += count;
        self.room += counts.capacity() - room;
    }

    fn take(&mut self, emit: EmitTo) -> Vec<Counts> {
        let groups = emit.take_needed(&mut self.groups);
        self.room -= groups.iter().map(Counts::capacity).sum::<usize>();
        groups
    }
}

/// Packs the values of each row, whichever are null, into `actions`.
fn pack(arguments: &[ArrayRef], rows: usize, actions: &mut Vec<u64>) -> Result<()> {
    actions.clear();
    actions.resize(rows, 0);
    for argument in arguments {
        match argument.data_type() {
            DataType::Boolean => {
                let values = argument.as_boolean().values();
                actions.iter_mut().zip(values).for_each(|(action, value)| *action = *action << 1 | u64::from(value));
            }
            DataType::Int8 => append::<Int8Type>(argument, actions, |value| u64::from(value.cast_unsigned())),
            DataType::Int16 => append::<Int16Type>(argument, actions, |value| u64::from(value.cast_unsigned())),
            DataType::Int32 => append::<Int32Type>(argument, actions, |value| u64::from(value.cast_unsigned())),
            DataType::Int64 => append::<Int64Type>(argument, actions, i64::cast_unsigned),
            DataType::UInt8 => append::<UInt8Type>(argument, actions, u64::from),
            DataType::UInt16 => append::<UInt16Type>(argument, actions, u64::from),
            DataType::UInt32 => append::<UInt32Type>(argument, actions, u64::from),
            DataType::UInt64 => append::<UInt64Type>(argument, actions, |value| value),
            other => return internal_err!("a component of type {other}"),
        }
    }
    Ok(())
}

fn append<T: ArrowPrimitiveType>(argument: &ArrayRef, actions: &mut [u64], number: fn(T::Native) -> u64) {
    let values = argument.as_primitive::<T>().values();
    // A value of all 64 bits is the only one.
    let width = 8 * size_of::<T::Native>() as u32;
    for (action, value) in actions.iter_mut().zip(values) {
        *action = action.checked_shl(width).unwrap_or(0) | number(*value);
    }
}

/// The rows that count: those without a null that the filter lets through.
fn counted(arguments: &[ArrayRef], filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let passes = filter.map(|filter| match filter.nulls() {
        Some(nulls) => NullBuffer::new(filter.values() & nulls.inner()),
        None => NullBuffer::new(filter.values().clone()),
    });
    arguments.iter().fold(passes, |counted, argument| NullBuffer::union(counted.as_ref(), argument.nulls()))
}

/// Of the counts in their order: a hash map's own is not to change the last bit.
fn entropy(counts: &Counts) -> Option<f64> {
    let mut counts: Vec<u64> = counts.values().copied().collect();
    counts.sort_unstable();
    let total = counts.iter().sum::<u64>() as f64;
    let bits = |count: u64| count as f64 / total * (total / count as f64).log2();
    (!counts.is_empty()).then(|| counts.into_iter().map(bits).sum())
}

impl Accumulate for Entropy {
    fn update(
        &mut self,
        values: &[ArrayRef],
        groups: Groups,
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        let counted = counted(values, filter);
        let mut actions = std::mem::take(&mut self.actions);
        pack(values, groups.rows(), &mut actions)?;
        groups.for_each_run(|group, mut from, to| {
            while from < to {
                let action = actions[from];
                let counts = |row: usize| counted.as_ref().is_none_or(|counted| counted.is_valid(row));
                // Actions last: most rows repeat the one before.
                let end = (from + 1..to).find(|row| actions[*row] != action).unwrap_or(to);
                let rows = match &counted {
                    None => end - from,
                    Some(_) => (from..end).filter(|row| counts(*row)).count(),
                };
                if rows > 0 {
                    self.add(group, action, rows as u64);
                }
                from = end;
            }
        });
        self.actions = actions;
        Ok(())
    }
}

impl GroupsAccumulator for Entropy {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.update(values, Groups::OfRows(groups), filter, total)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        let Some(states) = states.first() else { return Ok(()) };
        let states: &LargeBinaryArray = states.as_binary();
        for (row, group) in groups.iter().enumerate() {
            let (pairs, rest) = states.value(row).as_chunks::<16>();
            if !rest.is_empty() {
                return Err(exec_datafusion_err!("a partial result was cut short"));
            }
            for pair in pairs {
                let number = |at: usize| pair[at..].first_chunk().copied().map_or(0, u64::from_le_bytes);
                self.add(*group, number(0), number(8));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(self.take(emit).iter().map(entropy).collect::<Float64Array>()))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut states = LargeBinaryBuilder::new();
        let mut bytes = Vec::new();
        for counts in self.take(emit) {
            bytes.clear();
            for (action, count) in counts {
                bytes.extend(action.to_le_bytes());
                bytes.extend(count.to_le_bytes());
            }
            states.append_value(&bytes);
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        // Every row as a group of its own.
        let rows = values.first().map_or(0, |values| values.len());
        let mut each = Self::default();
        each.update_batch(values, &(0..rows).collect::<Vec<_>>(), filter, rows)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        // A hash table keeps a byte beside each entry and is at most seven eighths full.
        let entries = self.room * (2 * size_of::<u64>() + 1) * 8 / 7;
        self.groups.capacity() * size_of::<Counts>() + entries + self.actions.capacity() * size_of::<u64>()
    }
}

/// A hash of one number, several times as fast as the standard library's.
#[derive(Default)]
struct ActionHasher(u64);

impl Hasher for ActionHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
