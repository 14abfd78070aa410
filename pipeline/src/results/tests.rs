//! A whole page from tables as queries leave them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};

use super::*;
use crate::engine::chain;

/// Series, x, count, of.
type Line = (&'static str, &'static str, i64, i64);

fn shares(lines: &[Line]) -> RecordBatch {
    let texts =
        |get: fn(&Line) -> &'static str| Arc::new(StringArray::from_iter_values(lines.iter().map(get))) as ArrayRef;
    let whole = |get: fn(&Line) -> i64| Arc::new(Int64Array::from_iter_values(lines.iter().map(get))) as ArrayRef;
    let values = Float64Array::from_iter_values(lines.iter().map(|line| line.2 as f64 / line.3 as f64));
    RecordBatch::try_from_iter([
        ("series", texts(|line| line.0)),
        ("x", texts(|line| line.1)),
        ("value", Arc::new(values)),
        ("count", whole(|line| line.2)),
        ("of", whole(|line| line.3)),
    ])
    .unwrap()
}

/// Series, x, value.
fn numbers(lines: &[(&str, f64, f64)]) -> RecordBatch {
    let number = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
    RecordBatch::try_from_iter([
        ("series", Arc::new(StringArray::from_iter_values(lines.iter().map(|line| line.0))) as ArrayRef),
        ("x", number(lines.iter().map(|line| line.1).collect())),
        ("value", number(lines.iter().map(|line| line.2).collect())),
    ])
    .unwrap()
}

/// A folder with a table of each run.
fn outputs(dir: &Path, claim: &str, runs: &[RecordBatch]) -> Vec<Output> {
    let one = |(place, batch): (usize, &RecordBatch)| {
        let run = format!("seed={}", place + 1);
        let dir = dir.join(format!("{claim}-{run}"));
        std::fs::create_dir_all(&dir).unwrap();
        table::write(&dir.join("table.parquet"), batch).unwrap();
        Output { run, dir }
    };
    runs.iter().enumerate().map(one).collect()
}

fn claim(table: &str) -> Claim {
    Claim { table: table.into(), title: table.into(), paper: "It rises.".into(), ..Claim::default() }
}

fn page(dir: &Path, claims: Vec<(&Claim, Vec<Output>)>) -> Result<(String, Written)> {
    let out = dir.join("out");
    std::fs::create_dir_all(&out)?;
    let request = Request { pipeline: "p", title: "T", introduction: "Words.", seed: 7, claims, evaluation: None };
    let written = write(&request, &out)?;
    Ok((std::fs::read_to_string(out.join("RESULTS.md"))?, written))
}

fn error(claim: &Claim, runs: &[RecordBatch]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let outputs = outputs(dir.path(), &claim.table, runs);
    chain(&page(dir.path(), vec![(claim, outputs)]).map(|_| ()).unwrap_err())
}

/// Fails on XML whose tags do not match, and on what a file that stands alone cannot have.
fn assert_stands_alone(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in svg.split('<').skip(1).map(|piece| piece.split('>').next().unwrap()) {
        match tag.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed)),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split([' ', '\n']).next().unwrap()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width="));
    for word in ["var(", "NaN", "inf", "href", "url("] {
        assert!(!svg.contains(word), "{word}: {svg}");
    }
}

#[test]
fn a_page_of_shares_and_curves() {
    let dir = tempfile::tempdir().unwrap();
    let stages = |left: i64| {
        shares(&[
            ("pre-trained", "left", 20, 300),
            ("aligned", "left", left, 300),
            ("aligned", "right", 300 - left, 300),
        ])
    };
    let mut steps = claim("by_steps");
    steps.figure = Figure::Curve;
    steps.log_x = true;
    (steps.x, steps.y) = ("steps".into(), "loss".into());
    let lines: Vec<(&str, f64, f64)> =
        (0..7).map(|i| ("tiny | \"t\" <1>", 10f64.powi(i), 9.5 - f64::from(i))).collect();
    let mut pads = claim("pads");
    pads.unit = Unit::Share;
    (pads.x, pads.y) = ("pad".into(), "share of rollouts".into());
    pads.holds =
        Some("select bool_and(worst_low >= 0.7) as holds from claim where series = 'aligned' and x = 'left'".into());
    let mut low = pads.clone();
    (low.table, low.title) = ("low".into(), "low".into());
    low.holds = Some("select worst > 0.9 from claim where series = 'aligned' and x = 'left'".into());
    (low.paper, low.asks) = (String::new(), "Is it much?".into());
    low.figure = Figure::None;
    let runs = [stages(255), stages(240), stages(270)];
    let claims = vec![
        (&pads, outputs(dir.path(), "pads", &runs)),
        (&steps, outputs(dir.path(), "by_steps", &[numbers(&lines)])),
        (&low, outputs(dir.path(), "low", &runs)),
    ];
    let (text, written) = page(dir.path(), claims.clone()).unwrap();
    assert_eq!(written.verdicts, ["reproduced", "figures only", "does not hold"]);
    assert_eq!((written.points, written.rows), (25, 13));
    for part in [
        "# T\n\nWords.\n\n| claim | verdict |\n| --- | --- |\n| [pads](#pads) | reproduced |",
        "| [by\\_steps](#by_steps) | figures only |\n| [low](#low) | does not hold |",
        "## low\n\nAsked: Is it much?\n",
        "<a id=\"pads\"></a>\n\n## pads\n\nThe paper: It rises.",
        "![pads: share of rollouts by pad](figures/pads.svg)",
        "|  | left | right |\n| --- | --- | --- |\n| pre-trained | 6.7% [",
        "| seed=2 | aligned | left | 80.0% | 75.1% to 84.1% | 240 of 300 |",
        "| steps | tiny \\| \"t\" &lt;1> |\n| --- | --- |\n| 1 | 9.5 (one run) |",
        "**Verdict: reproduced.** Over the rows above",
        "- 3 runs: seed=1; seed=2; seed=3.",
        "counts 300 cases",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let file = |name: &str| std::fs::read(dir.path().join("out").join(name)).unwrap();
    for name in ["figures/pads.svg", "figures/by_steps.svg"] {
        assert_stands_alone(&String::from_utf8(file(name)).unwrap());
    }
    assert!(!dir.path().join("out/figures/low.svg").exists());
    let summary = table::read(&dir.path().join("out/summary.parquet")).unwrap();
    let worst = table::numbers(&summary, "worst").unwrap();
    assert_eq!((table::rows(&summary), worst[1]), (13, Some(0.8)));
    let names = ["RESULTS.md", "figures/pads.svg", "summary.parquet", "points.parquet"];
    let before = names.map(file);
    page(dir.path(), claims).unwrap();
    assert!(names.map(file) == before, "the same bytes again");
}

#[test]
fn many_groups_go_on_in_a_second_row() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["pre-trained", "fine-tuned on curated play", "c", "d", "e", "f", "g", "an_agent_with_a_long_name"];
    let lines: Vec<Line> = names
        .into_iter()
        .enumerate()
        .flat_map(|(i, name)| ["left", "middle", "right", "none"].map(|pad| (name, pad, 10 + 30 * i as i64, 300)))
        .collect();
    let mut pads = claim("pads");
    pads.unit = Unit::Share;
    page(dir.path(), vec![(&pads, outputs(dir.path(), "pads", &[shares(&lines), shares(&lines)]))]).unwrap();
    let svg = std::fs::read_to_string(dir.path().join("out/figures/pads.svg")).unwrap();
    assert_stands_alone(&svg);
    assert_eq!(svg.matches(">100%</text>").count(), 2, "an axis for each row of groups");
    let width: f64 = svg.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    assert!((400.0..=960.0).contains(&width), "{width}");
}

#[test]
fn what_is_wrong_is_said_with_claim_run_and_place() {
    let pads = claim("pads");
    let says = |claim: &Claim, runs: &[RecordBatch], words: &[&str]| {
        let error = error(claim, runs);
        assert!(error.starts_with("claim `pads`: "), "{error}");
        words.iter().for_each(|word| assert!(error.contains(word), "{word}: {error}"));
    };
    let good = shares(&[("s", "a", 1, 2)]);
    says(
        &pads,
        &[good.clone(), good.project(&[1, 3]).unwrap()],
        &["seed=2", "no column series and none value", "x, count"],
    );
    says(&pads, &[good.project(&[0, 1, 2, 3]).unwrap()], &["`count` and `of`", "only one"]);
    says(&pads, &[numbers(&[("s", 1.0, f64::NAN)])], &["series `s`, x `1`", "not a number"]);
    says(&pads, &[shares(&[("s", "a", 3, 2)])], &["count 3 is more than of 2"]);
    says(&pads, &[shares(&[("s", "a", 1, 2), ("s", "a", 1, 2)])], &["two rows"]);
    let wrong = RecordBatch::try_from_iter(["series", "x", "value", "count", "of"].into_iter().zip(
        shares(&[("s", "a", 1, 2)]).columns().iter().cloned().enumerate().map(|(i, column)| match i {
            2 => Arc::new(Float64Array::from(vec![0.75])) as ArrayRef,
            _ => column,
        }),
    ));
    says(&pads, &[wrong.unwrap()], &["value is 0.75", "1 / 2"]);
    let curve = Claim { figure: Figure::Curve, ..pads.clone() };
    says(&curve, std::slice::from_ref(&good), &["a curve needs numbers"]);
    let log = Claim { log_x: true, ..curve };
    says(&log, &[numbers(&[("s", 0.0, 1.0)])], &["logarithmic"]);
    let share = Claim { unit: Unit::Share, ..pads.clone() };
    says(&share, &[numbers(&[("s", 1.0, 1.5)])], &["1.5 is no share"]);
    let holds = |sql: &str| Claim { holds: Some(sql.into()), ..pads.clone() };
    says(
        &holds("select true from claim union all select true from claim"),
        std::slice::from_ref(&good),
        &["returns 2 rows", "must return one"],
    );
    says(&holds("select iqm from claim"), std::slice::from_ref(&good), &["one boolean"]);
}

#[test]
fn rollouts_of_all_runs_are_drawn_over_the_map() {
    use crate::evaluate::tests::small_evaluation;
    let dir = tempfile::tempdir().unwrap();
    small_evaluation(dir.path(), 3).write(dir.path()).unwrap();
    let outputs = ["seed=1", "seed=2"].map(|run| Output { run: run.into(), dir: dir.path().to_owned() });
    let drawn = Heatmaps::draw("judge", &outputs, dir.path()).unwrap();
    assert_eq!(drawn.map, "skygarden");
    let expected = [("first", "judge-first.png", 6), ("second", "judge-second.png", 6)];
    assert_eq!(drawn.policies, expected.map(|(policy, file, n)| (policy.to_owned(), file.to_owned(), n)));
    assert!(std::fs::read(dir.path().join("judge-first.png")).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn numbers_are_written_plainly() {
    let plain = [3.0, 0.12345, 1234.56, 0.5, -2.25, 0.000012, 98765.4].map(|value| Unit::Number.shown(value));
    assert_eq!(plain, ["3", "0.1235", "1235", "0.5", "-2.25", "1.20e-5", "98765"]);
    assert_eq!([0.0, 0.6966, 1.0].map(|value| Unit::Share.shown(value)), ["0.0%", "69.7%", "100.0%"]);
}

#[test]
fn what_did_not_happen_is_said_and_decides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut misses = claim("misses");
    misses.holds = Some("select worst > 0.5 from claim".into());
    let none = shares(&[("s", "a", 1, 2)]).slice(0, 0);
    let (text, written) =
        page(dir.path(), vec![(&misses, outputs(dir.path(), "misses", &[none.clone(), none]))]).unwrap();
    assert_eq!((written.points, written.verdicts), (0, vec!["not decided"]));
    assert!(text.contains("No run has a row of this") && !text.contains("misses.svg"), "{text}");
}
