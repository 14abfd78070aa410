//! The same SQL, here and in a DataFusion that knows nothing of gameplay: the same rows.
//!
//! Every rule, operator and scan of ours must be invisible in results. Each statement runs on one, two and seven
//! partitions, with batches of a few rows, so that runs of an episode cross batches and partitions begin anywhere.

mod statements;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{ParquetReadOptions, SessionContext};

use self::statements::{dataset, functions, statements};
use crate::{Params, Session, SessionOptions};

/// What may change how a statement runs, and must not change its rows.
const SETTINGS: [(&str, &[(&str, &str)]); 3] = [
    ("as ever", &[("execution.batch_size", "8192")]),
    ("in batches of 5 rows", &[("execution.batch_size", "5")]),
    (
        "joins partitioned",
        &[
            ("execution.batch_size", "512"),
            ("optimizer.hash_join_single_partition_threshold", "0"),
            ("optimizer.hash_join_single_partition_threshold_rows", "0"),
        ],
    ),
];

fn text(batches: &[RecordBatch]) -> Vec<String> {
    let Some(first) = batches.first() else { return Vec::new() };
    let rows = concat_batches(&first.schema(), batches).unwrap();
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> =
        rows.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" | ");
    (0..rows.num_rows()).map(row).collect()
}

#[test]
fn rows_are_those_of_plain_datafusion() {
    let folder = tempfile::tempdir().unwrap();
    dataset(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stock = SessionContext::new();
    for table in ["steps", "episodes"] {
        let path = folder.path().join(table);
        let files = stock.register_parquet(table, path.to_str().unwrap(), ParquetReadOptions::default());
        runtime.block_on(files).unwrap();
    }
    let mut differing = Vec::new();
    let same = statements().into_iter().map(|sql| (sql.clone(), sql));
    let statements = same.chain(functions()).map(|(ours, plain)| {
        let rows = runtime.block_on(async { stock.sql(&plain).await?.collect().await }).unwrap();
        (ours, text(&rows))
    });
    let statements: Vec<(String, Vec<String>)> = statements.collect();
    for threads in [1, 2, 7] {
        for (name, settings) in SETTINGS {
            let session = Session::new(&SessionOptions { threads: Some(threads), ..Default::default() }).unwrap();
            session.register_dataset("", folder.path()).unwrap();
            session.set(settings);
            for (sql, expected) in &statements {
                let found = match session.query(sql, &Params::new()) {
                    Ok(found) => text(&found),
                    Err(error) => vec![error.to_string()],
                };
                if let Some(row) =
                    (0..found.len().max(expected.len())).find(|row| found.get(*row) != expected.get(*row))
                {
                    let (found, expected) = (found.get(row), expected.get(row));
                    differing.push(format!(
                        "on {threads} threads, {name}: {sql}\n  row {row}: {found:?}, expected {expected:?}"
                    ));
                }
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
