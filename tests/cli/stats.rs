//! `playhouse stats` as its user sees it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::house::House;

/// The path of every value, as `stats --keys` writes it.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                paths(value, &format!("{path}{dot}{key}"), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, &format!("{path}[]"), found)),
        _ => {
            found.insert(path.to_owned());
        }
    }
}

fn json(house: &House, arguments: &[&str]) -> Value {
    serde_json::from_str(&house.ok(arguments).out).unwrap()
}

#[test]
fn a_dataset_is_described_in_text_json_and_a_page() {
    let house = House::new();
    house.ok(&["record", "play", "--episodes", "30", "--seed", "3"]);
    let text = house.ok(&["stats", "play"]).out;
    for part in
        ["30 episodes", "session length", "outcomes by map", "outcomes by player", "idle and repeated", "buttons"]
    {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    for part in ["left stick", "coverage of skygarden", "every step was read", "PH201"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let stats = json(&house, &["stats", "play", "--json"]);
    assert_eq!(stats["episodes"], 30);
    assert_eq!(stats["components"].as_array().unwrap().len(), 16);
    assert_eq!(stats["basis"]["all"], true);
    assert_eq!(stats["basis"]["steps"], stats["steps"]);
    let joint = |stick: &Value| -> u64 {
        stick["counts"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|row| row.as_array().unwrap())
            .map(|n| n.as_u64().unwrap())
            .sum()
    };
    assert_eq!(Value::from(joint(&stats["sticks"][0])), stats["steps"]);

    let full = json(&house, &["stats", "play", "--json", "--full"]);
    assert_eq!(full, stats, "a small dataset is read whole anyway");
    house.ok(&["stats", "play", "--html", "play.html"]);
    let page = std::fs::read_to_string(house.path("play.html")).unwrap();
    assert!(page.contains("Where players were") && page.contains("left stick") && page.contains("PH201"));
    assert!(!page.contains("http:") && !page.contains("https:"));
}

#[test]
fn every_key_of_the_json_is_explained() {
    let house = House::new();
    for (name, seed) in [("one", "1"), ("two", "2")] {
        house.ok(&["record", name, "--episodes", "60", "--seed", seed]);
    }
    let mut found = BTreeSet::new();
    paths(&json(&house, &["stats", "one", "--against", "two", "--json"]), "", &mut found);
    let keys: String = house.ok(&["stats", "--keys"]).out;
    let explained: BTreeSet<String> = keys
        .lines()
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    // Where `drift.b` is like `drift.a`, only the latter is listed.
    let missing: Vec<&String> =
        found.iter().filter(|key| !key.starts_with("drift.b.") && !explained.contains(*key)).collect();
    assert!(missing.is_empty(), "not explained: {missing:?}");
    // What these two datasets leave empty.
    let absent = ["drift.incomparable[]", "rates.repeated", "outliers", "findings[].episode_ids[]"];
    let stale: Vec<&String> = explained
        .iter()
        .filter(|key| !found.contains(*key) && !absent.iter().any(|absent| key.starts_with(absent)))
        .collect();
    assert!(stale.is_empty(), "explained, but not there: {stale:?}");
}

#[test]
fn a_check_fails_for_errors_and_for_what_is_denied() {
    let house = House::new();
    house.ok(&["record", "play", "--episodes", "12", "--frames", "none"]);
    house.ok(&["stats", "play", "--check"]);
    house.fails(1, &["stats", "play", "--check", "--deny", "PH201"], &["PH201", "--allow"]);
    house.fails(1, &["stats", "play", "--check", "--deny", "constant-component"], &["PH201"]);
    let allowed = house.ok(&["stats", "play", "--check", "--deny", "PH201", "--allow", "PH201"]);
    assert!(!allowed.out.contains("PH201"), "{}", allowed.out);
    house.fails(2, &["stats", "play", "--check", "--deny", "teleprot"], &["did you mean teleport?"]);
    house.fails(2, &["stats"], &["<DATASET>"]);
    house.fails(2, &["stats", "play", "--max-drift", "0.1"], &["--against"]);
    let codes = house.ok(&["stats", "--codes"]).out;
    for code in ["PH101", "step-count", "PH206", "teleport", "error", "warning"] {
        assert!(codes.contains(code), "{codes}");
    }
    assert!(codes.lines().all(|line| line.chars().count() <= 80), "{codes}");

    // Steps of another recording do not belong to these episodes.
    house.ok(&["record", "other", "--episodes", "9", "--frames", "none", "--seed", "5"]);
    let parts = |name: &str| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(house.path(name)).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    assert_eq!((parts("play/steps").len(), parts("other/steps").len()), (1, 1));
    std::fs::copy(&parts("other/steps")[0], &parts("play/steps")[0]).unwrap();
    let ran = house.fails(1, &["stats", "play", "--check"], &["PH101"]);
    assert!(ran.out.contains("step-count") && ran.out.contains("num_steps"), "{}", ran.out);
    house.ok(&["stats", "play"]);
}

#[test]
fn drift_sets_the_exit_status() {
    let house = House::new();
    for (name, persona, seed) in [("a", "expert", "1"), ("b", "expert", "2"), ("c", "explorer", "3")] {
        house.ok(&["record", name, "--episodes", "60", "--persona", persona, "--seed", seed, "--frames", "none"]);
    }
    let same = house.ok(&["stats", "a", "--against", "b", "--max-drift", "0.1"]);
    assert!(same.out.contains("distance") && same.out.contains("are what is independent"), "{}", same.out);
    let ran = house.fails(1, &["stats", "c", "--against", "a", "--max-drift", "0.1"], &["differs by more than 0.1"]);
    assert!(ran.out.contains('*'), "{}", ran.out);
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
    house.ok(&["stats", "c", "--against", "a"]);
}
