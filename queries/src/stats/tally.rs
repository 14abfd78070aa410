//! What is counted of the steps, in one pass over rows that lie in order of episode and t.
//!
//! ```text
//!   batch of rows ──> runs of one episode ──> EpisodeTally    a few hundred bytes an episode
//!                                        └──> joint, grids    one table a stick and a map
//! ```
//!
//! Comparisons of whole columns (at rest? the same as the row before?) are Arrow's kernels, a bit a row; the loops that are
//! left count stick buckets and positions.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use arrow::array::{Array, BooleanArray, Float32Array, RecordBatch, UInt8Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp;
use arrow::error::ArrowError;
use playhouse_schemas::Kind;

use super::grid::Grid;
use super::layout::Layout;
use super::part::{Columns, POSE};
use super::sequence::Sequence;
use crate::error::{Error, Result};

/// What the pass knows of one episode.
#[derive(Debug, Clone)]
pub(super) struct EpisodeTally {
    /// Its row in the index.
    pub(super) row: usize,
    /// Whether its steps count for the distributions; others are only checked.
    pub(super) counted: bool,
    pub(super) sequence: Sequence,
    /// Steps by value of every component, laid out as [`Layout`] says.
    pub(super) counts: Vec<u32>,
    /// Steps with nothing pressed and every axis at rest.
    pub(super) idle: u64,
    /// Steps whose action is that of the step before.
    pub(super) repeated: u64,
    /// Buckets that their component does not have: how many, and the first one's slot, value and t.
    pub(super) bad_buckets: u64,
    pub(super) bad_bucket: Option<(usize, u8, i32)>,
    /// Telemetry that is not finite: steps, and the first one's t.
    pub(super) bad_values: u64,
    pub(super) bad_value: Option<i32>,
    /// The longest way between two steps, and the t it leads to.
    pub(super) jump: Option<(f32, i32)>,
    position: Option<[f32; 3]>,
}

/// What a pass has counted; tallies of several threads merge into one, in any order.
pub(super) struct Tally<'a> {
    layout: &'a Layout,
    /// Episodes in the order in which they were met.
    pub(super) episodes: Vec<EpisodeTally>,
    /// Steps by value of the two axes of each stick: `[sticks][x][y]`.
    pub(super) joint: Vec<Vec<u64>>,
    /// Positions by map.
    pub(super) grids: HashMap<usize, Grid>,
    /// Ways between two steps, by [`length_bin`].
    pub(super) lengths: Vec<u64>,
    /// Rows of episodes that the part's index does not list.
    pub(super) strangers: BTreeMap<i64, u64>,
    /// The action at the end of the last batch.
    last: Option<(i64, Vec<u8>)>,
}

/// Which episodes a part's rows may belong to.
pub(super) struct Wanted<'a> {
    /// Their rows in the index, by id.
    pub(super) rows: &'a HashMap<i64, usize>,
    /// The map of every row of the index.
    pub(super) map: &'a [usize],
    /// Whether an episode's steps count for the distributions.
    pub(super) counted: &'a (dyn Fn(usize) -> bool + Sync),
}

/// The action columns of a batch, one bit or byte a row.
struct Actions<'a> {
    buttons: Vec<Option<&'a BooleanArray>>,
    axes: Vec<Option<&'a UInt8Array>>,
    /// Some input at this row.
    active: BooleanBuffer,
    /// Row i + 1 has another action than row i.
    changed: BooleanBuffer,
    /// Whether any bucket is out of range.
    suspect: bool,
}

impl<'a> Tally<'a> {
    pub(super) fn new(layout: &'a Layout) -> Self {
        let cells = |(x, y): &(usize, usize)| vec![0; layout.slots[*x].values * layout.slots[*y].values];
        Self {
            layout,
            episodes: Vec::new(),
            joint: layout.sticks.iter().map(cells).collect(),
            grids: HashMap::new(),
            lengths: vec![0; LENGTH_BINS],
            strangers: BTreeMap::new(),
            last: None,
        }
    }

    /// Adds what another thread counted.
    pub(super) fn merge(&mut self, other: Self) {
        self.episodes.extend(other.episodes);
        for (all, more) in self.joint.iter_mut().zip(other.joint) {
            all.iter_mut().zip(more).for_each(|(all, more)| *all += more);
        }
        for (map, grid) in other.grids {
            self.grids.entry(map).or_insert_with(Grid::new).merge(grid);
        }
        self.lengths.iter_mut().zip(other.lengths).for_each(|(all, more)| *all += more);
        for (id, rows) in other.strangers {
            *self.strangers.entry(id).or_default() += rows;
        }
    }

    /// An episode of the index of which there is no row.
    pub(super) fn absent(&mut self, row: usize, counted: bool) {
        self.episodes.push(EpisodeTally::new(row, counted, self.layout.width));
    }

    /// Forgets the row before: the next batch comes from another file.
    pub(super) fn next_part(&mut self) {
        self.last = None;
    }

    /// Counts a batch of rows. `open` finds the tallies of the part's episodes in `self.episodes`.
    pub(super) fn add(
        &mut self,
        path: &Path,
        batch: &RecordBatch,
        wanted: &Wanted,
        open: &mut HashMap<i64, usize>,
    ) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let columns = Columns { path, batch };
        let (ids, times) = (columns.ids()?.values(), columns.times()?.values());
        let actions = Actions::read(&columns, self.layout)?;
        let [x, y, z, yaw, pitch] = POSE.map(|name| columns.float(name));
        let floats = [x?, y?, z?, yaw?, pitch?, columns.float("reward")?];
        let mut start = 0;
        while start < ids.len() {
            let id = ids[start];
            let mut end = start + 1;
            while end < ids.len() && ids[end] == id {
                end += 1;
            }
            match wanted.rows.get(&id) {
                Some(&row) => {
                    let place = *open.entry(id).or_insert(self.episodes.len());
                    if place == self.episodes.len() {
                        self.episodes.push(EpisodeTally::new(row, (wanted.counted)(row), self.layout.width));
                    }
                    let before = self.last.as_ref().filter(|(last, _)| start == 0 && *last == id);
                    let repeats_last = before.is_some_and(|(_, action)| *action == actions.row(0));
                    let run = Run { start, end, times };
                    self.episodes[place].times(&run);
                    self.actions(place, &actions, &run, repeats_last);
                    self.telemetry(place, &floats, &run, wanted.map[row]);
                }
                None => *self.strangers.entry(id).or_default() += (end - start) as u64,
            }
            start = end;
        }
        if let Some(&id) = ids.last() {
            self.last = Some((id, actions.row(ids.len() - 1)));
        }
        Ok(())
    }

    fn actions(&mut self, place: usize, actions: &Actions, run: &Run, repeats_last: bool) {
        let episode = &mut self.episodes[place];
        let rows = run.end - run.start;
        let changed = actions.changed.slice(run.start, rows - 1).count_set_bits();
        episode.repeated += (rows - 1 - changed) as u64 + u64::from(repeats_last);
        episode.idle += (rows - actions.active.slice(run.start, rows).count_set_bits()) as u64;
        for (slot, button) in self.layout.slots.iter().zip(&actions.buttons) {
            if let Some(button) = button {
                let down = button.values().slice(run.start, rows).count_set_bits();
                episode.counts[slot.offset] += (rows - down) as u32;
                episode.counts[slot.offset + 1] += down as u32;
            }
        }
        if actions.suspect {
            episode.check_buckets(self.layout, actions, run);
        }
        let mut counted = vec![false; self.layout.slots.len()];
        for ((x, y), joint) in self.layout.sticks.iter().zip(&mut self.joint) {
            let (Some(across), Some(up)) = (actions.axes[*x], actions.axes[*y]) else { continue };
            let (slot_x, slot_y) = (&self.layout.slots[*x], &self.layout.slots[*y]);
            let mut cells = vec![0u32; slot_x.values * slot_y.values];
            let (across, up) = (&across.values()[run.start..run.end], &up.values()[run.start..run.end]);
            for (x, y) in across.iter().zip(up) {
                let (x, y) = (usize::from(*x), usize::from(*y));
                // One value out of range costs the step its place in the joint table, and is reported.
                if x < slot_x.values && y < slot_y.values {
                    cells[x * slot_y.values + y] += 1;
                }
            }
            if actions.suspect {
                continue;
            }
            (counted[*x], counted[*y]) = (true, true);
            for (cell, &steps) in cells.iter().enumerate() {
                episode.counts[slot_x.offset + cell / slot_y.values] += steps;
                episode.counts[slot_y.offset + cell % slot_y.values] += steps;
                if episode.counted {
                    joint[cell] += u64::from(steps);
                }
            }
        }
        for (i, slot) in self.layout.slots.iter().enumerate().filter(|(i, _)| !counted[*i]) {
            let Some(axis) = actions.axes[i] else { continue };
            for &value in &axis.values()[run.start..run.end] {
                if usize::from(value) < slot.values {
                    episode.counts[slot.offset + usize::from(value)] += 1;
                }
            }
        }
    }

    fn telemetry(&mut self, place: usize, floats: &[&Float32Array; 6], run: &Run, map: usize) {
        let episode = &mut self.episodes[place];
        let present: Vec<&Float32Array> =
            floats.iter().copied().filter(|column| column.null_count() < column.len()).collect();
        if present.iter().all(|column| column.null_count() == 0) {
            let slices: Vec<&[f32]> = present.iter().map(|column| &column.values()[run.start..run.end]).collect();
            for (i, t) in run.times[run.start..run.end].iter().enumerate() {
                // A sum may overflow though every part of it is finite.
                let sum: f32 = slices.iter().map(|values| values[i]).sum();
                let bad = !sum.is_finite() && slices.iter().any(|values| !values[i].is_finite());
                episode.bad_value(bad, *t);
            }
        } else {
            for i in run.start..run.end {
                let bad = present.iter().any(|column| column.is_valid(i) && !column.value(i).is_finite());
                episode.bad_value(bad, run.times[i]);
            }
        }
        let [x, y, z] = [floats[0], floats[1], floats[2]];
        if x.null_count() == x.len() || y.null_count() == y.len() {
            return;
        }
        let grid = self.grids.entry(map).or_insert_with(Grid::new);
        let nulls = [x, y, z].iter().any(|column| column.null_count() > 0);
        for i in run.start..run.end {
            if nulls && (x.is_null(i) || y.is_null(i) || z.is_null(i)) {
                episode.position = None;
                continue;
            }
            let to = [x.value(i), y.value(i), z.value(i)];
            if let Some(from) = episode.position {
                let way = ((to[0] - from[0]).powi(2) + (to[1] - from[1]).powi(2) + (to[2] - from[2]).powi(2)).sqrt();
                if way.is_finite() {
                    self.lengths[length_bin(way)] += 1;
                    if episode.jump.is_none_or(|(longest, _)| way > longest) {
                        episode.jump = Some((way, run.times[i]));
                    }
                }
            }
            episode.position = Some(to);
            if episode.counted {
                grid.visit(to[0], to[1]);
            }
        }
    }
}

/// Rows of a batch that belong to one episode.
struct Run<'a> {
    start: usize,
    end: usize,
    /// `t` of every row of the batch.
    times: &'a [i32],
}

impl EpisodeTally {
    fn new(row: usize, counted: bool, width: usize) -> Self {
        Self {
            row,
            counted,
            sequence: Sequence::default(),
            counts: vec![0; width],
            idle: 0,
            repeated: 0,
            bad_buckets: 0,
            bad_bucket: None,
            bad_values: 0,
            bad_value: None,
            jump: None,
            position: None,
        }
    }

    fn times(&mut self, run: &Run) {
        let times = &run.times[run.start..run.end];
        let expected = self.sequence.expected();
        let in_step = times.iter().zip(expected..).all(|(&t, expected)| i64::from(t) == expected);
        if in_step {
            self.sequence.extend(times.len() as u64);
        } else {
            times.iter().for_each(|&t| self.sequence.push(i64::from(t)));
        }
    }

    fn check_buckets(&mut self, layout: &Layout, actions: &Actions, run: &Run) {
        for (i, slot) in layout.slots.iter().enumerate() {
            let Some(axis) = actions.axes[i] else { continue };
            for row in run.start..run.end {
                let value = axis.value(row);
                if usize::from(value) >= slot.values {
                    self.bad_buckets += 1;
                    self.bad_bucket = self.bad_bucket.or(Some((i, value, run.times[row])));
                }
            }
        }
    }

    fn bad_value(&mut self, bad: bool, t: i32) {
        if bad {
            self.bad_values += 1;
            self.bad_value = self.bad_value.or(Some(t));
        }
    }
}

impl<'a> Actions<'a> {
    fn read(columns: &Columns<'a>, layout: &Layout) -> Result<Self> {
        let rows = columns.batch.num_rows();
        let internal = |e: ArrowError| Error::Internal(format!("comparing columns of {}: {e}", columns.path.display()));
        let mut buttons = Vec::with_capacity(layout.slots.len());
        let mut axes = Vec::with_capacity(layout.slots.len());
        let mut active = BooleanBuffer::new_unset(rows);
        let mut changed = BooleanBuffer::new_unset(rows.saturating_sub(1));
        let mut suspect = false;
        for slot in &layout.slots {
            let (button, axis) = match slot.kind {
                Kind::Button => (Some(columns.button(&slot.name)?), None),
                Kind::Axis => (None, Some(columns.axis(&slot.name)?)),
            };
            if let Some(button) = button {
                let down = button.values();
                active = &active | down;
                changed = &changed | &(&down.slice(1, rows.max(1) - 1) ^ &down.slice(0, rows.max(1) - 1));
            }
            if let Some(axis) = axis {
                let rest = UInt8Array::new_scalar(slot.rest);
                active = &active | cmp::neq(axis, &rest).map_err(internal)?.values();
                let (before, after) = (axis.slice(0, rows.max(1) - 1), axis.slice(1, rows.max(1) - 1));
                changed = &changed | cmp::neq(&before, &after).map_err(internal)?.values();
                if let Ok(values) = u8::try_from(slot.values) {
                    let beyond = cmp::gt_eq(axis, &UInt8Array::new_scalar(values)).map_err(internal)?;
                    suspect |= beyond.values().count_set_bits() > 0;
                }
            }
            buttons.push(button);
            axes.push(axis);
        }
        Ok(Self { buttons, axes, active, changed, suspect })
    }

    /// The whole action of a row.
    fn row(&self, row: usize) -> Vec<u8> {
        let value = |(button, axis): (&Option<&BooleanArray>, &Option<&UInt8Array>)| match (button, axis) {
            (Some(button), _) => u8::from(button.value(row)),
            (_, Some(axis)) => axis.value(row),
            _ => 0,
        };
        self.buttons.iter().zip(&self.axes).map(value).collect()
    }
}

/// Bins of [`length_bin`].
const LENGTH_BINS: usize = 1024;

/// A bin of lengths, a quarter of an octave wide: the exponent and the two highest bits of a positive number.
fn length_bin(length: f32) -> usize {
    (length.abs().to_bits() >> 21) as usize
}

/// An upper bound of the length below which a share `q` of the lengths lies, a quarter of an octave high at most.
pub(super) fn length_quantile(bins: &[u64], q: f64) -> Option<f32> {
    let all: u64 = bins.iter().sum();
    let mut below = 0;
    let bin = bins.iter().position(|&count| {
        below += count;
        below > 0 && below as f64 >= q * all as f64
    })?;
    Some(f32::from_bits(((bin as u32 + 1) << 21) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_of_lengths_is_at_most_a_quarter_octave_high() {
        let mut bins = vec![0; LENGTH_BINS];
        (0..1000).for_each(|i| bins[length_bin(i as f32 / 100.0)] += 1);
        for (q, exact) in [(0.5, 4.99), (0.99, 9.89), (1.0, 9.99)] {
            let found = length_quantile(&bins, q).unwrap();
            assert!((exact..exact * 1.26).contains(&found), "{q}: {found}");
        }
        assert_eq!(length_quantile(&vec![0; LENGTH_BINS], 0.5), None);
        assert!(length_bin(f32::MAX) < LENGTH_BINS);
    }
}
