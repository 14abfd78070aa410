//! Every command on good input.

use super::house::{House, Ran, read_json};

#[test]
fn help_teaches_and_version_tells() {
    let house = House::new();
    let help = house.ok(&["--help"]).out;
    for command in [
        "plan",
        "run",
        "sql",
        "stats",
        "import",
        "record",
        "transcode",
        "verify",
        "play",
        "evaluate",
        "doctor",
        "clean",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
    assert!(help.contains("Exit status: 0 done, 1 failed, 2 wrong arguments, 130 interrupted"));
    assert!(house.ok(&["run", "--help"]).out.contains("Examples:"));
    assert!(house.ok(&["--version"]).out.starts_with("playhouse "));
}

#[test]
fn built_in_pipelines_are_listed_shown_and_planned() {
    let house = House::new();
    assert!(house.ok(&["definitions"]).out.contains("jumppad-small"));
    assert!(house.ok(&["definitions", "--kinds"]).out.contains("- `perturbation`: turns the camera"));
    house.write("mine.toml", &house.ok(&["definitions", "jumppad"]).out);
    let plan = house.ok(&["plan", "mine.toml"]).out;
    assert!(plan.contains("aligned") && plan.contains("to run"), "{plan}");
    assert_eq!(plan, house.ok(&["plan"]).out, "jumppad is what runs without a name");
    house.ok(&["plan", "jumppad-small", "--set", "target=right", "--select", "+reward"]);
}

#[test]
fn datasets_are_recorded_described_checked_and_played() {
    let house = House::new();
    let said = house.ok(&["record", "play", "--episodes", "5", "--seed", "7"]).out;
    assert!(said.contains("5 episodes"), "{said}");
    let rows = house.ok(&["sql", "--dataset", "play", "select count(*) as n from episodes", "--format", "csv"]);
    assert_eq!(rows.out, "n\n5\n");
    let named = [
        "sql",
        "--dataset",
        "a=play",
        "select max(t) + 1 as n, min(t) as z from a.steps where episode_id = $e",
        "--param",
        "e=0",
        "--format",
        "json",
    ];
    assert!(house.ok(&named).out.contains("\"z\":0"));
    assert!(house.ok(&["stats", "play"]).out.contains('5'));
    let stats: serde_json::Value = serde_json::from_str(&house.ok(&["stats", "play", "--json"]).out).unwrap();
    assert!(stats.is_object());
    house.ok(&["verify", "play"]);
    let verified: serde_json::Value = serde_json::from_str(&house.ok(&["verify", "play", "--json"]).out).unwrap();
    assert_eq!(verified["episodes"], 5);
    house.ok(&["play", "play", "2", "--out", "e.html"]);
    let page = std::fs::read_to_string(house.path("e.html")).unwrap();
    assert!(page.contains("<html") && !page.contains("http://") && !page.contains("src=\"http"), "self-contained");
    house.fails(1, &["play", "play", "99", "--out", "f.html"], &["99"]);
    assert!(!house.path("f.html").exists());
}

#[test]
fn questions_come_from_anywhere_and_answers_go_anywhere() {
    let house = House::new();
    house.write("q.sql", "select 1 as one, 'a,b' as text");
    assert_eq!(house.ok(&["sql", "-f", "q.sql", "--format", "csv"]).out, "one,text\n1,\"a,b\"\n");
    assert_eq!(house.ok(&["sql", "-c", "select 1 as one", "--format", "json"]).out, "{\"one\":1}\n");
    assert!(house.ok(&["sql", "select 1 as one"]).out.contains("1 row"));
    house.ok(&["sql", "-f", "q.sql", "-o", "out.parquet"]);
    house.ok(&["sql", "-f", "q.sql", "-o", "out.csv"]);
    assert_eq!(std::fs::read_to_string(house.path("out.csv")).unwrap(), "one,text\n1,\"a,b\"\n");
    let mut piped = house.command(&["sql", "--format", "csv"]);
    piped.stdin(std::fs::File::open(house.path("q.sql")).unwrap());
    assert_eq!(String::from_utf8(piped.output().unwrap().stdout).unwrap(), "one,text\n1,\"a,b\"\n");
    assert_eq!(house.ok(&["sql", "select 1 as one where false", "--format", "csv"]).out, "one\n");
    house.ok(&["record", "play", "--episodes", "2", "--frames", "none"]);
    let tables = house.ok(&["sql", "--dataset", "play", "\\d"]).out;
    assert!(tables.contains("episodes") && tables.contains("steps"), "{tables}");
    let columns = house.ok(&["sql", "--dataset", "play", "\\d steps"]).out;
    assert!(columns.contains("left_x") && columns.contains("UInt8"), "{columns}");
    assert!(house.ok(&["sql", "\\df"]).out.contains("split_of"));
    house.fails(2, &["sql", "--dataset", "play", "\\d stps"], &["did you mean `steps`?"]);
}

#[test]
fn outputs_and_books_are_tables() {
    let house = House::new();
    let text =
        |n: u32| format!("name = \"p{n}\"\n[[stage]]\nname = \"t\"\nkind = \"query\"\nsql = \"select {n} as x\"\n");
    for n in [1, 2] {
        house.write("p.toml", &text(n));
        house.ok(&["run", "p.toml"]);
    }
    assert_eq!(house.rows("select x from t")[0]["x"], 2, "the pipeline that ran last");
    let asked = house.ok(&["sql", "select x from t", "--pipeline", "p1", "--format", "csv"]).out;
    assert_eq!(asked, "x\n1\n");
    house.write("p.toml", &text(1));
    house.ok(&["run", "p.toml"]);
    assert_eq!(house.rows("select x from t")[0]["x"], 1, "a run that found everything finished counts too");
    assert_eq!(house.rows("select count(*) as n from runs where status = 'done'")[0]["n"], 3);
    assert_eq!(house.rows("select count(*) as n from metrics")[0]["n"], 0);
    assert_eq!(house.rows("select count(*) as n from checkpoints")[0]["n"], 0);
    let record = read_json(&house.outputs("p1", "t")[0].join("stage.json"));
    assert_eq!((&record["sql"], &record["rows"]["t"]), (&"select 1 as x".into(), &1.into()));
    assert!(record["started_at"].as_str().unwrap() <= record["finished_at"].as_str().unwrap());
}

#[test]
fn doctor_says_what_will_be_used() {
    let house = House::new();
    let said = house.ok(&["doctor"]).out;
    assert!(said.contains("will use") && said.contains("cores"), "{said}");
    let json: serde_json::Value = serde_json::from_str(&house.ok(&["doctor", "--json"]).out).unwrap();
    assert!(json["cores"].as_u64().unwrap() >= 1);
    assert!(!json["backend"].as_str().unwrap().is_empty());
}

/// A library of the name that it should have, and nothing in it of what it should: no reason to crash.
#[test]
#[cfg(target_os = "linux")]
fn libraries_that_are_others_are_said_and_not_used() {
    let house = House::new();
    house.write("p.toml", "name = 'p'\n[[stage]]\nname = 't'\nkind = 'query'\nsql = 'select 1 as x'\n");
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let other = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libm.so"));
    std::fs::create_dir(house.path("lib")).unwrap();
    for name in ["cuda", "nvrtc", "cublasLt", "nccl"] {
        std::fs::copy(other.expect("tests are linked with libm"), house.path(&format!("lib/lib{name}.so"))).unwrap();
    }
    let ran = |arguments: &[&str]| {
        let mut command = house.command(arguments);
        Ran::of(command.env("LD_LIBRARY_PATH", house.path("lib")).output().unwrap())
    };
    let doctor = ran(&["doctor"]);
    assert_eq!((doctor.status, doctor.out.matches("another library of that name").count()), (0, 4), "{}", doctor.out);
    assert_eq!(ran(&["run", "p.toml", "--device", "auto"]).status, 0);
    let refused = ran(&["run", "p.toml", "--device", "cuda"]);
    assert!(refused.status == 1 && refused.err.contains("without cuInit"), "{}", refused.err);
}

/// Where CUDA works there is nothing to refuse: then only `cpu` and `auto` are asked for.
#[test]
fn a_device_can_be_asked_for_and_what_is_missing_is_said() {
    let house = House::new();
    house.write("p.toml", "name = 'p'\n[[stage]]\nname = 't'\nkind = 'query'\nsql = 'select 1 as x'\n");
    let json: serde_json::Value = serde_json::from_str(&house.ok(&["doctor", "--json"]).out).unwrap();
    let missing = json["libraries"].as_array().unwrap().iter().find_map(|library| library["missing"].as_str());
    if let Some(missing) = missing {
        house.fails(1, &["run", "p.toml", "--device", "cuda"], &["--device cuda cannot be had", missing]);
        house.fails(1, &["evaluate", "m.safetensors", "--device", "cuda"], &["--device cuda cannot be had", missing]);
        assert!(json["backend"].as_str().unwrap().contains("CPU"), "{json}");
    }
    house.ok(&["run", "p.toml", "--device", "cpu"]);
    house.ok(&["run", "p.toml", "--device", "auto"]);
    house.fails(2, &["run", "p.toml", "--device", "tpu"], &["tpu", "auto", "cpu", "cuda"]);
}

#[test]
fn quiet_is_quiet() {
    let house = House::new();
    house.write("p.toml", "name = \"p\"\n[[stage]]\nname = \"t\"\nkind = \"query\"\nsql = \"select 1 as x\"\n");
    assert_eq!(house.ok(&["run", "p.toml", "-q"]).err, "");
}

#[test]
fn paths_may_go_up_and_through_links() {
    let house = House::new();
    for folder in ["desk", "far", "far/away"] {
        std::fs::create_dir(house.path(folder)).unwrap();
    }
    house.ok(&["record", "play", "--episodes", "2", "--frames", "none"]);
    // The folder above what a link leads to is not the folder that it lies in.
    std::os::unix::fs::symlink(house.path("far/away"), house.path("desk/link")).unwrap();
    std::os::unix::fs::symlink(house.path("play"), house.path("far/data")).unwrap();
    let within = |arguments: &[&str]| {
        let ran = Ran::of(house.command(arguments).current_dir(house.path("desk")).output().unwrap());
        assert_eq!(ran.status, 0, "{arguments:?}\n{}\n{}", ran.out, ran.err);
        ran.out
    };
    let sql = "select count(*) as steps, count(distinct episode_id) as n from steps join episodes using (episode_id)";
    let asked = |dataset: &str| within(&["sql", "--dataset", dataset, sql, "--format", "csv"]);
    let whole = house.path("desk/../play").display().to_string();
    let plain = asked(&house.path("play").display().to_string());
    assert!(plain.ends_with(",2\n"), "{plain}");
    for dataset in ["../play", "./../desk/../play", &whole, "link/../data", "../far/data"] {
        assert_eq!(asked(dataset), plain, "{dataset}");
        assert!(within(&["stats", dataset]).contains("episodes"), "{dataset}");
    }
    let pipeline = "name = \"k\"\n[[stage]]\nname = \"play\"\nkind = \"record\"\n\
                    settings = { map = \"skygarden\", episodes = 2, frames = \"none\" }\n\
                    [[stage]]\nname = \"n\"\nkind = \"query\"\nsql = \"select count(*) as n from play.steps\"\n\
                    [[stage]]\nname = \"m\"\nkind = \"query\"\nsql = \"select n from n\"\nexpect = [\"select * from m where n < 1\"]\n";
    house.write("desk/k.toml", pipeline);
    assert!(within(&["run", "k.toml", "--home", "../there"]).contains("3 of 3 stages"));
    assert!(within(&["plan", "k.toml", "--home", "../there"]).contains("3 cached"));
    within(&["sql", "--home", "../there", "select * from m, play.steps limit 1"]);
    within(&["sql", "--home", "../there", "select * from m", "-o", "../m.parquet"]);
    assert!(house.path("there/k").exists() && house.path("m.parquet").exists());
}
