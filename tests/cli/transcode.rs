//! Datasets with their frames in another codec.

use std::time::{Duration, Instant};

use super::house::House;

#[test]
fn frames_change_their_codec_and_nothing_else() {
    let house = House::new();
    house.ok(&["record", "play", "--episodes", "3"]);
    let said = house.ok(&["transcode", "play", "quick", "--codec", "fast"]).out;
    assert!(said.starts_with("transcoded 3 episodes, ") && said.contains(" a frame, "), "{said}");
    house.ok(&["verify", "quick", "--deep"]);
    for table in ["episodes", "steps"] {
        let sql = format!("select * from {table} order by episode_id");
        let sql = if table == "steps" { format!("{sql}, t") } else { sql };
        let rows = |dataset: &str| house.ok(&["sql", "--dataset", dataset, &sql, "--format", "csv"]).out;
        assert!(rows("play") == rows("quick") && rows("quick").lines().count() > 3, "{table}");
    }
    assert!(house.ok(&["stats", "quick"]).out.contains("128x128 fast"));
    let sql = "select episode_id, t, image from frames where episode_id = 1 order by t limit 2";
    let table = house.ok(&["sql", "--dataset", "quick", sql]).out;
    assert_eq!(table.matches("fast 128x128, ").count(), 2, "{table}");
    house.ok(&["sql", "--dataset", "quick", sql, "--images", "out"]);
    assert!(std::fs::read(house.path("out/000001-000001.png")).unwrap().starts_with(b"\x89PNG"));
    house.ok(&["play", "quick", "1", "--out", "e.html"]);

    let again = house.ok(&["transcode", "play", "quick", "--codec", "fast"]).out;
    assert!(again.contains("transcoded 0 episodes") && again.contains("3 were there already"), "{again}");
    let back = house.ok(&["transcode", "quick", "small", "--codec", "jpeg", "--quality", "40"]).out;
    assert!(back.contains("transcoded 3 episodes"), "{back}");
    assert!(house.ok(&["stats", "small"]).out.contains("jpeg quality 40"));
    house.fails(1, &["transcode", "play", "quick", "--codec", "png"], &["the frames' codec", "use another folder"]);
    house.fails(
        2,
        &["transcode", "play", "x", "--codec", "fast", "--quality", "9"],
        &["--quality is for --codec jpeg"],
    );
    house.fails(2, &["transcode", "play", "x", "--codec", "gif"], &["gif"]);
    house.fails(1, &["transcode", "play/", "play/", "--codec", "jpeg"], &["in this codec already"]);
    house.ok(&["record", "bare", "--episodes", "1", "--frames", "none"]);
    house.fails(1, &["transcode", "bare", "x", "--codec", "fast"], &["bare stores no frames"]);
}

#[test]
fn a_killed_transcoding_goes_on() {
    let house = House::new();
    house.ok(&["record", "play", "--episodes", "30"]);
    house.ok(&["transcode", "play", "whole", "--codec", "png"]);
    let mut child = house.start(&["transcode", "play", "parts", "--codec", "png"]);
    let began = Instant::now();
    while !house.path("parts/frames").exists() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(50));
    child.kill().unwrap();
    child.wait().unwrap();
    house.ok(&["transcode", "play", "parts", "--codec", "png"]);
    house.ok(&["verify", "parts", "--repair"]);
    house.ok(&["verify", "parts", "--deep"]);
    let file = |name: &str| std::fs::read(house.path(name).join("frames/part-000000000000.parquet")).unwrap();
    assert!(file("whole") == file("parts"));
}
