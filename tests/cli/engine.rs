//! Caching, resuming, selecting, failing branches, expectations, the matrix, kills.

use std::process::Command;
use std::time::{Duration, Instant};

use super::clips::write_clip;
use super::house::{House, Ran, read_json};

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

/// Turns bits of a file over and leaves its size and time, as a failing disk does.
fn rot(path: &std::path::Path) {
    let time = std::fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    let most = bytes.len() / 4 * 3;
    bytes[1000..most].iter_mut().for_each(|byte| *byte ^= 0x10);
    std::fs::write(path, bytes).unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_rotten_input_is_told_with_what_makes_it_whole() {
    const TRAINS: &str = r#"
name = "small"
[[stage]]
name = "play"
kind = "record"
settings = { map = "skygarden", episodes = 2 }
[[stage]]
name = "starts"
kind = "query"
sql = "select episode_id, 0 as t_start, 32 as length, 1.0 as weight from play.episodes"
[[stage]]
name = "learn"
kind = "pretrain"
settings = { data = "play", windows = "starts", model = "tiny", steps = 1, batch = 1 }
"#;
    let house = House::new();
    house.write("small.toml", TRAINS);
    house.ok(&["run", "small.toml", "--select", "play,starts"]);
    let made = house.files("small", "play");
    let play = house.outputs("small", "play")[0].clone();
    let frames = play.join("data/frames/part-000000000000.parquet");
    rot(&frames);
    let shown = format!(".playhouse/small/play/{}", play.file_name().unwrap().to_str().unwrap());
    let verify = format!("playhouse verify --deep {shown}/data");
    let says = ["frames/part-000000000000.parquet: damaged", "since stage `play` wrote it", &verify];
    let ran = house.fails(1, &["run", "small.toml"], &says);
    assert!(ran.err.contains(&format!("delete the folder {shown} and run again")), "{}", ran.err);
    house.fails(1, &["verify", "--deep", &format!("{shown}/data")], &["problem"]);
    std::fs::remove_dir_all(&play).unwrap();
    house.ok(&["run", "small.toml"]);
    assert!(house.files("small", "play") == made);
    // An input that is whole is not to blame.
    house.write("small.toml", &TRAINS.replace("t_start, 32", "t_start, 999999"));
    let ran = house.fails(1, &["run", "small.toml"], &["learn FAILED"]);
    assert!(!ran.err.contains("verify"), "{}", ran.err);
}

#[test]
fn a_batch_that_no_memory_holds_and_an_empty_table_are_named() {
    let house = House::new();
    let learn = |more: &str| {
        let starts = "select episode_id, 0 as t_start, 32 as length, 1.0 as weight from play.episodes";
        let query = |name: &str, end: &str| {
            format!("[[stage]]\nname = \"{name}\"\nkind = \"query\"\nsql = \"{starts}{end}\"\n")
        };
        let play = "name = \"p\"\n[[stage]]\nname = \"play\"\nkind = \"record\"\nsettings = { map = \"skygarden\", episodes = 1 }\n";
        let train = format!(
            "[[stage]]\nname = \"learn\"\nkind = \"pretrain\"\nsettings = {{ data = \"play\", windows = \"starts\", held_out = \"none\", \
             model = \"tiny\", steps = 1, {more} }}\n"
        );
        house.write("p.toml", &[play, &query("starts", ""), &query("none", " where episode_id < 0"), &train].concat());
    };
    for batch in ["100000000", "9223372036854775807"] {
        learn(&format!("batch = {batch}"));
        let says = format!("stage `learn`: invalid settings: batch is {batch}, but must be 1 to 65536 windows");
        house.fails(1, &["plan", "p.toml"], &[&says]);
    }
    learn("batch = 1");
    house.fails(1, &["run", "p.toml"], &["table.parquet holds no windows to measure on (`held_out`): loosen"]);
}

#[test]
fn a_failed_branch_leaves_the_others() {
    let house = House::new();
    let broken = SMALL.replace("sum(num_steps)", "cast('x' || sum(num_steps) as int)")
        + "[[stage]]\nname = \"after\"\nkind = \"query\"\nsql = \"select * from total\"\n"
        + "[[stage]]\nname = \"side\"\nkind = \"query\"\nsql = \"select count(*) as n from play.steps\"\n";
    house.write("small.toml", &broken);
    let ran = house.fails(
        1,
        &["run", "small.toml"],
        &["total failed", "and 1 stage could not run, because an input is not finished"],
    );
    assert!(ran.err.contains("after skipped: its input `total` is not finished"), "{}", ran.err);
    let plan = house.ok(&["plan", "small.toml"]).out;
    assert!(plan.contains("3 cached"), "{plan}");
    let states = house.rows("select stage, state, error from run_stages order by stage");
    let state = |stage: &str| states.iter().find(|row| row["stage"] == stage).unwrap()["state"].clone();
    assert_eq!([state("total"), state("after"), state("side")], ["failed", "skipped", "done"]);
    assert_eq!(house.rows("select status from runs")[0]["status"], "failed");
}

#[test]
fn stages_at_once_write_what_stages_in_a_row_write() {
    let matrix = SMALL.replacen("[[stage]]", "[matrix]\nseed = [1, 2, 3]\n[[stage]]", 1)
        + "[[stage]]\nname = \"broken\"\nkind = \"query\"\nsql = \"select cast('x' || steps as int) as n from total\"\n"
        + "[[stage]]\nname = \"after\"\nkind = \"query\"\nsql = \"select * from broken\"\n";
    let outcome = |jobs: &str| {
        let house = House::new();
        house.write("small.toml", &matrix);
        let ran = house.fails(
            1,
            &["run", "small.toml", "--jobs", jobs, "--threads", "3"],
            &["broken [seed=3] failed, and 3 stages could not run"],
        );
        assert!(ran.err.contains("play [seed=2] done in"), "{}", ran.err);
        let written: Vec<_> = ["play", "long", "total"]
            .into_iter()
            .flat_map(|stage| house.outputs("small", stage))
            .map(|output| {
                (output.file_name().map(ToOwned::to_owned), read_json(&output.join("stage.json"))["hashes"].clone())
            })
            .collect();
        assert_eq!(written.len(), 9);
        let fates: Vec<String> = house
            .rows("select stage, fingerprint, state from run_stages order by stage, fingerprint")
            .iter()
            .map(ToString::to_string)
            .collect();
        (written, fates)
    };
    assert_eq!(outcome("1"), outcome("3"));
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
fn expectations_looked_at_alone_know_the_names_that_the_settings_give() {
    let house = House::new();
    let expecting = |at_least: u32| {
        let long = format!(
            "[[stage]]\nname = \"long\"\nkind = \"query\"\nsql = \"select * from episodes\"\n\
             settings = {{ dataset = \"play\", tables = {{ ticks = \"play.steps\" }} }}\n\
             expect = [\"select * from episodes where num_steps < {at_least}\", \"select * from ticks where t < 0\"]\n"
        );
        let play = SMALL.split("[[stage]]").take(2).collect::<Vec<_>>().join("[[stage]]");
        house.write("small.toml", &(play + &long));
    };
    expecting(1);
    house.ok(&["run", "small.toml"]);
    expecting(2);
    assert!(house.ok(&["plan", "small.toml"]).out.contains("its expectations changed"));
    house.ok(&["run", "small.toml"]);
    expecting(100_000);
    house.fails(1, &["run", "small.toml"], &["expectation violated", "returned 4 rows"]);
}

#[test]
fn a_run_takes_the_home_before_it_looks_at_it() {
    let house = small();
    house.ok(&["run", "small.toml"]);
    let lock = std::fs::File::options().write(true).open(house.path(".playhouse/lock")).unwrap();
    lock.lock().unwrap();
    // Had the run planned first, it would complain of what planning finds.
    house.write("broken.toml", &SMALL.replace("select sum(num_steps) as steps from long", "curaton"));
    house.fails(1, &["run", "broken.toml"], &["another playhouse is at work"]);
    house.fails(1, &["plan", "broken.toml"], &["no SQL is called `curaton`"]);
    assert!(house.ok(&["plan", "small.toml"]).out.contains("3 cached"), "planning needs no lock");
}

#[test]
fn what_a_killed_removal_left_is_nobody_s_and_goes() {
    let house = small();
    house.ok(&["run", "small.toml"]);
    let left = house.path(".playhouse/.tmp-removed-1-1");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::rename(house.outputs("small", "total")[0].parent().unwrap(), left.join("total")).unwrap();
    std::fs::copy(house.path(".playhouse/small/latest.json"), left.join("latest.json")).unwrap();
    house.fails(1, &["sql", "select * from total"], &["no table named total"]);
    assert!(left.exists(), "only who holds the lock removes");
    assert!(house.ok(&["clean"]).out.starts_with("0 outputs"));
    assert!(!left.exists());
    assert!(house.ok(&["plan", "small.toml"]).out.contains("2 cached, 1 to run"));
}

#[test]
fn what_a_newer_playhouse_made_is_left_alone() {
    let house = small();
    house.ok(&["run", "small.toml"]);
    let marker = house.outputs("small", "long")[0].join("stage.json");
    let text = std::fs::read_to_string(&marker).unwrap();
    let newer = text.replace("\"format\": 2,", "\"format\": 3,").replace("\"kind\":", "\"sort\":");
    assert_ne!(text, newer);
    std::fs::write(&marker, &newer).unwrap();
    for command in ["plan", "run"] {
        house.fails(1, &[command, "small.toml"], &["made by a newer playhouse", "its format is 3", "--home"]);
    }
    // Also where it is not in use.
    house.ok(&["run", "small.toml", "--set", "least=2"]);
    house.fails(1, &["clean"], &["made by a newer playhouse"]);
    assert_eq!(std::fs::read_to_string(&marker).unwrap(), newer);
    assert!(marker.with_file_name("table.parquet").exists());
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
    let states = house.rows("select stage, state from run_stages order by stage");
    let states: Vec<&str> = states.iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["not started", "interrupted", "not started"]);
    assert!(house.ok(&["plan", "long.toml"]).out.contains("resumes"));
    house.ok(&["run", "long.toml"]);
    assert_eq!(house.record("small", "play")["rows"]["episodes"], 400);
}

/// Every kind of stage, in an order in which each can be killed while it works.
const EVERY_KIND: &str = r#"
name = "every"
[parameters]
seed = 3
[[stage]]
name = "play"
kind = "record"
settings = { map = "skygarden", persona = "mixed", episodes = 70, frames = "jpeg" }
[[stage]]
name = "windows"
kind = "query"
sql = "windows"
settings = { dataset = "play" }
[[stage]]
name = "pretrain"
kind = "pretrain"
settings = { data = "play", windows = "windows", held_out = "windows", model = "tiny", steps = 12, batch = 2, checkpoint_every = 2, eval_windows = 4 }
[[stage]]
name = "finetune"
kind = "finetune"
settings = { data = "play", windows = "windows", init = "pretrain", steps = 12, batch = 2, checkpoint_every = 2 }
[[stage]]
name = "rollouts"
kind = "rollout"
settings = { policy = "finetune", map = "skygarden", episodes = 160 }
[[stage]]
name = "pairs"
kind = "query"
sql = "preference_pairs"
settings = { dataset = "play", target = "left" }
[[stage]]
name = "judged"
kind = "label"
[stage.settings]
data = "play"
pairs = "pairs"
rule = """
select chosen_episode_id as left_episode_id, chosen_t_start as left_t_start, chosen_length as left_length,
    rejected_episode_id as right_episode_id, rejected_t_start as right_t_start, rejected_length as right_length,
    'left' as verdict
from pairs"""
[[stage]]
name = "reward"
kind = "reward"
settings = { data = "play", pairs = "pairs", held_out = "pairs", init = "finetune", score = ["rollouts"], steps = 8, batch = 2, checkpoint_every = 2, eval_windows = 4 }
[[stage]]
name = "best"
kind = "query"
sql = "top_rollouts"
settings = { dataset = "rollouts", tables = { scores = "reward.scores" } }
[[stage]]
name = "shuffled"
kind = "score"
settings = { reward = "reward", data = "rollouts", frames = "shuffled" }
[[stage]]
name = "prefer"
kind = "prefer"
settings = { data = "rollouts", windows = "best", init = "finetune", steps = 8, batch = 2, checkpoint_every = 2 }
[[stage]]
name = "aligned"
kind = "reinforce"
settings = { policy = "prefer", reward = "reward", map = "skygarden", updates = 3, groups_per_update = 2, episodes_per_group = 2, calibration_groups = 2, checkpoint_every = 1 }
[[stage]]
name = "evaluate"
kind = "evaluate"
settings = { policies = ["finetune", "aligned"], map = "skygarden", episodes = 8, reference = "finetune", reward = "reward" }
[[stage]]
name = "report"
kind = "report"
settings = { title = "Every kind", evaluate = "evaluate", target = "left", reward = "reward", training = ["pretrain", "aligned"], data = ["play"] }
[[stage]]
name = "pads"
kind = "query"
sql = """
select policy as series, pad as x, share as value, count, rollouts as of from evaluate.summary
where spawn is null order by policy, pad"""
[[stage]]
name = "recorded"
kind = "import"
settings = { format = "bleeding-edge", source = "clips" }
[[stage]]
name = "results"
kind = "results"
gather = true
[stage.settings]
title = "Every kind"
claims = [{ table = "pads", title = "Pads", paper = "It goes left.", unit = "share" }]
heatmaps = { evaluation = "evaluate" }
"#;

/// A folder to run [`EVERY_KIND`] in. Its clips are many short ones, which an import commits together, and one long enough to
/// be killed in.
fn every_kind() -> House {
    let house = House::new();
    house.write("every.toml", EVERY_KIND);
    std::fs::create_dir(house.path("clips")).unwrap();
    for clip in 0..16 {
        write_clip(&house.path(&format!("clips/{clip:02}.npz")), clip, 2);
    }
    write_clip(&house.path("clips/16.npz"), 16, 300);
    house
}

#[test]
fn kill_9_in_every_kind_of_stage_changes_no_figure() {
    let quiet = every_kind();
    quiet.ok(&["run", "every.toml"]);

    let house = every_kind();
    // What shows that a stage is in the middle of its work: a checkpoint or a first commit where it makes them.
    const FIRST_PART: &str = "data/episodes/part-000000000000.parquet";
    let signs = [
        ("play", FIRST_PART),
        ("windows", ""),
        ("pretrain", "checkpoint.safetensors"),
        ("finetune", "checkpoint.safetensors"),
        ("rollouts", FIRST_PART),
        ("pairs", ""),
        ("judged", ""),
        ("reward", "checkpoint.safetensors"),
        ("best", ""),
        ("shuffled", ""),
        ("prefer", "checkpoint.safetensors"),
        ("aligned", "checkpoint.safetensors"),
        ("evaluate", ""),
        ("report", ""),
        ("pads", ""),
        ("recorded", FIRST_PART),
        // It gathers, even if there is only one run, and so comes last.
        ("results", ""),
    ];
    let mut interrupted = Vec::new();
    for (stage, sign) in signs {
        let mut run = house.start(&["run", "every.toml", "--quiet"]);
        wait_for(|| house.outputs("every", stage).iter().any(|output| output.join(sign).exists()));
        run.kill().unwrap();
        run.wait().unwrap();
        if !house.outputs("every", stage).iter().any(|output| output.join("stage.json").exists()) {
            interrupted.push(stage);
        }
    }
    // Queries may be over before the kill arrives; what works for long may not.
    for stage in ["play", "pretrain", "finetune", "rollouts", "reward", "prefer", "aligned", "evaluate", "recorded"] {
        assert!(interrupted.contains(&stage), "{stage} was over too soon; killed in time: {interrupted:?}");
    }
    house.ok(&["run", "every.toml"]);
    for (stage, _) in signs {
        let (one, other) = (quiet.record("every", stage), house.record("every", stage));
        for part in ["fingerprint", "figures", "rows"] {
            assert_eq!(one[part], other[part], "{stage} {part}");
        }
    }
    // All the bytes, but for the record with its times and the page that shows them.
    for (stage, _) in signs.iter().filter(|(stage, _)| *stage != "report") {
        let (one, other) = (quiet.files("every", stage), house.files("every", stage));
        assert!(one.keys().eq(other.keys()), "{stage}: {:?}, {:?}", one.keys(), other.keys());
        let differing: Vec<&String> = one.keys().filter(|name| one[*name] != other[*name]).collect();
        assert!(differing.is_empty(), "{stage}: {differing:?} differ");
    }
}

fn wait_for(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}
