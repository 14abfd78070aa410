//! The rows of one part: do its steps and frames belong to its episodes, and are their values possible?

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::UInt8Type;

use super::{Checker, Code};
use crate::action::{ActionSpace, Kind};
use crate::error::Result;
use crate::frame_pages::FramePages;
use crate::parquet_file::{ParquetFile, read_episodes};
use crate::part;
use crate::row::{Columns, EpisodeRow, packed_buttons};
use crate::stats::hash_prefix;
use crate::storage::{self, Source};
use crate::table::{BUTTONS, FRAME_PAGE_ROWS, TELEMETRY, Table};

/// Leaf `image.bytes` of `frames`.
const IMAGE_BYTES: usize = 2;

/// What is known of an episode while its rows go by.
struct Progress {
    /// Its place among the part's episodes: rows are addressed by adding up the lengths of those before it.
    position: usize,
    /// Its row in `episodes`.
    num_steps: u32,
    action_hash: i64,
    /// The next `t` to come, and a hash of the actions so far.
    next: i32,
    hasher: blake3::Hasher,
    /// An episode is reported once a table.
    reported: bool,
}

impl Checker<'_> {
    /// Checks the three files of a committed part.
    pub(super) fn part(&mut self, name: &str) -> Result<()> {
        self.report.parts += 1;
        let path = part::file(self.root, Table::Episodes, name);
        let (spec, rows) = match Source::at(&path).and_then(|s| read_episodes(&path, s)) {
            Ok(read) => read,
            Err(e) => return self.report.add_error(e),
        };
        self.check_spec(&path, &spec);
        self.report.episodes += rows.len() as u64;
        for row in &rows {
            if let Some(first) = self.seen.insert(row.episode_id, name.to_owned()) {
                let message =
                    format!("episode {} is also in episodes/{first}.parquet; remove one of the parts", row.episode_id);
                self.report.add(Code::DuplicateEpisode, &path, message);
            }
            let idle = row.stats.idle_fraction;
            if !(row.hz.is_finite() && row.hz > 0.0 && (0.0..=1.0).contains(&idle)) {
                let message = format!(
                    "episode {}: hz {}, idle_fraction {idle}; a rate is a number above 0 and a fraction one from 0 to 1: \
                     restore the file",
                    row.episode_id, row.hz
                );
                self.report.add(Code::Value, &path, message);
            }
        }
        self.table(name, Table::Steps, &rows)?;
        match spec.frames {
            Some(_) => self.table(name, Table::Frames, &rows),
            None => {
                let frames = part::file(self.root, Table::Frames, name);
                if storage::exists(&frames)? {
                    let message = format!(
                        "episodes/{name}.parquet says that its episodes have no frames, so no reader sees these; \
                         repair removes them"
                    );
                    self.report.add(Code::Orphan, &frames, message);
                }
                Ok(())
            }
        }
    }

    fn table(&mut self, name: &str, table: Table, rows: &[EpisodeRow]) -> Result<()> {
        let path = part::file(self.root, table, name);
        let source = match Source::at(&path) {
            Err(e) if e.is_missing() => {
                let message = format!(
                    "episodes/{name}.parquet lists its episodes, but the file is missing; restore it from a copy"
                );
                self.report.add(Code::MissingFile, &path, message);
                return Ok(());
            }
            source => source?,
        };
        let file = match ParquetFile::load(&source, &path, table) {
            Ok(file) => file,
            Err(e) => return self.report.add_error(e),
        };
        self.check_spec(&path, &file.spec);
        let start = |(position, row): (usize, &EpisodeRow)| Progress {
            position,
            num_steps: row.num_steps,
            action_hash: row.stats.action_hash,
            next: 0,
            hasher: blake3::Hasher::new(),
            reported: false,
        };
        let mut episodes: HashMap<i64, Progress> =
            rows.iter().enumerate().map(|row| (row.1.episode_id, start(row))).collect();
        if let Err(e) = self.rows(&file, &source, table, &mut episodes) {
            return self.report.add_error(e);
        }
        let mut unfinished: Vec<_> = episodes.iter().filter(|(_, p)| !p.reported).collect();
        unfinished.sort_by_key(|(id, _)| **id);
        for (id, progress) in unfinished {
            if progress.next != progress.num_steps as i32 {
                let message = format!(
                    "episode {id} has {} rows here and {} steps in episodes/{name}.parquet",
                    progress.next, progress.num_steps
                );
                self.report.add(mismatch(table), &path, message);
            } else if table == Table::Steps && hash_prefix(&progress.hasher.finalize()) != progress.action_hash {
                let message = format!("the actions of episode {id} are not those that were written; restore the file");
                self.report.add(Code::ActionHash, &path, message);
            }
        }
        if table == Table::Frames && self.deep {
            let result = self.images(&file, &source);
            return result.or_else(|e| self.report.add_error(e));
        }
        Ok(())
    }

    /// Goes through a file's rows once.
    fn rows(
        &mut self,
        file: &ParquetFile,
        source: &Source,
        table: Table,
        episodes: &mut HashMap<i64, Progress>,
    ) -> Result<()> {
        let mut strangers = HashSet::new();
        let (mut first_row, mut position) = (0, 0);
        // Without the images, frames are ids and times alone.
        let leaves = (table == Table::Frames).then_some(&[0, 1][..]);
        for batch in file.batches(source.clone(), 0..file.rows(), leaves)? {
            let batch = batch?;
            let columns = Columns { path: &file.path, batch: &batch };
            let (ids, times) = (columns.longs("episode_id")?, columns.ints("t")?);
            let (mut actions, mut ends) = (Vec::new(), Vec::new());
            if table == Table::Steps {
                actions = self.values(file, first_row, &batch)?;
                for name in ["terminated", "truncated"] {
                    ends.push((name, columns.get::<BooleanArray>(name, |a| a.as_boolean_opt())?));
                }
            }
            let width = file.spec.actions.len();
            for i in 0..batch.num_rows() {
                let (id, t, row) = (ids.value(i), times.value(i), first_row + i);
                let Some(progress) = episodes.get_mut(&id) else {
                    if strangers.insert(id) {
                        let message = format!("row {row}: episode {id} is not in the part's table of episodes");
                        self.report.add(Code::UnknownEpisode, &file.path, message);
                    }
                    continue;
                };
                if !progress.reported && (t != progress.next || progress.position < position) {
                    progress.reported = true;
                    let message = if t == progress.next {
                        format!("row {row}: episode {id} comes after one that follows it in the table of episodes")
                    } else {
                        format!("row {row}, episode {id}: t {} is expected, {t} found", progress.next)
                    };
                    self.report.add(mismatch(table), &file.path, message);
                }
                position = progress.position;
                progress.next = t.saturating_add(1);
                if let Some(action) = actions.get(i * width..(i + 1) * width) {
                    progress.hasher.update(action);
                    for (name, flags) in &ends {
                        if flags.value(i) && progress.next < progress.num_steps as i32 {
                            let message = format!(
                                "row {row}, episode {id}: `{name}` is set at t {t}, before the last of {} steps",
                                progress.num_steps
                            );
                            self.report.add(Code::Value, &file.path, message);
                        }
                    }
                }
            }
            first_row += batch.num_rows();
            if table == Table::Steps {
                self.report.steps += batch.num_rows() as u64;
            } else {
                self.report.frames += batch.num_rows() as u64;
            }
        }
        Ok(())
    }

    /// The actions of a batch of steps as bytes; buckets out of range and telemetry that is not finite are reported.
    fn values(&mut self, file: &ParquetFile, first_row: usize, batch: &RecordBatch) -> Result<Vec<u8>> {
        let columns = Columns { path: &file.path, batch };
        let width = file.spec.actions.len();
        let mut actions = vec![0; batch.num_rows() * width];
        for (c, component) in file.spec.actions.components.iter().enumerate() {
            let slots = actions.iter_mut().skip(c).step_by(width);
            if component.kind == Kind::Button {
                let buttons = columns.get(&component.name, |a| a.as_boolean_opt())?;
                slots.zip(buttons.values()).for_each(|(slot, down)| *slot = u8::from(down));
            } else {
                let buckets = columns.get(&component.name, |a| a.as_primitive_opt::<UInt8Type>())?;
                slots.zip(buckets.values()).for_each(|(slot, bucket)| *slot = *bucket);
                if let Some(i) = buckets.values().iter().position(|b| *b >= component.cardinality) {
                    let message = format!(
                        "row {}, column `{}`: bucket {} is out of range, the last one is {}",
                        first_row + i,
                        component.name,
                        buckets.value(i),
                        component.cardinality - 1
                    );
                    self.report.add(Code::Bucket, &file.path, message);
                }
            }
        }
        if let Some(i) = wrong_buttons(&columns, &actions, &file.spec.actions)? {
            let message = format!(
                "row {}, column `{BUTTONS}`: its bits are not the buttons of the row; restore the file",
                first_row + i
            );
            self.report.add(Code::Buttons, &file.path, message);
        }
        for name in TELEMETRY.into_iter().chain(["reward"]) {
            let numbers = columns.floats(name)?;
            if let Some(i) = (0..numbers.len()).find(|&i| numbers.is_valid(i) && !numbers.value(i).is_finite()) {
                let message = format!("row {}, column `{name}`: {} is not finite", first_row + i, numbers.value(i));
                self.report.add(Code::Value, &file.path, message);
            }
        }
        Ok(actions)
    }

    /// Decodes every image; the first bad one of a file is reported.
    fn images(&mut self, file: &ParquetFile, source: &Source) -> Result<()> {
        let Some(spec) = &file.spec.frames else { return Ok(()) };
        let pages = FramePages::new(file)?;
        let all = 0..file.rows();
        let source = &source.expecting(file.metadata(), Some(&[IMAGE_BYTES]), Some(std::slice::from_ref(&all)));
        let mut rgb = vec![0; spec.bytes()];
        let mut bad = None;
        // A page at a time, so that memory stays small.
        for start in (0..file.rows()).step_by(FRAME_PAGE_ROWS) {
            let end = (start + FRAME_PAGE_ROWS as u64).min(file.rows());
            pages.read(source, start..end, |row, bytes| {
                if bad.is_none() {
                    bad = spec.decode_into(bytes, &mut rgb).err().map(|e| (row, e));
                }
                Ok(())
            })?;
        }
        if let Some((row, error)) = bad {
            self.report.add(Code::Image, &file.path, format!("row {row}: {error}"));
        }
        Ok(())
    }
}

/// The first row whose value of `buttons` does not have bit k where the k-th button of `actions` (`[rows, C]`) is down.
fn wrong_buttons(columns: &Columns, actions: &[u8], space: &ActionSpace) -> Result<Option<usize>> {
    if space.button_bits().is_none() {
        return Ok(None);
    }
    let packed = packed_buttons(columns)?;
    let buttons: Vec<usize> = space.buttons().collect();
    let rows = actions.chunks_exact(space.len()).zip(packed);
    let wrong = |(action, word): (&[u8], u64)| {
        buttons.iter().enumerate().fold(0, |bits, (k, &i)| bits | u64::from(action[i]) << k) != word
    };
    Ok(rows.map(wrong).position(|wrong| wrong))
}

fn mismatch(table: Table) -> Code {
    if table == Table::Frames { Code::Frames } else { Code::Steps }
}
