//! A table of results over the runs of a matrix.

use super::clips::write_clip;
use super::house::{House, read_json};

/// Each seed has clips of its own; what is asked of them is cheap.
const PAPER: &str = r#"
name = "paper"
description = "Clips of three seeds and what they say."
[parameters]
seed = 1
[matrix]
seed = [1, 2, 3]
[[stage]]
name = "play"
kind = "import"
settings = { format = "bleeding-edge", source = "clips-${seed}" }
[[stage]]
name = "lengths"
kind = "query"
sql = """
with e as (select count(*) as of, count(*) filter (where num_steps > 3) as long from play.episodes)
select 'clips' as series, 'long' as x, long * 1.0 / of as value, long as count, of from e
union all
select 'clips', 'short | brief', (of - long) * 1.0 / of, of - long, of from e
order by x"""
[[stage]]
name = "growth"
kind = "query"
sql = "select 'steps' as series, episode_id + 1 as x, num_steps * 1.0 as value from play.episodes order by x"
[[stage]]
name = "results"
kind = "results"
gather = true
expect = ["select * from results.summary where runs < 3 and claim = 'lengths'"]
settings.title = "What clips say"
settings.introduction = "Clips are *long* if they have more than three steps."
[[stage.settings.claims]]
table = "lengths"
title = "Lengths"
paper = "Most clips are long."
measures = "Share of clips."
x = "length"
y = "share of clips"
unit = "share"
holds = "select bool_and(iqm > 0.5) as holds from claim where x = 'long'"
[[stage.settings.claims]]
table = "growth"
title = "Steps"
paper = "Later clips are longer."
figure = "curve"
x = "clip"
y = "steps"
holds = "select a.iqm > 10 * b.iqm from claim a join claim b on a.x = '3' and b.x = '1'"
"#;

/// Three clips of each seed; of seed 3 only one is long.
fn paper() -> House {
    let house = House::new();
    house.write("paper.toml", PAPER);
    for seed in 1..=3 {
        std::fs::create_dir(house.path(&format!("clips-{seed}"))).unwrap();
        for clip in 0..3 {
            let steps = if seed == 3 { 3 + clip / 2 } else { 3 + clip };
            write_clip(&house.path(&format!("clips-{seed}/{clip}.npz")), 10 * seed + clip, steps);
        }
    }
    house
}

fn text(house: &House) -> String {
    let outputs = house.outputs("paper", "results");
    assert_eq!(outputs.len(), 1, "{outputs:?}");
    std::fs::read_to_string(outputs[0].join("RESULTS.md")).unwrap()
}

#[test]
fn the_runs_of_a_matrix_make_one_table() {
    let house = paper();
    let plan = house.ok(&["plan", "paper.toml"]).out;
    assert_eq!(plan.matches("\n  results").count(), 1, "{plan}");
    assert!(plan.contains("results [seed=1; seed=2; seed=3]  results  growth, lengths"), "{plan}");
    let ran = house.ok(&["run", "paper.toml"]);
    assert!(ran.out.contains("10 of 10 stages"), "{}", ran.out);
    assert!(ran.out.contains("\nresults: .playhouse/paper/results/"), "{}", ran.out);
    let text = text(&house);
    for part in [
        "# What clips say\n\nClips are *long* if they have more than three steps.\n",
        "| [Lengths](#lengths) | reproduced |\n| [Steps](#growth) | not reproduced |",
        "The paper: Most clips are long.\n\nMeasured: Share of clips.",
        "![Lengths: share of clips by length](figures/lengths.svg)",
        "|  | long | short \\| brief |\n| --- | --- | --- |\n| clips | 61.1% [",
        "| seed=3 | clips | long | 33.3% | 6.1% to 79.2% | 1 of 3 |",
        "| seed=2 | steps | 3 | 5 |  |  |",
        "- 3 runs: seed=1; seed=2; seed=3.",
        "counts 3 cases",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains(house.path("").to_str().unwrap()), "no path of this machine");
    let rows = house.rows("select * from results.summary where claim = 'lengths' and x = 'long'");
    assert_eq!((&rows[0]["runs"], &rows[0]["count"], &rows[0]["of"]), (&3.into(), &5.into(), &9.into()));
    assert_eq!(house.rows("select run from results.points where claim = 'growth' and x = '1' order by run").len(), 3);
    let record = house.record("paper", "results");
    assert_eq!(record["figures"]["reproduced"], 1.0);
    assert_eq!(record["inputs"].as_object().unwrap().len(), 6);
    assert!(record["inputs"]["growth@seed=2"].is_string());

    let again = house.ok(&["run", "paper.toml"]).out;
    assert!(again.contains("nothing to do, all 10 stages are finished"), "{again}");
    assert!(again.contains("\nresults: "), "{again}");
    // The same runs in another order are the same results.
    house.write("paper.toml", &PAPER.replace("[1, 2, 3]", "[3, 1, 2]"));
    assert!(house.ok(&["plan", "paper.toml"]).out.contains("10 stages: 10 cached"));
}

#[test]
fn what_one_seed_changes_runs_again_and_nothing_else() {
    let house = paper();
    house.ok(&["run", "paper.toml"]);
    write_clip(&house.path("clips-2/2.npz"), 22, 9);
    let plan = house.ok(&["plan", "paper.toml"]).out;
    assert!(plan.contains("10 stages: 6 cached, 4 to run"), "{plan}");
    assert!(plan.contains("input growth@seed=2 changed; input lengths@seed=2 changed"), "{plan}");
    assert!(house.ok(&["run", "paper.toml"]).out.contains("4 of 10 stages"));

    // One seed less: what is left is there, and only the table is made anew.
    house.write("paper.toml", &PAPER.replace("[1, 2, 3]", "[1, 2]").replace("runs < 3", "runs < 2"));
    let plan = house.ok(&["plan", "paper.toml"]).out;
    assert!(plan.contains("7 stages: 6 cached, 1 to run") && plan.contains("input growth@seed=3 is gone"), "{plan}");
    // A single run is an ordinary stage.
    house.write("paper.toml", &PAPER.replace("runs < 3", "runs > 1"));
    let one = house.ok(&["run", "paper.toml", "--set", "seed=1", "--select", "+results"]).out;
    assert!(one.contains("1 of 4 stages") && !one.contains("seed=1"), "{one}");
    let rows = house.rows("select run, x from results.points where claim = 'growth' order by x");
    assert_eq!((rows.len(), &rows[0]["run"]), (3, &"".into()));
}

#[test]
fn a_table_that_was_cut_off_ends_with_the_same_bytes() {
    let house = paper();
    house.ok(&["run", "paper.toml"]);
    let before = house.files("paper", "results");
    let names: Vec<&str> = before.keys().map(String::as_str).collect();
    let expected = ["RESULTS.md", "figures/growth.svg", "figures/lengths.svg", "points.parquet", "summary.parquet"];
    assert_eq!(names, expected);
    let output = &house.outputs("paper", "results")[0];
    for file in ["stage.json", "RESULTS.md", "points.parquet"] {
        std::fs::remove_file(output.join(file)).unwrap();
    }
    std::fs::write(output.join("figures/.tmp-1-lengths.svg"), "half").unwrap();
    assert!(house.ok(&["plan", "paper.toml"]).out.contains("it was cut off"));
    house.ok(&["run", "paper.toml"]);
    assert!(house.files("paper", "results") == before);

    // A run of the matrix that fails takes the table with it, and the others stay.
    house.write(
        "paper.toml",
        &PAPER
            .replace("episode_id + 1 as x", "episode_id + 1 + cast(substr('00x', $seed, 1) || num_steps as int) as x"),
    );
    let ran = house.fails(1, &["run", "paper.toml"], &["growth [seed=3] failed", "1 stage could not run"]);
    assert!(ran.err.contains("skipped: its input `growth@seed=3` is not finished"), "{}", ran.err);
    house.fails(
        1,
        &["run", "paper.toml", "--select", "results"],
        &["`growth@seed=3` is not finished and not selected"],
    );
}

#[test]
fn wrong_claims_say_where_and_what_to_do() {
    let house = paper();
    let wrong = |from: &str, to: &str, command: &str, says: &[&str]| {
        assert!(PAPER.contains(from), "{from}");
        house.write("paper.toml", &PAPER.replace(from, to));
        house.fails(1, &[command, "paper.toml"], says);
    };
    wrong("a.iqm >", "a.iqn >", "plan", &["paper.toml:", "stage `results`: claim `growth`", "iqn"]);
    wrong("table = \"growth\"", "table = \"grwth\"", "plan", &["no stage is called `grwth`; did you mean `growth`?"]);
    wrong("figure = \"curve\"", "figure = \"line\"", "plan", &["claim `growth`", "`line`", "`curve`"]);
    wrong("settings.title", "settings.tittle", "plan", &["unknown setting `tittle`; did you mean `title`?"]);
    wrong("num_steps * 1.0 as value", "num_steps as steps", "run", &["claim `growth`", "no column value", "seed=1"]);
    wrong("long as count", "of + 1 as count", "run", &["claim `lengths`", "is more than of"]);
    let outputs = house.outputs("paper", "results");
    assert!(outputs.iter().all(|output| !output.join("stage.json").exists()));
    house.write("paper.toml", PAPER);
    house.ok(&["run", "paper.toml"]);
    let marker = house.outputs("paper", "results").into_iter().map(|output| output.join("stage.json"));
    let finished: Vec<_> = marker.filter(|marker| marker.exists()).collect();
    assert_eq!(read_json(&finished[0])["figures"]["not reproduced"], 1.0);
}
