//! Small tables, good and bad, through the whole import.

use std::fs::{File, create_dir_all};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, UInt8Array,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use playhouse_schemas::{ActionSource, Dataset, PartLimits, verify};
use tempfile::TempDir;

use super::in_parts;
use crate::import::{Error, Imported, Options, Request, run};
use crate::progress::{Progress, Silent};

const BUTTONS: [&str; 12] = ["a", "b", "x", "y", "lb", "rb", "lt", "rt", "dpad_up", "dpad_down", "l3", "r3"];
const STICKS: [&str; 4] = ["left_x", "left_y", "right_x", "right_y"];
/// Steps of the episodes 3, 4, 5, ..
const LENGTHS: [i64; 5] = [7, 12, 1, 20, 9];
const PART: PartLimits = PartLimits { steps: 15, frame_bytes: 1 };

/// Tables in the columns of `gen_steps.py`, which tests change before they are written.
struct Tables {
    steps: Vec<(String, ArrayRef)>,
    episodes: Vec<(String, ArrayRef)>,
    /// Rows of the first of two files of steps.
    first_file: usize,
}

fn bucket(row: usize, stick: usize) -> u8 {
    ((row * (stick + 3)) % 11) as u8
}

fn down(row: usize, button: usize) -> bool {
    (row / (button + 1)).is_multiple_of(3)
}

impl Tables {
    fn new() -> Self {
        let keys: Vec<i64> = (3..).zip(LENGTHS).flat_map(|(id, steps)| vec![id; steps as usize]).collect();
        let times: Vec<i32> = LENGTHS.iter().flat_map(|steps| 0..*steps as i32).collect();
        let rows = keys.len();
        let mut steps: Vec<(String, ArrayRef)> = vec![
            ("episode_id".into(), Arc::new(Int64Array::from(keys))),
            ("t".into(), Arc::new(Int32Array::from(times))),
        ];
        for (k, name) in BUTTONS.into_iter().enumerate() {
            let column: BooleanArray = (0..rows).map(|row| Some(down(row, k))).collect();
            steps.push((format!("button_{name}"), Arc::new(column)));
        }
        for (k, name) in STICKS.into_iter().enumerate() {
            let column: UInt8Array = (0..rows).map(|row| Some(bucket(row, k))).collect();
            steps.push((name.into(), Arc::new(column)));
        }
        for (name, by) in [("x", 0.5), ("y", -0.25), ("z", 0.0)] {
            let column: Float32Array = (0..rows).map(|row| Some(row as f32 * by)).collect();
            steps.push((name.into(), Arc::new(column)));
        }
        let count = LENGTHS.len() as i64;
        let outcomes = StringArray::from(vec![Some("left"), None, Some("right"), Some("none"), None]);
        // In another order than the steps.
        let episodes: Vec<(String, ArrayRef)> = vec![
            ("episode_id".into(), Arc::new((0..count).rev().map(|i| Some(i + 3)).collect::<Int64Array>())),
            ("player_id".into(), Arc::new((0..count).rev().map(|i| Some(i * 100)).collect::<Int64Array>())),
            ("num_steps".into(), Arc::new(LENGTHS.iter().rev().map(|n| Some(*n)).collect::<Int64Array>())),
            ("outcome".into(), Arc::new(outcomes)),
            ("score".into(), Arc::new(Float32Array::from(vec![0.5; count as usize]))),
        ];
        Self { steps, episodes, first_file: 17 }
    }

    fn set(&mut self, name: &str, column: ArrayRef) {
        self.steps.iter_mut().filter(|(found, _)| found == name).for_each(|(_, old)| *old = column.clone());
    }

    fn set_episodes(&mut self, name: &str, column: ArrayRef) {
        self.episodes.iter_mut().filter(|(found, _)| found == name).for_each(|(_, old)| *old = column.clone());
    }

    fn keys(&mut self, change: impl Fn(usize, i64) -> i64) {
        let keys = (3..).zip(LENGTHS).flat_map(|(id, steps)| vec![id; steps as usize]).enumerate();
        let keys: Int64Array = keys.map(|(row, id)| Some(change(row, id))).collect();
        self.set("episode_id", Arc::new(keys));
    }

    fn times(&mut self, change: impl Fn(usize, i32) -> i32) {
        let times = LENGTHS.iter().flat_map(|steps| 0..*steps as i32).enumerate();
        let times: Int32Array = times.map(|(row, t)| Some(change(row, t))).collect();
        self.set("t", Arc::new(times));
    }

    fn write(&self, root: &Path) {
        create_dir_all(root.join("steps")).unwrap();
        let steps = RecordBatch::try_from_iter(self.steps.clone()).unwrap();
        let rest = steps.num_rows() - self.first_file;
        parquet(&root.join("steps/a.parquet"), &steps.slice(0, self.first_file));
        parquet(&root.join("steps/b.parquet"), &steps.slice(self.first_file, rest));
        parquet(&root.join("episodes.parquet"), &RecordBatch::try_from_iter(self.episodes.clone()).unwrap());
    }
}

/// Row groups of ten rows.
fn parquet(path: &Path, batch: &RecordBatch) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(10)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn request(source: &Path, dataset: &Path) -> Request {
    let options = Options { hz: Some(10.0), ..Options::default() };
    Request {
        format: "table".into(),
        source: source.into(),
        dataset: dataset.into(),
        options,
        resume: false,
        threads: 2,
    }
}

/// Tables on disk, and a request to import them.
fn written(change: impl FnOnce(&mut Tables)) -> (TempDir, Request) {
    let dir = tempfile::tempdir().unwrap();
    let mut tables = Tables::new();
    change(&mut tables);
    tables.write(&dir.path().join("game"));
    let request = request(&dir.path().join("game"), &dir.path().join("data"));
    (dir, request)
}

fn mapped(request: Request, mapping: &str) -> Request {
    let mapping = Some(toml::Value::Table(mapping.parse().unwrap()));
    Request { options: Options { mapping, ..request.options }, ..request }
}

/// Bytes of all files of a dataset, by their paths.
fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found: Vec<(PathBuf, Vec<u8>)> = ["episodes", "steps"]
        .iter()
        .flat_map(|table| std::fs::read_dir(root.join(table)).unwrap())
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    found.sort();
    found
}

/// Keeps notes; stops once so many steps are done.
#[derive(Default)]
struct Watch {
    notes: std::sync::Mutex<Vec<String>>,
    stop_at: Option<u64>,
    done: AtomicU64,
}

impl Progress for Watch {
    fn update(&self, done: u64, _: u64, _: &str) {
        self.done.store(done, Ordering::SeqCst);
    }

    fn note(&self, line: &str) {
        self.notes.lock().unwrap().push(line.to_owned());
    }

    fn stop(&self) -> bool {
        self.stop_at.is_some_and(|at| self.done.load(Ordering::SeqCst) >= at)
    }
}

#[test]
fn known_names_need_no_mapping() {
    let (_dir, request) = written(|_| ());
    let watch = Watch::default();
    let imported = run(&request, &watch).unwrap();
    assert_eq!(imported, Imported { episodes: 5, steps: 49, skipped: 0 });
    let notes = watch.notes.into_inner().unwrap();
    let said = |words: &str| assert!(notes.iter().any(|note| note.contains(words)), "{words}: {notes:?}");
    said("no column for yaw, pitch; stored as null");
    said("episodes: left out, as nothing is mapped to them: score");
    said("taken as human");

    assert_eq!(verify(&request.dataset, false).unwrap().problems, []);
    let dataset = Dataset::open(&request.dataset).unwrap();
    let rows = dataset.episodes().unwrap();
    let about: Vec<_> =
        rows.iter().map(|r| (r.episode_id, r.num_steps, r.player.as_deref(), r.outcome.as_deref())).collect();
    assert_eq!(about[0], (3, 7, Some("0"), None));
    assert_eq!(about[4], (7, 9, Some("400"), Some("left")));
    assert!(rows.iter().all(|r| r.source == "game" && r.hz == 10.0 && r.action_source == ActionSource::Human));
    // Episode 4 lies in two files and three row groups: rows 7 to 18.
    let episode = dataset.read_episode(4).unwrap();
    for (t, action) in episode.actions.chunks_exact(16).enumerate() {
        let row = 7 + t;
        assert!((0..12).all(|k| action[k] == u8::from(down(row, k))), "step {t}");
        assert!((0..4).all(|k| action[12 + k] == bucket(row, k)), "step {t}");
        let pose = episode.poses[t];
        assert_eq!((pose.x, pose.y, pose.z, pose.yaw), (row as f32 * 0.5, row as f32 * -0.25, 0.0, 0.0));
    }
    assert!(episode.truncated && !episode.terminated);
    assert_eq!(rows[1].stats.distance, Some((11.0 * 0.3125f64.sqrt()) as f32));
}

#[test]
fn the_same_files_on_any_number_of_threads_and_after_a_stop() {
    let (dir, request) = written(|_| ());
    let to = |name: &str, threads| Request { dataset: dir.path().join(name), threads, ..request.clone() };
    in_parts(&to("whole", 1), PART, &Silent).unwrap();
    let whole = files(&dir.path().join("whole"));
    assert!(whole.len() > 6, "several parts");
    in_parts(&to("many", 7), PART, &Silent).unwrap();
    assert!(files(&dir.path().join("many")) == whole);
    for stop_at in [1, 10, 20, 40] {
        let name = format!("stopped at {stop_at}");
        let watch = Watch { stop_at: Some(stop_at), ..Watch::default() };
        assert!(matches!(in_parts(&to(&name, 2), PART, &watch), Err(Error::Stopped)));
        let there = Dataset::open(&dir.path().join(&name)).map_or(0, |d| d.episodes().unwrap().len() as u64);
        assert!(there < 5 && (stop_at < 40 || there > 1), "{there} episodes at {stop_at}");
        let rest = in_parts(&to(&name, 2), PART, &Silent).unwrap();
        assert_eq!((rest.episodes, rest.skipped), (5 - there, there), "{name}");
        assert!(files(&dir.path().join(&name)) == whole, "{name}");
        let again = in_parts(&to(&name, 2), PART, &Silent).unwrap();
        assert_eq!(again, Imported { episodes: 0, steps: 0, skipped: 5 });
    }
}

#[test]
fn a_mapping_names_columns_constants_and_another_action_space() {
    let (_dir, request) = written(|tables| {
        let rows = LENGTHS.iter().sum::<i64>() as usize;
        let ends: Vec<bool> = LENGTHS.iter().flat_map(|n| (0..*n).map(move |t| t + 1 == *n)).collect();
        let renamed = [("episode_id", "match"), ("t", "tick"), ("left_x", "wheel"), ("button_b", "brake")];
        for (name, _) in &mut tables.steps {
            if let Some((_, new)) = renamed.iter().find(|(old, _)| old == name) {
                *name = (*new).to_owned();
            }
        }
        let steer: Float64Array = (0..rows).map(|row| Some((row % 21) as f64 / 10.0 - 1.0)).collect();
        tables.set("wheel", Arc::new(steer));
        let brake: Float32Array = (0..rows).map(|row| Some((row % 2) as f32)).collect();
        tables.set("brake", Arc::new(brake));
        tables.steps.push(("done".into(), Arc::new(BooleanArray::from(ends))));
        tables.steps.push(("points".into(), Arc::new(Int32Array::from(vec![2; rows]))));
    });
    let request = mapped(
        request,
        r#"
        [steps]
        episode = "match"
        t = "tick"
        sticks = "continuous"
        terminated = "done"
        reward = "points"
        [episodes]
        hz = 30
        map = { value = "ring" }
        action_source = { value = "scripted" }
        policy = "outcome"
        [action_space]
        name = "wheel"
        [[action_space.components]]
        name = "brake"
        kind = "button"
        [[action_space.components]]
        name = "steer"
        kind = "axis"
        column = "wheel"
        cardinality = 3
        "#,
    );
    let request = Request { options: Options { hz: None, ..request.options }, ..request };
    run(&request, &Silent).unwrap();
    assert_eq!(verify(&request.dataset, false).unwrap().problems, []);
    let dataset = Dataset::open(&request.dataset).unwrap();
    let steer = &dataset.spec().actions.components[1];
    assert_eq!(
        (steer.edges.as_slice(), steer.centres.as_slice()),
        (&[-1.5, -0.5, 0.5, 1.5][..], &[-1.0, 0.0, 1.0][..])
    );
    let row = &dataset.episodes().unwrap()[4];
    assert_eq!((row.map.as_deref(), row.policy.as_deref(), row.hz), (Some("ring"), Some("left"), 30.0));
    assert_eq!(row.action_source, ActionSource::Scripted);
    let episode = dataset.read_episode(3).unwrap();
    assert_eq!(episode.actions, [0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 1]);
    assert_eq!(episode.rewards, [2.0; 7]);
    assert!(episode.terminated && !episode.truncated);
}

#[test]
fn a_seed_for_all_is_what_was_written() {
    let (_dir, request) = written(|_| ());
    let with = |text: &str| run(&mapped(request.clone(), &format!("[episodes]\n{text}")), &Silent);
    for (text, words) in [
        ("seed = 1.5", "seed = 1.5: it is a whole number"),
        ("seed = 1e300", "name a column"),
        ("started_at = 5", "name a column of timestamps"),
    ] {
        let message = with(text).unwrap_err().to_string();
        assert!(message.contains("[episodes]") && message.contains(words), "{message}");
    }
    with("seed = 9007199254740992").unwrap();
    assert_eq!(Dataset::open(&request.dataset).unwrap().episodes().unwrap()[0].seed, Some(1 << 53));
}

#[test]
fn positions_may_be_unknown_for_whole_episodes() {
    let (_dir, request) = written(|tables| {
        for name in ["x", "y", "z"] {
            // Rows 7 to 18 are those of episode 4.
            let column: Float32Array = (0..49).map(|row| (!(7..19).contains(&row)).then_some(1.0)).collect();
            tables.set(name, Arc::new(column));
        }
    });
    run(&request, &Silent).unwrap();
    let rows = Dataset::open(&request.dataset).unwrap().episodes().unwrap();
    let distances: Vec<Option<f32>> = rows.iter().map(|row| row.stats.distance).collect();
    assert_eq!(distances, [Some(0.0), None, Some(0.0), Some(0.0), Some(0.0)]);
}

#[test]
fn every_fault_names_its_place_and_the_fix() {
    type Spoil = fn(&mut Tables);
    let cases: [(Spoil, &[&str]); 21] = [
        (
            |t| t.keys(|_, id| if id == 5 { 8 } else { id }),
            &[
                "b.parquet, row 3, column `episode_id`: episode 6 comes after episode 8; sort the rows by (episode_id, t)",
            ],
        ),
        (
            |t| t.keys(|row, id| if row == 48 { 4 } else { id }),
            &["b.parquet, row 31", "episode 4 is in two places, here and before episode 7"],
        ),
        (|t| t.keys(|_, id| id - 4), &["a.parquet, row 0, column `episode_id`: -1 is below 0"]),
        (
            |t| t.times(|row, time| time - i32::from(row == 9)),
            &["a.parquet, row 9, column `t`: 1 occurs twice in episode 4"],
        ),
        (
            |t| t.times(|row, time| time + i32::from(row >= 9) * 5),
            &["row 9, column `t`: 7 follows 1 in episode 4: 5 steps are missing"],
        ),
        (
            |t| t.times(|row, time| if row == 10 { 0 } else { time }),
            &["row 10, column `t`: 0 follows 2 in episode 4; sort the rows"],
        ),
        (|t| t.times(|_, time| time + 1), &["row 0, column `t`: episode 3 begins with 1; the first step is 0"]),
        (|t| t.keys(|_, id| if id == 7 { 8 } else { id }), &["episodes.parquet, row 0: episode 7 has no steps"]),
        (
            |t| t.set_episodes("episode_id", Arc::new(Int64Array::from(vec![7, 6, 5, 4, 2]))),
            &["episode 2 has no steps; remove the row"],
        ),
        (
            |t| t.set_episodes("episode_id", Arc::new(Int64Array::from(vec![9, 6, 5, 4, 3]))),
            &["b.parquet, row 23: episode 7 has steps, but no row in"],
        ),
        (
            |t| t.set_episodes("episode_id", Arc::new(Int64Array::from(vec![7, 6, 5, 4, 8]))),
            &["a.parquet, row 0: episode 3 has steps, but no row in"],
        ),
        (
            |t| t.set_episodes("episode_id", Arc::new(Int64Array::from(vec![7, 6, 6, 4, 3]))),
            &["episodes.parquet, row 2: episode 6 is also at", "row 1; leave one of the rows out"],
        ),
        (
            |t| t.set_episodes("num_steps", Arc::new(Int64Array::from(vec![9, 20, 1, 13, 7]))),
            &["episodes.parquet, row 3: episode 4 is said to have 13 steps, but 12 are there"],
        ),
        (
            |t| {
                t.set(
                    "left_y",
                    Arc::new((0..49).map(|row| Some(if row == 20 { 11 } else { 5 })).collect::<UInt8Array>()),
                )
            },
            &[
                "b.parquet, row 3, column `left_y`: 11 is not a bucket 0..10; if these are deflections, set sticks = \"continuous\"",
            ],
        ),
        (
            |t| t.set("right_x", Arc::new((0..49).map(|row| (row != 30).then_some(5)).collect::<UInt8Array>())),
            &["b.parquet, row 13, column `right_x`: null; every step needs an action"],
        ),
        (
            |t| t.set("button_lb", Arc::new((0..49).map(|row| Some(i64::from(row == 2) * 2)).collect::<Int64Array>())),
            &["a.parquet, row 2, column `button_lb`: 2 is not a button state: expected 0 or 1"],
        ),
        (
            |t| t.set("button_lb", Arc::new(StringArray::from(vec!["yes"; 49]))),
            &["a.parquet, column `button_lb`: its type is Utf8, expected Boolean, or numbers 0 and 1"],
        ),
        (
            |t| {
                t.set(
                    "y",
                    Arc::new((0..49).map(|row| Some(if row == 40 { f32::NAN } else { 0.0 })).collect::<Float32Array>()),
                )
            },
            &["b.parquet, row 23, column `y`: NaN is not a finite number"],
        ),
        (
            |t| t.set("x", Arc::new((0..49).map(|row| (row != 41).then_some(0.5)).collect::<Float32Array>())),
            &["b.parquet, row 24, column `x`: null; give every step of the episode a number"],
        ),
        (
            |t| t.steps.retain(|(name, _)| name != "button_rt"),
            &[
                "steps: no column `button_rt` or `rt`",
                "rt = \"COLUMN\" under [steps.actions]",
                "the table has: episode_id, t, button_a",
            ],
        ),
        (
            |t| t.set("t", Arc::new(Float32Array::from(vec![0.0; 49]))),
            &["a.parquet, column `t`: its type is Float32, expected whole numbers"],
        ),
    ];
    for (i, (spoil, says)) in cases.into_iter().enumerate() {
        let (_dir, request) = written(spoil);
        let error = run(&request, &Silent).unwrap_err().to_string();
        says.iter().for_each(|words| assert!(error.contains(words), "case {i}: `{error}` should say `{words}`"));
    }
}

#[test]
fn what_must_be_said_is_asked_for() {
    let says = |request: &Request, words: &[&str]| {
        let error = run(request, &Silent).unwrap_err().to_string();
        words.iter().for_each(|words| assert!(error.contains(words), "`{error}` should say `{words}`"));
    };
    let (dir, request) = written(|_| ());
    let without = |change: fn(&mut Options)| {
        let mut request = request.clone();
        change(&mut request.options);
        request
    };
    says(&without(|o| o.hz = None), &["no column `hz`", "--option hz=10"]);
    says(&without(|o| o.hz = Some(-1.0)), &["hz: -1 is no number of steps a second"]);
    says(&without(|o| o.frames = Some(crate::import::Images::Png)), &["`table` has no option `frames`"]);
    says(&mapped(request.clone(), "[steps.actions]\njump = 'a'"), &["`jump` is no component of the gamepad"]);
    says(&mapped(request.clone(), "[steps]\npath = 'nowhere'"), &["nowhere", "check that it exists"]);
    says(
        &mapped(request.clone(), "[episodes]\nmap = 'arena'"),
        &["episodes.parquet, column `arena`: it is not in the file"],
    );
    says(&mapped(request.clone(), "[episodes]\nmap = 7"), &["map = 7: write map = { value = \"7\" }"]);
    std::fs::remove_file(dir.path().join("game/episodes.parquet")).unwrap();
    says(&request, &["holds neither a folder `episodes` nor a file episodes.parquet"]);
    create_dir_all(dir.path().join("game/episodes")).unwrap();
    says(&request, &["game/episodes holds no .parquet file"]);
}

#[test]
fn ids_that_are_taken_by_others_are_refused_and_can_be_moved() {
    let (dir, request) = written(|_| ());
    run(&request, &Silent).unwrap();
    let mut other = Tables::new();
    other.set_episodes("player_id", Arc::new(Int64Array::from(vec![1; 5])));
    other.write(&dir.path().join("other"));
    let other = Request { source: dir.path().join("other"), ..request.clone() };
    let error = run(&other, &Silent).unwrap_err().to_string();
    assert!(error.contains("episode 3 is there already and is another one: source game, and other in"), "{error}");
    assert!(error.contains("--option first_id=N"), "{error}");
    let moved = Request { options: Options { first_id: Some(100), ..other.options.clone() }, ..other };
    assert_eq!(run(&moved, &Silent).unwrap().episodes, 5);
    assert_eq!(run(&moved, &Silent).unwrap().skipped, 5);
    let ids: Vec<i64> =
        Dataset::open(&request.dataset).unwrap().episodes().unwrap().iter().map(|r| r.episode_id).collect();
    assert_eq!(ids, [3, 4, 5, 6, 7, 100, 101, 102, 103, 104]);
    for outside in [-1, i64::MAX - 3] {
        let mut request = moved.clone();
        request.options.first_id = Some(outside);
        assert!(matches!(run(&request, &Silent), Err(Error::FirstId(first)) if first == outside));
    }
    let mut last = moved;
    last.options.first_id = Some(i64::MAX - 4);
    assert_eq!(run(&last, &Silent).unwrap().episodes, 5);
}
