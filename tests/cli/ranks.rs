//! One run by several processes, started as torchrun does: by environment variables.

use std::net::TcpListener;
use std::process::{Child, Stdio};

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
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = |rank: usize| {
        let mut command = house.command(arguments);
        command.env("RANK", rank.to_string()).env("LOCAL_RANK", rank.to_string()).env("WORLD_SIZE", size.to_string());
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    (0..size).map(start).collect()
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

#[test]
fn a_lost_rank_is_named_and_the_run_goes_on_alone() {
    let house = House::new();
    house.write("shared.toml", &SHARED.replace("steps = 6", "steps = 4000"));
    let mut ranks = launch(&house, &["run", "shared.toml", "--select", "+pretrain", "--threads", "1"], 2);
    let output = || house.outputs("shared", "pretrain").pop();
    while !output().is_some_and(|dir| dir.join("checkpoint.safetensors").exists()) {
        assert!(ranks[0].try_wait().unwrap().is_none(), "it ended before the first checkpoint");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    ranks[1].kill().unwrap();
    let ranks = ended(ranks);
    assert_eq!(ranks[0].status, 1);
    assert!(ranks[0].err.contains("training on several ranks: rank 1 is lost"), "{}", ranks[0].err);
    let plan = house.ok(&["plan", "shared.toml", "--select", "+pretrain"]).out;
    assert!(plan.contains("resumes"), "{plan}");
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
}
