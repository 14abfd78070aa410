//! Times the questions of `tests/bench/queries` on a dataset.
//!
//! ```text
//! cargo bench -p playhouse-queries -- DATASET [WORD]    the queries whose names contain WORD, medians of 5
//! cargo bench -p playhouse-queries -- --serve DATASET   one query a line of the input: what tests/bench/compare.py drives
//! ```
//!
//! A query that has a text with our functions (`NAME.playhouse.sql`) is timed with it too. Files are in the page cache
//! and the dataset is registered, as in a server; registering is timed on a line of its own.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use arrow::array::RecordBatch;
use playhouse_queries::{Params, Session, SessionOptions};
use serde::Serialize;

type Failure = Box<dyn std::error::Error>;

const REPEATS: usize = 5;

/// What one line of `--serve` is answered with.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Took { seconds: f64, rows: usize },
    Failed { error: String },
}

fn main() -> Result<(), Failure> {
    // `cargo bench` adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => println!("usage: cargo bench -p playhouse-queries -- DATASET [WORD]"),
        ["--serve", dataset] => serve(&open(dataset.as_ref())?.0)?,
        [dataset] => print_all(dataset.as_ref(), "")?,
        [dataset, word, ..] => print_all(dataset.as_ref(), word)?,
    }
    Ok(())
}

/// The session, and how long it took to register the dataset.
fn open(dataset: &Path) -> Result<(Session, f64), Failure> {
    let session = Session::new(&SessionOptions::default())?;
    let began = Instant::now();
    session.register_dataset("", dataset)?;
    Ok((session, began.elapsed().as_secs_f64()))
}

fn print_all(dataset: &Path, word: &str) -> Result<(), Failure> {
    let (session, seconds) = open(dataset)?;
    println!("{:36} {seconds:9.4} s", "(registering)");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/bench/queries");
    let mut texts: Vec<PathBuf> = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    texts.sort();
    for text in texts {
        let name = text.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !name.contains(word) {
            continue;
        }
        let mut seconds = Vec::with_capacity(REPEATS);
        let mut rows = 0;
        for _ in 0..REPEATS {
            let (took, batches) = time(&session, &text)?;
            rows = batches.iter().map(RecordBatch::num_rows).sum();
            seconds.push(took);
        }
        seconds.sort_by(f64::total_cmp);
        println!("{name:36} {:9.4} s {rows:8} rows", seconds[REPEATS / 2]);
    }
    Ok(())
}

/// Answers lines of a text's path, and optionally of a file to write the rows to.
fn serve(session: &Session) -> Result<(), Failure> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (text, out) = line.split_once('\t').map_or((line.as_str(), None), |(text, out)| (text, Some(out)));
        let answer = match answer(session, text.as_ref(), out.map(Path::new)) {
            Ok(answer) => answer,
            Err(error) => Answer::Failed { error: error.to_string() },
        };
        println!("{}", serde_json::to_string(&answer)?);
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn answer(session: &Session, text: &Path, out: Option<&Path>) -> Result<Answer, Failure> {
    let (seconds, batches) = time(session, text)?;
    if let Some(out) = out {
        session.write_parquet(&std::fs::read_to_string(text)?, &Params::new(), out)?;
    }
    Ok(Answer::Took { seconds, rows: batches.iter().map(RecordBatch::num_rows).sum() })
}

fn time(session: &Session, text: &Path) -> Result<(f64, Vec<RecordBatch>), Failure> {
    let sql = std::fs::read_to_string(text)?;
    let began = Instant::now();
    let batches = session.query(&sql, &Params::new())?;
    Ok((began.elapsed().as_secs_f64(), batches))
}
