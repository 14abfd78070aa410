//! Actions by row, as bytes: decoded a block at a time, and kept.
//!
//! A block lies within one page (all columns of `steps` have their pages at the same rows), so decoding it reads one page
//! of `buttons` and one an axis, and decodes the block's rows of it. Blocks stay in memory up to a budget: 128 MiB hold
//! the actions of 230 hours, and beyond that a window costs one or two blocks.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::AsArray;
use arrow::datatypes::UInt8Type;

use crate::action::Kind;
use crate::error::{Error, Result};
use crate::parquet_file::ParquetFile;
use crate::row::{Columns, packed_buttons};
use crate::storage::Source;

/// Bytes of decoded actions that are kept.
const BUDGET: usize = 128 << 20;

/// Rows of a block; a page of `steps` holds a whole number of blocks.
pub(crate) const BLOCK_ROWS: usize = 8192;

/// The first action column of `steps`, after `episode_id` and `t`.
const FIRST_COMPONENT: usize = 2;

/// Decodes rows `rows` of a file's actions: `[rows, C]`. Buttons come from the packed column, one page in place of a page
/// a button; [`verify`](crate::verify()) checks that both say the same.
///
/// # Errors
/// A damaged page, a null, or a bucket that its component does not have.
pub(crate) fn decode(file: &ParquetFile, source: Source, rows: Range<u64>) -> Result<Vec<u8>> {
    let space = &file.spec.actions;
    let count = space.len();
    let packed = space.button_bits().is_some();
    let own_column = |i: &usize| !packed || space.components[*i].kind == Kind::Axis;
    let mut leaves: Vec<usize> = (0..count).filter(own_column).map(|i| FIRST_COMPONENT + i).collect();
    leaves.extend(packed.then_some(FIRST_COMPONENT + count));
    let wanted = (rows.end - rows.start) as usize;
    let mut actions = vec![0; wanted * count];
    let mut done = 0;
    for batch in file.batches(source, rows.clone(), Some(&leaves))? {
        let batch = batch?;
        let columns = Columns { path: &file.path, batch: &batch };
        let out = actions.get_mut(done * count..(done + batch.num_rows()) * count).unwrap_or_default();
        for (i, component) in space.components.iter().enumerate().filter(|(i, _)| own_column(i)) {
            let slots = out.iter_mut().skip(i).step_by(count);
            if component.kind == Kind::Button {
                let buttons = columns.get(&component.name, |a| a.as_boolean_opt())?;
                slots.zip(buttons.values()).for_each(|(slot, down)| *slot = u8::from(down));
                continue;
            }
            let buckets = columns.get(&component.name, |a| a.as_primitive_opt::<UInt8Type>())?.values();
            slots.zip(buckets).for_each(|(slot, bucket)| *slot = *bucket);
            if buckets.iter().fold(0, |most, &b| most.max(b)) >= component.cardinality {
                let row = buckets.iter().position(|b| *b >= component.cardinality).unwrap_or(0);
                let reason = format!(
                    "row {}, column `{}`: bucket {} is out of range, the last one is {}",
                    rows.start as usize + done + row,
                    component.name,
                    buckets[row],
                    component.cardinality - 1
                );
                return Err(Error::corrupt(&file.path, reason));
            }
        }
        if packed {
            let words = packed_buttons(&columns)?;
            for (k, i) in space.buttons().enumerate() {
                let slots = out.iter_mut().skip(i).step_by(count);
                slots.zip(&words).for_each(|(slot, word)| *slot = (word >> k & 1) as u8);
            }
        }
        done += batch.num_rows();
    }
    if done != wanted {
        return Err(Error::corrupt(&file.path, format!("{done} of {wanted} rows from row {} can be read", rows.start)));
    }
    Ok(actions)
}

/// Block `block` of part `part`.
type Key = (usize, u64);

/// Decoded blocks of all parts of a dataset.
#[derive(Default)]
pub(crate) struct ActionBlocks {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Actions `[rows, C]`, and when they were last asked for.
    blocks: HashMap<Key, (Arc<[u8]>, u64)>,
    bytes: usize,
    clock: u64,
}

impl ActionBlocks {
    /// Appends the actions of `rows` of a part to `out`.
    pub(crate) fn append(
        &self,
        part: usize,
        file: &ParquetFile,
        source: &Source,
        rows: Range<u64>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let (size, count) = (BLOCK_ROWS as u64, file.spec.actions.len());
        for block in rows.start / size..rows.end.div_ceil(size) {
            let start = block * size;
            let actions =
                self.get((part, block), || decode(file, source.clone(), start..(start + size).min(file.rows())))?;
            let from = (rows.start.max(start) - start) as usize * count;
            let to = (rows.end.min(start + size) - start) as usize * count;
            let slice = actions.get(from..to).ok_or_else(|| {
                Error::corrupt(&file.path, format!("it has {} rows, row {} is asked for", file.rows(), rows.end - 1))
            })?;
            out.extend_from_slice(slice);
        }
        Ok(())
    }

    /// A kept block, or a decoded one. Two threads may decode the same block at once; one copy is kept.
    fn get(&self, key: Key, decode: impl FnOnce() -> Result<Vec<u8>>) -> Result<Arc<[u8]>> {
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.clock += 1;
            let clock = kept.clock;
            if let Some((block, used)) = kept.blocks.get_mut(&key) {
                *used = clock;
                return Ok(block.clone());
            }
        }
        let block: Arc<[u8]> = decode()?.into();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.bytes + block.len() > BUDGET {
            let oldest = kept.blocks.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            let Some((dropped, _)) = oldest.and_then(|key| kept.blocks.remove(&key)) else { break };
            kept.bytes -= dropped.len();
        }
        let clock = kept.clock;
        kept.bytes += block.len();
        if let Some((replaced, _)) = kept.blocks.insert(key, (block.clone(), clock)) {
            kept.bytes -= replaced.len();
        }
        Ok(block)
    }
}
