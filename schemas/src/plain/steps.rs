//! A plain table of steps, cut into episodes, and checked to be in order.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, Int64Array, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;

use super::files::PlainTable;
use super::values::StepColumns;
use crate::error::{Error, Result};

/// The rows of one episode, not yet converted: see [`StepColumns::played`].
pub struct Play {
    /// Its value of the episode column.
    pub key: i64,
    pub(super) pieces: Vec<Piece>,
    /// Rows of all pieces.
    pub(super) steps: u64,
}

/// Rows of an episode that lie in one batch.
pub(super) struct Piece {
    pub(super) file: Arc<Path>,
    /// Row of the file at which they begin.
    pub(super) row: u64,
    pub(super) batch: RecordBatch,
}

impl Play {
    /// Number of steps.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// File and row of the first step, for messages.
    pub fn place(&self) -> String {
        self.pieces.first().map_or_else(String::new, |piece| format!("{}, row {}", piece.file.display(), piece.row))
    }
}

/// The episodes of a table of steps, in order. After an error there are no more.
pub struct Plays<'a> {
    table: &'a PlainTable,
    columns: &'a StepColumns,
    names: Vec<&'a str>,
    /// Row groups that end before this episode are not read.
    from: i64,
    /// The next file, and what is being read.
    next_file: usize,
    batches: Option<(Arc<Path>, Batches)>,
    /// Row of the next batch in its file.
    row: u64,
    open: Option<Play>,
    ready: VecDeque<Play>,
    /// Keys of finished episodes, ascending.
    seen: Vec<i64>,
    failed: bool,
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

impl<'a> Plays<'a> {
    /// The episodes of `table` from `from` on; row groups before it are not read.
    pub fn new(table: &'a PlainTable, columns: &'a StepColumns, from: i64) -> Self {
        Self {
            table,
            columns,
            names: columns.names(),
            from,
            next_file: 0,
            batches: None,
            row: 0,
            open: None,
            ready: VecDeque::new(),
            seen: Vec::new(),
            failed: false,
        }
    }

    /// Reads on until an episode is whole, or to the end.
    fn advance(&mut self) -> Result<Option<Play>> {
        loop {
            if let Some(play) = self.ready.pop_front() {
                return Ok(Some(play));
            }
            match self.batches.as_mut().map(|(path, batches)| (path.clone(), batches.next())) {
                Some((path, Some(batch))) => self.cut(&path, &batch?)?,
                Some((_, None)) => self.batches = None,
                None if self.open_file()? => {}
                None => return Ok(self.open.take()),
            }
        }
    }

    /// Opens the next file that is to be read; false when there is none.
    fn open_file(&mut self) -> Result<bool> {
        while let Some(file) = self.table.files().get(self.next_file) {
            self.next_file += 1;
            // Groups before the first one that may hold `from`; only at the beginning, so that what is read has no gaps.
            let before = |group: &usize| {
                self.open.is_none()
                    && self.seen.is_empty()
                    && file.group_max(*group, &self.columns.episode).is_some_and(|max| max < self.from)
            };
            let skipped = (0..file.groups()).take_while(before).count();
            self.row = (0..skipped).map(|group| file.group_rows(group)).sum();
            if skipped < file.groups() {
                let batches = file.batches(&self.names, (skipped..file.groups()).collect())?;
                self.batches = Some((file.path.clone(), Box::new(batches)));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Cuts a batch where episodes end.
    fn cut(&mut self, path: &Arc<Path>, batch: &RecordBatch) -> Result<()> {
        let first_row = self.row;
        self.row += batch.num_rows() as u64;
        let keys = self.integers(path, first_row, batch, &self.columns.episode)?;
        let times = self.integers(path, first_row, batch, &self.columns.t)?;
        let (keys, times) = (keys.values(), times.values());
        let mut from = 0;
        while from < keys.len() {
            let key = keys[from];
            let to = from + keys[from..].iter().take_while(|k| **k == key).count();
            // Row groups begin anywhere in an episode: what is left of those before the first that is wanted.
            if key < self.from && self.open.is_none() && self.seen.is_empty() {
                from = to;
                continue;
            }
            let place = |row: usize| format!("{}, row {}", path.display(), first_row + row as u64);
            if self.open.as_ref().is_none_or(|open| open.key != key) {
                self.begin(key, &place(from))?;
            }
            let Some(open) = self.open.as_mut() else { return Ok(()) };
            let next = open.steps as i64;
            if let Some(i) = (from..to).find(|&i| times[i] != next + (i - from) as i64) {
                return Err(self.wrong_time(&place(i), key, times[i], next + (i - from) as i64));
            }
            open.pieces.push(Piece {
                file: path.clone(),
                row: first_row + from as u64,
                batch: batch.slice(from, to - from),
            });
            open.steps += (to - from) as u64;
            from = to;
        }
        Ok(())
    }

    /// Ends the open episode and begins another.
    fn begin(&mut self, key: i64, place: &str) -> Result<()> {
        let column = &self.columns.episode;
        if let Some(done) = self.open.take() {
            self.seen.push(done.key);
            self.ready.push_back(done);
        }
        let sort = format!("sort the rows by ({column}, {}), files in the order of their names", self.columns.t);
        if key < 0 {
            let reason = format!("{key} is below 0; number the episodes from 0");
            return Err(Error::invalid(format!("{place}, column `{column}`"), reason));
        }
        if let Some(&last) = self.seen.last().filter(|last| **last > key) {
            let reason = match self.seen.binary_search(&key) {
                Ok(_) => format!("episode {key} is in two places, here and before episode {last}; {sort}"),
                Err(_) => format!("episode {key} comes after episode {last}; {sort}"),
            };
            return Err(Error::invalid(format!("{place}, column `{column}`"), reason));
        }
        self.open = Some(Play { key, pieces: Vec::new(), steps: 0 });
        Ok(())
    }

    fn wrong_time(&self, place: &str, key: i64, found: i64, expected: i64) -> Error {
        let what = match found - expected {
            _ if expected == 0 => format!(
                "episode {key} begins with {found}; the first step is 0, and rows are sorted by (episode_id, t)"
            ),
            -1 => format!("{found} occurs twice in episode {key}; leave one of the rows out"),
            gap if gap > 0 => {
                format!(
                    "{found} follows {} in episode {key}: {gap} steps are missing; cut it there, or number its steps again",
                    expected - 1
                )
            }
            _ => format!(
                "{found} follows {} in episode {key}; sort the rows by ({}, {})",
                expected - 1,
                self.columns.episode,
                self.columns.t
            ),
        };
        Error::invalid(format!("{place}, column `{}`", self.columns.t), what)
    }

    fn integers(&self, path: &Path, first_row: u64, batch: &RecordBatch, name: &str) -> Result<Int64Array> {
        let place = |row: usize| format!("{}, row {}, column `{name}`", path.display(), first_row + row as u64);
        let column = &batch[name];
        if let Some(row) = (column.null_count() > 0).then(|| (0..column.len()).find(|&i| column.is_null(i))).flatten() {
            return Err(Error::invalid(place(row), "null; every step needs one"));
        }
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let whole = cast_with_options(column, &DataType::Int64, &options)
            .map_err(|e| Error::invalid(place(0), format!("in this row or one of the next: {e}")))?;
        Ok(Int64Array::from(whole.to_data()))
    }
}

impl Iterator for Plays<'_> {
    type Item = Result<Play>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let play = self.advance();
        self.failed = play.is_err();
        play.transpose()
    }
}
