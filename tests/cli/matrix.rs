//! The runs of a matrix by name: which one a question is about, what failed in which.

use super::house::House;

/// Three runs that share a stage; the second fails at the end.
const SEEDS: &str = r#"
name = "seeds"
[parameters]
seed = 1
[matrix]
seed = [7, 8, 9]
[[stage]]
name = "shared"
kind = "query"
sql = "select 1 as one"
[[stage]]
name = "own"
kind = "query"
sql = "select one, $seed as seed from shared"
[[stage]]
name = "picky"
kind = "query"
sql = "select cast(case when seed = 8 then 'eight' else '1' end as int) as n from own"
[[stage]]
name = "after"
kind = "query"
sql = "select n from picky"
"#;

#[test]
fn tables_are_of_one_run_which_is_said() {
    let house = House::new();
    house.write("seeds.toml", SEEDS);
    house.fails(1, &["run", "seeds.toml"], &["picky [seed=8] failed, and 1 stage could not run"]);

    let asked = house.ok(&["sql", "select seed from own", "--format", "csv"]);
    assert_eq!(asked.out, "seed\n7\n", "the first of the matrix");
    let said = "`seeds` has 3 runs; its stages' names mean seed=7 (another: --pipeline 'seeds@seed=8')";
    assert!(asked.err.contains(said), "{}", asked.err);
    let of = |run: &str, sql: &str| house.ok(&["sql", sql, "--format", "csv", "--pipeline", &format!("seeds@{run}")]);
    let nine = of("seed=9", "select seed from own");
    assert_eq!((nine.out.as_str(), nine.err.as_str()), ("seed\n9\n", ""));
    assert_eq!(of("seed=8", "select one from shared").out, "one\n1\n", "what all runs share");

    // The neighbours' tables do not stand in for what this run has not finished.
    let missing = ["sql", "select n from picky", "--pipeline", "seeds@seed=8"];
    house.fails(1, &missing, &["stage `picky` is not finished", "no table named picky"]);
    let unknown = ["sql", "select 1", "--pipeline", "seeds@seed=18"];
    house.fails(2, &unknown, &["`seeds` has no run `seed=18`", "did you mean `seed=8`?"]);

    let rows = house.rows("select stage, run, state from run_stages where state <> 'done' order by stage, run");
    let rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
    let row = |stage: &str, state: &str| format!(r#"{{"run":"seed=8","stage":"{stage}","state":"{state}"}}"#);
    assert_eq!(rows, [row("after", "skipped"), row("picky", "failed")]);
    let shared = house.rows("select run from run_stages where stage = 'shared'");
    assert_eq!(shared[0]["run"], "seed=7; seed=8; seed=9");
}

#[test]
fn a_part_of_one_run_leaves_the_rest_its_names() {
    let house = House::new();
    house.write("seeds.toml", SEEDS);
    house.fails(1, &["run", "seeds.toml"], &["picky [seed=8] failed"]);
    house.ok(&["run", "seeds.toml", "--set", "seed=9", "--select", "own"]);
    let asked = house.ok(&["sql", "select seed, n from own, after", "--format", "csv"]);
    assert_eq!((asked.out.as_str(), asked.err.as_str()), ("seed,n\n9,1\n", ""), "all of the run that was asked for");
    house.ok(&["run", "seeds.toml", "--set", "seed=8", "--select", "own"]);
    house.fails(1, &["sql", "select n from after"], &["stage `after` is not finished"]);
    // What has no name now was not replaced either.
    assert!(house.ok(&["clean", "--dry-run"]).out.contains("2 outputs"));
}

#[test]
fn another_runs_output_is_no_earlier_one() {
    let house = House::new();
    house.write("seeds.toml", SEEDS);
    house.fails(1, &["run", "seeds.toml"], &["picky [seed=8] failed"]);
    let reasons = |plan: &str| -> Vec<String> {
        let json: serde_json::Value = serde_json::from_str(plan).unwrap();
        let stages = json["stages"].as_array().unwrap().iter().filter(|stage| stage["state"] == "to_run");
        stages.map(|stage| format!("{} {} {}", stage["stage"], stage["runs"], stage["why"])).collect()
    };
    let plan = || reasons(&house.ok(&["plan", "seeds.toml", "--json"]).out);
    let new = |stage: &str| format!(r#""{stage}" ["seed=8"] ["new"]"#);
    assert_eq!(plan(), [new("picky"), new("after")]);
    house.write("seeds.toml", &SEEDS.replace("select n from picky", "select n + 1 as n from picky"));
    let changed = |seed: u32| format!(r#""after" ["seed={seed}"] ["SQL changed"]"#);
    assert_eq!(plan(), [changed(7), new("picky"), new("after"), changed(9)]);
}

#[test]
fn a_mistake_of_all_runs_is_said_once() {
    let house = House::new();
    house.write("seeds.toml", &SEEDS.replace("select n from picky", "select m from picky"));
    let ran = house.fails(1, &["run", "seeds.toml"], &["nothing was started, because this SQL cannot run"]);
    assert_eq!(ran.err.matches("stage `after`").count(), 1, "{}", ran.err);
}
