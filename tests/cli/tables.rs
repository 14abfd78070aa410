//! `import table`: plain Parquet of another tool becomes a dataset that every command reads.

use std::fs::{File, create_dir_all};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, UInt8Array};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::house::House;

const BUTTONS: [&str; 12] = ["a", "b", "x", "y", "lb", "rb", "lt", "rt", "dpad_up", "dpad_down", "l3", "r3"];

/// Writes tables of `episodes` episodes of `steps` steps; `button_a` is down at every fourth.
fn write_tables(root: &Path, episodes: i64, steps: i64) {
    create_dir_all(root.join("steps")).unwrap();
    let rows = (episodes * steps) as usize;
    let long = |of: &dyn Fn(i64) -> i64| -> ArrayRef {
        Arc::new((0..rows as i64).map(|i| Some(of(i))).collect::<Int64Array>())
    };
    let mut columns = vec![("episode_id".to_owned(), long(&|i| i / steps)), ("t".to_owned(), long(&|i| i % steps))];
    for name in BUTTONS {
        let column: BooleanArray = (0..rows).map(|i| Some(name == "a" && i.is_multiple_of(4))).collect();
        columns.push((format!("button_{name}"), Arc::new(column)));
    }
    for name in ["left_x", "left_y", "right_x", "right_y"] {
        columns.push((name.to_owned(), Arc::new(UInt8Array::from(vec![5; rows]))));
    }
    write(&root.join("steps/one.parquet"), columns);
    let about: Vec<(String, ArrayRef)> = vec![
        ("episode_id".to_owned(), Arc::new((0..episodes).map(Some).collect::<Int64Array>())),
        ("map".to_owned(), Arc::new(StringArray::from(vec!["lowtown"; episodes as usize]))),
    ];
    write(&root.join("episodes.parquet"), about);
}

fn write(path: &Path, columns: Vec<(String, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn a_table_is_imported_queried_and_checked() {
    let house = House::new();
    write_tables(&house.path("game"), 3, 40);
    let ran = house.ok(&["import", "table", "game", "data", "--option", "hz=10"]);
    assert!(ran.out.contains("imported 3 episodes, 120 steps into data"), "{}", ran.out);
    assert!(ran.err.contains("no column for pos_x, pos_y, pos_z, yaw, pitch"), "{}", ran.err);
    let query =
        "select e.map, e.source, sum(presses_a) as presses, sum(num_steps) as steps from episodes e group by 1, 2";
    let ran = house.ok(&["sql", "--dataset", "data", query, "--format", "csv"]);
    assert!(ran.out.contains("lowtown,game,30,120"), "{}", ran.out);
    let query = "select count(*) as n from steps where buttons = 1 and a";
    assert!(house.ok(&["sql", "--dataset", "data", query, "--format", "csv"]).out.contains("30"));
    house.ok(&["verify", "data", "--deep"]);
    // The same again adds nothing; the mapping that the program prints says the same.
    house.write("mapping.toml", &house.ok(&["import", "table", "--example-mapping"]).out.replace("num_steps =", "# "));
    let missing = ["import", "table", "game", "other", "--mapping", "mapping.toml"];
    house.fails(1, &missing, &["one.parquet, column `x`: it is not in the file"]);
    let ran = house.ok(&["import", "table", "game", "data", "--option", "hz=10"]);
    assert!(ran.out.contains("imported 0 episodes, 0 steps into data; 3 were there already"), "{}", ran.out);
    house.fails(1, &["import", "table", "game", "other"], &["no column `hz`", "--option hz=10"]);
    house.fails(2, &["import", "table", "game"], &["DATASET"]);
    house.fails(2, &["import", "bleeding-edge", "--example-mapping"], &["has no mapping"]);
}

#[test]
fn bad_tables_are_refused_with_file_and_row() {
    let house = House::new();
    write_tables(&house.path("game"), 2, 10);
    write(&house.path("game/episodes.parquet"), vec![("episode_id".into(), Arc::new(Int64Array::from(vec![0, 1, 2])))]);
    let import = ["import", "table", "game", "data", "--option", "hz=10"];
    house.fails(1, &import, &["episodes.parquet, row 2: episode 2 has no steps; remove the row"]);
    std::fs::write(house.path("game/steps/two.parquet"), "no parquet").unwrap();
    house.fails(1, &import, &["two.parquet"]);
}

#[test]
fn a_stage_imports_a_table_and_knows_its_files() {
    let house = House::new();
    write_tables(&house.path("game"), 2, 10);
    house.write(
        "p.toml",
        r#"
name = "p"
description = "A table."
[[stage]]
name = "human"
kind = "import"
settings = { format = "table", source = "game", hz = 10.0, mapping = { episodes = { player = { value = "ann" } } } }
[[stage]]
name = "who"
kind = "query"
sql = "select player, count(*) as n from human.episodes group by 1"
"#,
    );
    house.ok(&["run", "p.toml"]);
    assert_eq!(house.rows("select * from who"), [serde_json::json!({ "player": "ann", "n": 2 })]);
    assert!(house.ok(&["plan", "p.toml"]).out.contains("2 cached"));
    write_tables(&house.path("game"), 3, 10);
    house.ok(&["run", "p.toml"]);
    assert_eq!(house.rows("select * from who"), [serde_json::json!({ "player": "ann", "n": 3 })]);
}

#[test]
fn hours_of_play_are_recorded_without_pixels() {
    let house = House::new();
    // 0.02 hours are 720 steps.
    let out = house.ok(&["record", "play", "--hours", "0.02", "--frames", "none"]).out;
    let steps: u64 = out.split(" steps").next().and_then(|text| text.rsplit(' ').next()?.parse().ok()).unwrap();
    assert!((720..1000).contains(&steps), "{out}");
    let again = house.ok(&["record", "play", "--hours", "0.02", "--frames", "none", "--threads", "1"]).out;
    assert_eq!(again, out, "nothing is left to do");
    house.fails(2, &["record", "play", "--hours", "1", "--episodes", "3"], &["--episodes"]);
    house.fails(1, &["record", "play", "--hours", "0"], &["hours is 0; record more than 0"]);
}

#[test]
fn a_killed_import_goes_on() {
    let house = House::new();
    // Three parts, a second of work.
    write_tables(&house.path("game"), 500, 5_000);
    let import = ["import", "table", "game", "data", "--option", "hz=10", "--quiet"];
    let mut run = house.start(&import);
    let first = house.path("data/episodes/part-000000000000.parquet");
    let began = Instant::now();
    while !first.exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "no part was committed");
        std::thread::sleep(Duration::from_millis(2));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    let ran = house.ok(&import);
    let there: u64 = ran.out.rsplit("; ").next().and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
    assert!(there >= 200, "{}", ran.out);
    assert!(ran.out.contains(&format!("imported {} episodes", 500 - there)), "{}", ran.out);
    let report = house.ok(&["verify", "data", "--repair"]).out;
    assert!(report.contains("episodes 500, steps 2500000"), "{report}");
}
