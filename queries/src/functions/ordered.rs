//! Aggregates over the steps of an episode in their order, whatever order they arrive in.
//!
//! A group's rows come in pieces: batches, partitions, the partial results of other threads. Each stretch of consecutive
//! steps is summed up as a fragment that knows its own ends, and a fragment can be joined to the one that follows it. So
//! the last argument of these functions is the step's number `t`: stretches that meet are joined at once, the others when
//! the result is asked for. Sorted input, which steps are, makes one stretch an episode.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::aggregate::{Accumulate, Groups, counted};

/// What is known of a stretch of consecutive steps.
pub(super) trait Fragment: Copy + Send + Sync + 'static {
    /// The columns it is made from, typed once a batch.
    type Columns<'a>;

    /// Bytes of [`Fragment::write`].
    const BYTES: usize;

    fn columns(arguments: &[ArrayRef]) -> Self::Columns<'_>;

    /// Of rows that are there and follow one another; never none.
    fn of(columns: &Self::Columns<'_>, rows: Range<usize>) -> Self;

    /// With the stretch that comes after.
    fn join(self, next: Self) -> Self;

    fn write(&self, out: &mut Vec<u8>);

    /// Of as many bytes as [`Fragment::BYTES`].
    fn read(bytes: &[u8]) -> Self;

    /// The results of groups; `None` is a group without rows.
    fn results(fragments: Vec<Option<Self>>) -> ArrayRef;
}

/// A fragment and its place.
#[derive(Clone, Copy)]
struct Stretch<F> {
    first: i64,
    last: i64,
    fragment: F,
}

impl<F: Fragment> Stretch<F> {
    const BYTES: usize = 16 + F::BYTES;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.first.to_le_bytes());
        out.extend(self.last.to_le_bytes());
        self.fragment.write(out);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first_chunk()?;
        let (last, rest) = rest.split_first_chunk()?;
        let (first, last) = (i64::from_le_bytes(*first), i64::from_le_bytes(*last));
        (rest.len() == F::BYTES).then(|| Self { first, last, fragment: F::read(rest) })
    }
}

/// The state of a partial result: a group's stretches, one after the other.
pub(super) fn state(name: &str) -> Vec<FieldRef> {
    vec![Arc::new(Field::new(format!("{name}[stretches]"), DataType::Binary, false))]
}

/// Accumulates any [`Fragment`] for many groups.
pub(super) struct Ordered<F> {
    groups: Vec<Vec<Stretch<F>>>,
    /// Stretches that the groups have room for.
    room: usize,
    fragment: PhantomData<F>,
}

impl<F: Fragment> Ordered<F> {
    pub(super) fn boxed() -> Box<dyn Accumulate + Sync> {
        Box::new(Self { groups: Vec::new(), room: 0, fragment: PhantomData })
    }

    fn grow(&mut self, groups: usize) {
        self.groups.resize_with(groups.max(self.groups.len()), Vec::new);
    }

    fn add(&mut self, group: usize, stretch: Stretch<F>) {
        let stretches = &mut self.groups[group];
        match stretches.last_mut() {
            Some(before) if before.last.checked_add(1) == Some(stretch.first) => {
                before.fragment = before.fragment.join(stretch.fragment);
                before.last = stretch.last;
            }
            _ => {
                let room = stretches.capacity();
                if stretches.is_empty() {
                    // Nearly all groups have one.
                    stretches.reserve_exact(1);
                }
                stretches.push(stretch);
                self.room += stretches.capacity() - room;
            }
        }
    }

    fn take(&mut self, emit: EmitTo) -> Vec<Vec<Stretch<F>>> {
        let groups = emit.take_needed(&mut self.groups);
        self.room -= groups.iter().map(Vec::capacity).sum::<usize>();
        groups
    }

    /// All of a group, in order. Steps that are missing are as if they had never been: what they parted is joined.
    fn whole(mut stretches: Vec<Stretch<F>>) -> Option<F> {
        // Stable: the same step twice stays in the order of arrival.
        stretches.sort_by_key(|stretch| stretch.first);
        stretches.into_iter().map(|stretch| stretch.fragment).reduce(F::join)
    }
}

impl<F: Fragment> Accumulate for Ordered<F> {
    fn update(
        &mut self,
        values: &[ArrayRef],
        groups: Groups,
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        let Some((times, arguments)) = values.split_last() else { return Ok(()) };
        let columns = F::columns(arguments);
        let counted = counted(times, filter);
        let times: &Int64Array = times.as_primitive::<Int64Type>();
        let times = times.values();
        groups.for_each_run(|group, mut from, to| {
            while from < to {
                if counted.as_ref().is_some_and(|counted| !counted.value(from)) {
                    from += 1;
                    continue;
                }
                // The whole run at once where it is consecutive, as an episode's rows are.
                let goes_on = |at: &usize| {
                    times[*at - 1].checked_add(1) == Some(times[*at])
                        && counted.as_ref().is_none_or(|counted| counted.value(*at))
                };
                let end = (from + 1..to).find(|at| !goes_on(at)).unwrap_or(to);
                let fragment = F::of(&columns, from..end);
                self.add(group, Stretch { first: times[from], last: times[end - 1], fragment });
                from = end;
            }
        });
        Ok(())
    }
}

impl<F: Fragment> GroupsAccumulator for Ordered<F> {
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
        let states: &BinaryArray = states.as_binary();
        for (row, group) in groups.iter().enumerate() {
            for bytes in states.value(row).chunks(Stretch::<F>::BYTES) {
                let stretch = Stretch::read(bytes);
                let stretch = stretch.ok_or_else(|| exec_datafusion_err!("a partial result was cut short"))?;
                self.add(*group, stretch);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let groups = self.take(emit);
        Ok(F::results(groups.into_iter().map(Self::whole).collect()))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut states = BinaryBuilder::new();
        let mut bytes = Vec::new();
        for group in self.take(emit) {
            bytes.clear();
            group.iter().for_each(|stretch| stretch.write(&mut bytes));
            states.append_value(&bytes);
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        // Every row as a group of its own.
        let rows = values.first().map_or(0, |values| values.len());
        let mut each = Self { groups: Vec::new(), room: 0, fragment: PhantomData };
        let groups: Vec<usize> = (0..rows).collect();
        each.update_batch(values, &groups, filter, rows)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Vec<Stretch<F>>>() + self.room * size_of::<Stretch<F>>()
    }
}
