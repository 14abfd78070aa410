//! The whole page: well-formed, self-contained, and there whatever is missing.

use super::*;
use crate::evaluate::tests::small_evaluation;
use crate::progress::Silent;
use crate::stages::{record_into, table};
use playhouse_agent::MetricRow;

/// Fails on a tag that is not closed, or closed out of turn.
fn assert_well_formed(html: &str) {
    const VOID: [&str; 3] = ["meta", "img", "input"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some(at) = rest.find('<') {
        let end = at + rest[at..].find('>').unwrap();
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "after ...{}", &html[html.len() - rest.len() - tag.len() - 2..][..40]);
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
            if ["script", "style"].contains(&name) {
                rest = &rest[rest.find("</").unwrap()..];
            }
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

fn assert_self_contained(html: &str) {
    for link in ["http:", "https:", "//cdn", "@import", "<link", "url("] {
        assert!(!html.contains(link), "{link}");
    }
    for source in html.split("src=\"").skip(1) {
        assert!(source.starts_with("data:image/"), "{}", &source[..40]);
    }
    // Pictures are base64, in which any letters may stand together.
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    for text in html.split("base64,").map(|piece| piece.trim_start_matches(base64)) {
        assert!(!text.contains("NaN") && !text.contains("inf\""));
    }
}

fn metrics(dir: &std::path::Path, names: &[&str]) -> Input {
    std::fs::create_dir_all(dir).unwrap();
    let rows: Vec<MetricRow> = (1..=20)
        .flat_map(|step| {
            names.iter().map(move |name| MetricRow { step, name: (*name).into(), value: 9.0 / step as f64 })
        })
        .collect();
    table::write_metrics(&dir.join("metrics.parquet"), &rows).unwrap();
    Input { name: "sft <b>".into(), dir: dir.to_owned() }
}

#[test]
fn a_full_report_is_well_formed_and_needs_no_network() {
    let dir = tempfile::tempdir().unwrap();
    small_evaluation(dir.path(), 3).write(dir.path()).unwrap();
    let play = dir.path().join("play-stage");
    let settings = "map = 'canyon'\nepisodes = 2".parse().unwrap();
    record_into(&play.join("data"), &settings, 1, 2, &Silent).unwrap();
    let reward = metrics(&dir.path().join("reward"), &["held_out/loss", "held_out/correct", "held_out/pairs"]);
    let inputs = Inputs {
        title: "Jump pads & more".into(),
        description: "A <test>".into(),
        target: Some("left".into()),
        evaluation: Some(Input { name: "evaluate".into(), dir: dir.path().to_owned() }),
        training: vec![metrics(&dir.path().join("sft"), &["train/loss", "held_out/loss", "label/left", "kl/step"])],
        reward: Some(reward),
        data: vec![Input { name: "play".into(), dir: play }],
        samples: 1,
    };
    let html = report(&inputs).unwrap();
    assert_well_formed(&html);
    assert_self_contained(&html);
    for part in [
        "Where the rollouts end",
        "Where they go",
        "Watch them play",
        "By spawn",
        "The reward model",
        "Learning curves",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(html.contains("Jump pads &amp; more") && html.contains("sft &lt;b&gt;") && !html.contains("sft <b>"));
    assert_eq!(html.matches("class=\"player\"").count(), 2, "one sample of each policy");
    assert_eq!(html.matches("class=\"map\"").count(), 2, "one map of each policy");
}

#[test]
fn without_an_arena_there_are_data_and_losses() {
    let dir = tempfile::tempdir().unwrap();
    let stage = dir.path().join("clips");
    let settings = "map = 'skygarden'\nepisodes = 1".parse().unwrap();
    record_into(&stage.join("data"), &settings, 1, 2, &Silent).unwrap();
    let training = vec![metrics(&dir.path().join("base"), &["train/loss", "held_out/loss", "held_out/prior_loss"])];
    let data = vec![Input { name: "clips".into(), dir: stage }];
    let html = report(&Inputs { title: "Human".into(), training, data, samples: 1, ..Inputs::default() }).unwrap();
    assert_well_formed(&html);
    assert_self_contained(&html);
    assert!(html.contains("Learning curves") && html.contains("clips: left_y") && html.contains("class=\"player\""));
    assert!(!html.contains("Where they go") && !html.contains("The reward model"));
    assert_well_formed(&report(&Inputs::default()).unwrap());
}

#[test]
fn the_player_shows_one_episode_and_names_what_exists() {
    let dir = tempfile::tempdir().unwrap();
    let settings = "map = 'skygarden'\nepisodes = 2\nfirst_id = 3\nframes = 'none'".parse().unwrap();
    record_into(dir.path(), &settings, 1, 2, &Silent).unwrap();
    let html = player(dir.path(), 4).unwrap();
    assert_well_formed(&html);
    assert_self_contained(&html);
    let error = player(dir.path(), 9).unwrap_err().to_string();
    assert!(error.contains("has no episode 9; its ids lie between 3 and 4"), "{error}");
}

#[test]
fn the_page_of_a_dataset_shows_its_statistics() {
    use playhouse_queries::stats::{Options, describe, drift};
    let dir = tempfile::tempdir().unwrap();
    let described = ["skygarden", "canyon"].map(|map| {
        let settings = format!("map = '{map}'\nepisodes = 25\nframes = 'none'").parse().unwrap();
        record_into(&dir.path().join(map), &settings, 1, 2, &Silent).unwrap();
        describe(&dir.path().join(map), &Options::default()).unwrap()
    });
    let difference = drift(&described[0], &described[1]);
    let html = dataset(&described[0].stats, Some(&difference)).unwrap();
    assert_well_formed(&html);
    assert_self_contained(&html);
    for part in ["Findings", "Differences", "How episodes end, by map", "What players press", "Where players were"] {
        assert!(html.contains(part), "{part}");
    }
    assert!(html.contains("PH201") && html.contains("constant-component") && html.contains("canyon"));
    assert_eq!(html.matches("class=\"map\"").count(), 1);
    // One cell of each stick map for every pair of buckets.
    assert_eq!(html.matches("fill=\"var(--grid)\"").count(), 2 * 11 * 11);
    let alone = dataset(&described[1].stats, None).unwrap();
    assert_well_formed(&alone);
    assert!(!alone.contains("Differences"));
}
