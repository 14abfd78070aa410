//! Caching, resuming, selecting, failing branches, expectations, the matrix, kills.

use std::process::Command;
use std::time::{Duration, Instant};

use super::house::{House, Ran};

/// A recording and two queries on it, in a row.
const SMALL: &str = r#"
name = "small"
description = "A recording and two queries."
[parameters]
seed = 1
least = 1
[[stage]]
name = "play"
kind = "record"
settings = { map = "skygarden", persona = "mixed", episodes = 4, frames = "none" }
[[stage]]
name = "long"
kind = "query"
sql = "select episode_id, num_steps from play.episodes where num_steps >= $least order by episode_id"
[[stage]]
name = "total"
kind = "query"
sql = "select sum(num_steps) as steps from long"
"#;

fn small() -> House {
    let house = House::new();
    house.write("small.toml", SMALL);
    house
}

#[test]
fn a_second_run_does_nothing_at_once() {
    let house = small();
    let first = house.ok(&["run", "small.toml"]);
    assert!(first.out.contains("3 of 3 stages"), "{}", first.out);
    let began = Instant::now();
    let second = house.ok(&["run", "small.toml"]);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(second.out.contains("nothing to do, all 3 stages are finished"), "{}", second.out);
    let plan = house.ok(&["plan", "small.toml"]);
    assert!(plan.out.contains("3 stages: 3 cached"), "{}", plan.out);
}

#[test]
fn only_what_changed_runs_again_and_the_plan_says_why() {
    let house = small();
    house.ok(&["run", "small.toml"]);
    let plan = house.ok(&["plan", "small.toml", "--set", "least=2"]).out;
    assert!(plan.contains("1 cached, 2 to run"), "{plan}");
    assert!(plan.contains("$least changed: 1 -> 2") && plan.contains("input long changed"), "{plan}");

    house.write("small.toml", &SMALL.replace("sum(num_steps)", "max(num_steps)"));
    let plan = house.ok(&["plan", "small.toml"]).out;
    assert!(plan.contains("SQL changed") && plan.contains("2 cached, 1 to run"), "{plan}");

    house.write("small.toml", &SMALL.replace("episodes = 4", "episodes = 5"));
    let plan = house.ok(&["plan", "small.toml"]).out;
    assert!(plan.contains("setting episodes changed: 4 -> 5") && plan.contains("3 to run"), "{plan}");
    let json: serde_json::Value = serde_json::from_str(&house.ok(&["plan", "small.toml", "--json"]).out).unwrap();
    assert_eq!(json["stages"][0]["state"], "to_run");
    assert_eq!(json["stages"][0]["why"][0], "setting episodes changed: 4 -> 5");

    // The first outputs are still there.
    house.write("small.toml", SMALL);
    assert!(house.ok(&["plan", "small.toml"]).out.contains("3 cached"));
}

#[test]
fn a_damaged_output_is_made_again() {
    let house = small();
    house.ok(&["run", "small.toml"]);
    let table = house.outputs("small", "long")[0].join("table.parquet");
    let before = std::fs::read(&table).unwrap();
    std::fs::write(&table, &before[..before.len() / 2]).unwrap();
    let plan = house.ok(&["plan", "small.toml"]).out;
    assert!(plan.contains("its output is damaged: table.parquet has"), "{plan}");
    house.ok(&["run", "small.toml"]);
    assert_eq!(std::fs::read(&table).unwrap(), before);
}

#[test]
fn a_failed_branch_leaves_the_others() {
    let house = House::new();
    let broken = SMALL.replace("sum(num_steps)", "cast('x' || sum(num_steps) as int)")
        + "[[stage]]\nname = \"after\"\nkind = \"query\"\nsql = \"select * from total\"\n"
        + "[[stage]]\nname = \"side\"\nkind = \"query\"\nsql = \"select count(*) as n from play.steps\"\n";
    house.write("small.toml", &broken);
    let ran = house.fails(1, &["run", "small.toml"], &["total failed", "1 stages that need it were skipped"]);
    assert!(ran.err.contains("after skipped: its input `total` is not finished"), "{}", ran.err);
    let plan = house.ok(&["plan", "small.toml"]).out;
    assert!(plan.contains("3 cached"), "{plan}");
    let states = house.rows("select stage, state, error from run_stages order by stage");
    let state = |stage: &str| states.iter().find(|row| row["stage"] == stage).unwrap()["state"].clone();
    assert_eq!([state("total"), state("after"), state("side")], ["failed", "skipped", "done"]);
    assert_eq!(house.rows("select status from runs")[0]["status"], "failed");
}

#[test]
fn expectations_hold_back_a_stage_and_are_looked_at_alone() {
    let house = House::new();
    let expecting = |sql: &str| {
        SMALL.replace("[[stage]]\nname = \"total\"", &format!("expect = [\"{sql}\"]\n[[stage]]\nname = \"total\""))
    };
    house.write("small.toml", &expecting("select * from long where num_steps > 0"));
    let ran = house.fails(
        1,
        &["run", "small.toml"],
        &["expectation violated", "returned 4 rows", "num_steps", "long failed"],
    );
    assert!(ran.err.contains("total skipped: its input `long` is not finished"), "{}", ran.err);
    let table = house.outputs("small", "long")[0].join("table.parquet");
    let made = std::fs::metadata(&table).unwrap().modified().unwrap();
    house.write(
        "small.toml",
        &expecting(
            "select * from long l join play.episodes e on l.episode_id = e.episode_id where l.num_steps <> e.num_steps",
        ),
    );
    assert!(house.ok(&["plan", "small.toml"]).out.contains("to check"));
    house.ok(&["run", "small.toml"]);
    assert_eq!(std::fs::metadata(&table).unwrap().modified().unwrap(), made, "only the expectation ran");
    assert!(house.ok(&["plan", "small.toml"]).out.contains("3 cached"));
}

#[test]
fn selection_takes_what_is_named_and_says_what_is_missing() {
    let house = small();
    house.fails(
        1,
        &["run", "small.toml", "--select", "total"],
        &["its input `long` is not finished and not selected", "+total"],
    );
    house.ok(&["run", "small.toml", "--select", "play,long"]);
    let ran = house.ok(&["run", "small.toml", "--select", "long+"]);
    assert!(ran.out.contains("1 of 2 stages"), "{}", ran.out);
    let plan = house.ok(&["plan", "small.toml", "--select", "+long"]).out;
    assert!(plan.contains("2 stages: 2 cached"), "{plan}");
}

#[test]
fn a_matrix_shares_what_does_not_differ() {
    let house = House::new();
    house.write(
        "small.toml",
        &SMALL.replace("[[stage]]\nname = \"play\"", "[matrix]\nleast = [1, 50]\n[[stage]]\nname = \"play\""),
    );
    let ran = house.ok(&["run", "small.toml"]);
    assert!(ran.out.contains("5 of 5 stages"), "{}", ran.out);
    assert!(ran.out.contains("total [least=50]"), "{}", ran.out);
    assert_eq!(house.outputs("small", "play").len(), 1);
    assert_eq!(house.outputs("small", "long").len(), 2);
    let one = house.ok(&["plan", "small.toml", "--set", "least=50"]).out;
    assert!(one.contains("3 stages: 3 cached"), "{one}");
    // The matrix's outputs are all in use; those of an override that is not in it are not.
    house.ok(&["run", "small.toml", "--set", "least=9"]);
    house.ok(&["run", "small.toml"]);
    let cleaned = house.ok(&["clean", "--dry-run"]).out;
    assert!(cleaned.contains("2 outputs"), "{cleaned}");
    house.ok(&["clean"]);
    assert!(house.ok(&["plan", "small.toml"]).out.contains("5 cached"));
    assert_eq!(house.outputs("small", "long").len(), 2);
}

#[test]
fn another_process_is_named_and_a_dead_one_forgotten() {
    let house = small();
    house.write("slow.toml", &SMALL.replace("episodes = 4", "episodes = 4000").replace("\"none\"", "\"png\""));
    let mut slow = house.start(&["run", "slow.toml"]);
    wait_for(|| !house.outputs("small", "play").is_empty());
    house.fails(
        1,
        &["run", "small.toml"],
        &["another playhouse is at work", &format!("process {}", slow.id()), "--home"],
    );
    slow.kill().unwrap();
    slow.wait().unwrap();
    house.ok(&["run", "small.toml"]);
}

#[test]
fn ctrl_c_stops_and_the_same_command_goes_on() {
    let house = House::new();
    house.write("long.toml", &SMALL.replace("episodes = 4", "episodes = 400").replace("\"none\"", "\"png\""));
    let run = house.start(&["run", "long.toml"]);
    wait_for(|| !house.outputs("small", "play").is_empty());
    std::thread::sleep(Duration::from_millis(300));
    assert!(Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    let ran = Ran::of(run.wait_with_output().unwrap());
    assert_eq!(ran.status, 130, "{}", ran.err);
    assert!(ran.err.contains("the same command goes on from the last checkpoint"), "{}", ran.err);
    assert!(house.ok(&["plan", "long.toml"]).out.contains("resumes"));
    house.ok(&["run", "long.toml"]);
    assert_eq!(house.record("small", "play")["rows"]["episodes"], 400);
}

/// Every kind of stage that works for long: recording, training.
const TRAINED: &str = r#"
name = "trained"
[parameters]
seed = 3
[[stage]]
name = "play"
kind = "record"
settings = { map = "skygarden", persona = "mixed", episodes = 60, frames = "jpeg" }
[[stage]]
name = "train"
kind = "query"
sql = "windows"
settings = { dataset = "play" }
[[stage]]
name = "base"
kind = "pretrain"
settings = { data = "play", windows = "train", held_out = "train", model = "tiny", steps = 24, batch = 2, checkpoint_every = 4, eval_windows = 4 }
"#;

#[test]
fn kill_9_again_and_again_changes_no_figure() {
    let quiet = House::new();
    quiet.write("t.toml", TRAINED);
    let began = Instant::now();
    quiet.ok(&["run", "t.toml"]);
    let whole = began.elapsed();

    let house = House::new();
    house.write("t.toml", TRAINED);
    let mut kills = 0;
    for share in [0.1, 0.25, 0.3, 0.35, 0.4, 0.5] {
        let mut run = house.start(&["run", "t.toml"]);
        std::thread::sleep(whole.mul_f64(share));
        if run.try_wait().unwrap().is_none() {
            run.kill().unwrap();
            kills += 1;
        }
        run.wait().unwrap();
    }
    assert!(kills >= 2, "only {kills} runs were killed");
    house.ok(&["run", "t.toml"]);
    for stage in ["play", "train", "base"] {
        let (one, other) = (quiet.record("trained", stage), house.record("trained", stage));
        for part in ["fingerprint", "figures", "rows"] {
            assert_eq!(one[part], other[part], "{stage} {part}");
        }
    }
    let bytes = |house: &House, file: &str| std::fs::read(house.outputs("trained", "base")[0].join(file)).unwrap();
    for file in ["model.safetensors", "metrics.parquet"] {
        assert!(bytes(&quiet, file) == bytes(&house, file), "{file} differs");
    }
}

fn wait_for(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}
