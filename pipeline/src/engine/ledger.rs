//! The books: what ran when, and what came out of it, as tables.
//!
//! Every run leaves `runs/<id>/runs.parquet` (one row) and `runs/<id>/run_stages.parquet` (one row a stage) in the home;
//! `metrics` and `checkpoints` are gathered from the outputs. Where a table has a column `run`, it says which run of a matrix
//! a line belongs to, as `seed=1`, or all of them, as `seed=1; seed=2`; it is null without a matrix.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::names::{Latest, latest};
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
    /// Which runs of the matrix it belongs to.
    pub runs: Option<String>,
    /// Kind.
    pub kind: String,
    /// Fingerprint.
    pub fingerprint: String,
    /// `cached`, `done`, `failed`, `skipped`, `interrupted` or `not started`.
    pub state: String,
    /// Wall time in this run.
    pub seconds: f64,
    /// Rows of all its tables.
    pub rows: Option<i64>,
    /// Why it failed or was skipped.
    pub error: Option<String>,
}

fn text<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// The column that says which run of a matrix.
fn run() -> Field {
    Field::new("run", DataType::Utf8, true)
}

/// The runs that an output or a line belongs to, as one text; none without a matrix.
pub fn joined(runs: &[String]) -> Option<String> {
    (!runs.is_empty()).then(|| runs.join("; "))
}

/// Which runs the outputs belong to, by what the last run of each pipeline made or found.
struct Belonging<'a> {
    home: &'a Home,
    pipelines: BTreeMap<String, Latest>,
}

impl<'a> Belonging<'a> {
    fn new(home: &'a Home) -> Self {
        Self { home, pipelines: BTreeMap::new() }
    }

    fn of(&mut self, record: &StageRecord) -> Option<String> {
        let read = || latest(self.home, &record.pipeline).unwrap_or_default();
        let latest = self.pipelines.entry(record.pipeline.clone()).or_insert_with(read);
        joined(&latest.output(&record.stage, &record.fingerprint)?.runs)
    }
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
        run(),
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
        run(),
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
        run(),
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
        Arc::new(StringArray::from_iter(stages.iter().map(|s| s.runs.as_deref()))),
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

/// All rows of `runs` and of `run_stages`.
pub fn runs(home: &Home) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
    let (mut runs, mut stages) = (Vec::new(), Vec::new());
    for folder in folders(&home.root().join("runs")) {
        let path = folder.join("runs.parquet");
        // A run that is still going has no lines yet.
        if path.exists() {
            runs.extend(read_as(&path, &runs_schema())?);
            stages.extend(read_as(&folder.join("run_stages.parquet"), &stages_schema())?);
        }
    }
    Ok((runs, stages))
}

/// All rows of `metrics`: every finished output's metrics.parquet under its names.
pub fn metrics(home: &Home) -> Result<Vec<RecordBatch>> {
    let (mut out, mut belonging) = (Vec::new(), Belonging::new(home));
    for (dir, record) in home.outputs() {
        let path = dir.join("metrics.parquet");
        if !path.exists() {
            continue;
        }
        let run = belonging.of(&record);
        for batch in read(&path)? {
            let repeat = |value: &str| text(std::iter::repeat_n(value, batch.num_rows()));
            let run: ArrayRef = Arc::new(StringArray::from_iter(std::iter::repeat_n(run.as_deref(), batch.num_rows())));
            let mut columns = vec![repeat(&record.pipeline), repeat(&record.stage), run, repeat(&record.fingerprint)];
            for field in &metrics_schema().fields()[columns.len()..] {
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
    let (mut rows, mut belonging) = (Vec::new(), Belonging::new(home));
    for (dir, record) in home.outputs() {
        let run = belonging.of(&record);
        for (file, bytes) in record.files.iter().filter(|(file, _)| file.ends_with(".safetensors")) {
            let path = dir.join(file).display().to_string();
            rows.push((record.clone(), run.clone(), path, i64::try_from(*bytes)?));
        }
    }
    let column = |get: fn(&StageRecord) -> &str| text(rows.iter().map(|(record, ..)| get(record)));
    let columns: Vec<ArrayRef> = vec![
        column(|r| &r.pipeline),
        column(|r| &r.stage),
        Arc::new(StringArray::from_iter(rows.iter().map(|(_, run, ..)| run.as_deref()))),
        column(|r| &r.kind),
        column(|r| &r.fingerprint),
        column(|r| &r.finished_at),
        text(rows.iter().map(|(.., path, _)| path.as_str())),
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

/// Reads a table by the names of its columns. One that may be null was not there yet when an older version wrote it.
fn read_as(path: &Path, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let known = |batch: RecordBatch| -> Result<RecordBatch> {
        let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
            Some(column) => Ok(Arc::clone(column)),
            None if field.is_nullable() => Ok(new_null_array(field.data_type(), batch.num_rows())),
            None => Err(anyhow!("{} has no column `{}`; delete it", path.display(), field.name())),
        };
        let columns = schema.fields().iter().map(column).collect::<Result<_>>()?;
        RecordBatch::try_new(Arc::clone(schema), columns).with_context(|| path.display().to_string())
    };
    read(path)?.into_iter().map(known).collect()
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

    #[test]
    fn books_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let stage = StageRow {
            stage: "s".into(),
            runs: Some("seed=1; seed=2".into()),
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
        // An older version wrote no column `run`.
        let path = folder.path().join("runs/2/run_stages.parquet");
        let mut old = read(&path).unwrap().remove(0);
        old.remove_column(stages_schema().index_of("run").unwrap());
        write(&path, old).unwrap();
        let (_, again) = super::runs(&home).unwrap();
        assert_eq!(again[1].schema(), stages_schema());
        assert_eq!(again[1].column_by_name("run").unwrap().null_count(), 1);
        assert_eq!(checkpoints(&home).unwrap().num_rows(), 0);
        assert_eq!(metrics(&home).unwrap().len(), 0);
    }
}
