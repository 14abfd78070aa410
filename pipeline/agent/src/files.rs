//! Model and checkpoint files: safetensors, written so that a crash at any instant leaves the old file or the new one.
//!
//! ```text
//! model.safetensors        <parameter>                      F32  the model, by name
//! checkpoint.safetensors   weights/<parameter>              F32
//!                          adamw.m/<parameter>, adamw.v/... F32
//!                          numbers/<name>                   F64  small state of the algorithm: counts, means
//!                          arrays/<name>                    F32  large state of the algorithm: the best weights so far
//!                          metrics/{step,name,value}        U64, U32, F64  metric rows; `name` indexes the header's list
//! ```
//!
//! The header's metadata has one key, `playhouse`, whose value is JSON: one key, because the order of several is random and files are meant
//! to be equal byte for byte. Numbers stay out of the JSON, so that they survive bit for bit. The order of the data and every random draw
//! are functions of (seed, step), so the sampler's position and the generators' state are the step itself.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};

use crate::config::{Head, ModelConfig};
use crate::error::{Error, Result};
use crate::layout::{Layout, Parameter};
use crate::report::MetricRow;

/// Version of both files' layout, and of [`ModelConfig`] in their headers: raised when an older file cannot be read as a newer one.
const FORMAT: u32 = 2;
/// The header's only metadata key.
const KEY: &str = "playhouse";

#[derive(Serialize, Deserialize)]
struct ModelHeader {
    format: u32,
    head: Head,
    config: ModelConfig,
}

#[derive(Serialize, Deserialize)]
struct CheckpointHeader {
    format: u32,
    run: serde_json::Value,
    step: u64,
    metric_names: Vec<String>,
}

/// A model in memory: its shape and its parameters, `values` laid out by [`Layout`].
#[derive(Clone, Debug)]
pub(crate) struct ModelFile {
    pub config: ModelConfig,
    pub head: Head,
    pub layout: Layout,
    pub values: Vec<f32>,
}

/// Everything a run needs to go on.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Checkpoint {
    /// What the run is: algorithm, settings, model, data sizes. Resuming under another one is a conflict.
    pub run: serde_json::Value,
    /// Steps (or updates) done.
    pub step: u64,
    pub weights: Vec<f32>,
    pub m: Vec<f32>,
    pub v: Vec<f32>,
    pub numbers: BTreeMap<String, Vec<f64>>,
    pub arrays: BTreeMap<String, Vec<f32>>,
    pub metrics: Vec<MetricRow>,
}

impl ModelFile {
    /// Reads and checks a model: the format, every parameter's shape, and that every value is finite.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read(path)?;
        let (tensors, header) = open(path, &bytes)?;
        let header: ModelHeader = serde_json::from_value(header)
            .map_err(|e| Error::corrupt(path, format!("not a model file of this program: {e}")))?;
        header.config.validate()?;
        let layout = Layout::new(&header.config, header.head);
        let mut values = vec![0.0; layout.len()];
        for parameter in layout.parameters() {
            floats(path, &tensors, &parameter.name, Some(&parameter.shape), &mut values[parameter.range()])?;
            if let Some(bad) = values[parameter.range()].iter().find(|v| !v.is_finite()) {
                return Err(Error::corrupt(path, format!("parameter {} contains {bad}", parameter.name)));
            }
        }
        Ok(Self { config: header.config, head: header.head, layout, values })
    }

    /// Writes the model atomically.
    pub fn write(&self, path: &Path) -> Result<()> {
        let header = ModelHeader { format: FORMAT, head: self.head, config: self.config.clone() };
        let parts = named(&self.layout, &self.values, "");
        write(path, parts, &header)
    }
}

impl Checkpoint {
    /// Reads a checkpoint, or nothing where there is none. `run` is what the caller is about to do.
    pub fn read(path: &Path, layout: &Layout, run: &serde_json::Value) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read(path)?;
        let (tensors, header) = open(path, &bytes)?;
        let header: CheckpointHeader = serde_json::from_value(header)
            .map_err(|e| Error::corrupt(path, format!("not a checkpoint of this program: {e}")))?;
        // Through text, as the other one went: reading a float back may move its last bit.
        let run: serde_json::Value = serde_json::from_str(&run.to_string())
            .map_err(|e| Error::Settings(format!("settings cannot be written as JSON: {e}")))?;
        if let Some(reason) = difference("", &header.run, &run) {
            return Err(Error::Conflict { path: path.to_owned(), reason });
        }
        let mut checkpoint = Self { run: header.run, step: header.step, ..Self::default() };
        let groups =
            [("weights/", &mut checkpoint.weights), ("adamw.m/", &mut checkpoint.m), ("adamw.v/", &mut checkpoint.v)];
        for (prefix, values) in groups {
            *values = vec![0.0; layout.len()];
            for p in layout.parameters() {
                floats(path, &tensors, &format!("{prefix}{}", p.name), Some(&p.shape), &mut values[p.range()])?;
            }
        }
        for (name, view) in tensors.iter() {
            if let Some(name) = name.strip_prefix("numbers/") {
                checkpoint.numbers.insert(name.to_owned(), doubles(view.data()));
            } else if let Some(short) = name.strip_prefix("arrays/") {
                let mut values = vec![0.0; view.data().len() / 4];
                floats(path, &tensors, name, None, &mut values)?;
                checkpoint.arrays.insert(short.to_owned(), values);
            }
        }
        checkpoint.metrics = metrics(path, &tensors, &header.metric_names)?;
        Ok(Some(checkpoint))
    }

    /// Writes the checkpoint atomically.
    pub fn write(&self, path: &Path, layout: &Layout) -> Result<()> {
        let mut names: Vec<String> = Vec::new();
        let mut index: HashMap<&str, u32> = HashMap::new();
        let mut name_indices = Vec::with_capacity(self.metrics.len());
        for row in &self.metrics {
            let next = names.len() as u32;
            let i = *index.entry(&row.name).or_insert_with(|| {
                names.push(row.name.clone());
                next
            });
            name_indices.push(i);
        }
        let header = CheckpointHeader { format: FORMAT, run: self.run.clone(), step: self.step, metric_names: names };
        let mut parts = named(layout, &self.weights, "weights/");
        parts.extend(named(layout, &self.m, "adamw.m/"));
        parts.extend(named(layout, &self.v, "adamw.v/"));
        for (name, values) in &self.numbers {
            parts.push(Part::doubles(format!("numbers/{name}"), values.iter().copied()));
        }
        for (name, values) in &self.arrays {
            parts.push(Part::floats(format!("arrays/{name}"), vec![values.len()], values));
        }
        parts.push(Part::new(
            "metrics/step".to_owned(),
            Dtype::U64,
            vec![self.metrics.len()],
            self.metrics.iter().flat_map(|r| r.step.to_le_bytes()).collect(),
        ));
        parts.push(Part::new(
            "metrics/name".to_owned(),
            Dtype::U32,
            vec![self.metrics.len()],
            name_indices.iter().flat_map(|i| i.to_le_bytes()).collect(),
        ));
        parts.push(Part::doubles("metrics/value".to_owned(), self.metrics.iter().map(|r| r.value)));
        write(path, parts, &header)
    }
}

/// One tensor on its way to a file.
struct Part {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Part {
    fn new(name: String, dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> Self {
        Self { name, dtype, shape, bytes }
    }

    fn floats(name: String, shape: Vec<usize>, values: &[f32]) -> Self {
        Self::new(name, Dtype::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn doubles(name: String, values: impl ExactSizeIterator<Item = f64>) -> Self {
        let shape = vec![values.len()];
        Self::new(name, Dtype::F64, shape, values.flat_map(f64::to_le_bytes).collect())
    }
}

fn named(layout: &Layout, values: &[f32], prefix: &str) -> Vec<Part> {
    let part = |p: &Parameter| Part::floats(format!("{prefix}{}", p.name), p.shape.clone(), &values[p.range()]);
    layout.parameters().iter().map(part).collect()
}

fn write(path: &Path, parts: Vec<Part>, header: &impl Serialize) -> Result<()> {
    let inside = |reason: String| Error::corrupt(path, format!("could not be put together: {reason}"));
    let header = serde_json::to_string(header).map_err(|e| inside(e.to_string()))?;
    let views = parts
        .iter()
        .map(|p| TensorView::new(p.dtype, p.shape.clone(), &p.bytes).map(|view| (p.name.as_str(), view)))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|e| inside(e.to_string()))?;
    let metadata = HashMap::from([(KEY.to_owned(), header)]);
    let bytes = serialize(views, Some(metadata)).map_err(|e| inside(e.to_string()))?;
    write_atomically(path, &bytes)
}

/// Temporary name, fsync, rename, fsync of the folder.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = folder_of(path);
    fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let mut name = std::ffi::OsString::from(".tmp-");
    name.push(path.file_name().unwrap_or_default());
    let temporary = folder.join(name);
    let result = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    })();
    result.map_err(|e| {
        // Best effort: the error to report is the first one.
        let _ = fs::remove_file(&temporary);
        Error::io(path, e)
    })
}

/// The folder that `path` lies in. The parent of a bare file name is the empty path, which cannot be opened.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| Error::io(path, e))
}

/// Parses a file and its metadata, and checks the format.
fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<(SafeTensors<'a>, serde_json::Value)> {
    let damaged =
        |e: safetensors::SafeTensorError| Error::corrupt(path, format!("not a complete safetensors file: {e}"));
    let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let text = metadata.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or_else(|| {
        Error::corrupt(path, format!("the header has no \"{KEY}\" entry: written by another program"))
    })?;
    let header: serde_json::Value =
        serde_json::from_str(text).map_err(|e| Error::corrupt(path, format!("unreadable header: {e}")))?;
    // Before anything else in the header: another version may have other fields.
    let format = &header["format"];
    if *format != FORMAT {
        let reason = format!("format version {format}; this program reads {FORMAT}: make the file again");
        return Err(Error::corrupt(path, reason));
    }
    Ok((tensors, header))
}

fn floats(path: &Path, tensors: &SafeTensors, name: &str, shape: Option<&[usize]>, out: &mut [f32]) -> Result<()> {
    let view = tensors.tensor(name).map_err(|_| Error::corrupt(path, format!("tensor {name} is missing")))?;
    if view.dtype() != Dtype::F32 || shape.is_some_and(|s| s != view.shape()) || view.data().len() != out.len() * 4 {
        return Err(Error::corrupt(
            path,
            format!("tensor {name} is {:?} {:?}; F32 {shape:?} was expected", view.dtype(), view.shape()),
        ));
    }
    for (value, bytes) in out.iter_mut().zip(view.data().as_chunks::<4>().0) {
        *value = f32::from_le_bytes(*bytes);
    }
    Ok(())
}

fn doubles(bytes: &[u8]) -> Vec<f64> {
    bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
}

fn metrics(path: &Path, tensors: &SafeTensors, names: &[String]) -> Result<Vec<MetricRow>> {
    let data = |name: &str| {
        tensors.tensor(name).map(|v| v.data()).map_err(|_| Error::corrupt(path, format!("tensor {name} is missing")))
    };
    let steps = data("metrics/step")?.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b));
    let indices = data("metrics/name")?.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b));
    let values = doubles(data("metrics/value")?);
    steps
        .zip(indices)
        .zip(values)
        .map(|((step, index), value)| {
            let name = names.get(index as usize).ok_or_else(|| Error::corrupt(path, "a metric row has no name"))?;
            Ok(MetricRow { step, name: name.clone(), value })
        })
        .collect()
}

/// The first difference between what a checkpoint belongs to and what is asked for, in words.
fn difference(at: &str, was: &serde_json::Value, is: &serde_json::Value) -> Option<String> {
    use serde_json::Value::Object;
    if let (Object(was), Object(is)) = (was, is) {
        let names: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        return names.into_iter().find_map(|name| {
            let null = serde_json::Value::Null;
            let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            difference(&at, was.get(name).unwrap_or(&null), is.get(name).unwrap_or(&null))
        });
    }
    let said = |value: &serde_json::Value| if value.is_null() { "not set".to_owned() } else { format!("= {value}") };
    (was != is).then(|| format!("this checkpoint was made with {at} {}, but now {at} {}", said(was), said(is)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ModelConfig {
        ModelConfig {
            dims: vec![4],
            depths: vec![1],
            width: 8,
            layers: 1,
            heads: 2,
            ffn: 8,
            ..ModelConfig::preset("tiny").unwrap()
        }
    }

    fn model() -> ModelFile {
        let layout = Layout::new(&config(), Head::Policy);
        let values = layout.initial(3);
        ModelFile { config: config(), head: Head::Policy, layout, values }
    }

    #[test]
    fn a_model_survives_and_its_bytes_are_always_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("deep/er/b"));
        model().write(&a).unwrap();
        let back = ModelFile::read(&a).unwrap();
        assert_eq!(back.values, model().values);
        back.write(&b).unwrap();
        assert_eq!(fs::read(a).unwrap(), fs::read(b).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file stays");
    }

    #[test]
    fn a_checkpoint_survives_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let model = model();
        let checkpoint = Checkpoint {
            run: serde_json::json!({"kind": "test", "lr": 0.1}),
            step: 7,
            weights: model.values.clone(),
            m: model.layout.initial(4),
            v: model.layout.initial(5),
            numbers: BTreeMap::from([("counts".to_owned(), vec![0.1 + 0.2, f64::MIN_POSITIVE])]),
            arrays: BTreeMap::from([("best".to_owned(), vec![1.5, -0.0])]),
            metrics: (0..5)
                .map(|i| MetricRow { step: i, name: format!("m{}", i % 2), value: 1.0 / (i as f64 + 0.3) })
                .collect(),
        };
        checkpoint.write(&path, &model.layout).unwrap();
        let back = Checkpoint::read(&path, &model.layout, &checkpoint.run).unwrap().unwrap();
        assert_eq!(back, checkpoint);
        assert_eq!(back.numbers["counts"][0].to_bits(), (0.1f64 + 0.2).to_bits());
        assert_eq!(Checkpoint::read(&dir.path().join("none"), &model.layout, &checkpoint.run).unwrap(), None);
        let other = serde_json::json!({"kind": "test", "lr": 0.2});
        let message = Checkpoint::read(&path, &model.layout, &other).unwrap_err().to_string();
        assert!(message.contains("lr = 0.1") && message.contains("lr = 0.2"), "{message}");
    }

    #[test]
    fn another_format_is_named_before_any_field() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        let model = model();
        let mut config = serde_json::to_value(&model.config).unwrap();
        config.as_object_mut().unwrap().remove("readout").unwrap();
        let old = serde_json::json!({"format": 1, "head": "policy", "config": config});
        write(&path, named(&model.layout, &model.values, ""), &old).unwrap();
        let message = ModelFile::read(&path).unwrap_err().to_string();
        assert!(message.contains("format version 1; this program reads 2"), "{message}");
        let message = Checkpoint::read(&path, &model.layout, &old).unwrap_err().to_string();
        assert!(message.contains("format version 1; this program reads 2"), "{message}");
    }

    #[test]
    fn a_bare_file_name_lies_in_the_folder_one_works_in() {
        assert_eq!(folder_of(Path::new("model.safetensors")), Path::new("."));
        assert_eq!(folder_of(Path::new("runs/model.safetensors")), Path::new("runs"));
        assert!(File::open(folder_of(Path::new("model.safetensors"))).is_ok());
    }

    #[test]
    fn damage_is_reported_with_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        let is_corrupt = |part: &str| match ModelFile::read(&path) {
            Err(Error::Corrupt { reason, .. }) => assert!(reason.contains(part), "{reason}"),
            other => panic!("{other:?}"),
        };
        fs::write(&path, b"not a model").unwrap();
        is_corrupt("safetensors");
        model().write(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
        is_corrupt("safetensors");
        let mut bad = model();
        bad.values[0] = f32::NAN;
        bad.write(&path).unwrap();
        is_corrupt("NaN");
        let mut other = model();
        other.config.width = 16;
        other.write(&path).unwrap();
        is_corrupt("was expected");
        assert!(matches!(ModelFile::read(&dir.path().join("absent")), Err(Error::Io { .. })));
    }
}
