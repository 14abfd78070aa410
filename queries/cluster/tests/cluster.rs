//! A scheduler and two executors on this machine: the same rows as without them.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
#![allow(missing_docs, reason = "tests are named after what they show")]

#[path = "../../src/differential/statements.rs"]
mod statements;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use playhouse_queries::{Error, Params, Session, SessionOptions, library};

use playhouse_cluster::{Executor, ExecutorOptions, PARTITIONS, Scheduler, SchedulerOptions, connect};

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Starts a cluster that lasts as long as the test's process, and returns where its scheduler listens.
fn cluster() -> String {
    let options = SchedulerOptions { bind: ANYWHERE, advertise: None, patience: Duration::from_secs(20) };
    let scheduler = Scheduler::bind(&options).unwrap();
    let address = scheduler.address();
    std::thread::spawn(move || scheduler.serve().unwrap());
    for _ in 0..2 {
        let options = ExecutorOptions {
            scheduler: address.clone(),
            bind: ANYWHERE,
            advertise: None,
            slots: 2,
            memory_limit: None,
            work_dir: None,
        };
        std::thread::spawn(move || Executor::new(&options).unwrap().serve().unwrap());
    }
    address
}

fn session(dataset: &Path, cluster: Option<(&str, usize)>, options: SessionOptions) -> Session {
    let cluster = cluster.map(|(address, partitions)| connect(address, partitions).unwrap());
    let options = SessionOptions { threads: Some(2), cluster, ..options };
    let session = Session::new(&options).unwrap();
    session.register_dataset("", dataset).unwrap();
    session
}

/// Sums of floats differ in their last digits with the number of partitions that they are made of.
fn without_last_digits(table: &str) -> String {
    let cell = |text: &str| match text.parse::<f64>() {
        Ok(number) if text.contains('.') => format!("{number:.9e}"),
        _ => text.to_owned(),
    };
    let rows = table.lines().filter(|line| !line.starts_with('+'));
    rows.map(|line| line.split('|').map(|text| cell(text.trim())).collect::<Vec<_>>().join("|") + "\n").collect()
}

fn text(answer: Result<Vec<RecordBatch>, Error>) -> String {
    match answer {
        Ok(rows) => without_last_digits(&Session::format_table(&rows).unwrap()),
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn rows_are_those_without_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    statements::dataset(folder.path());
    let address = cluster();
    let here = session(folder.path(), None, SessionOptions::default());
    let none = Params::new();
    let mut questions: Vec<(String, Params)> =
        statements::statements().into_iter().map(|sql| (sql, none.clone())).collect();
    questions.extend(statements::functions().into_iter().map(|(sql, _)| (sql, none.clone())));
    let tables = BTreeSet::from(["episodes", "steps"]);
    for one in library::texts().into_iter().filter(|one| one.inputs.iter().all(|input| tables.contains(input))) {
        questions.push((one.sql.to_owned(), library::defaults(one.sql)));
    }
    questions.push(("with recursive n as (select 1 as i union all select i + 1 from n where i < 5) select count(*) from n, episodes".into(), none.clone()));
    questions.push((
        "select table_name from information_schema.tables where table_schema = 'public' order by 1".into(),
        none.clone(),
    ));
    let mut differing = Vec::new();
    // Cut into tasks, and whole.
    for partitions in [5, 1] {
        let there = session(folder.path(), Some((&address, partitions)), SessionOptions::default());
        for (sql, params) in &questions {
            let began = Instant::now();
            let (found, expected) = (text(there.query(sql, params)), text(here.query(sql, params)));
            if found != expected {
                let (found, expected): (Vec<_>, Vec<_>) = (found.lines().collect(), expected.lines().collect());
                let row = (0..).find(|row| found.get(*row) != expected.get(*row)).unwrap();
                let (found, expected) = (found.get(row), expected.get(row));
                differing
                    .push(format!("{partitions} partitions: {sql}\n  line {row}: {found:?}, expected {expected:?}"));
            }
            if began.elapsed() > Duration::from_secs(3) {
                eprintln!("{:?}: {sql}", began.elapsed());
            }
        }
    }
    assert!(differing.is_empty(), "{} differ\n{}", differing.len(), differing.join("\n"));
}

#[test]
fn files_are_the_same_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    statements::dataset(folder.path());
    let address = cluster();
    let here = session(folder.path(), None, SessionOptions::default());
    let there = session(folder.path(), Some((&address, 16)), SessionOptions::default());
    let sql = "select map, avg(pos_x) as x, sum(sqrt(pos_x)) as y, stddev(pos_y) as z, count(*) as n \
               from steps join episodes using (episode_id) group by map order by map";
    let write = |session: &Session, name: &str| {
        let path = folder.path().join(name);
        session.write_parquet(sql, &Params::new(), &path).unwrap();
        std::fs::read(path).unwrap()
    };
    assert_eq!(write(&there, "there.parquet"), write(&here, "here.parquet"));
}

#[test]
fn a_query_that_is_stopped_ends_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    statements::dataset(folder.path());
    let address = cluster();
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let options =
        SessionOptions { stop: Some(Arc::new(move || asked.load(Ordering::Relaxed))), ..SessionOptions::default() };
    let there = session(folder.path(), Some((&address, 4)), options);
    // Fifty thousand million triples.
    let sql = "select count(*) from steps a, steps b, steps c where a.t + b.t > c.t";
    let began = Instant::now();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(2));
        stop.store(true, Ordering::Relaxed);
    });
    assert!(matches!(there.query(sql, &Params::new()), Err(Error::Cancelled)));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    stopper.join().unwrap();
    // The slots are free for another.
    drop(there);
    let there = session(folder.path(), Some((&address, 4)), SessionOptions::default());
    let began = Instant::now();
    there.query("select count(*) from steps", &Params::new()).unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn errors_are_the_querys_own() {
    let folder = tempfile::tempdir().unwrap();
    statements::dataset(folder.path());
    let address = cluster();
    for partitions in [4, 1] {
        let there = session(folder.path(), Some((&address, partitions)), SessionOptions::default());
        let error = there.query("select 1 / (t - t) from steps", &Params::new()).unwrap_err();
        assert!(matches!(&error, Error::Sql { message, .. } if message == "Divide by zero error"), "{error:?}");
        // Files that go away between planning and running.
        let other = tempfile::tempdir().unwrap();
        statements::dataset(other.path());
        there.register_dataset("gone", other.path()).unwrap();
        let place = other.path().display().to_string();
        drop(other);
        let error = there.query("select sum(t) from gone.steps", &Params::new()).unwrap_err().to_string();
        assert!(error.contains(&place) && error.contains("not a dataset"), "{error}");
    }
}

#[test]
fn what_runs_here_after_all_has_our_operators() {
    let folder = tempfile::tempdir().unwrap();
    statements::dataset(folder.path());
    let there = session(folder.path(), Some((&cluster(), 1)), SessionOptions::default());
    let sql = "explain analyze select episode_id, count(*) from steps group by episode_id";
    let plan = text(there.query(sql, &Params::new()));
    assert!(plan.contains("RunAggregateExec") && !plan.contains("ClusterExec"), "{plan}");
}

#[test]
fn a_scheduler_that_is_away_is_named() {
    let port = std::net::TcpListener::bind(ANYWHERE).unwrap().local_addr().unwrap().port();
    let error = connect(&format!("127.0.0.1:{port}"), PARTITIONS).unwrap_err().to_string();
    assert!(
        error.contains(&format!("no scheduler answers at 127.0.0.1:{port}")) && error.contains("refused"),
        "{error}"
    );
    for wrong in ["localhost", ":5", "host:", "host:port", "host:70000"] {
        let error = connect(wrong, PARTITIONS).unwrap_err().to_string();
        assert!(error.contains("write HOST:PORT"), "{wrong}: {error}");
    }
}
