//! The pass over the rows of `steps` and `frames`, on several threads, a part at a time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use playhouse_schemas::{ActionSpace, Table};

use super::Options;
use super::index::{Index, Part};
use super::layout::Layout;
use super::part::{Columns, RowFile, step_columns};
use super::pictures::{Frozen, frozen};
use super::plan::{Plan, tick};
use super::sequence::Sequence;
use super::tally::{Tally, Wanted};
use crate::error::{Error, Result};

/// Rows decoded at a time: a few megabytes.
const BATCH_ROWS: usize = 1 << 15;

/// What a pass found.
pub(super) struct Found<'a> {
    pub(super) tally: Tally<'a>,
    /// The rows of `frames` of every episode looked at, by row of the index.
    pub(super) frames: BTreeMap<usize, Sequence>,
    /// Rows of `frames` of episodes that the part's index does not list.
    pub(super) frame_strangers: BTreeMap<i64, u64>,
    /// Pictures that stand still, by row of the index.
    pub(super) frozen: BTreeMap<usize, Frozen>,
    /// Episodes whose pictures were compared.
    pub(super) pictured: u64,
}

impl<'a> Found<'a> {
    fn new(layout: &'a Layout) -> Self {
        Self {
            tally: Tally::new(layout),
            frames: BTreeMap::new(),
            frame_strangers: BTreeMap::new(),
            frozen: BTreeMap::new(),
            pictured: 0,
        }
    }

    fn merge(&mut self, other: Self) {
        self.tally.merge(other.tally);
        self.frames.extend(other.frames);
        for (id, rows) in other.frame_strangers {
            *self.frame_strangers.entry(id).or_default() += rows;
        }
        self.frozen.extend(other.frozen);
        self.pictured += other.pictured;
    }
}

/// What every thread sees.
struct Shared<'a> {
    index: &'a Index,
    plan: &'a Plan,
    actions: &'a ActionSpace,
    options: &'a Options<'a>,
    /// Parts with something to read, the next of them, and rows read and to be read.
    parts: Vec<usize>,
    next: AtomicUsize,
    done: AtomicU64,
    total: u64,
}

/// Reads what the plan says.
pub(super) fn run<'a>(
    index: &Index,
    plan: &Plan,
    layout: &'a Layout,
    actions: &ActionSpace,
    options: &Options,
) -> Result<Found<'a>> {
    let episodes = |part: &Part| part.episodes.clone().filter(|&row| plan.counts(row)).count();
    let parts: Vec<usize> =
        (0..index.parts.len()).filter(|i| plan.whole.contains(i) || episodes(&index.parts[*i]) > 0).collect();
    let rows = |&i: &usize| match plan.whole.contains(&i) {
        true => plan.surveys[i].steps.rows,
        false => index.parts[i].episodes.clone().filter(|&row| plan.counts(row)).map(|row| index.steps[row]).sum(),
    };
    let images = index.parts.iter().filter(|part| part.frames.is_some()).flat_map(|part| part.episodes.clone());
    let images = images.filter(|row| plan.pictures.contains(row)).map(|row| index.steps[row]);
    let total = parts.iter().map(rows).chain(images).sum();
    let threads = options.threads.clamp(1, parts.len().max(1));
    let shared =
        Shared { index, plan, actions, options, parts, next: AtomicUsize::new(0), done: AtomicU64::new(0), total };
    let mut found = Found::new(layout);
    let results: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| shared.work(layout))).collect();
        let lost = |_| Err((0, Error::Internal("a thread of the pass ended early".to_owned())));
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(lost)).collect()
    });
    // Parts are taken in order, so the first that fails is the same one with any threads.
    let mut failed: Option<(usize, Error)> = None;
    for result in results {
        match result {
            Ok(part) => found.merge(part),
            Err(error) if failed.as_ref().is_none_or(|(first, _)| error.0 < *first) => failed = Some(error),
            Err(_) => {}
        }
    }
    if let Some((_, error)) = failed {
        return Err(error);
    }
    found.tally.episodes.sort_by_key(|episode| episode.row);
    found.tally.grids.values_mut().for_each(super::grid::Grid::flush);
    Ok(found)
}

impl Shared<'_> {
    /// Reads parts until none is left. An error comes with the part that it is of.
    fn work<'l>(&self, layout: &'l Layout) -> std::result::Result<Found<'l>, (usize, Error)> {
        let mut found = Found::new(layout);
        while let Some(&part) = self.parts.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = self.part(part, &mut found) {
                // The other threads need not begin what nobody will see.
                self.next.store(self.parts.len(), Ordering::Relaxed);
                return Err((part, error));
            }
        }
        Ok(found)
    }

    fn part(&self, at: usize, found: &mut Found) -> Result<()> {
        let part = &self.index.parts[at];
        let ids: HashMap<i64, usize> = part.episodes.clone().map(|row| (self.index.ids[row], row)).collect();
        let mut aligned = false;
        if !self.plan.whole.contains(&at) {
            aligned = self.sampled(part, &ids, found)?;
        }
        if !aligned {
            self.whole(part, &ids, found)?;
        }
        if let Some(frames) = &part.frames {
            let file = RowFile::open(frames, Table::Frames, self.actions, true)?;
            let ranges = aligned.then(|| self.ranges(part));
            if !self.frames(&file, part, ranges.as_deref(), &ids, found)? {
                self.frames(&file, part, None, &ids, found)?;
            }
            let in_step = |row: &usize| {
                let whole =
                    |sequence: &Sequence| sequence.first.is_none() && sequence.surplus(self.index.steps[*row]) == 0;
                found.frames.get(row).is_some_and(whole)
            };
            let pictured: Vec<usize> =
                part.episodes.clone().filter(|row| self.plan.pictures.contains(row)).filter(in_step).collect();
            // Where rows are missing or too many, they do not lie where the index says.
            if self.plan.surveys[at].suspect {
                return Ok(());
            }
            let steps = RowFile::open(&part.steps, Table::Steps, self.actions, true)?;
            for row in pictured {
                let rows = self.index.rows_of(part, row);
                found.pictured += 1;
                let hz = self.index.hz.get(row).copied().unwrap_or(0.0);
                if let Some(still) = frozen(&steps, &file, self.actions, rows, hz, &|rows| self.tick(rows, "images"))? {
                    found.frozen.insert(row, still);
                }
            }
        }
        Ok(())
    }

    /// The rows of the sampled episodes of a part, ascending.
    fn ranges(&self, part: &Part) -> Vec<Range<u64>> {
        let mut first = 0;
        let mut ranges = Vec::new();
        for row in part.episodes.clone() {
            let end = first + self.index.steps[row];
            if self.plan.counts(row) {
                ranges.push(first..end);
            }
            first = end;
        }
        ranges
    }

    /// Reads the sampled episodes; false (and nothing counted) if their rows do not lie where the index says.
    fn sampled(&self, part: &Part, ids: &HashMap<i64, usize>, found: &mut Found) -> Result<bool> {
        let file = RowFile::open(&part.steps, Table::Steps, self.actions, true)?;
        let mut expected: HashSet<i64> = HashSet::new();
        expected.extend(ids.iter().filter(|(_, row)| self.plan.counts(**row)).map(|(id, _)| *id));
        let ranges = self.ranges(part);
        let mut batches = Vec::new();
        for batch in file.batches(&step_columns(self.actions), Some(&ranges), BATCH_ROWS)? {
            let batch = batch?;
            let columns = Columns { path: file.path(), batch: &batch };
            if !columns.ids()?.values().iter().all(|id| expected.contains(id)) {
                return Ok(false);
            }
            batches.push(batch);
        }
        let mut open = HashMap::new();
        let counted = |row: usize| self.plan.counts(row);
        let wanted = Wanted { rows: ids, map: &self.index.map, counted: &counted };
        found.tally.next_part();
        for batch in batches {
            found.tally.add(file.path(), &batch, &wanted, &mut open)?;
            self.tick(batch.num_rows() as u64, "steps")?;
        }
        Ok(true)
    }

    fn whole(&self, part: &Part, ids: &HashMap<i64, usize>, found: &mut Found) -> Result<()> {
        let file = RowFile::open(&part.steps, Table::Steps, self.actions, false)?;
        let mut open = HashMap::new();
        let counted = |row: usize| self.plan.counts(row);
        let wanted = Wanted { rows: ids, map: &self.index.map, counted: &counted };
        found.tally.next_part();
        for batch in file.batches(&step_columns(self.actions), None, BATCH_ROWS)? {
            let batch = batch?;
            found.tally.add(file.path(), &batch, &wanted, &mut open)?;
            self.tick(batch.num_rows() as u64, "steps")?;
        }
        // Episodes of which no row was met have none.
        for row in part.episodes.clone() {
            if !open.contains_key(&self.index.ids[row]) {
                found.tally.absent(row, self.plan.counts(row));
            }
        }
        Ok(())
    }

    /// Follows the ids and times of `frames`, without the images; false (and nothing kept) if the rows of the ranges are
    /// those of other episodes.
    fn frames(
        &self,
        file: &RowFile,
        part: &Part,
        ranges: Option<&[Range<u64>]>,
        ids: &HashMap<i64, usize>,
        found: &mut Found,
    ) -> Result<bool> {
        let looked_at = |row: usize| ranges.is_none() || self.plan.counts(row);
        let mut frames: BTreeMap<usize, Sequence> =
            part.episodes.clone().filter(|row| looked_at(*row)).map(|row| (row, Sequence::default())).collect();
        let mut strangers: BTreeMap<i64, u64> = BTreeMap::new();
        for batch in file.batches(&["episode_id", "t"], ranges, BATCH_ROWS)? {
            let batch = batch?;
            let columns = Columns { path: file.path(), batch: &batch };
            for (id, t) in columns.ids()?.values().iter().zip(columns.times()?.values()) {
                match ids.get(id).map(|row| frames.get_mut(row)) {
                    Some(Some(sequence)) => sequence.push(i64::from(*t)),
                    None if ranges.is_none() => *strangers.entry(*id).or_default() += 1,
                    _ => return Ok(false),
                }
            }
            self.tick(0, "frames")?;
        }
        found.frames.extend(frames);
        for (id, rows) in strangers {
            *found.frame_strangers.entry(id).or_default() += rows;
        }
        Ok(true)
    }

    fn tick(&self, rows: u64, what: &str) -> Result<()> {
        let done = self.done.fetch_add(rows, Ordering::Relaxed) + rows;
        tick(self.options.watch, done, self.total, what)
    }
}
