//! Every kind of bad input: one clear message that names the place and the fix, the right status, no panic, nothing
//! lost.

use super::house::House;

fn query(name: &str, sql: &str) -> String {
    format!("[[stage]]\nname = \"{name}\"\nkind = \"query\"\nsql = \"{sql}\"\n")
}

/// A pipeline of these stages.
fn pipeline(house: &House, stages: &[String]) {
    house.write("p.toml", &format!("name = \"p\"\n[parameters]\nn = 1\n{}", stages.concat()));
}

#[test]
fn a_circle_is_walked_through() {
    let house = House::new();
    pipeline(&house, &[query("a", "select * from c"), query("b", "select * from a"), query("c", "select * from b")]);
    house.fails(1, &["plan", "p.toml"], &["p.toml:", "in a circle: a -> c -> b -> a"]);
    assert!(!house.path(".playhouse").exists(), "planning writes nothing");
}

#[test]
fn misspelt_stages_names_and_keys_find_the_nearest() {
    let house = House::new();
    pipeline(&house, &[query("demos", "select 1 as x"), query("b", "select * from demso")]);
    house.fails(1, &["plan", "p.toml"], &["p.toml:9: stage `b`", "`demso`", "did you mean `demos`?"]);
    pipeline(&house, &[query("demos", "select $m as x")]);
    house.fails(1, &["plan", "p.toml"], &["needs a value for $m", "did you mean `n`?"]);
    pipeline(&house, &[query("a", "curaton")]);
    house.fails(1, &["plan", "p.toml"], &["no SQL is called `curaton`", "did you mean `curation`?"]);
    pipeline(&house, &[query("a", "select 1 as x") + "settings = { lenght = 3 }\n"]);
    house.fails(1, &["plan", "p.toml"], &["the setting `lenght` is not used by its SQL"]);
    pipeline(&house, &["[[stage]]\nname = \"a\"\nkind = \"recrod\"\n".to_owned()]);
    house.fails(1, &["plan", "p.toml"], &["p.toml:6:", "unknown kind `recrod`", "did you mean `record`?"]);
    let wrong = "[[stage]]\nname = \"a\"\nkind = \"record\"\nsettings = { map = \"skygarden\", episods = 3 }\n";
    pipeline(&house, &[wrong.to_owned()]);
    house.fails(1, &["plan", "p.toml"], &["episods", "did you mean `episodes`?"]);
    pipeline(&house, &[wrong.replace("episods", "episodes").replace("skygarden", "skygardn")]);
    house.fails(1, &["plan", "p.toml"], &["skygardn", "skygarden"]);
    let trains = "[[stage]]\nname = \"t\"\nkind = \"pretrain\"\nsettings = { data = \"plya\", windows = \"w\", model = \"tiny\" }\n";
    pipeline(&house, &[query("play", "select 1 as x"), query("w", "select 1 as x"), trains.to_owned()]);
    house.fails(1, &["plan", "p.toml"], &["stage `t`", "no stage is called `plya`", "did you mean `play`?"]);
}

#[test]
fn wrong_sql_is_found_when_planning_or_running() {
    let house = House::new();
    pipeline(&house, &[query("a", "select 1 as x form t")]);
    house.fails(1, &["plan", "p.toml"], &["p.toml:5: stage `a`", "syntax error"]);
    pipeline(&house, &[query("a", "drop table x")]);
    house.fails(1, &["plan", "p.toml"], &["DROP", "only SELECT"]);
    let record = "[[stage]]\nname = \"play\"\nkind = \"record\"\nsettings = { map = \"skygarden\", episodes = 3 }\n";
    pipeline(
        &house,
        &[
            record.to_owned(),
            query("a", "select num_steps as amount from play.episodes"),
            query("b", "select amuont from a"),
        ],
    );
    house.fails(1, &["run", "p.toml"], &["nothing was started", "stage `b`", "amuont", "amount"]);
    assert!(house.outputs("p", "play").is_empty(), "found before anything is recorded");
    pipeline(&house, &[query("a", "select 1 as amount")]);
    house.ok(&["run", "p.toml"]);
    house.fails(1, &["sql", "select amuont from a"], &["amuont", "amount"]);
    house.fails(1, &["sql", "select * from aa"], &["no table named aa", "did you mean"]);
    house.fails(1, &["sql", "delete from a"], &["only SELECT"]);
    house.fails(1, &["sql", "select $x"], &["$x"]);
    house.fails(1, &["sql", "select 1", "--param", "x=1"], &["$x"]);
}

#[test]
fn broken_toml_points_at_the_line() {
    let house = House::new();
    house.write("p.toml", "name = \"p\"\n[[stage]]\nname = \"a\nkind = 3\n");
    house.fails(1, &["plan", "p.toml"], &["p.toml:3:"]);
    house.write("p.toml", "name = \"p\"\n[[stage]]\nname = \"a\"\nkind = 3\n");
    house.fails(1, &["plan", "p.toml"], &["p.toml:4:", "expected a string"]);
    house.write("p.toml", "");
    house.fails(1, &["plan", "p.toml"], &["p.toml", "name"]);
}

#[test]
fn what_is_typed_wrong_is_a_usage_error() {
    let house = House::new();
    pipeline(&house, &[query("a", "select $n as x")]);
    house.fails(2, &["plan", "jumpad"], &["no pipeline is called `jumpad`", "did you mean `jumppad`?"]);
    house.fails(2, &["plan", "p.toml", "--set", "m=2"], &["no parameter `m`", "did you mean `n`?"]);
    house.fails(2, &["plan", "p.toml", "--set", "n=two"], &["n=two", "integer"]);
    house.fails(2, &["run", "p.toml", "--select", "aa"], &["no stage is called `aa`", "did you mean `a`?"]);
    house.fails(2, &["sql", "select 1", "--format", "parquet"], &["--output"]);
    house.fails(2, &["sql", "select 1", "--frmat", "csv"], &["--frmat"]);
    house.fails(2, &["sql", "select $n", "--param", "n=1", "--param", "n=2"], &["--param n is given twice"]);
    let twice = ["sql", "select 1", "--dataset", "a=one", "--dataset", "a=two"];
    house.fails(2, &twice, &["--dataset two", "another dataset called a"]);
    house.fails(
        2,
        &["sql", "select a.x, b.x from (select 1 as x) a, (select 2 as x) b", "--format", "json"],
        &["two columns are called `x`", "as"],
    );
    house.fails(2, &["stats", "nowhere"], &["`nowhere` is neither a path nor a stage"]);
    house.fails(2, &["run", "--threads", "0"], &["--threads"]);
    house.fails(2, &["run", "--memory-limit", "2parsec"], &["2parsec"]);
    house.fails(2, &["teleport"], &["teleport"]);
    house.ok(&["run", "p.toml"]);
    house.fails(2, &["sql", "select 1", "--pipeline", "q"], &["--pipeline q", "no finished output"]);
    house.fails(1, &["plan", "nowhere.toml"], &["cannot read the pipeline nowhere.toml"]);
}

#[test]
fn damaged_and_foreign_parquet_is_named() {
    let house = House::new();
    house.ok(&["record", "play", "--episodes", "3", "--frames", "none"]);
    let parts = |table: &str| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(house.path("play").join(table)).unwrap().map(|e| e.unwrap().path()).collect()
    };
    let steps = &parts("steps")[0];
    let whole = std::fs::read(steps).unwrap();
    std::fs::write(steps, &whole[..whole.len() - 100]).unwrap();
    let file = steps.file_name().unwrap().to_str().unwrap().to_owned();
    let ran = house.fails(1, &["verify", "play"], &["1 problem"]);
    assert!(ran.out.contains(&file) && ran.out.contains("PH003"), "{}", ran.out);
    house.fails(1, &["sql", "--dataset", "play", "select count(*) from steps"], &[&file]);
    std::fs::write(steps, b"not parquet at all").unwrap();
    house.fails(1, &["sql", "--dataset", "play", "select count(*) from steps"], &[&file]);
    std::fs::write(steps, &whole).unwrap();
    house.ok(&["verify", "play"]);
    house.fails(1, &["sql", "--dataset", "nothing", "select 1"], &["nothing"]);
    house.fails(1, &["stats", "./nothing"], &["nothing"]);
}

#[test]
fn a_home_that_cannot_be_made_is_named() {
    let house = House::new();
    pipeline(&house, &[query("a", "select 1 as x")]);
    // A file where the folder should be: root may write anywhere, so that permissions would prove nothing here.
    house.write("taken", "");
    house.fails(1, &["run", "p.toml", "--home", "taken"], &["cannot create the home folder taken", "--home"]);
    house.fails(1, &["run", "p.toml", "--home", "/proc/playhouse"], &["/proc/playhouse", "--home"]);
    house.fails(1, &["record", "/proc/play", "--episodes", "1"], &["/proc/play"]);
}

#[test]
fn a_folder_is_no_model() {
    let house = House::new();
    std::fs::create_dir(house.path("base")).unwrap();
    house.fails(2, &["evaluate", "base"], &["base is a folder, and a model file is wanted\n"]);
    house.write("base/model.safetensors", "not a model");
    house.fails(2, &["evaluate", "base"], &["a model file is wanted, such as base/model.safetensors\n"]);
}

#[test]
fn a_dataset_is_not_written_into_itself() {
    let house = House::new();
    house.ok(&["record", "play", "--episodes", "1"]);
    let inside = ["transcode", "play", "play/sub", "--codec", "fast"];
    house.fails(1, &inside, &["play/sub lies in play", "a folder outside of it"]);
    assert!(!house.path("play/sub").exists());
}

#[test]
fn imports_of_other_things_say_what_they_wanted() {
    let house = House::new();
    house.write("clip.npz", "not an archive");
    house.fails(1, &["import", "bleeding-edge", "clip.npz", "human"], &["clip.npz"]);
    house.fails(1, &["import", "bleeding-edge", "missing.npz", "human"], &["missing.npz"]);
    house.fails(1, &["import", "bleding-edge", "clip.npz", "human"], &["bleeding-edge"]);
    house.fails(1, &["run", "human", "--set", "source=missing.npz"], &["missing.npz"]);
}

#[test]
fn a_value_is_bound_and_never_pasted() {
    let house = House::new();
    let pads = |sql: &str, expect: &str| {
        let pads = query("pads", "select 'left' as pad union all select 'right' as pad");
        let stages = format!("{pads}{}expect = [{expect}]\n", query("a", sql));
        house.write("p.toml", &format!("name = \"p\"\n[parameters]\npad = \"left\"\n{stages}"));
    };
    let attack = ["run", "p.toml", "--set", "pad=x' or '1'='1"];
    pads("select * from pads where pad = '${pad}'", "");
    house.fails(1, &attack, &["stage `a`: its SQL has `${pad}` in it", "write `$pad`, it is bound"]);
    pads("select * from pads where pad = $pad", "\"select * from a where pad <> $pad\"");
    house.ok(&attack);
    assert_eq!(house.rows("select count(*) as n from a")[0]["n"], 0);
    house.ok(&["run", "p.toml"]);
    assert_eq!(house.rows("select pad from a")[0]["pad"], "left");
    pads("select * from pads", "\"select * from a where pad = '${pad}'\"");
    house.fails(1, &attack, &["stage `a`: its expectation has `${pad}` in it", "write `$pad`, it is bound"]);
}

#[test]
fn wrong_expectations_are_found_before_anything_is_recorded() {
    let house = House::new();
    let record = "[[stage]]\nname = \"play\"\nkind = \"record\"\nsettings = { map = \"skygarden\", episodes = 3 }\n";
    let expecting = |sql: &str| {
        let a = query("a", "select num_steps as amount from play.episodes") + &format!("expect = [\"{sql}\"]\n");
        pipeline(&house, &[record.to_owned(), a]);
    };
    expecting("select amuont from a");
    house.fails(1, &["run", "p.toml"], &["nothing was started", "stage `a`: expectation", "amuont", "amount"]);
    assert!(house.outputs("p", "play").is_empty());
    expecting("select * from paly.episodes where num_steps < 1");
    house.fails(1, &["plan", "p.toml"], &["its expectation reads `paly.episodes`", "did you mean `play`?"]);
}

#[test]
fn a_pipeline_cannot_take_a_name_that_the_home_uses() {
    let house = House::new();
    for name in ["lock", "runs", ".tmp-removed-1"] {
        house.write("p.toml", &format!("name = \"{name}\"\n{}", query("a", "select 1 as x")));
        house.fails(1, &["run", "p.toml"], &["p.toml:1:", "cannot name a pipeline"]);
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let house = House::new();
    let mut child = house.start(&["sql", "select unnest(range(0, 2000000)) as n", "--format", "csv"]);
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
