//! `evaluate`: a model plays the arena, and the places where it ends are counted.

use std::path::PathBuf;

use anyhow::Result;

use super::args::EvaluateArgs;
use super::text::{columns, number};
use super::{Context, json};
use crate::engine::Error;
use crate::evaluate::evaluate_model;

/// `playhouse evaluate`
pub(super) fn evaluate(context: &mut Context, args: &EvaluateArgs) -> Result<()> {
    let model = model(context, args)?;
    let compute = context.compute(args.device, 0)?;
    let task = context.console.task("evaluate");
    let summary = evaluate_model(&model, &args.map, args.episodes, args.seed, args.temperature, compute, &task)?;
    drop(task);
    if args.json {
        json(context.out, &summary)?;
        return Ok(());
    }
    let mut rows = Vec::new();
    flatten("", &summary, &mut rows);
    write!(context.out, "{}", columns(&rows, ""))?;
    Ok(())
}

/// A path, or the model of a stage.
fn model(context: &Context, args: &EvaluateArgs) -> Result<PathBuf> {
    let path = PathBuf::from(&args.model);
    if path.is_dir() {
        // In the folder itself, or of a stage that the folder hides by having its name.
        let stage = || context.stage_dir(&args.model, args.pipeline.as_deref()).ok();
        let mut folders = std::iter::once(path.clone()).chain(std::iter::once_with(stage).flatten());
        let found = folders.find_map(|folder| Some(folder.join("model.safetensors")).filter(|model| model.is_file()));
        let such = found.map(|model| format!(", such as {}", model.display())).unwrap_or_default();
        return Err(Error::Usage(format!("{} is a folder, and a model file is wanted{such}", path.display())).into());
    }
    if path.exists() || args.model.contains(std::path::MAIN_SEPARATOR) || args.model.ends_with(".safetensors") {
        return Ok(path);
    }
    let model = context.stage_dir(&args.model, args.pipeline.as_deref())?.join("model.safetensors");
    match model.is_file() {
        true => Ok(model),
        false => Err(Error::Usage(format!("the output of stage `{}` holds no model", args.model)).into()),
    }
}

/// One line a figure: `left.share  0.31`.
fn flatten(name: &str, value: &serde_json::Value, rows: &mut Vec<Vec<String>>) {
    use serde_json::Value;
    let join = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| flatten(&join(key), value, rows)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, value)| flatten(&join(&i.to_string()), value, rows))
        }
        Value::Number(n) => rows.push(vec![name.to_owned(), n.as_f64().map_or_else(|| n.to_string(), number)]),
        Value::String(s) => rows.push(vec![name.to_owned(), s.clone()]),
        Value::Null => rows.push(vec![name.to_owned(), "-".to_owned()]),
        Value::Bool(b) => rows.push(vec![name.to_owned(), b.to_string()]),
    }
}
