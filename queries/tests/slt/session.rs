//! Sessions and files: snapshots, orphans, sidecars, atomic and reproducible output.

use std::fs;

use arrow::array::{AsArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use playhouse_queries::{Error, Params, Session, SessionOptions, library};

use crate::fixture;

fn session(threads: usize) -> Session {
    Session::new(&SessionOptions { threads: Some(threads), ..Default::default() }).unwrap()
}

fn count(session: &Session, table: &str) -> i64 {
    let rows = session.query(&format!("select count(*) from {table}"), &Params::new()).unwrap();
    rows[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[test]
fn temporary_and_orphaned_parts_are_not_read() {
    let dataset = fixture::dataset();
    let root = dataset.path();
    let part = fs::read_dir(root.join("steps")).unwrap().next().unwrap().unwrap().path();
    fs::copy(&part, root.join("steps/.tmp-part-000000009999.parquet")).unwrap();
    fs::copy(&part, root.join("steps/part-000000009999.parquet")).unwrap();
    fs::write(root.join("episodes/.tmp-part-000000009999.parquet"), b"PAR1 half a file").unwrap();
    let session = session(2);
    session.register_dataset("play", root).unwrap();
    assert_eq!(count(&session, "play.episodes"), 26);
    let sums = session.query("select sum(num_steps) from play.episodes", &Params::new()).unwrap();
    assert_eq!(count(&session, "play.steps"), sums[0].column(0).as_primitive::<Int64Type>().value(0));
}

#[test]
fn a_committed_part_without_its_steps_is_an_error() {
    let dataset = fixture::dataset();
    let part = dataset.path().join("steps/part-000000000012.parquet");
    fs::remove_file(&part).unwrap();
    let registered = session(1).register_dataset("play", dataset.path()).unwrap_err().to_string();
    let described = playhouse_queries::stats::dataset(dataset.path()).unwrap_err().to_string();
    for error in [registered, described] {
        assert!(error.contains(part.to_str().unwrap()) && error.contains("playhouse verify"), "{error}");
    }
}

#[test]
fn sidecars_are_tables_and_registering_again_sees_more() {
    let dataset = fixture::dataset();
    let root = dataset.path();
    let session = session(2);
    session.register_dataset("play", root).unwrap();
    let names = |session: &Session| session.tables().into_iter().map(|t| t.name).collect::<Vec<_>>();
    assert_eq!(names(&session), ["play.episodes", "play.steps"]);
    fs::create_dir(root.join("scores")).unwrap();
    let sql = "select episode_id, 0.5 as reward from play.episodes order by episode_id";
    session.write_parquet(sql, &Params::new(), &root.join("scores/a.parquet")).unwrap();
    session.register_dataset("play", root).unwrap();
    assert_eq!(names(&session), ["play.episodes", "play.scores", "play.steps"]);
    assert_eq!(count(&session, "play.scores"), 26);
}

#[test]
fn broken_files_are_named() {
    let dataset = fixture::dataset();
    let root = dataset.path();
    let part = fs::read_dir(root.join("episodes")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&part).unwrap();
    fs::write(&part, &bytes[..bytes.len() / 2]).unwrap();
    let error = session(1).register_dataset("play", root).unwrap_err();
    assert!(error.to_string().contains(part.to_str().unwrap()), "{error}");
    // Parquet, but not ours: readable as a table, and not as a dataset.
    let foreign = tempfile::tempdir().unwrap();
    fs::create_dir(foreign.path().join("episodes")).unwrap();
    let path = foreign.path().join("episodes/part-000000000000.parquet");
    session(1).write_parquet("select 1 as episode_id", &Params::new(), &path).unwrap();
    let error = session(1).register_dataset("play", foreign.path()).unwrap_err();
    assert!(error.to_string().contains("not a Playhouse file"), "{error}");
    session(1).register_parquet(None, "t", &path).unwrap();
    let error = session(1).register_dataset("play", &root.join("nowhere")).unwrap_err();
    assert!(error.to_string().contains("nowhere: no such folder"), "{error}");
    let error = session(1).register_parquet(None, "t", &root.join("nothing.parquet")).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn output_is_atomic_and_the_same_on_any_number_of_threads() {
    let dataset = fixture::dataset();
    let out = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for threads in [1, 2, 5] {
        let session = session(threads);
        session.register_dataset("", dataset.path()).unwrap();
        let mut bytes = Vec::new();
        for name in
            ["windows", "curation", "preference_pairs", "outliers", "idle", "action_rates", "sft_demonstrations"]
        {
            let sql = library::get(name).unwrap();
            let path = out.path().join(format!("{name}.parquet"));
            session.write_parquet(sql, &library::defaults(sql), &path).unwrap();
            bytes.push(fs::read(&path).unwrap());
        }
        files.push(bytes);
    }
    assert_eq!(files[0], files[1]);
    assert_eq!(files[0], files[2]);
    // A query that fails half-way leaves neither a file nor a temporary one, and keeps what was there.
    let session = session(1);
    session.register_dataset("", dataset.path()).unwrap();
    let path = out.path().join("windows.parquet");
    let error = session.write_parquet("select stick(t) from steps order by t desc", &Params::new(), &path).unwrap_err();
    assert!(error.to_string().contains("not a stick bucket"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), files[0][0]);
    let left: Vec<_> = fs::read_dir(out.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp-")), "{left:?}");
    let nowhere = out.path().join("no/such/folder.parquet");
    assert!(matches!(session.write_parquet("select 1", &Params::new(), &nowhere), Err(Error::Io { .. })));
}

#[test]
fn check_plans_without_running_and_agrees_with_the_result() {
    let dataset = fixture::dataset();
    let session = session(2);
    session.register_dataset("", dataset.path()).unwrap();
    for text in library::texts() {
        if text.inputs.iter().any(|input| !["episodes", "steps"].contains(input)) {
            continue;
        }
        let params = library::defaults(text.sql);
        let planned = session.check(text.sql, &params).unwrap_or_else(|e| panic!("{}: {e}", text.name));
        let columns: Vec<&str> = planned.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(columns, text.columns, "{}", text.name);
        let rows = session.query(text.sql, &params).unwrap_or_else(|e| panic!("{}: {e}", text.name));
        assert_eq!(rows[0].schema().fields(), planned.fields(), "{}", text.name);
        assert!(planned.fields().iter().all(|f| !matches!(f.data_type(), DataType::Dictionary(..))), "{}", text.name);
    }
    // Running this would fail; planning it does not.
    session.check("select stick(t) from steps", &Params::new()).unwrap();
}

#[test]
fn windows_are_what_a_trainer_reads() {
    let dataset = fixture::dataset();
    let session = session(2);
    session.register_dataset("", dataset.path()).unwrap();
    let sql = library::get("windows").unwrap();
    let batches = session.query(sql, &library::defaults(sql)).unwrap();
    let windows = playhouse_schemas::windows_from_batch(&batches).unwrap();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(windows.len(), rows);
    assert!(windows.iter().all(|w| w.weight == 1.0 && w.length <= 32));
}

/// What was *not* read: files by their statistics, pages by the page index, rows while decoding.
#[test]
fn a_look_up_reads_one_page_of_one_file() {
    let dataset = fixture::dataset();
    let folder = tempfile::tempdir().unwrap();
    let long = fixture::create(folder.path());
    let mut writer = long.writer().unwrap();
    (0..900).for_each(|id| writer.push(fixture::episode(id)).unwrap());
    writer.finish().unwrap();
    let session = session(2);
    session.register_dataset("", dataset.path()).unwrap();
    session.register_dataset("long", folder.path()).unwrap();
    let metrics = |table: &str| {
        let sql = format!("explain analyze select a, left_x from {table} where episode_id = 7 and t between 8 and 11");
        Session::format_table(&session.query(&sql, &Params::new()).unwrap()).unwrap()
    };
    for table in ["steps", "long.steps"] {
        let found = metrics(table);
        assert!(found.contains("episodes=1, rows=4"), "{found}");
        // One page of the button, and one of the stick with its dictionary.
        assert!(found.contains("pages_read=3"), "{found}");
    }
    let sql = "explain analyze select count(*) from long.steps where episode_id between 7 and 9 and pos_y > 1000";
    let pruned = Session::format_table(&session.query(sql, &Params::new()).unwrap()).unwrap();
    assert!(pruned.contains("bytes_scanned=0"), "{pruned}");
}

#[test]
fn an_empty_result_keeps_its_columns() {
    let session = session(1);
    let batch = RecordBatch::try_from_iter([
        ("k", std::sync::Arc::new(Int32Array::from(vec![1, 2])) as arrow::array::ArrayRef),
        ("s", std::sync::Arc::new(StringArray::from(vec!["a", "b"]))),
    ])
    .unwrap();
    session.register_batches(Some("stage"), "t", vec![batch]).unwrap();
    let rows = session.query("select k, s from stage.t where k > 5", &Params::new()).unwrap();
    assert_eq!((rows.len(), rows[0].num_rows(), rows[0].num_columns()), (1, 0, 2));
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("empty.parquet");
    assert_eq!(session.write_parquet("select k, s from stage.t where k > 5", &Params::new(), &path).unwrap(), 0);
    session.register_parquet(None, "empty", &path).unwrap();
    assert_eq!(count(&session, "empty"), 0);
    let sum: i32 = session
        .stream("select k from stage.t", &Params::new())
        .unwrap()
        .flat_map(|batch| batch.unwrap().column(0).as_primitive::<Int32Type>().values().to_vec())
        .sum();
    assert_eq!(sum, 3);
    assert!(session.register_batches(None, "none", Vec::new()).is_err());
}
