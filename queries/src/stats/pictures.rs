//! Pictures that stand still while the player acts: a recorder that hung, a menu, a stream that stalled.

use std::ops::Range;

use arrow::array::{Array, AsArray};
use playhouse_schemas::{ActionSpace, Kind};

use super::part::{Columns, RowFile};
use crate::error::{Error, Result};

/// Seconds that a picture stands still before it is worth a word.
const SECONDS: f64 = 5.0;
/// Steps at the least, whatever the rate: a training window.
const STEPS: u64 = 32;
/// Images decoded from Parquet at a time: a few megabytes.
const BATCH_ROWS: usize = 512;

/// The longest stretch of identical images with input during at least half of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frozen {
    /// Its first step.
    pub(super) t: u64,
    /// How many steps it lasts.
    pub(super) steps: u64,
}

/// Compares the encoded images of one episode, which has the rows `rows` of both files.
pub(super) fn frozen(
    steps: &RowFile,
    frames: &RowFile,
    actions: &ActionSpace,
    rows: Range<u64>,
    hz: f64,
    tick: &dyn Fn(u64) -> Result<()>,
) -> Result<Option<Frozen>> {
    let active = active(steps, actions, rows.clone())?;
    let enough = if hz.is_finite() { ((SECONDS * hz).ceil() as u64).max(STEPS) } else { STEPS };
    let mut runs = Runs { enough, active: &active, start: 0, longest: None };
    let mut last: Vec<u8> = Vec::new();
    let mut t = 0;
    for batch in frames.batches(&["image.bytes"], Some(&[rows]), BATCH_ROWS)? {
        let batch = batch?;
        let image = batch.column_by_name("image").and_then(|column| column.as_struct_opt());
        let bytes = image.and_then(|image| image.column_by_name("bytes")).and_then(|b| b.as_binary_opt::<i32>());
        let Some(bytes) = bytes else {
            return Err(Error::data(frames.path(), "column `image` holds no field `bytes`"));
        };
        for i in 0..bytes.len() {
            if t > 0 && bytes.value(i) != last.as_slice() {
                runs.end(t);
            }
            if t == 0 || bytes.value(i) != last.as_slice() {
                last.clear();
                last.extend_from_slice(bytes.value(i));
            }
            t += 1;
        }
        tick(bytes.len() as u64)?;
    }
    runs.end(t);
    Ok(runs.longest)
}

/// Stretches of identical images.
struct Runs<'a> {
    enough: u64,
    active: &'a [bool],
    start: u64,
    longest: Option<Frozen>,
}

impl Runs<'_> {
    fn end(&mut self, t: u64) {
        let (start, steps) = (self.start, t - self.start);
        self.start = t;
        if steps < self.enough || self.longest.is_some_and(|longest| longest.steps >= steps) {
            return;
        }
        let during = self.active.iter().skip(start as usize).take(steps as usize);
        if during.filter(|active| **active).count() as u64 * 2 >= steps {
            self.longest = Some(Frozen { t: start, steps });
        }
    }
}

/// Whether there was input at each of the rows.
fn active(steps: &RowFile, actions: &ActionSpace, rows: Range<u64>) -> Result<Vec<bool>> {
    let names: Vec<&str> = actions.components.iter().map(|c| c.name.as_str()).collect();
    let mut active = Vec::with_capacity((rows.end - rows.start) as usize);
    for batch in steps.batches(&names, Some(&[rows]), BATCH_ROWS)? {
        let batch = batch?;
        let columns = Columns { path: steps.path(), batch: &batch };
        let from = active.len();
        active.resize(from + batch.num_rows(), false);
        for component in &actions.components {
            let now = &mut active[from..];
            match component.kind {
                Kind::Button => {
                    let down = columns.button(&component.name)?;
                    now.iter_mut().zip(down.values()).for_each(|(active, down)| *active |= down);
                }
                Kind::Axis => {
                    let rest = component.neutral();
                    let values = columns.axis(&component.name)?.values();
                    now.iter_mut().zip(values).for_each(|(active, value)| *active |= *value != rest);
                }
            }
        }
    }
    Ok(active)
}
