//! The books: what ran when, as Parquet tables, and which output a stage's name means now.
//!
//! Every run leaves `runs/<id>/runs.parquet` (one row) and `runs/<id>/run_stages.parquet` (one row a stage) in the home,
//! and `<pipeline>/latest.json`, which says for each stage the output that the pipeline's last run makes or finds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};

use super::clock;
use super::plan::Plan;
use super::store::{Home, StageRecord, folders, write_atomically};

/// The line of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// Sorts by time.
    pub run_id: String,
    /// Pipeline.
    pub pipeline: String,
    /// Parameters of every combination, as JSON.
    pub parameters: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// Wall time.
    pub seconds: f64,
    /// `done`, `failed` or `interrupted`.
    pub status: String,
    /// Product version.
    pub version: String,
}

/// The line of a stage in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct StageRow {
    /// Stage.
    pub stage: String,
    /// Kind.
    pub kind: String,
    /// Fingerprint.
    pub fingerprint: String,
    /// `cached`, `done`, `failed`, `skipped` or `interrupted`.
    pub state: String,
    /// Wall time in this run.
    pub seconds: f64,
    /// Rows of all its tables.
    pub rows: Option<i64>,
    /// Why it failed or was skipped.
    pub error: Option<String>,
}

/// Which output each stage name of a pipeline means.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Latest {
    /// When the pipeline last ran.
    pub run_at: String,
    /// Stage to fingerprints: several where a matrix has several.
    pub stages: BTreeMap<String, Vec<String>>,
}

fn text<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// The schema of `runs`.
pub fn runs_schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, false);
    let seconds = Field::new("seconds", DataType::Float64, false);
    let fields = vec![
        text("run_id"),
        text("pipeline"),
        text("parameters"),
        text("started_at"),
        seconds,
        text("status"),
        text("version"),
    ];
    Arc::new(Schema::new(fields))
}

/// The schema of `run_stages`.
pub fn stages_schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![
        text("run_id"),
        text("stage"),
        text("kind"),
        text("fingerprint"),
        text("state"),
        Field::new("seconds", DataType::Float64, false),
        Field::new("rows", DataType::Int64, true),
        Field::new("error", DataType::Utf8, true),
    ]))
}

/// The schema of `metrics`.
pub fn metrics_schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![
        text("pipeline"),
        text("stage"),
        text("fingerprint"),
        Field::new("step", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("value", DataType::Float64, true),
    ]))
}

/// The schema of `checkpoints`.
pub fn checkpoints_schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![
        text("pipeline"),
        text("stage"),
        text("kind"),
        text("fingerprint"),
        text("finished_at"),
        text("path"),
        Field::new("bytes", DataType::Int64, false),
    ]))
}

/// Writes a run's lines.
pub fn record(home: &Home, run: &RunRow, stages: &[StageRow]) -> Result<()> {
    let folder = home.root().join("runs").join(&run.run_id);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let one = |value: &str| text([value]);
    let columns: Vec<ArrayRef> = vec![
        one(&run.run_id),
        one(&run.pipeline),
        one(&run.parameters),
        one(&run.started_at),
        Arc::new(Float64Array::from(vec![run.seconds])),
        one(&run.status),
        one(&run.version),
    ];
    let column = |get: fn(&StageRow) -> &str| text(stages.iter().map(get));
    let stage_columns: Vec<ArrayRef> = vec![
        text(stages.iter().map(|_| run.run_id.as_str())),
        column(|s| &s.stage),
        column(|s| &s.kind),
        column(|s| &s.fingerprint),
        column(|s| &s.state),
        Arc::new(Float64Array::from_iter_values(stages.iter().map(|s| s.seconds))),
        Arc::new(Int64Array::from_iter(stages.iter().map(|s| s.rows))),
        Arc::new(StringArray::from_iter(stages.iter().map(|s| s.error.as_deref()))),
    ];
    write(&folder.join("run_stages.parquet"), RecordBatch::try_new(stages_schema(), stage_columns)?)?;
    write(&folder.join("runs.parquet"), RecordBatch::try_new(runs_schema(), columns)?)?;
    Ok(())
}

/// Moves a pipeline's names to the outputs that a run is about to make or find. It is done first, so that what a killed
/// run finished still has its names.
pub fn begin(home: &Home, plan: &Plan) -> Result<()> {
    let mut stages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for item in &plan.stages {
        stages.entry(item.stage.clone()).or_default().push(item.fingerprint.clone());
    }
    let mut latest = latest(home, &plan.pipeline).unwrap_or_default();
    latest.run_at = clock::rfc3339(clock::now_us());
    latest.stages.extend(stages);
    let path = latest_path(home, &plan.pipeline);
    let folder = home.root().join(&plan.pipeline);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(write_atomically(&path, &serde_json::to_vec_pretty(&latest)?)?)
}

/// What the names of a pipeline's stages mean, if it ever ran.
pub fn latest(home: &Home, pipeline: &str) -> Option<Latest> {
    serde_json::from_slice(&std::fs::read(latest_path(home, pipeline)).ok()?).ok()
}

fn latest_path(home: &Home, pipeline: &str) -> PathBuf {
    home.root().join(pipeline).join("latest.json")
}

/// For every stage name the output it means: that of the pipeline asked for, or of the one that ran last.
pub fn current(home: &Home, pipeline: Option<&str>) -> BTreeMap<String, (PathBuf, StageRecord)> {
    let mut ranked: Vec<(String, Option<usize>, PathBuf, StageRecord)> = home
        .outputs()
        .into_iter()
        .filter(|(_, record)| pipeline.is_none_or(|p| p == record.pipeline))
        .map(|(dir, record)| {
            let latest = latest(home, &record.pipeline).unwrap_or_default();
            let named =
                latest.stages.get(&record.stage).and_then(|all| all.iter().position(|f| *f == record.fingerprint));
            (latest.run_at, named, dir, record)
        })
        .collect();
    ranked.sort_by(|a, b| (&a.0, a.1, &a.3.finished_at).cmp(&(&b.0, b.1, &b.3.finished_at)));
    ranked.into_iter().map(|(_, _, dir, record)| (record.stage.clone(), (dir, record))).collect()
}

/// All rows of `runs` and of `run_stages`.
pub fn runs(home: &Home) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
    let (mut runs, mut stages) = (Vec::new(), Vec::new());
    for folder in folders(&home.root().join("runs")) {
        let path = folder.join("runs.parquet");
        // A run that is still going has no lines yet.
        if path.exists() {
            runs.extend(read(&path)?);
            stages.extend(read(&folder.join("run_stages.parquet"))?);
        }
    }
    Ok((runs, stages))
}

/// All rows of `metrics`: every finished output's metrics.parquet under its names.
pub fn metrics(home: &Home) -> Result<Vec<RecordBatch>> {
    let mut out = Vec::new();
    for (dir, record) in home.outputs() {
        let path = dir.join("metrics.parquet");
        if !path.exists() {
            continue;
        }
        for batch in read(&path)? {
            let repeat = |value: &str| text(std::iter::repeat_n(value, batch.num_rows()));
            let mut columns = vec![repeat(&record.pipeline), repeat(&record.stage), repeat(&record.fingerprint)];
            for field in &metrics_schema().fields()[3..] {
                let column = batch
                    .column_by_name(field.name())
                    .with_context(|| format!("{} has no column `{}`", path.display(), field.name()))?;
                let column = arrow::compute::cast(column, field.data_type())
                    .with_context(|| format!("{}: column `{}`", path.display(), field.name()))?;
                columns.push(column);
            }
            out.push(RecordBatch::try_new(metrics_schema(), columns)?);
        }
    }
    Ok(out)
}

/// All rows of `checkpoints`: every finished model and where it lies.
pub fn checkpoints(home: &Home) -> Result<RecordBatch> {
    let mut rows = Vec::new();
    for (dir, record) in home.outputs() {
        for (file, bytes) in record.files.iter().filter(|(file, _)| file.ends_with(".safetensors")) {
            let path = dir.join(file).display().to_string();
            rows.push((record.clone(), path, i64::try_from(*bytes)?));
        }
    }
    let column = |get: fn(&StageRecord) -> &str| text(rows.iter().map(|(record, ..)| get(record)));
    let columns: Vec<ArrayRef> = vec![
        column(|r| &r.pipeline),
        column(|r| &r.stage),
        column(|r| &r.kind),
        column(|r| &r.fingerprint),
        column(|r| &r.finished_at),
        text(rows.iter().map(|(_, path, _)| path.as_str())),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(.., bytes)| *bytes))),
    ];
    Ok(RecordBatch::try_new(checkpoints_schema(), columns)?)
}

fn write(path: &Path, batch: RecordBatch) -> Result<()> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(write_atomically(path, &bytes)?)
}

fn read(path: &Path) -> Result<Vec<RecordBatch>> {
    let open = || -> Result<Vec<RecordBatch>> {
        let file = std::fs::File::open(path)?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)?.build()?;
        Ok(reader.collect::<std::result::Result<_, _>>()?)
    };
    open().with_context(|| format!("cannot read {}; delete it if it is damaged", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::store;

    fn run(id: &str, pipeline: &str) -> RunRow {
        RunRow {
            run_id: id.into(),
            pipeline: pipeline.into(),
            parameters: "[{}]".into(),
            started_at: id.into(),
            seconds: 1.0,
            status: "done".into(),
            version: "0".into(),
        }
    }

    fn name(home: &Home, pipeline: &str, run_at: &str, fingerprints: &[&str]) {
        let all = fingerprints.iter().map(|f| (*f).to_owned()).collect();
        let latest = Latest { run_at: run_at.into(), stages: BTreeMap::from([("s".into(), all)]) };
        write_atomically(&latest_path(home, pipeline), &serde_json::to_vec(&latest).unwrap()).unwrap();
    }

    #[test]
    fn names_follow_the_last_run_and_the_pipeline_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        for (pipeline, fingerprint, at) in [("p", "aa", "1"), ("p", "bb", "2"), ("q", "cc", "3")] {
            let dir = home.stage_dir(pipeline, "s", fingerprint);
            std::fs::create_dir_all(&dir).unwrap();
            let mut record = store::tests::record(fingerprint);
            record.pipeline = pipeline.into();
            record.finished_at = at.into();
            home.finish(&dir, &record).unwrap();
        }
        let means = |pipeline| current(&home, pipeline)["s"].1.fingerprint.clone();
        assert_eq!(means(Some("p")), "bb");
        name(&home, "q", "2026-1", &["cc"]);
        assert_eq!(means(None), "cc");
        name(&home, "p", "2026-2", &["bb", "aa"]);
        assert_eq!(means(None), "aa");
        assert_eq!(means(Some("q")), "cc");
    }

    #[test]
    fn books_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let stage = StageRow {
            stage: "s".into(),
            kind: "record".into(),
            fingerprint: "aa".into(),
            state: "cached".into(),
            seconds: 0.0,
            rows: None,
            error: Some("why".into()),
        };
        record(&home, &run("1", "p"), &[stage.clone(), stage.clone()]).unwrap();
        record(&home, &run("2", "p"), &[stage]).unwrap();
        let (runs, stages) = runs(&home).unwrap();
        let rows = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        assert_eq!((rows(&runs), rows(&stages)), (2, 3));
        assert_eq!(runs[0].schema(), runs_schema());
        assert_eq!(stages[0].schema(), stages_schema());
        assert_eq!(checkpoints(&home).unwrap().num_rows(), 0);
        assert_eq!(metrics(&home).unwrap().len(), 0);
    }
}
