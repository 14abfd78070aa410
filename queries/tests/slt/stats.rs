//! Statistics of the fixture, which can be counted by hand.

use playhouse_queries::stats;

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
    let found_by = |name: &str| found.findings.iter().find(|finding| finding.name == name);
    assert_eq!(found_by("duplicate-episode").unwrap().episode_ids, [24]);
    assert_eq!(found_by("idle-episode").unwrap().episode_ids, [25]);
    assert_eq!(found_by("repeated-action").unwrap().episode_ids, [25]);
    assert!(found_by("constant-component").unwrap().message.contains("dpad_up"));
    assert_eq!(found_by("short-episode").unwrap().episodes, 6);
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
