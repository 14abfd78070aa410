//! A stage's fingerprint: everything that can change its result, hashed.
//!
//! ```text
//!   name, kind, version of the kind, settings and what they mean (defaults, presets, texts of the library), seed, SQL
//!   text with bound values, names and fingerprints of the inputs, and for an import the files that it would read
//! ```
//! The name counts because stages of one kind draw different random numbers. What cannot change the result stays out:
//! descriptions, expectations, threads, memory, paths of the home. A query has a seed only where its text says `$seed`,
//! an import none at all, so that runs which differ in nothing else share them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::graph::{Node, shown};
use crate::import;
use crate::stages;

/// Files up to this size are known by their content, larger ones by size and time of change.
const HASHED: u64 = 256 << 20;

/// The fingerprint of a stage whose inputs have these fingerprints. Fails if an import's source cannot be read.
pub fn of(node: &Node, inputs: &BTreeMap<&str, &str>) -> Result<String, import::Error> {
    let source = match node.settings.get("source").and_then(|source| source.as_str()) {
        Some(source) if node.kind == "import" => {
            let source = Path::new(source);
            identity(source, import::reads(source, &node.settings)?)?
        }
        _ => String::new(),
    };
    Ok(combine(node, &stages::resolved(&node.kind, &node.settings), &source, inputs))
}

/// The hash of a stage, of what its settings mean, and of what lies outside.
fn combine(node: &Node, resolved: &str, source: &str, inputs: &BTreeMap<&str, &str>) -> String {
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
    field("resolved", resolved);
    match &node.query {
        Some(query) => {
            field("sql", &query.text);
            for (name, value) in &query.parameters {
                field(name, &shown(value));
            }
        }
        None if node.kind == "import" => field("source", source),
        None => field("seed", &node.seed.to_string()),
    }
    for (name, fingerprint) in inputs {
        field(name, fingerprint);
    }
    hash.finalize().to_hex()[..16].to_owned()
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

/// What an import of a source would read: every file's name below the source, and what is in it.
fn identity(source: &Path, files: Vec<PathBuf>) -> Result<String, import::Error> {
    let mut parts = String::new();
    for file in files {
        let name = file.strip_prefix(source).unwrap_or(&file);
        let content = content(&file).map_err(|reason| import::Error::Read { path: file.clone(), source: reason })?;
        parts.push_str(&format!("{name:?}={content};"));
    }
    Ok(parts)
}

/// The hash of a small file's content, or the size and the time of change of a large one.
fn content(path: &Path) -> std::io::Result<String> {
    let about = std::fs::metadata(path)?;
    if about.len() > HASHED {
        let changed = about.modified()?.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        return Ok(format!("{}@{changed}", about.len()));
    }
    let mut hash = blake3::Hasher::new();
    hash.update_reader(std::fs::File::open(path)?)?;
    Ok(hash.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::engine::definition::Definition;
    use crate::engine::graph::Graph;
    use crate::import::clips;

    #[test]
    fn what_settings_mean_counts_as_much_as_what_they_say() {
        let text = r#"
name = "p"
[[stage]]
name = "play"
kind = "record"
settings = { map = "skygarden", episodes = 1 }
[[stage]]
name = "train"
kind = "query"
sql = "windows"
settings = { dataset = "play" }
[[stage]]
name = "base"
kind = "pretrain"
settings = { data = "play", windows = "train", model = "tiny" }
"#;
        let definition = Definition::parse("p.toml", None, text).unwrap();
        let graph = Graph::resolve(&definition, &definition.parameters).unwrap();
        let print = |stage: &str| graph.node(stage).unwrap().fingerprint.as_str();
        let inputs = BTreeMap::from(["play", "train"].map(|stage| (stage, print(stage))));
        let base = graph.node("base").unwrap();
        let resolved = stages::resolved(&base.kind, &base.settings);
        assert_eq!(combine(base, &resolved, "", &inputs), base.fingerprint);
        let changed = resolved.replace("\"lr\":0.001", "\"lr\":0.002");
        assert_ne!(resolved, changed);
        assert_ne!(combine(base, &changed, "", &inputs), base.fingerprint, "another default");
    }

    fn known(source: &Path) -> Result<String, import::Error> {
        identity(source, clips(source)?)
    }

    #[test]
    fn an_import_is_known_by_the_clips_that_it_reads() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let print = || known(folder.path()).unwrap();
        assert!(known(folder.path()).unwrap_err().to_string().contains("holds no .npz clip"));
        std::fs::create_dir(at("b")).unwrap();
        std::fs::write(at("b/1.npz"), "one").unwrap();
        let before = print();
        std::fs::write(at("notes.txt"), "not a clip").unwrap();
        std::os::unix::fs::symlink(folder.path(), at("b/round")).unwrap();
        assert_eq!(print(), before, "what is not read does not count, and a link to a parent is not followed");
        std::fs::write(at("b/1.npz"), "two").unwrap();
        let edited = print();
        std::fs::write(at("2.npz"), "three").unwrap();
        let added = print();
        std::fs::rename(at("2.npz"), at("0.npz")).unwrap();
        let all = BTreeSet::from([before, edited, added, print()]);
        assert_eq!(all.len(), 4, "{all:?}");
        // One clip alone is the same wherever it lies.
        let alone = known(&at("b/1.npz")).unwrap();
        std::fs::rename(at("b/1.npz"), at("b/2.npz")).unwrap();
        assert_eq!(known(&at("b/2.npz")).unwrap(), alone);
        let gone = known(&at("b/1.npz")).unwrap_err().to_string();
        assert!(gone.contains("cannot read") && gone.contains("check that it exists"), "{gone}");
    }
}
