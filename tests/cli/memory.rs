//! `--memory-limit`: what a query takes, measured on the process that runs it.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::house::{House, Ran};

const MIB: u64 = 1 << 20;

/// Beside its limit, what a query may take and the program itself does: 256 MiB of batches in flight and buffers of files, and
/// the code, which a debug build has more of than any other.
const REST: u64 = 384 * MIB;

/// So many hours of play; an hour is 36,000 steps.
fn recorded(hours: &str) -> House {
    let house = House::new();
    house.ok(&["record", "play", "--hours", hours, "--frames", "none", "--quiet"]);
    house
}

fn start(house: &House, limit: &str, arguments: &[&str]) -> Child {
    let all = [&["sql", "--dataset", "play", "--memory-limit", limit], arguments].concat();
    house.command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the end, and looks at the peak of its resident memory until then, in bytes.
fn watch(child: Child) -> (Ran, u64) {
    let status = format!("/proc/{}/status", child.id());
    let waiting = std::thread::spawn(move || child.wait_with_output().unwrap());
    let mut peak = 0;
    while !waiting.is_finished() {
        if let Some(now) = std::fs::read_to_string(&status).ok().and_then(|text| high_water(&text)) {
            peak = now;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(peak > 0, "the system says what a process takes");
    (Ran::of(waiting.join().unwrap()), peak)
}

fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// Runs, and must stay within its limit and what is allowed beside it.
fn bounded(house: &House, limit: u64, arguments: &[&str]) -> Ran {
    let (ran, peak) = watch(start(house, &format!("{limit}MiB"), arguments));
    let most = limit * MIB + REST;
    assert!(peak <= most, "{arguments:?} took {} MiB of {}\n{}", peak / MIB, most / MIB, ran.err);
    ran
}

/// Every question of the benchmark, in 4 MiB: a share of the data that is 4 GiB for ten thousand hours.
#[test]
fn the_questions_of_the_benchmark_fit_a_small_limit() {
    let house = recorded("10");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/bench/queries");
    let mut texts: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    texts.retain(|path| path.extension().is_some_and(|end| end == "sql"));
    texts.sort();
    assert!(texts.len() >= 24, "{} questions in {}", texts.len(), folder.display());
    for path in texts {
        // The tables that the questions were written for number their players.
        let sql = std::fs::read_to_string(&path).unwrap();
        let sql =
            sql.replace("player_id between 100 and 200", "player between 'a' and 'z'").replace("player_id", "player");
        house.write("question.sql", &sql);
        let ran = bounded(&house, 4, &["-f", "question.sql", "--format", "csv"]);
        assert_eq!(ran.status, 0, "{}: {}", path.display(), ran.err);
    }
}

#[test]
fn what_does_not_fit_goes_to_temporary_files() {
    let house = recorded("10");
    let lines = |limit, sql: &str| {
        let ran = bounded(&house, limit, &[sql, "--format", "csv"]);
        assert_eq!(ran.status, 0, "{sql}: {}", ran.err);
        ran.out
    };
    let sorted = "select sum(cast(later as int)) from (select pos_x, lag(pos_x) over (order by pos_x, pos_y, episode_id, t) > \
        pos_x as later from (select * from steps where pos_x is not null))";
    assert_eq!(lines(16, sorted), "sum(later)\n0\n");
    // A group-by over episodes hands out what it holds; a thousand bytes a step are 360 MB in all.
    let lists = "select sum(cardinality(v)) > 350000 as all_steps from (select episode_id, array_agg(repeat('x', 1000)) as v from \
        steps group by episode_id)";
    assert_eq!(lines(32, lists), "all_steps\ntrue\n");
    let groups = "select count(*) > 700000 as many from (select p.episode_id, p.t, q.k, count(*) from steps p cross join \
        (values (1), (2)) as q(k) group by 1, 2, 3)";
    assert_eq!(lines(32, groups), "many\ntrue\n");
    // What is spilled is bounded too, and nothing of it stays.
    std::fs::create_dir(house.path("tmp")).unwrap();
    let arguments = ["sql", "--dataset", "play", "--memory-limit", "16MiB", "--spill-limit", "1MB", sorted];
    let ran = Ran::of(house.command(&arguments).env("TMPDIR", house.path("tmp")).output().unwrap());
    assert_eq!(ran.status, 1, "{}", ran.err);
    for words in ["more room for temporary files in", "tmp", "--spill-limit", "TMPDIR"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    assert_eq!(std::fs::read_dir(house.path("tmp")).unwrap().count(), 0, "temporary files are removed");
}

#[test]
fn hostile_questions_end_with_the_limit_and_what_to_do() {
    let house = recorded("2");
    for sql in [
        "select * from steps p cross join steps q",
        "select array_agg(p.pos_x * q.pos_x) from steps p cross join steps q",
        "with recursive r(s) as (select 'x' union all select s || s from r) select max(length(s)) from r",
        "with recursive r(n) as (select 1 union all select n from r cross join (values (1), (2)) as two) select count(*) from r",
        "select length(repeat('x', 2000000000))",
        "select max(length(repeat('x', t * 1000))) from steps",
        "select cardinality(range(0, 100000000000))",
        "select cardinality(generate_series(t, t + 100000)) from steps",
        "select rpad('x', 2000000000, 'é')",
        "select array_repeat(1, 4000000000)",
        "select array_resize(make_array(1), 4000000000, 1)",
    ] {
        let ran = bounded(&house, 64, &[sql]);
        assert_eq!(ran.status, 1, "{sql}: {}", ran.out);
        for words in ["memory limit of 64.0 MiB", "raise the limit (--memory-limit)"] {
            assert!(ran.err.contains(words), "{sql} should say {words:?}: {}", ran.err);
        }
    }
    // Within the limit, they are what they ever were.
    let ran =
        bounded(&house, 64, &["select length(repeat('xy', 5)) + cardinality(range(0, 10, 3)) as n", "--format", "csv"]);
    assert_eq!(ran.out, "n\n14\n", "{}", ran.err);
}

#[test]
fn a_query_without_end_ends_on_ctrl_c() {
    let house = recorded("2");
    for sql in [
        "with recursive r(n) as (select 1 union all select n + 1 from r) select count(*) from r",
        "select sum(p.t * q.t * r.t) from steps p cross join steps q cross join steps r",
        "select max(array_to_string(make_array(p.t, q.t), repeat('x', 100))) from steps p cross join steps q",
    ] {
        let child = start(&house, "64MiB", &[sql]);
        let (process, began) = (child.id().to_string(), Instant::now());
        let stopping = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(3));
            std::process::Command::new("kill").args(["-INT", &process]).status().unwrap()
        });
        let (ran, peak) = watch(child);
        assert!(stopping.join().unwrap().success());
        assert_eq!(ran.status, 130, "{sql}: {}", ran.err);
        assert!(began.elapsed() < Duration::from_secs(30), "{sql}: {:?}", began.elapsed());
        assert!(peak <= 64 * MIB + REST, "{sql}: {} MiB", peak / MIB);
    }
}
