//! Outputs as SQL tables.
//!
//! ```text
//!   query stage `demos`      table.parquet    -> demos
//!   dataset stage `play`     data/            -> play.episodes, play.steps, play.frames, play.<sidecar>
//!   any stage `reward`       scores.parquet   -> reward.scores
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use playhouse_queries::Session;
use toml::{Table, Value};

/// Registers everything a stage's folder holds under the stage's name.
pub fn register(session: &Session, stage: &str, dir: &Path) -> Result<()> {
    let about = || format!("the output of stage `{stage}` in {}", dir.display());
    if dir.join("data").is_dir() {
        session.register_dataset(stage, &dir.join("data")).with_context(about)?;
    }
    for (name, path) in tables(dir) {
        match name.as_str() {
            "table" => session.register_parquet(None, stage, &path).with_context(about)?,
            name => session.register_parquet(Some(stage), name, &path).with_context(about)?,
        }
    }
    Ok(())
}

/// The Parquet files of an output: stem and path, sorted.
pub fn tables(dir: &Path) -> Vec<(String, PathBuf)> {
    let mut found: Vec<(String, PathBuf)> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "parquet"))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
        .filter(|(stem, _)| !stem.starts_with('.'))
        .collect();
    found.sort();
    found
}

/// Registers the names that a query's settings give to its inputs: `dataset` brings a dataset's tables in under their
/// bare names, `tables` renames single ones. The inputs themselves are registered already.
pub fn register_aliases(session: &Session, settings: &Table, dir_of: &dyn Fn(&str) -> Option<PathBuf>) -> Result<()> {
    if let Some(Value::String(stage)) = settings.get("dataset") {
        let dir = dir_of(stage).with_context(|| format!("stage `{stage}` has no finished output"))?;
        if !dir.join("data").is_dir() {
            bail!("`dataset` is `{stage}`, whose output holds no dataset; use `tables` for single tables");
        }
        session.register_dataset("", &dir.join("data"))?;
    }
    for (alias, target) in settings.get("tables").and_then(Value::as_table).into_iter().flatten() {
        let target = target.as_str().unwrap_or_default();
        session.alias(alias, target).with_context(|| format!("tables.{alias} = \"{target}\""))?;
    }
    Ok(())
}
