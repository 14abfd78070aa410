//! A stage's fingerprint: everything that can change its result, hashed.
//!
//! ```text
//!   name, kind, version of the kind, settings, seed, SQL text with bound values, names and fingerprints of the inputs,
//!   and for an import what lies at its source
//! ```
//! The name counts because stages of one kind draw different random numbers. What cannot change the result stays out: descriptions, expectations, threads, memory, paths of the
//! home. A query has a seed only where its text says `$seed`, an import none at all, so that runs which differ in
//! nothing else share them.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use super::graph::{Node, shown};
use crate::stages;

/// Files up to this size are known by their content, larger ones by size and time of change.
const HASHED: u64 = 256 << 20;

/// The fingerprint of a stage whose inputs have these fingerprints.
pub fn of(node: &Node, inputs: &BTreeMap<&str, &str>) -> io::Result<String> {
    let mut hash = blake3::Hasher::new();
    let mut field = |name: &str, value: &str| {
        for part in [name, value] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    };
    field("name", &node.name);
    field("kind", &node.kind);
    field("version", &stages::version(&node.kind).to_string());
    field("settings", &canonical(&toml::Value::Table(node.settings.clone())));
    match &node.query {
        Some(query) => {
            field("sql", &query.text);
            for (name, value) in &query.parameters {
                field(name, &shown(value));
            }
        }
        None if node.kind == "import" => {
            if let Some(source) = node.settings.get("source").and_then(|s| s.as_str()) {
                field("source", &identity(Path::new(source))?);
            }
        }
        None => field("seed", &node.seed.to_string()),
    }
    for (name, fingerprint) in inputs {
        field(name, fingerprint);
    }
    Ok(hash.finalize().to_hex()[..16].to_owned())
}

/// The hash of the expectations: when only they change, only they run again.
pub fn expectations(node: &Node) -> String {
    let mut hash = blake3::Hasher::new();
    for query in &node.expect {
        hash.update(query.text.as_bytes());
        hash.update(&[0]);
        for (name, value) in &query.parameters {
            hash.update(format!("{name}={}\0", shown(value)).as_bytes());
        }
    }
    hash.finalize().to_hex()[..16].to_owned()
}

/// One text for one value: tables are sorted by key, floats print the same everywhere.
fn canonical(value: &toml::Value) -> String {
    match value {
        toml::Value::Table(table) => {
            let mut entries: Vec<_> = table.iter().map(|(k, v)| format!("{k:?}:{}", canonical(v))).collect();
            entries.sort();
            format!("{{{}}}", entries.join(","))
        }
        toml::Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        toml::Value::String(s) => format!("{s:?}"),
        other => other.to_string(),
    }
}

/// What lies at a path: the content of small files, size and time of large ones, and all of a folder's files.
fn identity(path: &Path) -> io::Result<String> {
    let about = std::fs::metadata(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    if about.is_dir() {
        let mut names: Vec<_> =
            std::fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?.iter().map(|e| e.file_name()).collect();
        names.sort();
        let mut parts = String::new();
        for name in names {
            parts.push_str(&format!("{name:?}={};", identity(&path.join(&name))?));
        }
        return Ok(parts);
    }
    if about.len() > HASHED {
        let changed = about.modified()?.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        return Ok(format!("{}@{changed}", about.len()));
    }
    let mut hash = blake3::Hasher::new();
    let mut file = std::fs::File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().to_hex().to_string()),
            n => hash.update(&buffer[..n]),
        };
    }
}
