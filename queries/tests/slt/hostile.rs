//! SQL that should not run, and SQL that should not run away.

use playhouse_queries::{Error, Params, Session, SessionOptions, Value, inspect, library};

use crate::fixture;

fn session() -> (tempfile::TempDir, Session) {
    let dataset = fixture::dataset();
    let session = Session::new(&SessionOptions { threads: Some(2), ..Default::default() }).unwrap();
    session.register_dataset("play", dataset.path()).unwrap();
    session.alias("episodes", "play.episodes").unwrap();
    (dataset, session)
}

#[test]
fn only_reading_runs() {
    let (dataset, session) = session();
    let out = dataset.path().join("out.parquet");
    let statements = [
        "create table t as select 1".to_owned(),
        "create external table t stored as parquet location '/etc/'".to_owned(),
        "create view v as select 1".to_owned(),
        "create schema s".to_owned(),
        "drop table play.episodes".to_owned(),
        "insert into play.episodes select * from play.episodes".to_owned(),
        "update play.episodes set num_steps = 0".to_owned(),
        "delete from play.episodes".to_owned(),
        "truncate table play.episodes".to_owned(),
        format!("copy play.episodes to '{}'", out.display()),
        format!("explain analyze copy play.episodes to '{}'", out.display()),
        "explain create table t as select 1".to_owned(),
        "select * into t from play.episodes".to_owned(),
        "set datafusion.execution.batch_size = 1".to_owned(),
        "reset datafusion.execution.batch_size".to_owned(),
        "prepare p as select 1".to_owned(),
        "begin transaction".to_owned(),
    ];
    for sql in statements {
        let error = session.query(&sql, &Params::new()).unwrap_err();
        assert!(matches!(error, Error::Forbidden { .. }), "{sql}: {error}");
        assert!(session.check(&sql, &Params::new()).is_err(), "{sql}");
        assert!(inspect(&sql).is_err(), "{sql}");
    }
    assert!(!out.exists());
    let two = session.query("select 1; drop table play.episodes", &Params::new()).unwrap_err();
    assert!(two.to_string().contains("more than one statement"), "{two}");
    assert_eq!(count(&session, "select * from play.episodes", &Params::new()), 26);
}

#[test]
fn reading_statements_run() {
    let (_dataset, session) = session();
    for sql in [
        "select 1",
        "with x as (select 1 as a) select a from x union all select 2",
        "explain select * from play.steps",
        "explain analyze select count(*) from play.steps",
        "show tables",
        "describe play.episodes",
        "values (1), (2)",
    ] {
        session.query(sql, &Params::new()).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

#[test]
fn a_parameter_is_a_value_and_never_sql() {
    let (_dataset, session) = session();
    let by_outcome = "select * from play.episodes where outcome = $wanted";
    let bind = |value: &str| Params::from([("wanted".to_owned(), Value::from(value))]);
    assert_eq!(count(&session, by_outcome, &bind("left")), 5);
    for attack in [
        "left' or '1' = '1",
        "left'; drop table play.episodes; --",
        "$wanted",
        "\\' or 1 = 1 --",
        "left\u{0}",
        "' union select * from play.episodes --",
    ] {
        assert_eq!(count(&session, by_outcome, &bind(attack)), 0, "{attack}");
        // The value comes back as it went in.
        let echoed = session.query("select $wanted as v", &bind(attack)).unwrap();
        let text =
            echoed[0].column(0).as_any().downcast_ref::<arrow::array::StringArray>().unwrap().value(0).to_owned();
        assert_eq!(text, attack);
    }
}

#[test]
fn every_type_of_parameter_keeps_its_value() {
    let (_dataset, session) = session();
    let cases = [
        (Value::Int(i64::MIN), "select $v = -9223372036854775807 - 1 as ok"),
        (Value::Int(-3), "select $v + 3 = 0 as ok"),
        (Value::Float(1.0), "select arrow_typeof($v) = 'Float64' as ok"),
        (Value::Float(-1e-300), "select $v < 0 and $v > -1e-299 as ok"),
        (Value::Float(f64::MAX), "select $v > 1e308 as ok"),
        (Value::Bool(true), "select $v as ok"),
        (Value::Null, "select $v is null as ok"),
        (Value::Int(2), "select count(*) = 2 as ok from (select * from play.episodes limit $v)"),
    ];
    for (value, sql) in cases {
        let rows = session.query(sql, &Params::from([("v".to_owned(), value.clone())])).unwrap();
        let ok = rows[0].column(0).as_any().downcast_ref::<arrow::array::BooleanArray>().unwrap().value(0);
        assert!(ok, "{sql} with {value:?}");
    }
    let error = session.query("select $v", &Params::from([("v".to_owned(), Value::Float(f64::NAN))])).unwrap_err();
    assert!(error.to_string().contains("$v") && error.to_string().contains("NaN"), "{error}");
}

#[test]
fn missing_and_unused_parameters_are_named() {
    let (_dataset, session) = session();
    let params = Params::from([("strid".to_owned(), Value::Int(1))]);
    let missing = session.query("select $stride", &params).unwrap_err();
    assert_eq!(missing.to_string(), "the SQL uses $stride, which has no value; did you mean strid?");
    let params = Params::from([("stride".to_owned(), Value::Int(1)), ("lenght".to_owned(), Value::Int(1))]);
    let unused = session.query("select $stride", &params).unwrap_err();
    assert!(matches!(&unused, Error::UnusedParameter { name, .. } if name == "lenght"), "{unused}");
    // In a subquery, a limit and a window frame too.
    let sql =
        "select * from (select episode_id from play.episodes where num_steps > $a limit $b) where episode_id > $c";
    let found = inspect(sql).unwrap();
    assert_eq!(found.parameters.into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(found.tables.into_iter().collect::<Vec<_>>(), ["play.episodes"]);
}

#[test]
fn values_that_the_header_does_not_allow_are_refused_before_anything_runs() {
    let (_dataset, session) = session();
    let sql = library::get("windows").unwrap();
    for (name, value, message) in [
        ("stride", Value::Int(-16), "$stride is -16; it must be a whole number from 1 up"),
        ("length", Value::Int(0), "$length is 0; it must be a whole number from 1 up"),
        ("split", Value::from("heldout"), "$split is 'heldout'; it must be 'train' or 'held_out' or 'all'"),
    ] {
        let mut params = library::defaults(sql);
        params.insert(name.to_owned(), value);
        for error in [session.query(sql, &params).map(|_| ()), session.check(sql, &params).map(|_| ())] {
            assert_eq!(error.unwrap_err().to_string(), message);
        }
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    let (_dataset, session) = session();
    let fails = |sql: &str| session.check(sql, &Params::new()).unwrap_err();
    let column = fails("select episode_id,\n  num_step from play.episodes");
    assert!(column.to_string().contains("num_steps"), "{column}");
    assert!(column.to_string().contains("line 2, column 3"), "{column}");
    let table = fails("select * from play.episode");
    assert!(matches!(&table, Error::UnknownTable { near, .. } if near[0] == "play.episodes"), "{table}");
    assert!(table.to_string().contains("line 1, column 15"), "{table}");
    let syntax = fails("select *\nform play.episodes where");
    assert!(matches!(&syntax, Error::Sql { position: Some(_), .. }), "{syntax}");
    let function = fails("select wilson_lo(1, 2)");
    assert!(function.to_string().contains("wilson_lo"), "{function}");
    let bucket = session.query("select stick(11)", &Params::new()).unwrap_err();
    assert!(bucket.to_string().contains("11 is not a stick bucket"), "{bucket}");
    let empty = fails("-- nothing");
    assert!(empty.to_string().contains("no statement"), "{empty}");
}

#[test]
fn memory_is_bounded() {
    let dataset = fixture::dataset();
    let limit = 8 << 20;
    let options = SessionOptions { threads: Some(2), memory_limit: Some(limit), ..Default::default() };
    let session = Session::new(&options).unwrap();
    session.register_dataset("", dataset.path()).unwrap();
    let cross = "select * from steps as p cross join steps as q cross join steps as r";
    let error = session.query(cross, &Params::new()).unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "{error}");
    // One row comes out, but each side of the join is 1.3 million keys: the pool has to refuse the hash table.
    let join = "with keys as (select p.episode_id * 1000000000 + p.t * 1000000 + q.episode_id * 1000 + q.t as k \
        from steps as p cross join steps as q) select count(*) from keys as l join keys as r on l.k = r.k";
    let error = session.query(join, &Params::new()).unwrap_err();
    assert!(matches!(error, Error::Memory { .. }) && !error.to_string().contains("its result alone"), "{error}");
    assert_eq!(count(&session, "select * from episodes", &Params::new()), 26);
}

#[test]
fn a_stop_ends_a_query_that_would_not_end() {
    use std::sync::Arc;
    use std::time::{Duration, Instant};
    let dataset = fixture::dataset();
    let begun = Instant::now();
    let stop = Arc::new(move || begun.elapsed() > Duration::from_millis(300));
    let session = Session::new(&SessionOptions { threads: Some(2), stop: Some(stop), ..Default::default() }).unwrap();
    session.register_dataset("", dataset.path()).unwrap();
    let endless =
        "select sum(p.t * q.t * r.t * s.t) from steps p cross join steps q cross join steps r cross join steps s";
    let error = session.query(endless, &Params::new()).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Not an unknown table: it is there.
    assert!(matches!(session.alias("s", "steps"), Err(Error::Cancelled)));
}

#[test]
fn a_long_query_tells_how_far_it_is_and_leaves_no_one_waiting() {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};
    let dataset = fixture::dataset();
    let asked = Arc::new(Mutex::new(Some(Instant::now())));
    let stop_at = Arc::clone(&asked);
    let stop = move || stop_at.lock().unwrap().is_some_and(|begun| begun.elapsed() > Duration::from_millis(500));
    let told = Arc::new(Mutex::new(None));
    let tell = Arc::clone(&told);
    let mut session = Session::new(&SessionOptions {
        threads: Some(2),
        stop: Some(Arc::new(stop)),
        watch: Some(Arc::new(move |progress| *tell.lock().unwrap() = Some(*progress))),
        ..Default::default()
    })
    .unwrap();
    session.register_dataset("", dataset.path()).unwrap();
    let long = "select count(*) from steps p, steps q, steps r, steps s where p.t + q.t + r.t + s.t = 7";
    assert!(matches!(session.query(long, &Params::new()), Err(Error::Cancelled)));
    *asked.lock().unwrap() = None;
    let progress = told.lock().unwrap().take().expect("it was told");
    // Threads that are busy with a large batch of the old query are not waited for.
    session.renew_threads().unwrap();
    let begun = Instant::now();
    let steps = count(&session, "select 1 from steps", &Params::new()) as u64;
    assert!(progress.total.is_some_and(|total| total <= 4 * steps && progress.read <= total), "{progress:?}");
    assert!(progress.read > 0 && progress.made > 0, "{progress:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

fn count(session: &Session, sql: &str, params: &Params) -> usize {
    session.query(sql, params).unwrap().iter().map(|batch| batch.num_rows()).sum()
}
