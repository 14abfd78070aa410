//! A scheduler and executors as processes of their own: the same answers, also when one of them is killed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::house::{House, Ran};
use crate::s3_server::S3Server;

/// Processes that end with the test.
struct Cluster {
    scheduler: String,
    processes: Vec<Child>,
}

/// Variables of a process.
type Settings<'a> = &'a [(&'static str, String)];

impl Cluster {
    /// A scheduler, and two executors of one slot each.
    fn start(house: &House) -> Self {
        Self::start_with(house, &[])
    }

    /// The same; these settings are the executors' alone.
    fn start_with(house: &House, settings: Settings) -> Self {
        let mut cluster = Self { scheduler: String::new(), processes: Vec::new() };
        let said = cluster.add(house, &["cluster", "scheduler", "--bind", "127.0.0.1:0", "--patience", "3"], &[]);
        cluster.scheduler = said.strip_prefix("scheduler at ").unwrap().to_owned();
        for _ in 0..2 {
            let scheduler = cluster.scheduler.clone();
            let executor = ["cluster", "executor", "--scheduler", &scheduler, "--threads", "1"];
            let said = cluster.add(house, &executor, settings);
            assert!(said.starts_with("executor at 127.0.0.1:") && said.ends_with(", 1 slots"), "{said}");
        }
        cluster
    }

    /// Starts a process, and returns the line that it says first.
    fn add(&mut self, house: &House, arguments: &[&str], settings: Settings) -> String {
        let mut command = house.command(arguments);
        command.envs(settings.iter().cloned()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
        self.processes.push(process);
        said.trim_end().to_owned()
    }

    /// `kill -9`
    fn kill(&mut self, executor: usize) {
        self.processes[1 + executor].kill().unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // One that was killed before is gone.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A dataset `play`, and a query on it that takes some seconds.
fn play() -> (House, &'static str) {
    let house = House::new();
    house.ok(&["record", "play", "--episodes", "120", "--frames", "none"]);
    let sql = "select a.left_x, count(*) as n, sum(b.num_steps) as t from play.steps a, play.episodes b, play.episodes c \
               where a.t <= b.num_steps + c.num_steps and c.episode_id < 16 group by 1 order by 1";
    (house, sql)
}

fn output(mut child: Child) -> (String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    child.wait().unwrap();
    (out, err)
}

#[test]
fn a_killed_executor_loses_no_rows() {
    let (house, sql) = play();
    let dataset = ["--dataset", "play=play", "--format", "csv"];
    let alone = house.ok(&[&["sql", sql][..], &dataset].concat()).out;
    let mut cluster = Cluster::start(&house);
    let scheduler = cluster.scheduler.clone();
    let asked = [&["sql", sql, "--cluster", &scheduler][..], &dataset].concat();
    // The first one also starts what is used again.
    assert_eq!(house.ok(&asked).out, alone);
    let begun = Instant::now();
    assert_eq!(house.ok(&asked).out, alone);
    let undisturbed = begun.elapsed();
    let mut query = house.start(&asked);
    // Tasks run on both by now, and some of their rows lie there, on a fast machine and on a slow one.
    std::thread::sleep(undisturbed / 2);
    assert!(query.try_wait().unwrap().is_none(), "the query was over before an executor could be killed");
    cluster.kill(0);
    let (out, err) = output(query);
    assert_eq!(out, alone, "{err}");
    // The one that is left answers alone.
    assert_eq!(house.ok(&asked).out, alone);
}

#[test]
fn stages_have_the_same_files_and_fingerprints() {
    const PIPELINE: &str = r#"
name = "small"
description = "A recording, a query by episode and one over all."
[[stage]]
name = "play"
kind = "record"
settings = { map = "skygarden", persona = "mixed", episodes = 4, frames = "none" }
[[stage]]
name = "moves"
kind = "query"
sql = "select episode_id, avg(pos_x) as x, presses(a, t) as a from play.steps group by episode_id order by episode_id"
[[stage]]
name = "total"
kind = "query"
sql = "select avg(x) as x, sum(a) as a from moves"
expect = ["select * from total where a < 0"]
"#;
    let house = House::new();
    house.write("small.toml", PIPELINE);
    house.ok(&["run", "small.toml", "--home", "alone"]);
    let cluster = Cluster::start(&house);
    // Executors are sent where files lie, however that was written.
    house.ok(&["run", "small.toml", "--home", "alone/../.playhouse", "--cluster", &cluster.scheduler]);
    let plan = house.ok(&["plan", "small.toml"]).out;
    assert!(plan.contains("3 stages: 3 cached"), "{plan}");
    for stage in ["moves", "total"] {
        let there = &house.outputs("small", stage)[0];
        let here = house.path("alone/small").join(stage).join(there.file_name().unwrap());
        let table = |folder: &std::path::Path| std::fs::read(folder.join("table.parquet")).unwrap();
        assert_eq!(table(there), table(&here), "{stage}");
    }
}

#[test]
fn a_dataset_in_a_bucket_is_read_by_the_executors() {
    let (house, server) = (House::new(), S3Server::start());
    house.ok(&["record", "play", "--episodes", "6", "--frames", "jpeg", "--seed", "3", "-q"]);
    server.put_folder(&house.path("play"), "some/play");
    let url = server.url("some/play");
    let ask = |sql: &str, cluster: &Cluster| {
        let arguments = ["sql", sql, "--dataset", &url, "--cluster", &cluster.scheduler, "--format", "csv"];
        Ran::of(house.command(&arguments).envs(server.environment()).output().unwrap())
    };
    let cluster = Cluster::start_with(&house, &server.environment());
    for sql in [
        // By the index of episodes, by the statistics of pages, and tables without an index.
        "select left_x, count(*) as n, sum(t) as t from steps where a or b group by left_x order by left_x",
        "select count(*) as n from steps where pos_z > 1.5 and t < 40",
        "select outcome, count(*) as n from episodes group by outcome order by outcome",
        "select outcome, sum(length(encode(image['bytes'], 'hex'))) as digits from frames join episodes \
         using (episode_id) where t < 4 group by outcome order by outcome",
    ] {
        let here = house.ok(&["sql", sql, "--dataset", "play", "--format", "csv"]).out;
        server.asked();
        let there = ask(sql, &cluster);
        assert_eq!(there.out, here, "{sql}\n{}", there.err);
        assert!(server.asked()["GetObject"] > 0);
    }
    // Executors that may not read it say so.
    let mut settings = server.environment().to_vec();
    settings.retain(|(name, _)| !name.contains("KEY"));
    let strangers = Cluster::start_with(&house, &settings);
    for sql in ["select sum(t) from steps", "select sum(num_steps) from episodes where outcome <> 'x'"] {
        let ran = ask(sql, &strangers);
        assert_eq!(ran.status, 1, "{sql}: {}", ran.out);
        for words in ["s3://gameplay", "AWS_ACCESS_KEY_ID"] {
            assert!(ran.err.contains(words), "{sql} should say {words:?}: {}", ran.err);
        }
    }
}

#[test]
fn an_interrupted_query_frees_the_executors() {
    let (house, sql) = play();
    let cluster = Cluster::start(&house);
    let endless = sql.replace("c.episode_id < 8", "c.episode_id < 100000");
    let arguments = ["sql", &endless, "--cluster", &cluster.scheduler, "--dataset", "play=play"];
    let mut query = house.start(&arguments);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(query.try_wait().unwrap().is_none());
    Command::new("kill").args(["-INT", &query.id().to_string()]).status().unwrap();
    assert_eq!(query.wait().unwrap().code(), Some(130));
    let began = Instant::now();
    let count = ["sql", "select count(*) as n from play.episodes", "--format", "csv", "--dataset", "play=play"];
    let ran = house.ok(&[&count[..], &["--cluster", &cluster.scheduler]].concat());
    assert!(ran.out.contains("120"), "{}", ran.out);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn wrong_addresses_are_told() {
    let house = House::new();
    let query = ["sql", "select 1", "--cluster"];
    house.fails(2, &[&query[..], &["scheduler"]].concat(), &["\"scheduler\"", "HOST:PORT"]);
    // Nobody listens at port 1.
    let away = ["no scheduler answers at 127.0.0.1:1", "refused", "playhouse cluster scheduler"];
    house.fails(1, &[&query[..], &["127.0.0.1:1"]].concat(), &away);
    house.fails(1, &["cluster", "executor", "--scheduler", "127.0.0.1:1"], &away);
    house.fails(1, &["run", "jumppad-small", "--cluster", "127.0.0.1:1"], &away);
    house.fails(2, &["cluster", "scheduler", "--bind", "0.0.0.0:0"], &["0.0.0.0:0", "--advertise HOST"]);
    house.fails(2, &["cluster", "scheduler", "--bind", "here"], &["--bind"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    house.fails(1, &["cluster", "scheduler", "--bind", &address], &["cannot listen at", &address]);
}
