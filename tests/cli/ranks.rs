//! One run by several processes, started as torchrun does: by environment variables.

use std::io::Read;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::house::{House, Ran};

/// A policy, then a reward model from it; the reward's score shows what rank 0 does alone.
const SHARED: &str = r#"
name = "shared"
[parameters]
seed = 3
[[stage]]
name = "play"
kind = "record"
settings = { map = "skygarden", persona = "mixed", episodes = 12, frames = "jpeg" }
[[stage]]
name = "windows"
kind = "query"
sql = "windows"
settings = { dataset = "play" }
[[stage]]
name = "pretrain"
kind = "pretrain"
settings = { data = "play", windows = "windows", held_out = "windows", model = "tiny", steps = 6, batch = 3, checkpoint_every = 2, eval_windows = 4 }
[[stage]]
name = "pairs"
kind = "query"
sql = "preference_pairs"
settings = { dataset = "play", target = "left" }
[[stage]]
name = "reward"
kind = "reward"
settings = { data = "play", pairs = "pairs", held_out = "pairs", init = "pretrain", score = ["play"], steps = 3, batch = 2, checkpoint_every = 2, eval_windows = 4 }
"#;

/// Starts `size` ranks of one command, rank 0 first.
fn launch(house: &House, arguments: &[&str], size: usize) -> Vec<Child> {
    let port = port();
    (0..size).map(|rank| start(house, arguments, rank, size, port)).collect()
}

/// A port that was free a moment ago.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(house: &House, arguments: &[&str], rank: usize, size: usize, port: u16) -> Child {
    let mut command = house.command(arguments);
    command.env("RANK", rank.to_string()).env("LOCAL_RANK", rank.to_string()).env("WORLD_SIZE", size.to_string());
    command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until a rank has said this on stderr. What comes after it stays to be read.
fn hear(rank: &mut Child, words: &str) {
    let (stderr, mut heard) = (rank.stderr.as_mut().unwrap(), Vec::new());
    while !heard.ends_with(words.as_bytes()) {
        let mut byte = [0];
        let more = stderr.read(&mut byte).unwrap();
        assert!(more > 0, "it should say {words:?}: {}", String::from_utf8_lossy(&heard));
        heard.push(byte[0]);
    }
}

fn terminate(rank: &Child) {
    assert!(Command::new("kill").args(["-TERM", &rank.id().to_string()]).status().unwrap().success());
}

/// One signal, to a rank that only waits.
fn ends_at_once(rank: Child) {
    let since = Instant::now();
    terminate(&rank);
    let ran = Ran::of(rank.wait_with_output().unwrap());
    assert_eq!(ran.status, 130, "{}", ran.err);
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
}

fn ended(ranks: Vec<Child>) -> Vec<Ran> {
    ranks.into_iter().map(|rank| Ran::of(rank.wait_with_output().unwrap())).collect()
}

const LOSSES: &str = "select stage, step, value from metrics where name = 'train/loss' order by stage, step";

#[test]
fn two_ranks_train_what_one_trains() {
    let (one, two) = (House::new(), House::new());
    for house in [&one, &two] {
        house.write("shared.toml", SHARED);
    }
    one.ok(&["run", "shared.toml", "--threads", "1"]);
    let ranks = ended(launch(&two, &["run", "shared.toml", "--threads", "1"], 2));
    for rank in &ranks {
        assert_eq!(rank.status, 0, "{}\n{}", rank.out, rank.err);
    }
    assert!(ranks[0].out.contains("5 of 5 stages"), "{}", ranks[0].out);
    assert_eq!(ranks[1].out, "", "one speaks for all");
    let (alone, shared) = (one.rows(LOSSES), two.rows(LOSSES));
    assert_eq!((alone.len(), shared.len()), (9, 9));
    for (a, b) in alone.iter().zip(&shared) {
        assert_eq!((&a["stage"], &a["step"]), (&b["stage"], &b["step"]));
        let [a, b] = [a, b].map(|row| row["value"].as_f64().unwrap());
        // Sums in another order, and AdamW's first steps make much of little.
        assert!((a - b).abs() < 1e-3 * a, "{a} {b}");
    }
    // What they made is finished for whoever comes alone.
    let again = two.ok(&["run", "shared.toml", "--threads", "1"]);
    assert!(again.out.contains("nothing to do"), "{}", again.out);
}

#[test]
fn a_rank_that_fails_fails_the_stage_and_says_why() {
    let house = House::new();
    house.write("shared.toml", &SHARED.replace("batch = 3", "batch = 1"));
    let ranks = ended(launch(&house, &["run", "shared.toml", "--threads", "1"], 2));
    assert_eq!((ranks[0].status, ranks[1].status), (1, 0), "{}", ranks[0].err);
    assert!(ranks[0].err.contains("batch is 1, but each of 2 ranks"), "{}", ranks[0].err);
}

/// Two ranks in the middle of a long training, with a checkpoint behind them.
fn training(house: &House) -> Vec<Child> {
    house.write("shared.toml", &SHARED.replace("steps = 6", "steps = 4000"));
    let mut ranks = launch(house, &["run", "shared.toml", "--select", "+pretrain", "--threads", "1"], 2);
    let output = || house.outputs("shared", "pretrain").pop();
    while !output().is_some_and(|dir| dir.join("checkpoint.safetensors").exists()) {
        assert!(ranks[0].try_wait().unwrap().is_none(), "it ended before the first checkpoint");
        std::thread::sleep(Duration::from_millis(20));
    }
    ranks
}

#[test]
fn a_lost_rank_is_named_and_the_run_goes_on_alone() {
    let house = House::new();
    let mut ranks = training(&house);
    ranks[1].kill().unwrap();
    let ranks = ended(ranks);
    assert_eq!(ranks[0].status, 1);
    assert!(ranks[0].err.contains("training on several ranks: rank 1 is lost"), "{}", ranks[0].err);
    let plan = house.ok(&["plan", "shared.toml", "--select", "+pretrain"]).out;
    assert!(plan.contains("resumes"), "{plan}");
}

#[test]
fn a_rank_that_is_stopped_while_it_trains_stops_all_and_says_so() {
    let house = House::new();
    let ranks = training(&house);
    terminate(&ranks[1]);
    let ranks = ended(ranks);
    assert_eq!((ranks[0].status, ranks[1].status), (1, 130), "{}\n{}", ranks[0].err, ranks[1].err);
    assert!(ranks[0].err.contains("FAILED: another rank was stopped, and all with it"), "{}", ranks[0].err);
    let plan = house.ok(&["plan", "shared.toml", "--select", "+pretrain"]).out;
    assert!(plan.contains("resumes"), "{plan}");
}

#[test]
fn a_rank_that_waits_for_others_to_come_ends_at_one_signal() {
    let house = House::new();
    house.write("shared.toml", SHARED);
    for (rank, says) in [(0, "waiting for 2 ranks at 127.0.0.1:"), (1, "rank 1 waits for rank 0 at 127.0.0.1:")] {
        let mut rank = start(&house, &["run", "shared.toml"], rank, 2, port());
        hear(&mut rank, says);
        ends_at_once(rank);
    }
}

/// While rank 0 does what it does alone.
#[test]
fn a_rank_that_waits_for_a_task_ends_at_one_signal() {
    let house = House::new();
    house.write("shared.toml", &SHARED.replace("episodes = 12", "episodes = 4000"));
    let mut ranks = launch(&house, &["run", "shared.toml", "--threads", "1"], 2);
    hear(&mut ranks[0], "[1/5]");
    ends_at_once(ranks.pop().unwrap());
    assert!(ranks[0].try_wait().unwrap().is_none(), "it needs nobody to record");
    ends_at_once(ranks.pop().unwrap());
}

#[test]
fn ranks_that_were_started_differently_are_told() {
    let house = House::new();
    // Rank 0 is still at its first stage when all has been said.
    house.write("shared.toml", &SHARED.replace("episodes = 12", "episodes = 4000"));
    let port = port();
    let mut first = start(&house, &["run", "shared.toml"], 0, 2, port);
    hear(&mut first, "waiting for 2 ranks");
    let other = Ran::of(start(&house, &["run", "shared.toml"], 1, 3, port).wait_with_output().unwrap());
    assert_eq!(other.status, 1);
    let why = "refuses rank 1: it was started with WORLD_SIZE=3, rank 0 with WORLD_SIZE=2";
    assert!(other.err.contains(why), "{}", other.err);
    hear(&mut first, "refused rank 1: it was started with WORLD_SIZE=3");
    // Devices and threads are each rank's own.
    let second = start(&house, &["run", "shared.toml", "--set", "seed=4", "--threads", "1"], 1, 2, port);
    hear(&mut first, "rank 1 was started with another pipeline, --set or --select");
    ends_at_once(second);
    ends_at_once(first);
    let house = House::new();
    house.write("shared.toml", SHARED);
    let (first, second) =
        (["run", "shared.toml", "--select", "play"], ["run", "./shared.toml", "--select", "play", "--threads", "1"]);
    let port = self::port();
    let ranks = ended(vec![start(&house, &first, 0, 2, port), start(&house, &second, 1, 2, port)]);
    assert_eq!((ranks[0].status, ranks[1].status), (0, 0), "{}\n{}", ranks[0].err, ranks[1].err);
    assert!(!ranks[0].err.contains("was started with"), "{}", ranks[0].err);
}

#[test]
fn a_wrong_launch_is_refused() {
    let house = House::new();
    let refused = |variables: &[(&str, &str)], says: &str| {
        let mut command = house.command(&["run"]);
        command.envs(variables.iter().copied());
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.status, 2, "{}", ran.err);
        assert!(ran.err.contains(says), "{}", ran.err);
    };
    refused(&[("RANK", "0")], "RANK is set, but WORLD_SIZE is not");
    refused(&[("RANK", "3"), ("WORLD_SIZE", "2")], "RANK is 3, but must be less than WORLD_SIZE");
    refused(&[("RANK", "0"), ("WORLD_SIZE", "2")], "MASTER_ADDR is not set");
    let far = [("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "65536")];
    refused(&far, "MASTER_PORT is 65536, but must be from 1 to 65535");
}
