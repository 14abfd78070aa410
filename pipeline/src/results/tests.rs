use super::*;

fn claim(holds: Option<&str>) -> Claim {
    Claim {
        table: "shares".into(),
        title: "A | title".into(),
        paper: "All of them.".into(),
        measures: String::new(),
        figure: Figure::Bars,
        x: "pad".into(),
        y: "share".into(),
        log_x: false,
        unit: Unit::Share,
        holds: holds.map(str::to_owned),
    }
}

fn table_of(dir: &Path, sql: &str) -> PathBuf {
    std::fs::create_dir_all(dir).unwrap();
    session().write_parquet(sql, &Params::new(), &dir.join("table.parquet")).unwrap();
    dir.to_owned()
}

fn session() -> Session {
    Session::new(&playhouse_queries::SessionOptions { threads: Some(1), ..Default::default() }).unwrap()
}

/// Writes a page about the tables that `sqls` give, one a run.
fn page(claim: &Claim, sqls: &[&str]) -> Result<(String, Verdicts, tempfile::TempDir)> {
    let dir = tempfile::tempdir().unwrap();
    let folders = sqls
        .iter()
        .enumerate()
        .map(|(i, sql)| (format!("seed={i}"), table_of(&dir.path().join(format!("run{i}")), sql)));
    let request = Request {
        title: "Results",
        introduction: "What came out.",
        claims: std::slice::from_ref(claim),
        tables: vec![folders.collect()],
        heatmaps: Vec::new(),
    };
    let out = dir.path().join("out");
    let verdicts = write(&request, &session(), &out)?;
    Ok((std::fs::read_to_string(out.join("RESULTS.md")).unwrap(), verdicts, dir))
}

const ROWS: &str = "select * from (values ('fine-tuned', 'left', 0.25, 75, 300), ('fine-tuned', 'a|b', 0.5, 150, 300)) as t (series, x, value, count, of)";
const OTHER: &str = "select * from (values ('fine-tuned', 'left', 0.75, 225, 300)) as t (series, x, value, count, of)";

#[test]
fn a_page_has_values_intervals_and_verdicts() {
    let holds = "select min(worst) >= 0.25 and max(runs) = 2 from claim where x = 'left'";
    let (text, verdicts, dir) = page(&claim(Some(holds)), &[ROWS, OTHER]).unwrap();
    assert_eq!(verdicts, Verdicts { hold: 1, fail: 0, open: 0 });
    assert!(text.contains("| 1 | **A \\| title**: All of them. | reproduced |"), "{text}");
    assert!(text.contains("|  | left | a\\|b |") && text.contains("| fine-tuned | 50.0% ["), "{text}");
    assert!(text.contains("75 of 300: 25.0% [20.4, 30.2]; 225 of 300"), "{text}");
    assert!(text.contains("Runs: seed=0, seed=1."), "{text}");
    let svg = std::fs::read_to_string(dir.path().join("out/figures/shares.svg")).unwrap();
    assert!(svg.starts_with("<svg xmlns") && svg.contains("a|b") && !svg.contains("NaN"), "{svg}");
    let summary = table::read(&dir.path().join("out/summary.parquet")).unwrap();
    assert_eq!(table::numbers(&summary, "iqm").unwrap(), [Some(0.5), Some(0.5)]);
    assert_eq!(table::integers(&summary, "runs").unwrap(), [2, 1]);
    assert_eq!(table::rows(&table::read(&dir.path().join("out/points.parquet")).unwrap()), 3);
    let (again, _, _dir) = page(&claim(Some(holds)), &[ROWS, OTHER]).unwrap();
    assert_eq!(again, text);
}

#[test]
fn a_claim_can_fail_and_be_left_open() {
    let verdict = |sql| page(&claim(Some(sql)), &[ROWS]).unwrap().1;
    assert_eq!(verdict("select false").fail, 1);
    assert_eq!(verdict("select max(worst) > 0.9 from claim where x = 'nowhere'").open, 1);
    let (text, verdicts, _dir) = page(&claim(None), &[ROWS]).unwrap();
    assert!(verdicts.open == 1 && text.contains("| shown |"), "{text}");
}

#[test]
fn tables_that_are_none_are_named() {
    let error = |sql: &str| format!("{:#}", page(&claim(None), &[ROWS, sql]).err().unwrap());
    let message = error("select 'a' as series, 1.0 as value");
    assert!(message.contains("claim `shares`") && message.contains("run seed=1"), "{message}");
    assert!(message.contains("no column `x`"), "{message}");
    assert!(error("select 'a' as series, 'b' as x, cast('nan' as double) as value").contains("not a number"));
    assert!(error("select 'a' as series, 'b' as x, 0.5 as value, 1 as count").contains("only one"));
    assert!(error("select 'a' as series, 'b' as x, 0.5 as value, 3 as count, 2 as of").contains("3 of 2"));
    assert!(error("select 'a' as series, 'b' as x, 0.5 as value, 1 as count, 3 as of").contains("1 of 3"));
    assert!(error(&format!("{OTHER} union all {OTHER}")).contains("two values"));
    // A run without any value is no error: others may have some.
    assert!(page(&claim(None), &[ROWS, &format!("{ROWS} limit 0")]).is_ok());
    assert!(page(&claim(None), &[&format!("{ROWS} limit 0")]).unwrap().0.contains("No run has any value"));
}

#[test]
fn sql_that_is_no_verdict_is_refused_before_anything_runs() {
    let error = |sql| format!("{:#}", check(&claim(Some(sql)), &session()).unwrap_err());
    assert!(error("select worst from claim").contains("one boolean"));
    assert!(error("select worst > 0.5, true from claim").contains("2 columns"));
    assert!(error("select wurst > 0.5 from claim").contains("worst"));
    assert!(check(&claim(Some("select bool_and(worst >= 0.9) from claim")), &session()).is_ok());
    let rows = page(&claim(Some("select true from claim")), &[ROWS]).err().unwrap();
    assert!(format!("{rows:#}").contains("returned 2 rows"));
}

#[test]
fn curves_need_numbers_and_are_drawn_by_them() {
    let curve = |log_x| Claim { figure: Figure::Curve, log_x, unit: Unit::Number, ..claim(None) };
    let error = format!("{:#}", page(&curve(false), &[ROWS]).err().unwrap());
    assert!(error.contains("a curve needs numbers"), "{error}");
    let points =
        "select 's' as series, x, cast(x as double) / 100 as value from (values (10), (30), (100), (1000)) as t (x)";
    let (text, _, dir) = page(&curve(true), &[points]).unwrap();
    assert!(text.contains("| s | 0.100 | 0.300 | 1.00 | 10.0 |"), "{text}");
    let svg = std::fs::read_to_string(dir.path().join("out/figures/shares.svg")).unwrap();
    assert!(svg.matches("<circle").count() == 4 && !svg.contains("NaN"), "{svg}");
}
