//! Scans of `steps` against the parquet crate's own decoding of the same files.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{cast, concat_batches, take};
use proptest::prelude::*;

use crate::testing::{bare_spec, episode};
use crate::{Dataset, StepIndex, StepScan};

/// Parts of several pages; in the second a long episode.
fn dataset(root: &std::path::Path) -> Dataset {
    let dataset = Dataset::create(root, &bare_spec()).unwrap();
    let mut writer = dataset.writer().unwrap();
    for id in 0..40 {
        writer.push(episode(3 * id, 1 + (id as usize * 7919) % 900)).unwrap();
        if id == 20 {
            writer.flush().unwrap();
        }
    }
    writer.push(episode(200, 30_000)).unwrap();
    writer.finish().unwrap();
    dataset
}

/// All rows of a part as the parquet crate reads them.
fn oracle(index: &StepIndex, part: u32) -> RecordBatch {
    let (source, file) = index.part(part).unwrap();
    let all = 0..file.rows();
    let batches: Vec<_> = file.select(source, &[all], None, 1 << 20).unwrap().map(Result::unwrap).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn scanned(index: &Arc<StepIndex>, part: u32, columns: &[usize], rows: &[Range<u64>], batch: usize) -> RecordBatch {
    let scan = StepScan::open(index, part, columns, rows.to_vec(), batch).unwrap();
    let schema = scan.schema().clone();
    let batches: Vec<_> = scan.map(Result::unwrap).collect();
    let (last, full) = batches.split_last().unwrap();
    assert!(full.iter().all(|one| one.num_rows() == batch) && last.num_rows() <= batch);
    concat_batches(&schema, &batches).unwrap()
}

#[test]
fn the_index_says_where_episodes_lie() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let index = dataset.step_index().unwrap().unwrap();
    assert_eq!((index.files().len(), index.episodes().len()), (2, 41));
    for part in 0..2 {
        let rows = oracle(&index, part);
        let ids = rows.column(0).as_primitive::<arrow::datatypes::Int64Type>();
        for one in index.episodes().iter().filter(|one| one.part == part) {
            let at = one.first_row as usize..one.first_row as usize + one.steps as usize;
            assert!(ids.values()[at.clone()].iter().all(|id| *id == one.episode_id), "{one:?}");
            assert!(at.end == ids.len() || ids.value(at.end) != one.episode_id, "{one:?}");
        }
    }
}

#[test]
fn two_writers_at_once_leave_no_order_to_rely_on() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = Dataset::create(folder.path(), &bare_spec()).unwrap();
    let (mut one, mut other) = (dataset.writer().unwrap(), dataset.writer().unwrap());
    for id in [1, 5] {
        one.push(episode(id, 10)).unwrap();
        other.push(episode(id + 1, 10)).unwrap();
    }
    one.finish().unwrap();
    other.finish().unwrap();
    assert!(dataset.step_index().unwrap().is_none());
}

#[test]
fn a_part_with_other_steps_than_its_episodes_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let index = Arc::new(dataset.step_index().unwrap().unwrap());
    let files: Vec<_> = index.files().map(std::path::Path::to_owned).collect();
    std::fs::copy(&files[1], &files[0]).unwrap();
    let error = StepScan::open(&index, 0, &[2], vec![0..5, 7..8], 8).unwrap_err().to_string();
    assert!(error.contains("its episodes have") && error.contains("part-"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_scan_reads_what_is_stored(
        part in 0u32..2,
        cuts in prop::collection::btree_set(0u64..1000, 2..9),
        picked in prop::collection::vec(0.0..1.0f64, 1..6),
        batch in prop::sample::select(vec![1usize, 7, 512, 8192]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let index = Arc::new(dataset(folder.path()).step_index().unwrap().unwrap());
        let stored = oracle(&index, part);
        let cuts: Vec<u64> = cuts.iter().map(|cut| cut * stored.num_rows() as u64 / 1000).collect();
        let ranges: Vec<Range<u64>> = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1].min(pair[0] + 3000)).collect();
        prop_assume!(ranges.iter().any(|range| !range.is_empty()));
        let columns: Vec<usize> = picked.iter().map(|x| (x * stored.num_columns() as f64) as usize).collect();

        let found = scanned(&index, part, &columns, &ranges, batch);
        let slices: Vec<_> =
            ranges.iter().map(|range| stored.slice(range.start as usize, (range.end - range.start) as usize)).collect();
        let expected = concat_batches(&stored.schema(), &slices).unwrap();
        prop_assert_eq!(found.num_rows(), expected.num_rows());
        for (at, column) in columns.iter().enumerate() {
            let expected: &ArrayRef = expected.column(*column);
            // Without our schema the parquet crate cannot know how narrow an integer is.
            let expected = cast(expected, found.column(at).data_type()).unwrap();
            prop_assert_eq!(found.column(at).to_data(), expected.to_data(), "column {}", found.schema().field(at).name());
        }
    }

    /// Batches that cross the border of a page, too: a page is read once.
    #[test]
    fn batches_without_the_wanted_flags_are_left_out(
        part in 0u32..2,
        wanted in prop::collection::vec((0usize..12, any::<bool>()), 1..4),
        batch in prop::sample::select(vec![7usize, 500, 6000, 8192, 30_000]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let index = Arc::new(dataset(folder.path()).step_index().unwrap().unwrap());
        let stored = oracle(&index, part);
        // All twelve buttons, and a stick.
        let columns: Vec<usize> = (2..15).collect();
        let (all, third) = (stored.num_rows() as u64, stored.num_rows() as u64 / 3);
        let scan = StepScan::open(&index, part, &columns, vec![0..third, third + 5..all], batch).unwrap();
        let schema = scan.schema().clone();
        let found: Vec<_> = scan.where_flags(&wanted).map(Result::unwrap).collect();
        let found = concat_batches(&schema, &found).unwrap();

        let has_all = |row: usize| {
            wanted.iter().all(|(place, down)| stored.column(columns[*place]).as_boolean().value(row) == *down)
        };
        let rows: Vec<u64> = (0..third).chain(third + 5..all).collect();
        let kept = rows.chunks(batch).filter(|some| some.iter().any(|row| has_all(*row as usize))).flatten();
        let kept: Vec<u64> = kept.copied().collect();
        prop_assert_eq!(found.num_rows(), kept.len());
        let kept = UInt64Array::from(kept);
        for (at, column) in columns.iter().enumerate() {
            let expected = take(stored.column(*column), &kept, None).unwrap();
            let expected = cast(&expected, found.column(at).data_type()).unwrap();
            prop_assert_eq!(found.column(at).to_data(), expected.to_data(), "column {}", found.schema().field(at).name());
        }
    }
}
