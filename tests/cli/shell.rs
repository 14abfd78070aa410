//! `playhouse sql` beyond one question: scripts, pictures, and the prompt.

use std::os::unix::fs::PermissionsExt;

use super::house::House;
use super::terminal::Terminal;

/// It never ends, and what it makes grows.
const ENDLESS: &str = "select sum(p.t * q.t * r.t * s.t) from steps p, steps q, steps r, steps s";

fn recorded(frames: &str) -> House {
    let house = House::new();
    house.ok(&["record", "play", "--episodes", "3", "--frames", frames]);
    house
}

fn start(house: &House, arguments: &[&str]) -> Terminal {
    let state = house.path("state");
    Terminal::start(house, arguments, &[("XDG_STATE_HOME", state.to_str().unwrap())])
}

#[test]
fn a_session_at_a_terminal() {
    let house = recorded("none");
    let mut terminal = start(&house, &["sql", "--dataset", "play"]);
    assert!(terminal.prompt().contains("2 tables"));
    assert!(terminal.line("\\d").contains("episodes  episode_id"));
    terminal.press("select count(*) as n,\r");
    terminal.wait_for("; ends the statement");
    let answer = terminal.line("  max(t) > 0 as longer from steps;");
    assert!(answer.contains("| longer |") && answer.contains("| true   |"), "{answer}");
    assert!(answer.contains("1 row in ") && answer.contains(" s"), "{answer}");
    let wrong = terminal.line("select outcom from episodes;");
    assert!(wrong.contains("outcom") && wrong.contains("line 1, column 8"), "{wrong}");
    let unset = terminal.line("select episode_id from episodes where episode_id = $id;");
    assert!(unset.contains("\\set id VALUE"), "{unset}");
    terminal.line("\\set id 2");
    let completed = terminal.line("select episode_i\t from epis\t where episode_i\t = $id;");
    assert!(completed.contains("| 2          |"), "{completed}");
    terminal.line("\\unset id");
    terminal.press("\\q\r");
    let (status, all) = terminal.end();
    assert_eq!(status, 0, "{all}");

    // The next session knows what was typed: Up calls up \q, \unset, and the statement.
    let mut terminal = start(&house, &["sql", "--dataset", "play"]);
    terminal.prompt();
    terminal.line("\\set id 1");
    let again = terminal.line("\x1b[A\x1b[A\x1b[A\x1b[A");
    assert!(again.contains("| 1          |"), "{again}");
    terminal.press("\x04");
    assert_eq!(terminal.end().0, 0);
    let file = house.path("state/playhouse/history");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let history = std::fs::read_to_string(file).unwrap();
    assert!(history.contains("select count(*) as n,\\n  max(t) > 0 as longer from steps;\n"), "{history}");
}

#[test]
fn ctrl_c_ends_the_statement_and_not_the_session() {
    let house = recorded("none");
    let mut terminal = start(&house, &["sql", "--dataset", "play"]);
    terminal.prompt();
    terminal.press(&format!("{ENDLESS};\r"));
    let line = terminal.wait_for("(Ctrl-C ends it)");
    assert!(line.contains(" s: read "), "the line says how far it is: {line}");
    terminal.press("\x03");
    assert!(terminal.prompt().contains("cancelled"));
    assert!(terminal.line("select 40 + 2 as answer;").contains("| 42     |"));
    // At the prompt it forgets what was typed.
    terminal.press("select nonsense");
    terminal.wait_for("nonsense");
    terminal.press("\x03");
    terminal.prompt();
    assert!(terminal.line("select 41 + 2 as answer;").contains("| 43     |"));
    // Several lines of it, too.
    terminal.press("select 'more\r");
    terminal.wait_for("; ends the statement");
    terminal.press("nonsense");
    terminal.wait_for("onsense");
    terminal.press("\x03");
    terminal.prompt();
    assert!(terminal.line("select 42 + 2 as answer;").contains("| 44     |"));
    terminal.press("\x04");
    let (status, all) = terminal.end();
    assert_eq!(status, 0, "{all}");
}

#[test]
fn the_prompt_edits_lines() {
    let house = recorded("none");
    let mut terminal = start(&house, &["sql", "--dataset", "play"]);
    terminal.prompt();
    // Typed ahead of the answer, in one go.
    terminal.press("select 10 + 1 as n;\rselect 10 + 2 as m;\r");
    assert!(terminal.prompt().contains("| 11 |"));
    assert!(terminal.prompt().contains("| 12 |"));
    // A pasted tab completes nothing, and pasted lines run together, once Enter is pressed.
    terminal.press("\x1b[200~select 10 + 3\tas epi;\r\nselect 10 + 4 as m;\x1b[201~");
    terminal.wait_for("as m;");
    let pasted = terminal.line("");
    assert!(pasted.contains("| 13  |") && pasted.contains("| 14 |"), "{pasted}");
    // Quotes and comments hide the end of a statement.
    terminal.press("select ';' as a, -- not here;\r");
    terminal.wait_for("; ends the statement");
    assert!(terminal.line("10 + 5 as b /* nor here; */;").contains("| ; | 15 |"));
    // One of several candidates is not guessed; they are listed.
    terminal.press("select count(*) from \t");
    terminal.wait_for("episodes  steps");
    terminal.wait_for("select count(*) from ");
    assert!(terminal.line("st\t where t = 0;").contains("| 3        |"));
    terminal.press("\\ti\t");
    terminal.wait_for("\\timing");
    assert!(terminal.line(" off").contains("timing is off"));
    // What a function takes is shown, and is no part of the text.
    terminal.press("select 10 + presses(");
    terminal.wait_for("button, t)");
    assert!(terminal.line("a, t) > 9 as pressed from steps where episode_id = 1;").contains("| pressed |"));
    // The cursor moves by words.
    assert!(terminal.line("select as n;\x1bb\x1bb10 + 7 ").contains("| 17 |"));
    assert!(terminal.line("\x12+ 7\x05").contains("| 17 |"), "what is searched for is run again");
    terminal.press("\x04");
    let (status, all) = terminal.end();
    assert_eq!(status, 0, "{all}");
}

#[test]
fn a_prompt_beside_a_file_draws_on_the_terminal() {
    let house = House::new();
    let state = house.path("state");
    let variables = [("XDG_STATE_HOME", state.to_str().unwrap())];
    let mut terminal = Terminal::start_line(&house, "sql > answers.txt", &variables);
    assert!(terminal.prompt().contains("0 tables"));
    terminal.line("select 40 + 2 as answer;");
    terminal.press("\x04");
    let (status, all) = terminal.end();
    assert_eq!(status, 0, "{all}");
    assert!(!all.contains("| 42     |"), "{all}");
    assert!(std::fs::read_to_string(house.path("answers.txt")).unwrap().contains("| 42     |"));
}

#[test]
fn a_polite_kill_leaves_the_terminal_as_it_was() {
    let house = House::new();
    let mut terminal = start(&house, &["sql"]);
    let process = terminal.process();
    terminal.prompt();
    terminal.press("select 1");
    terminal.wait_for("select 1");
    assert!(std::process::Command::new("kill").arg(process).status().unwrap().success());
    let (status, all) = terminal.end();
    assert_eq!(status, 130, "{all}");
    // The marks around pasted text were switched off again.
    assert!(all.rfind("\x1b[?2004l") > all.rfind("\x1b[?2004h"), "{all}");
}

#[test]
fn one_question_at_a_terminal_shows_progress_and_ends_on_ctrl_c() {
    let house = recorded("none");
    let mut terminal = start(&house, &["sql", "--dataset", "play", ENDLESS]);
    terminal.wait_for("(Ctrl-C ends it)");
    terminal.press("\x03");
    let (status, all) = terminal.end();
    assert_eq!(status, 130, "{all}");
    assert!(all.contains("the query was cancelled"), "{all}");
    // Where nobody looks, nothing is drawn.
    assert_eq!(house.ok(&["sql", "--dataset", "play", "select count(*) from steps p, steps q, steps r"]).err, "");
}

#[test]
fn long_answers_are_cut_and_paged() {
    let house = House::new();
    let state = house.path("taken/state");
    house.write("taken", "");
    let variables = [("XDG_STATE_HOME", state.to_str().unwrap()), ("PAGER", "sed s/^/paged:/")];
    let mut terminal = Terminal::start(&house, &["sql"], &variables);
    assert!(terminal.prompt().contains("no history beyond this session"), "a place that cannot be written is a note");
    let short = terminal.line("select 1 as one;");
    assert!(!short.contains("paged:") && short.contains("| 1   |"), "{short}");
    let long = terminal.line("select unnest(range(0, 5000)) as n;");
    assert!(long.contains("paged:| 999 |") && !long.contains("| 1000 |"), "{long}");
    assert!(long.contains("the first 1000 rows; there are more"), "{long}");
    let wide = terminal.line("select repeat('w', 200) as wide;");
    assert!(wide.contains("paged:| www"), "{wide}");
    terminal.line("\\o all.csv");
    let stored = terminal.line("select unnest(range(0, 5000)) as n;");
    assert!(stored.contains("5000 rows in all.csv"), "{stored}");
    assert_eq!(std::fs::read_to_string(house.path("all.csv")).unwrap().lines().count(), 5001);
    terminal.line("\\format json");
    assert!(terminal.line("select 1 as one;").contains("{\"one\":1}"));
    terminal.press("\\q\r");
    assert_eq!(terminal.end().0, 0);
    // Without a pager the answer just comes, and to a file or a pipe it always does.
    let all = ["sql", "select unnest(range(0, 2000)) as n"];
    let (status, drawn) = Terminal::start(&house, &all, &[("PAGER", "no-such-pager --at-all")]).end();
    assert_eq!((status, drawn.contains("| 1999 |")), (0, true), "{drawn}");
    assert!(house.ok(&all).out.contains("| 1999 |"));
}

#[test]
fn scripts_run_in_order_up_to_the_first_error() {
    let house = House::new();
    house.write("more.sql", "select 'more' as more;");
    house.write("q.sql", "-- Two questions; and a file.\nselect ';' as a;\n\\i more.sql\nselect\n  $n as b");
    let ran = house.ok(&["sql", "-f", "q.sql", "--format", "csv", "--param", "n=7"]);
    assert_eq!(ran.out, "a\n;\nmore\nmore\nb\n7\n");
    house.write("q.sql", "select 1 as a;\nselect 2 as b;\n\nselect c;\nselect 3;");
    let ran =
        house.fails(1, &["sql", "-f", "q.sql", "--format", "csv"], &["q.sql:4: ", "line 4, column 8", "select c;"]);
    assert_eq!(ran.out, "a\n1\nb\n2\n");
    house.fails(2, &["sql", "select 1; select 2", "-o", "x.csv"], &["x.csv", "one statement", "\\o FILE"]);
    house.fails(2, &["sql", "select 1; select $n", "--param", "n=1", "--param", "m=1"], &["$m"]);
    house.fails(2, &["sql", "select 1; \\fromat"], &["line 1: \\fromat is not known", "did you mean `\\format`?"]);
    house.fails(1, &["sql", " -- nothing\n"], &["no statement"]);
    assert_eq!(house.ok(&["sql", "\\set n 3\nselect $n as n;\n\\q\nselect wrong"]).out.matches("| 3 |").count(), 1);
    let mut piped = house.command(&["sql", "--format", "csv"]);
    piped.stdin(std::fs::File::open(house.path("q.sql")).unwrap());
    let piped = super::house::Ran::of(piped.output().unwrap());
    assert_eq!((piped.status, piped.out.as_str()), (1, "a\n1\nb\n2\n"), "{}", piped.err);
    assert!(piped.err.contains("line 4: "), "{}", piped.err);
    assert!(house.ok(&["sql", "\\df stick"]).out.contains("select avg(stick("));
    assert!(house.ok(&["sql", "\\df avg"]).out.contains("Example:"), "the engine's functions have manuals too");
    house.fails(2, &["sql", "\\df stik"], &["did you mean `stick`?"]);
}

#[test]
fn pictures_are_shown_as_what_they_are_and_become_files() {
    let house = recorded("jpeg");
    let sql = "select episode_id, t, image from frames where episode_id = 2 and t < 3 order by t";
    let base = ["sql", "--dataset", "play", sql];
    let table = house.ok(&base).out;
    assert_eq!(table.matches("jpeg 128x128, ").count(), 3, "{table}");
    let bytes = house.ok(&["sql", "--dataset", "play", "select image['bytes'] as b from frames limit 1"]).out;
    assert!(bytes.contains("jpeg 128x128, "), "{bytes}");
    let json = house.ok(&[&base[..], &["--format", "json"]].concat()).out;
    assert!(json.contains("\"bytes\":\"ffd8"), "programs get the bytes");
    for _ in 0..2 {
        let ran = house.ok(&[&base[..], &["--format", "csv", "--images", "out"]].concat());
        let names: String = (0..3).map(|t| format!("2,{t},out/000002-00000{t}.jpg\n")).collect();
        assert_eq!(ran.out, format!("episode_id,t,image\n{names}"));
        assert!(ran.err.contains("3 pictures in out"), "{}", ran.err);
        assert_eq!(std::fs::read_dir(house.path("out")).unwrap().count(), 3);
    }
    let picture = std::fs::read(house.path("out/000002-000001.jpg")).unwrap();
    assert!(picture.starts_with(&[0xff, 0xd8]) && picture.ends_with(&[0xff, 0xd9]));
    // A file of that name with something else in it stays.
    house.write("out/000002-000001.jpg", "mine");
    house.ok(&[&base[..], &["--images", "out"]].concat());
    assert_eq!(std::fs::read(house.path("out/000002-000001.jpg")).unwrap(), b"mine");
    assert_eq!(std::fs::read(house.path("out/000002-000001-2.jpg")).unwrap(), picture);
    let hostile = "select '../../x' as episode_id, '/y' as t, image from frames limit 1";
    house.ok(&["sql", "--dataset", "play", hostile, "--images", "deep/down"]);
    let names: Vec<_> = std::fs::read_dir(house.path("deep/down")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["______x-_y.jpg"]);
    house.fails(1, &[&base[..], &["--images", "out/000002-000000.jpg"]].concat(), &["000002-000000.jpg"]);
    house.fails(2, &[&base[..], &["--images", "out", "-o", "x.parquet"]].concat(), &["Parquet"]);
}

#[test]
fn raw_frames_are_written_as_png() {
    let house = recorded("raw");
    let sql = "select t, image from frames where episode_id = 0 order by t limit 1";
    let shown = house.ok(&["sql", "--dataset", "play", sql, "--images", "out"]);
    assert!(shown.out.contains("out/row000001.png"), "{}", shown.out);
    let png = std::fs::read(house.path("out/row000001.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
    assert!(house.ok(&["sql", "--dataset", "play", sql]).out.contains("raw 128x128, 49.2 kB"));
}
