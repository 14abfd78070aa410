//! Files cut off, overwritten, foreign, or with impossible rows: a typed error and a finding, never a panic.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Int32Array, Int64Array, RecordBatch, UInt8Array, UInt16Array};
use arrow::compute::concat_batches;
use arrow::datatypes::UInt16Type;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use super::{SMALL, write};
use crate::testing::{bare_spec, episode, framed, noise, raw_spec};
use crate::{
    Code, Codec, Dataset, DatasetSpec, Error, FrameSpec, PartLimits, Result, Table, VerifyOptions, verify, verify_with,
};

const PART: &str = "part-000000000000.parquet";

fn file(root: &Path, table: Table) -> PathBuf {
    root.join(table.name()).join(PART)
}

/// One part of two episodes with frames.
fn dataset() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &raw_spec(), PartLimits::default(), &[framed(0, 40), framed(1, 30)]).unwrap();
    folder
}

/// Reads everything there is.
fn read_all(root: &Path) -> Result<()> {
    let dataset = Dataset::open(root)?;
    for row in dataset.episodes()? {
        dataset.read_episode(row.episode_id)?;
    }
    Ok(())
}

fn codes(root: &Path) -> Vec<Code> {
    verify(root, false).unwrap().problems.iter().map(|p| p.code).collect()
}

/// Writes a file again with other rows or other footer keys.
fn rewrite(path: &Path, rows: impl Fn(RecordBatch) -> RecordBatch, keys: impl Fn(&mut KeyValue)) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let mut kept = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    kept.retain(|entry| entry.key != "ARROW:schema");
    kept.iter_mut().for_each(keys);
    let schema = builder.schema().clone();
    let batches: Vec<RecordBatch> = builder.build().unwrap().collect::<std::result::Result<_, _>>().unwrap();
    let batch = rows(concat_batches(&schema, &batches).unwrap());
    let properties =
        WriterProperties::builder().set_key_value_metadata(Some(kept)).set_dictionary_enabled(false).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Replaces a column.
fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let mut columns = batch.columns().to_vec();
    columns[batch.schema().index_of(name).unwrap()] = column;
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

#[test]
fn a_file_cut_at_any_length_is_damaged() {
    for table in Table::COMMIT_ORDER {
        let folder = dataset();
        let path = file(folder.path(), table);
        let whole = fs::read(&path).unwrap();
        let mut draw = noise(7);
        let ends = (0..20).chain(whole.len() - 20..whole.len());
        for length in ends.chain((0..40).map(|_| draw(whole.len() as u64) as usize)) {
            fs::write(&path, &whole[..length]).unwrap();
            let error = read_all(folder.path()).unwrap_err();
            assert!(
                matches!(&error, Error::Corrupt { path: at, .. } if *at == path),
                "{table:?} cut to {length}: {error}"
            );
            assert_eq!(codes(folder.path()), [Code::Damaged], "{table:?} cut to {length}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn overwritten_bytes_are_an_error_or_unseen(table in 0usize..3, at in any::<proptest::sample::Index>(), bytes in proptest::collection::vec(any::<u8>(), 1..12)) {
        let folder = dataset();
        let path = file(folder.path(), Table::COMMIT_ORDER[table]);
        let mut whole = fs::read(&path).unwrap();
        let at = at.index(whole.len());
        let end = (at + bytes.len()).min(whole.len());
        whole[at..end].copy_from_slice(&bytes[..end - at]);
        fs::write(&path, &whole).unwrap();
        let _ = read_all(folder.path());
        scan_all(folder.path());
        let report = verify_with(folder.path(), VerifyOptions { repair: false, deep: true });
        // Actions carry a hash: where nothing is found, they are as they were written.
        if report.is_ok_and(|report| report.problems.is_empty()) {
            let dataset = Dataset::open(folder.path()).unwrap();
            prop_assert_eq!(dataset.read_actions(0).unwrap(), framed(0, 40).actions);
            prop_assert_eq!(dataset.read_actions(1).unwrap(), framed(1, 30).actions);
        }
    }
}

/// Scans every column of every part, as queries do, and takes errors as they come.
fn scan_all(root: &Path) {
    let Some(index) = Dataset::open(root).ok().and_then(|dataset| dataset.step_index().ok().flatten()) else { return };
    let index = Arc::new(index);
    let columns: Vec<usize> = (0..index.schema().fields().len()).collect();
    for part in 0..index.files().len() as u32 {
        let last = index.episodes().iter().rfind(|one| one.part == part);
        let rows = last.map_or(0, |last| last.first_row + u64::from(last.steps));
        if let Ok(scan) = crate::StepScan::open(&index, part, &columns, std::iter::once(0..rows).collect(), 7) {
            scan.take_while(Result::is_ok).for_each(drop);
        }
    }
}

#[test]
fn another_format_version_is_named() {
    for table in Table::COMMIT_ORDER {
        let folder = dataset();
        let path = file(folder.path(), table);
        rewrite(
            &path,
            |rows| rows,
            |entry| {
                if entry.key == "playhouse.format_version" {
                    entry.value = Some("1".into());
                }
            },
        );
        let error = read_all(folder.path()).unwrap_err();
        assert!(matches!(&error, Error::Version { found, supported: 2, .. } if found == "1"), "{error}");
        assert!(error.to_string().contains("record or import it again"), "{error}");
        assert_eq!(codes(folder.path()), [Code::Version]);
    }
}

#[test]
fn foreign_parquet_is_named() {
    for table in Table::COMMIT_ORDER {
        let folder = dataset();
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
        let path = file(folder.path(), table);
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let error = read_all(folder.path()).unwrap_err();
        assert!(matches!(&error, Error::Foreign { .. }) && error.to_string().contains("format_version"), "{error}");
        assert_eq!(codes(folder.path()), [Code::Foreign]);
    }
}

#[test]
fn other_columns_and_swapped_tables_are_named() {
    let folder = dataset();
    rewrite(&file(folder.path(), Table::Steps), |rows| rows.project(&[0, 1, 2, 3]).unwrap(), |_| ());
    let message = read_all(folder.path()).unwrap_err().to_string();
    assert!(message.contains("column `x` is missing"), "{message}");
    fs::copy(file(folder.path(), Table::Frames), file(folder.path(), Table::Steps)).unwrap();
    let message = read_all(folder.path()).unwrap_err().to_string();
    assert!(message.contains("holds the table `frames` but lies in `steps/`"), "{message}");
}

#[test]
fn a_missing_file_and_other_specs_are_named() {
    for table in [Table::Frames, Table::Steps] {
        let folder = dataset();
        fs::remove_file(file(folder.path(), table)).unwrap();
        let message = read_all(folder.path()).unwrap_err().to_string();
        assert!(message.contains(&format!("{}/{PART}", table.name())) && message.contains("missing"), "{message}");
        assert_eq!(codes(folder.path()), [Code::MissingFile]);
        // Who reads the files by their names must not get fewer rows without a word.
        let listed = Dataset::open(folder.path()).unwrap().files().unwrap_err().to_string();
        assert!(listed.contains(&format!("{}/{PART}", table.name())) && listed.contains("verify"), "{listed}");
    }
    let folder = dataset();
    rewrite(
        &file(folder.path(), Table::Frames),
        |rows| rows,
        |entry| {
            entry.value = entry.value.as_ref().map(|v| v.replace("\"width\":4", "\"width\":8"));
        },
    );
    let error = read_all(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }) && error.to_string().contains("width: 4 and 8"), "{error}");
    let report = verify(folder.path(), false).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert!(
        report.problems[0].code == Code::Spec && report.problems[0].message.contains("width: 4 and 8"),
        "{report:?}"
    );
    let error = Dataset::create(folder.path(), &bare_spec()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("differ in whether there are frames: true and false"), "{error}");
}

#[test]
fn frames_of_a_dataset_without_are_orphans() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &bare_spec(), SMALL, &[episode(0, 4), episode(1, 5)]).unwrap();
    let donor = dataset();
    fs::create_dir(folder.path().join("frames")).unwrap();
    fs::copy(file(donor.path(), Table::Frames), file(folder.path(), Table::Frames)).unwrap();
    let tables = Dataset::open(folder.path()).unwrap().files().unwrap();
    assert_eq!(tables.iter().map(|(table, _)| *table).collect::<Vec<_>>(), [Table::Episodes, Table::Steps]);
    let report = verify(folder.path(), false).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert_eq!(
        (report.problems[0].code, &report.problems[0].path),
        (Code::Orphan, &file(folder.path(), Table::Frames))
    );
    assert!(verify(folder.path(), true).unwrap().is_sound());
    assert!(!file(folder.path(), Table::Frames).exists());
    assert_eq!(codes(folder.path()), []);
}

#[test]
fn rows_whose_index_was_lost_come_back_with_it() {
    let folder = dataset();
    let (index, kept) = (file(folder.path(), Table::Episodes), folder.path().join("kept"));
    fs::rename(&index, &kept).unwrap();
    let report = verify(folder.path(), false).unwrap();
    let orphans: Vec<_> = report.problems.iter().map(|p| (p.code, p.path.clone(), p.repaired)).collect();
    let orphan = |table| (Code::Orphan, file(folder.path(), table), false);
    assert_eq!(orphans, [orphan(Table::Frames), orphan(Table::Steps)]);
    // Whoever lost the file must not take the advice to repair before looking for it.
    for problem in &report.problems {
        assert!(problem.message.contains(PART) && problem.message.contains("bring it back"), "{}", problem.message);
    }
    fs::rename(&kept, &index).unwrap();
    assert_eq!(codes(folder.path()), []);
}

#[test]
fn an_episode_in_two_parts_is_named() {
    let folder = dataset();
    for table in Table::COMMIT_ORDER {
        let twin = folder.path().join(table.name()).join("part-000000000009.parquet");
        fs::copy(file(folder.path(), table), twin).unwrap();
    }
    let message = read_all(folder.path()).unwrap_err().to_string();
    assert!(message.contains("episode 0 is stored twice"), "{message}");
    assert_eq!(codes(folder.path()), [Code::DuplicateEpisode, Code::DuplicateEpisode]);
}

type Change = fn(RecordBatch) -> RecordBatch;

/// Rows without row 5.
fn gap(rows: RecordBatch) -> RecordBatch {
    concat_batches(&rows.schema(), [&rows.slice(0, 5), &rows.slice(6, rows.num_rows() - 6)]).unwrap()
}

/// Row 5 twice.
fn twice(rows: RecordBatch) -> RecordBatch {
    concat_batches(&rows.schema(), [&rows.slice(0, 6), &rows.slice(5, rows.num_rows() - 5)]).unwrap()
}

/// Without the last row.
fn short(rows: RecordBatch) -> RecordBatch {
    rows.slice(0, rows.num_rows() - 1)
}

/// Episode 1 before episode 0.
fn swapped(rows: RecordBatch) -> RecordBatch {
    concat_batches(&rows.schema(), [&rows.slice(40, 30), &rows.slice(0, 40)]).unwrap()
}

/// The last row belongs to episode 77.
fn stranger(rows: RecordBatch) -> RecordBatch {
    let mut ids: Vec<i64> = vec![0; 40];
    ids.resize(69, 1);
    ids.push(77);
    with_column(&rows, "episode_id", Arc::new(Int64Array::from(ids)))
}

#[test]
fn impossible_rows_are_found_and_named() {
    let cases: [(Table, Change, Code, &str); 15] = [
        (Table::Steps, swapped, Code::Steps, "row 30: episode 0 comes after one that follows it"),
        (Table::Frames, swapped, Code::Frames, "row 30: episode 0 comes after one that follows it"),
        (Table::Steps, gap, Code::Steps, "row 5, episode 0: t 5 is expected, 6 found"),
        (Table::Steps, twice, Code::Steps, "row 6, episode 0: t 6 is expected, 5 found"),
        (Table::Steps, short, Code::Steps, "episode 1 has 29 rows here and 30 steps"),
        (Table::Frames, gap, Code::Frames, "row 5, episode 0: t 5 is expected, 6 found"),
        (Table::Frames, short, Code::Frames, "episode 1 has 29 rows here and 30 steps"),
        (Table::Steps, stranger, Code::UnknownEpisode, "row 69: episode 77"),
        (Table::Frames, stranger, Code::UnknownEpisode, "row 69: episode 77"),
        (
            Table::Steps,
            |rows| with_column(&rows, "left_x", Arc::new(UInt8Array::from(vec![11; rows.num_rows()]))),
            Code::Bucket,
            "row 0, column `left_x`: bucket 11 is out of range, the last one is 10",
        ),
        (
            Table::Steps,
            |rows| with_column(&rows, "pos_z", Arc::new(Float32Array::from(vec![f32::NAN; rows.num_rows()]))),
            Code::Value,
            "row 0, column `pos_z`: NaN is not finite",
        ),
        (
            Table::Steps,
            |rows| {
                let ended: arrow::array::BooleanArray = (0..rows.num_rows()).map(|i| Some(i == 3)).collect();
                with_column(&rows, "terminated", Arc::new(ended))
            },
            Code::Value,
            "row 3, episode 0: `terminated` is set at t 3",
        ),
        (
            Table::Episodes,
            |rows| with_column(&rows, "hz", Arc::new(Float32Array::from(vec![0.0; rows.num_rows()]))),
            Code::Value,
            "episode 0: hz 0",
        ),
        (
            Table::Steps,
            |rows| with_column(&rows, "left_x", Arc::new(UInt8Array::from(vec![5; rows.num_rows()]))),
            Code::ActionHash,
            "the actions of episode 0 are not those that were written",
        ),
        (
            Table::Steps,
            |rows| {
                let packed = rows["buttons"].as_primitive::<UInt16Type>().values();
                let flipped: Vec<u16> = packed.iter().enumerate().map(|(i, w)| w ^ u16::from(i == 44)).collect();
                with_column(&rows, "buttons", Arc::new(UInt16Array::from(flipped)))
            },
            Code::Buttons,
            "row 44, column `buttons`: ",
        ),
    ];
    for (table, change, code, message) in cases {
        let folder = dataset();
        rewrite(&file(folder.path(), table), change, |_| ());
        let report = verify(folder.path(), false).unwrap();
        let found = report.problems.iter().any(|p| p.code == code && p.message.contains(message));
        assert!(found, "{code} `{message}` is not in {:#?}", report.problems);
        assert!(!report.is_sound());
        // Nothing but leftovers is ever removed.
        assert!(verify(folder.path(), true).unwrap().problems.iter().all(|p| !p.repaired));
    }
}

#[test]
fn a_bucket_out_of_range_never_reaches_training() {
    let folder = dataset();
    let spoil = |rows: RecordBatch| {
        let mut buckets = vec![5; rows.num_rows()];
        buckets[47] = 200;
        with_column(&rows, "right_y", Arc::new(UInt8Array::from(buckets)))
    };
    rewrite(&file(folder.path(), Table::Steps), spoil, |_| ());
    let message = Dataset::open(folder.path()).unwrap().read_actions(1).unwrap_err().to_string();
    assert!(message.contains("row 47, column `right_y`: bucket 200"), "{message}");
}

#[test]
fn a_num_steps_that_no_writer_stores_is_damage() {
    let folder = dataset();
    let spoil = |rows: RecordBatch| with_column(&rows, "num_steps", Arc::new(Int32Array::from(vec![40, -30])));
    rewrite(&file(folder.path(), Table::Episodes), spoil, |_| ());
    let message = read_all(folder.path()).unwrap_err().to_string();
    assert!(message.contains("row 1, column `num_steps`: -30"), "{message}");
}

#[test]
fn images_are_decoded_only_when_asked() {
    let spec = FrameSpec { width: 16, height: 16, codec: Codec::Jpeg { quality: 90 }, resize: None };
    let mut good = episode(0, 40);
    let packed = spec.encode(&vec![90; spec.bytes()]).unwrap();
    good.frames = vec![packed.clone(); 40];
    // Whole by its header and end, but the entropy-coded middle is gone.
    let scan = packed.windows(2).position(|w| w == [0xff, 0xda]).unwrap();
    good.frames[33] = [&packed[..scan], &[0xff, 0xd9]].concat();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &DatasetSpec { frames: Some(spec), ..bare_spec() }, SMALL, &[good]).unwrap();
    assert_eq!(codes(folder.path()), []);
    let report = verify_with(folder.path(), VerifyOptions { repair: false, deep: true }).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].code, Code::Image);
    assert!(report.problems[0].message.starts_with("row 33: "), "{}", report.problems[0].message);
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.contains("\"code\":\"PH013\""), "{json}");
}

#[test]
fn codes_are_stable() {
    let all = [
        Code::Temporary,
        Code::Orphan,
        Code::Damaged,
        Code::Foreign,
        Code::Version,
        Code::Spec,
        Code::MissingFile,
        Code::DuplicateEpisode,
        Code::Steps,
        Code::Frames,
        Code::UnknownEpisode,
        Code::Bucket,
        Code::Image,
        Code::Value,
        Code::ActionHash,
        Code::Buttons,
    ];
    for (i, code) in all.into_iter().enumerate() {
        assert_eq!(code.to_string(), format!("PH{:03}", i + 1));
        assert_eq!(code.repairable(), i < 2);
    }
}
