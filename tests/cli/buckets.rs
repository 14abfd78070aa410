//! Datasets in a bucket, through a real S3 server on loopback.

use std::fs;
use std::path::Path;

use super::house::{House, Ran};
use crate::s3_server::S3Server;

/// A house whose program is told of a server, by the environment alone.
struct Client<'a> {
    house: &'a House,
    settings: Vec<(&'static str, String)>,
}

impl<'a> Client<'a> {
    fn of(house: &'a House, server: &S3Server) -> Self {
        Self { house, settings: server.environment().to_vec() }
    }

    /// The same with another value, or without the variable.
    fn with(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.settings.retain(|(known, _)| *known != name);
        self.settings.extend(value.map(|value| (name, value.to_owned())));
        self
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.house.command(arguments);
        command.envs(self.settings.iter().map(|(name, value)| (*name, value.as_str())));
        Ran::of(command.output().unwrap())
    }

    fn ok(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.status, 0, "{arguments:?}\n{}\n{}", ran.out, ran.err);
        ran
    }

    fn fails(&self, arguments: &[&str], says: &[&str]) {
        let ran = self.run(arguments);
        assert_eq!(ran.status, 1, "{arguments:?}\n{}\n{}", ran.out, ran.err);
        for words in says {
            assert!(ran.err.contains(words), "{arguments:?} should say {words:?}:\n{}", ran.err);
        }
    }
}

/// Questions of every table, through every way of reading it.
const QUESTIONS: &[&str] = &[
    "select count(*), sum(num_steps) from episodes",
    "select episode_id, count(*), sum(case when a then 1 else 0 end), max(left_x), min(pos_y) from steps group by 1 order by 1",
    "select count(*) from steps where pos_z > 1.5 and t < 40",
    "select * from steps where episode_id = 1 order by t limit 5",
    "select e.outcome, max(s.pos_x) from steps s join episodes e using (episode_id) group by 1 order by 1",
    "select episode_id, t, length(encode(image['bytes'], 'hex')) from frames where t < 3 order by 1, 2",
];

fn record(house: &House, name: &str, frames: &str, episodes: &str) {
    house.ok(&["record", name, "--episodes", episodes, "--frames", frames, "--seed", "3", "-q"]);
}

#[test]
fn a_dataset_in_a_bucket_answers_as_a_folder_does() {
    let (house, server) = (House::new(), S3Server::start());
    record(&house, "play", "jpeg", "4");
    server.put_folder(&house.path("play"), "some/play");
    let (client, url) = (Client::of(&house, &server), server.url("some/play"));
    for question in QUESTIONS {
        let here = house.ok(&["sql", "--dataset", "play", question, "--format", "csv"]).out;
        let there = client.ok(&["sql", "--dataset", &url, question, "--format", "csv"]).out;
        assert!(here.lines().count() > 1, "{question}: {here}");
        assert_eq!(there, here, "{question}");
    }
    // Both at once, under names.
    let question =
        "select count(*) as n from here.steps h join there.steps t using (episode_id, t) where h.pos_x = t.pos_x";
    let there = format!("there={url}");
    let both = client.ok(&["sql", "--dataset", "here=play", "--dataset", &there, question, "--format", "csv"]).out;
    let steps = house.ok(&["sql", "--dataset", "play", "select count(*) as n from steps", "--format", "csv"]).out;
    assert_eq!(both, steps);

    let stats = |ran: Ran| ran.out.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(stats(client.ok(&["stats", &url])), stats(house.ok(&["stats", "play"])));
    assert_eq!(client.ok(&["verify", &url, "--deep"]).out, house.ok(&["verify", "play", "--deep"]).out);
    client.ok(&["play", &url, "2", "--out", "there.html"]);
    house.ok(&["play", "play", "2", "--out", "here.html"]);
    assert!(fs::read(house.path("there.html")).unwrap() == fs::read(house.path("here.html")).unwrap());
}

#[test]
fn a_question_costs_few_requests() {
    let (house, server) = (House::new(), S3Server::start());
    record(&house, "play", "none", "40");
    server.put_folder(&house.path("play"), "play");
    let (client, url) = (Client::of(&house, &server), server.url("play"));
    let question = "select avg(pos_x), avg(pos_y), sum(cast(a as int)), sum(cast(b as int)), max(right_x) from steps";
    client.ok(&["sql", "--dataset", &url, question]);
    let asked = server.asked();
    // Listings: of parts, of each table's files, of the sidecars. GETs: footers, and the pages of five columns.
    let count = |name: &str| asked.get(name).copied().unwrap_or(0);
    assert!((1..=16).contains(&count("GetObject")), "{asked:?}");
    assert!((1..=10).contains(&count("ListObjectsV2")), "{asked:?}");
    assert_eq!(asked.len(), 2, "{asked:?}");
}

#[test]
fn what_is_wrong_with_a_bucket_is_said_with_the_fix() {
    let (house, server) = (House::new(), S3Server::start());
    record(&house, "play", "none", "2");
    server.put_folder(&house.path("play"), "play");
    let url = server.url("play");
    let client = || Client::of(&house, &server);
    let sql = ["sql", "--dataset", &url, "select count(*) from steps where a"];

    let keys = "AWS_ACCESS_KEY_ID";
    client().with("AWS_SECRET_ACCESS_KEY", Some("wrong")).fails(&sql, &[&url, "refuses the credentials", keys]);
    client().with(keys, Some("nobody")).fails(&sql, &[&url, "refuses the credentials", "AWS_SECRET_ACCESS_KEY"]);
    let none = client().with(keys, None).with("AWS_SECRET_ACCESS_KEY", None);
    none.fails(&sql, &[&url, "no credentials", keys]);
    client().with("AWS_ALLOW_HTTP", None).fails(&sql, &["not encrypted", "AWS_ALLOW_HTTP=true"]);
    let nobody = client().with("AWS_ENDPOINT_URL", Some("http://127.0.0.1:1"));
    nobody.fails(&sql, &[&url, "cannot be reached", "AWS_ENDPOINT_URL"]);
    let elsewhere = |dataset| ["stats", dataset];
    client().fails(&elsewhere("s3://nosuchbucket/play"), &["s3://nosuchbucket/play", "no such bucket", "create it"]);
    client().fails(&elsewhere("s3://gameplay/nothing"), &["s3://gameplay/nothing", "not a dataset"]);
    client().fails(&elsewhere("gs://gameplay/play"), &["`gs://` are not read", "s3://bucket/prefix"]);

    let part = "steps/part-000000000000.parquet";
    let object = server.file(&format!("play/{part}"));
    let named = format!("{url}/{part}");
    let whole = fs::read(&object).unwrap();
    fs::write(&object, &whole[..whole.len() - 100]).unwrap();
    client().fails(&sql, &[&named, "playhouse verify"]);
    client().fails(&["verify", &url], &["1 problem"]);
    fs::remove_file(&object).unwrap();
    client().fails(&sql, &[&named, "missing", "restore it"]);
    fs::write(&object, &whole).unwrap();
    client().ok(&sql);
    assert!(Path::new(&object).is_file());
}

/// Every file of a folder by its place in it.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for table in ["episodes", "steps", "frames"] {
        for entry in fs::read_dir(folder.join(table)).into_iter().flatten() {
            let path = entry.unwrap().path();
            found.push((format!("{table}/{}", path.file_name().unwrap().display()), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_copy_is_the_same_files_and_goes_on_where_it_was() {
    let (house, server) = (House::new(), S3Server::start());
    // Enough frames for uploads in pieces, in more than one part.
    record(&house, "play", "raw", "3");
    record(&house, "play", "raw", "5");
    let (client, url) = (Client::of(&house, &server), server.url("copied"));
    let ran = client.ok(&["copy", "play", &url]);
    assert!(ran.out.contains("copied 2 parts"), "{}", ran.out);
    assert!(server.asked().contains_key("UploadPart"));
    client.ok(&["copy", &url, "back"]);
    let original = contents(&house.path("play"));
    assert_eq!(original.len(), 6);
    assert!(contents(&house.path("back")) == original);
    assert!(contents(&server.file("copied")) == original);

    // What a killed copy may leave: no episodes yet, and its claim.
    let index = "episodes/part-000000000003.parquet";
    fs::remove_file(server.file(&format!("copied/{index}"))).unwrap();
    client.fails(&["verify", &url], &["2 problems", "--repair"]);
    let ran = client.ok(&["copy", "play", &url]);
    assert!(ran.out.contains("copied 1 parts") && ran.out.contains("1 were there already"), "{}", ran.out);
    assert!(contents(&server.file("copied")) == original);

    house.ok(&["record", "other", "--episodes", "3", "--frames", "raw", "--seed", "4", "-q"]);
    client.fails(&["copy", "other", &url], &[&url, "holds other episodes"]);
    assert!(contents(&server.file("copied")) == original);
}

#[test]
fn gameplay_is_recorded_into_a_bucket() {
    let (house, server) = (House::new(), S3Server::start());
    let (client, url) = (Client::of(&house, &server), server.url("made"));
    let recording = ["record", &url, "--episodes", "4", "--frames", "jpeg", "--seed", "3", "-q"];
    // Somebody else was killed at it.
    let claim = server.file("made/episodes/.tmp-part-000000000000");
    fs::create_dir_all(claim.parent().unwrap()).unwrap();
    fs::write(&claim, "of other episodes").unwrap();
    client.fails(&recording, &[&url, "another writer", "playhouse verify --repair"]);
    client.ok(&["verify", &url, "--repair"]);
    let ran = client.ok(&recording);
    assert!(ran.out.contains("4 episodes"), "{}", ran.out);
    assert!(!claim.exists());
    record(&house, "play", "jpeg", "4");
    assert!(contents(&server.file("made")) == contents(&house.path("play")));
    // Once more: everything is there.
    client.ok(&recording);
    assert!(client.ok(&["verify", &url, "--deep"]).out.contains("parts 1, episodes 4"));
}
