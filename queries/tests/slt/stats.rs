//! Statistics of datasets whose every value is known: of the fixture, of one with each fault planted, of samples and halves.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch, UInt8Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, Int64Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use playhouse_queries::stats::{self, Code, DatasetStats, Options, Watch};
use playhouse_schemas::{ActionSpace, Codec, Dataset, DatasetSpec, Episode, FrameSpec, Pose, gamepad};

use crate::fixture;

#[test]
fn the_fixture_is_described() {
    let dataset = fixture::dataset();
    let found = stats::dataset(dataset.path()).unwrap();
    let steps: u64 = (0..26u64).map(|id| fixture::episode(id as i64).actions.len() as u64 / 16).sum();
    assert_eq!((found.episodes, found.steps), (26, steps));
    assert!((found.hours - steps as f64 / 36_000.0).abs() < 1e-9);
    assert_eq!(found.hz, [10.0]);
    assert_eq!(found.frames, None);
    assert_eq!(found.lengths.counts.iter().sum::<u64>(), 26);
    assert_eq!(found.lengths.quantiles[6], 6.9);
    let middle = found.outcomes.iter().find(|o| o.outcome.as_deref() == Some("middle")).unwrap();
    assert_eq!((middle.of.as_deref(), middle.episodes), (Some("skygarden"), 9));
    assert!(middle.interval.0 < middle.share && middle.share < middle.interval.1);
    let component = |name: &str| found.components.iter().find(|c| c.name == name).unwrap();
    assert_eq!(component("left_y").counts[10], steps - 48);
    assert_eq!(component("left_y").counts[5], 48);
    assert_eq!(component("b").active.share, 0.0);
    assert!(component("a").active.share > 0.0);
    assert_eq!((found.basis.all, found.basis.episodes, found.basis.steps), (true, 26, steps));
    let found_by = |name: &str| found.findings.iter().find(|finding| finding.name == name);
    assert_eq!(found_by("duplicate-episode").unwrap().episode_ids, [24]);
    assert_eq!(found_by("idle-episode").unwrap().episode_ids, [25]);
    assert_eq!(found_by("repeated-action").unwrap().episode_ids, [25]);
    assert!(found_by("constant-component").unwrap().message.contains("dpad_up"));
    assert_eq!(found_by("short-episode").unwrap().episodes, 6);
    // Counted by hand: what Tally does with bits and runs.
    let (mut idle, mut repeated, mut presses) = (0, 0, 0);
    for id in 0..26 {
        let actions = fixture::episode(id).actions;
        let rows: Vec<&[u8]> = actions.chunks_exact(16).collect();
        idle += rows.iter().filter(|row| **row == gamepad::neutral()).count();
        repeated += rows.windows(2).filter(|pair| pair[0] == pair[1]).count();
        presses += rows.iter().enumerate().filter(|(i, row)| row[0] == 1 && (*i == 0 || rows[i - 1][0] == 0)).count();
    }
    assert!((found.rates.idle - idle as f64 / steps as f64).abs() < 1e-6);
    assert_eq!(found.rates.repeated.unwrap().share, repeated as f64 / (steps - 26) as f64);
    let minutes = steps as f64 / 600.0;
    assert!((component("a").presses_per_minute.unwrap() - presses as f64 / minutes).abs() < 1e-9);
    let left = &found.sticks[0];
    assert_eq!((left.name.as_str(), left.counts[10][5], left.counts[5][5]), ("left", steps - 48, 48));
    assert_eq!(found.coverage[0].steps, steps);
    assert_eq!(found.coverage[0].counts.iter().flatten().sum::<u64>(), steps);
    let text = found.to_string();
    assert!(text.contains("26 episodes") && text.contains("never used"), "{text}");
}

#[test]
fn rates_are_numbers_in_order_as_they_were_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = fixture::create(folder.path()).writer().unwrap();
    for (id, hz) in [(0, 100.0), (1, 10.1), (2, 9.0), (3, 10.1)] {
        writer.push(playhouse_schemas::Episode { hz, ..fixture::episode(id) }).unwrap();
    }
    writer.finish().unwrap();
    let found = stats::dataset(folder.path()).unwrap();
    assert_eq!(found.hz, [9.0, 10.1, 100.0]);
    assert!(found.to_string().contains("9 Hz, 10.1 Hz, 100 Hz"), "{found}");
}

#[test]
fn a_folder_without_episodes_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = stats::dataset(folder.path()).unwrap_err();
    assert!(error.to_string().contains("no episodes"), "{error}");
}

/// A small generator, so that the tests need no other crate.
fn noise(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

/// An episode without any fault: inputs are held for a few steps, and some players press more than others.
fn clean(id: i64, steps: usize) -> Episode {
    let mut draw = noise(id as u64);
    let often = 10 + draw(30);
    let mut action = gamepad::neutral();
    let (mut x, mut y) = (draw(20) as f32, draw(20) as f32);
    let mut episode = Episode { actions: Vec::new(), poses: Vec::new(), ..fixture::episode(0) };
    for _ in 0..steps {
        for (i, value) in action.iter_mut().enumerate() {
            if draw(6) == 0 {
                *value = if i < gamepad::LEFT_X { u8::from(draw(100) < often) } else { draw(11) as u8 };
            }
        }
        (x, y) = (x + 0.1 + draw(20) as f32 / 100.0, y + draw(10) as f32 / 100.0);
        episode.actions.extend(action);
        episode.poses.push(Pose { x, y, z: 0.5, yaw: 0.0, pitch: 0.0 });
    }
    episode.episode_id = id;
    episode.frames = (0..steps).map(|t| vec![(id as usize + t) as u8; 48]).collect();
    episode
}

/// Where the last of the episodes lies.
const PART: &str = "part-000000000000.parquet";

/// Six clean episodes of 80 to 85 steps, with tiny raw frames, one of them changed before it is written.
fn dataset(change: impl Fn(&mut Episode)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let frames = Some(FrameSpec { width: 4, height: 4, codec: Codec::Raw, resize: None });
    let dataset = Dataset::create(folder.path(), &DatasetSpec { actions: ActionSpace::gamepad(), frames }).unwrap();
    let mut writer = dataset.writer().unwrap();
    for id in 0..6 {
        let mut episode = clean(id, 80 + id as usize);
        if id == 3 {
            change(&mut episode);
        }
        writer.push(episode).unwrap();
    }
    writer.finish().unwrap();
    folder
}

/// Writes a file again with other rows.
fn rewrite(path: &Path, change: impl Fn(RecordBatch) -> RecordBatch) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let mut keys = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    keys.retain(|entry| entry.key != "ARROW:schema");
    let schema = builder.schema().clone();
    let batches: Vec<RecordBatch> = builder.build().unwrap().collect::<Result<_, _>>().unwrap();
    let batch = change(concat_batches(&schema, &batches).unwrap());
    let properties = WriterProperties::builder().set_key_value_metadata(Some(keys)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// The first row of an episode's step.
fn row(batch: &RecordBatch, id: i64, t: i32) -> usize {
    let ids = batch.column_by_name("episode_id").unwrap().as_primitive::<Int64Type>();
    let times = batch.column_by_name("t").unwrap().as_primitive::<Int32Type>();
    (0..batch.num_rows()).find(|&i| ids.value(i) == id && times.value(i) == t).unwrap()
}

fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let mut columns = batch.columns().to_vec();
    columns[batch.schema().index_of(name).unwrap()] = column;
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

fn pieces(batch: &RecordBatch, ranges: &[std::ops::Range<usize>]) -> RecordBatch {
    let parts: Vec<RecordBatch> = ranges.iter().map(|r| batch.slice(r.start, r.len())).collect();
    concat_batches(&batch.schema(), &parts).unwrap()
}

/// Without `count` rows from an episode's step on.
fn cut(batch: &RecordBatch, id: i64, t: i32, count: usize) -> RecordBatch {
    let at = row(batch, id, t);
    pieces(batch, &[0..at, at + count..batch.num_rows()])
}

/// With an episode's step twice.
fn twice(batch: &RecordBatch, id: i64, t: i32) -> RecordBatch {
    let at = row(batch, id, t);
    pieces(batch, &[0..at + 1, at..batch.num_rows()])
}

/// The codes found, each with its episodes.
fn codes(found: &DatasetStats) -> Vec<(Code, Vec<i64>)> {
    found.findings.iter().map(|finding| (finding.code, finding.episode_ids.clone())).collect()
}

#[test]
fn a_clean_dataset_has_no_findings() {
    let folder = dataset(|_| ());
    for full in [false, true] {
        let found = stats::describe(folder.path(), &Options { full, ..Default::default() }).unwrap().stats;
        assert_eq!(codes(&found), [], "{:#?}", found.findings);
        assert_eq!(found.basis.pictured, 6);
        assert!(found.to_string().contains("no findings"));
    }
}

type Change = fn(RecordBatch) -> RecordBatch;

#[test]
fn each_fault_of_the_rows_is_found_with_its_episode() {
    let cases: [(&str, Change, Code, &str); 12] = [
        ("steps", |b| cut(&b, 3, 82, 1), Code::StepCount, "its steps end at t 81, and num_steps is 83"),
        ("steps", |b| cut(&b, 3, 0, 83), Code::StepCount, "it has no steps, and num_steps 83"),
        ("steps", |b| twice(&b, 3, 40), Code::DuplicateSteps, "1 steps twice, at t 40 first"),
        ("steps", |b| cut(&b, 3, 40, 2), Code::GapInT, "2 steps missing, where t 40 is expected and 42 found"),
        (
            "steps",
            |b| {
                let (at, end) = (row(&b, 3, 40), row(&b, 3, 50));
                pieces(&b, &[0..at, end..end + 1, at..end, end + 1..b.num_rows()])
            },
            Code::StepsOutOfOrder,
            "t goes backward",
        ),
        (
            "steps",
            |b| {
                let ids = b.column_by_name("episode_id").unwrap().as_primitive::<Int64Type>();
                let ids: Int64Array = ids.values().iter().map(|id| if *id == 5 { 77 } else { *id }).collect();
                with_column(&b, "episode_id", Arc::new(ids))
            },
            Code::UnknownEpisode,
            "episode 77: 85 steps and 0 frames",
        ),
        (
            "steps",
            |b| {
                let mut values = vec![5; b.num_rows()];
                values[row(&b, 3, 7)] = 11;
                with_column(&b, "right_y", Arc::new(UInt8Array::from(values)))
            },
            Code::BucketOutOfRange,
            "`right_y` is 11 at t 7, the last bucket is 10",
        ),
        (
            "steps",
            |b| {
                let mut values = vec![0.5; b.num_rows()];
                values[row(&b, 3, 9)] = f32::NAN;
                with_column(&b, "pos_z", Arc::new(Float32Array::from(values)))
            },
            Code::NotFinite,
            "1 steps, at t 9 first",
        ),
        ("frames", |b| cut(&b, 3, 40, 3), Code::StepsWithoutFrames, "3 of 83 steps have no frame, from t 40 on"),
        ("frames", |b| cut(&b, 3, 82, 1), Code::StepsWithoutFrames, "1 of 83 steps have no frame"),
        ("frames", |b| twice(&b, 3, 82), Code::FramesWithoutSteps, "1 frames beside those of its 83 steps"),
        (
            "episodes",
            |b| with_column(&b, "hz", Arc::new(Float32Array::from(vec![10.0, 10.0, 10.0, 0.0, 10.0, 10.0]))),
            Code::ImpossibleIndex,
            "num_steps 83, hz 0",
        ),
    ];
    for (table, change, code, message) in cases {
        let folder = dataset(|_| ());
        rewrite(&folder.path().join(table).join(PART), change);
        let found = stats::dataset(folder.path()).unwrap();
        let finding = found.findings.iter().find(|finding| finding.code == code);
        let finding = finding.unwrap_or_else(|| panic!("{code} is not in {:#?}", found.findings));
        assert!(finding.message.contains(message), "{code}: {}", finding.message);
        let ids = if code == Code::UnknownEpisode { [77] } else { [3] };
        assert_eq!((finding.episodes, finding.episode_ids.as_slice()), (1, &ids[..]), "{code}");
        assert!(found.to_string().contains(message.split(' ').next().unwrap()));
    }
}

#[test]
fn each_oddity_of_an_episode_is_found_with_its_id() {
    type Odd = fn(&mut Episode);
    let cases: [(Odd, Code); 8] = [
        (|e| e.actions.iter_mut().skip(gamepad::RT).step_by(16).for_each(|down| *down = 1), Code::StuckComponent),
        (|e| e.actions.iter_mut().skip(gamepad::LEFT_X).step_by(16).for_each(|x| *x = 7), Code::StuckComponent),
        (|e| e.frames[10..70].fill(vec![9; 48]), Code::FrozenPictures),
        (|e| e.poses[30..].iter_mut().for_each(|pose| pose.x += 100.0), Code::Teleport),
        (
            |e| e.actions.chunks_exact_mut(16).skip(4).for_each(|a| a.copy_from_slice(&gamepad::neutral())),
            Code::IdleEpisode,
        ),
        (
            |e| {
                let first: Vec<u8> = e.actions[..16].to_vec();
                e.actions.chunks_exact_mut(16).skip(4).for_each(|action| action.copy_from_slice(&first));
            },
            Code::RepeatedAction,
        ),
        (
            |e| {
                *e = Episode { episode_id: 3, ..clean(1, 20) };
            },
            Code::ShortEpisode,
        ),
        (|e| *e = Episode { episode_id: 3, ..clean(2, 82) }, Code::DuplicateEpisode),
    ];
    for (change, code) in cases {
        let folder = dataset(change);
        let found = stats::dataset(folder.path()).unwrap();
        let finding = found.findings.iter().find(|finding| finding.code == code);
        let finding = finding.unwrap_or_else(|| panic!("{code} is not in {:#?}", found.findings));
        assert_eq!(finding.episode_ids, [3], "{code}: {}", finding.message);
    }
    // A player who waits sees the same picture: that is no fault.
    let waiting = dataset(|e| {
        e.frames[10..70].fill(vec![9; 48]);
        e.actions[160..1120].chunks_exact_mut(16).for_each(|a| a.copy_from_slice(&gamepad::neutral()));
    });
    assert!(!codes(&stats::dataset(waiting.path()).unwrap()).iter().any(|(code, _)| *code == Code::FrozenPictures));
}

#[test]
fn other_columns_are_named_with_their_file() {
    let folder = dataset(|_| ());
    let path = folder.path().join("steps").join(PART);
    let whole = std::fs::read(&path).unwrap();
    rewrite(&path, |b| b.project(&(0..13).collect::<Vec<_>>()).unwrap());
    let message = stats::dataset(folder.path()).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains(PART) && message.contains("column `r3` of the table `steps` is missing"), "{message}");
    std::fs::write(&path, &whole).unwrap();
    rewrite(&path, |b| {
        let mut columns: Vec<(String, ArrayRef)> =
            b.schema().fields().iter().zip(b.columns()).map(|(f, c)| (f.name().clone(), c.clone())).collect();
        columns[14].1 = Arc::new(Int64Array::from(vec![5; b.num_rows()]));
        RecordBatch::try_from_iter(columns).unwrap()
    });
    let message = stats::dataset(folder.path()).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains(PART) && message.contains("column `left_x` is Int64, and UInt8"), "{message}");
    // One more column does no harm.
    std::fs::write(&path, &whole).unwrap();
    rewrite(&path, |b| {
        let packed: ArrayRef = Arc::new(Int64Array::from(vec![5; b.num_rows()]));
        let mut columns: Vec<(String, ArrayRef)> =
            b.schema().fields().iter().zip(b.columns()).map(|(f, c)| (f.name().clone(), c.clone())).collect();
        columns.insert(18, ("buttons".to_owned(), packed));
        RecordBatch::try_from_iter(columns).unwrap()
    });
    assert_eq!(codes(&stats::dataset(folder.path()).unwrap()), []);
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let message = stats::dataset(folder.path()).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains(PART) && !message.to_lowercase().contains("polars"), "{message}");
}

/// Many episodes, in parts of their own, large enough to be sampled.
fn large(root: &Path, ids: std::ops::Range<i64>, steps: usize, change: impl Fn(&mut Episode)) -> PathBuf {
    let spec = DatasetSpec { actions: ActionSpace::gamepad(), frames: None };
    let mut writer = Dataset::create(root, &spec).unwrap().writer().unwrap();
    for id in ids {
        let mut episode = Episode { frames: Vec::new(), ..clean(id, steps + (id as usize * 37) % steps) };
        change(&mut episode);
        writer.push(episode).unwrap();
    }
    writer.finish().unwrap();
    root.to_owned()
}

#[test]
fn a_sample_agrees_with_a_full_pass_within_its_error() {
    let folder = tempfile::tempdir().unwrap();
    let root = large(folder.path(), 0..600, 1200, |_| ());
    let of = |full: bool, threads: usize, seed: u64| {
        let options = Options { full, sample: 60, seed, threads, ..Default::default() };
        stats::describe(&root, &options).unwrap().stats
    };
    let (sample, full) = (of(false, 2, 1), of(true, 2, 1));
    assert_eq!((sample.basis.episodes, sample.basis.seed, full.basis.seed), (60, Some(1), None));
    assert_eq!((full.basis.steps, full.basis.episodes), (full.steps, 600));
    // The same dataset and seed give the same numbers, on any number of threads; another seed gives others.
    assert_eq!(of(false, 1, 1), sample);
    assert_eq!(of(true, 1, 1), full);
    assert_ne!(of(false, 2, 2).components, sample.components);
    let (mut inside, mut all) = (0, 0);
    for (estimate, exact) in sample.components.iter().zip(&full.components) {
        for (estimate, exact) in estimate.shares.iter().zip(&exact.shares) {
            let margin = estimate.margin.unwrap();
            assert_eq!(exact.margin, Some(0.0));
            assert!(margin > 0.0 && margin < 0.05, "{}: {margin}", estimate.share);
            assert!((estimate.share - exact.share).abs() < 2.0 * margin, "{estimate:?} {exact:?}");
            inside += usize::from((estimate.share - exact.share).abs() <= margin);
            all += 1;
        }
    }
    assert!(inside * 100 >= all * 85, "{inside} of {all} intervals hold the exact share");
    assert!(sample.to_string().contains("a sample of 60 of 600 episodes"));
    assert_eq!(codes(&sample), codes(&full));
    for line in sample.to_string().lines().chain(full.to_string().lines()).skip(1) {
        assert!(line.chars().count() <= 80, "{line}");
    }

    // A fault that the footers tell is found though its episode is not in the sample.
    rewrite(&root.join("steps").join(PART), |b| cut(&b, 7, 100, 5));
    let found = of(false, 2, 1);
    let gap = found.findings.iter().find(|finding| finding.code == Code::GapInT).unwrap();
    assert_eq!((gap.episode_ids.as_slice(), found.basis.suspect_parts), (&[7][..], 1));
    assert_eq!(found.basis.episodes, 60);

    struct Stopped;
    impl Watch for Stopped {
        fn stop(&self) -> bool {
            true
        }
    }
    let stopped = stats::describe(&root, &Options { full: true, watch: &Stopped, ..Default::default() });
    assert!(matches!(stopped.map(|_| ()), Err(playhouse_queries::Error::Cancelled)));
}

#[test]
fn drift_is_found_where_it_is_and_not_between_halves() {
    let folder = tempfile::tempdir().unwrap();
    let describe = |name: &str, ids: std::ops::Range<i64>, change: fn(&mut Episode)| {
        let root = large(&folder.path().join(name), ids, 150, change);
        stats::describe(&root, &Options::default()).unwrap()
    };
    let first = describe("first", 0..120, |_| ());
    let second = describe("second", 120..240, |_| ());
    let halves = stats::drift(&first, &second);
    let different: Vec<_> = halves.differences.iter().filter(|row| row.significant).collect();
    assert!(different.is_empty(), "{different:#?}");
    assert_eq!(halves.differences.len(), 16 + 7 + 3);
    assert!(halves.differences.windows(2).all(|pair| pair[0].distance >= pair[1].distance));
    assert_eq!(halves.beyond(0.0).count(), 0);

    let moved = describe("moved", 240..360, |episode| {
        episode.outcome = Some(["left", "fall"][episode.episode_id as usize % 2].to_owned());
        // `a` is held twice as often, and the left stick never goes fully left.
        let mut draw = noise(episode.episode_id as u64 + 9000);
        for action in episode.actions.chunks_exact_mut(16) {
            action[gamepad::A] |= u8::from(draw(4) == 0);
            action[gamepad::LEFT_X] = action[gamepad::LEFT_X].max(2);
        }
    });
    let drift = stats::drift(&moved, &first);
    let row = |name: &str| drift.differences.iter().find(|row| row.name == name).unwrap();
    for name in ["a", "left_x", "outcome"] {
        assert!(row(name).significant && row(name).distance > 2.0 * row(name).by_chance.unwrap(), "{:#?}", row(name));
    }
    assert_eq!(row("a").most.value, "down");
    assert!(row("a").most.a > row("a").most.b);
    assert!((row("left_x").distance - 2.0 / 11.0).abs() < 0.03, "{:#?}", row("left_x"));
    for name in ["b", "rt", "right_y", "seconds", "map"] {
        assert!(!row(name).significant, "{:#?}", row(name));
    }
    assert!(drift.beyond(0.1).any(|row| row.name == "left_x") && drift.beyond(0.9).count() == 0);
    for line in drift.to_string().lines().skip(1) {
        assert!(line.chars().count() <= 80 || line.contains('/'), "{line}");
    }
}
