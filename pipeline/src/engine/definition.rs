//! A pipeline's definition: the TOML file as it was written, checked for form.
//!
//! ```toml
//! name = "jumppad"
//! description = "..."
//! [parameters]                 # overridable: --set target=right
//! target = "left"
//! [matrix]                     # each combination of values is a run of its own
//! seed = [1, 2, 3]
//! [[stage]]
//! name = "demos"               # also the stage's name in SQL
//! kind = "query"
//! sql = "demonstrations"       # a name in sql/, a path ending in .sql, or the text; parameters are bound as $target
//! settings = { dataset = "play", target = "${target}" }
//! inputs = ["play"]            # only where settings and SQL do not already say so
//! seed = 1                     # only where it should not be the run's
//! expect = ["select * from demos where t_start < 0"]
//! gather = true                # kind `results`: once for the whole matrix, over the inputs of every run
//! ```
//!
//! `extends = "jumppad"` (a built-in's name or a path) takes over another definition: its stages come first, its
//! parameters may be given other values, more stages and a matrix may be added.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use toml::{Spanned, Table, Value};

use super::error::{Error, Result};
use super::nearest::hint;

/// The pipelines inside the binary: name and text.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("jumppad", include_str!("../../definitions/jumppad.toml")),
    ("jumppad-small", include_str!("../../definitions/jumppad-small.toml")),
    ("paper", include_str!("../../definitions/paper.toml")),
    ("paper-runs", include_str!("../../definitions/paper-runs.toml")),
    ("paper-small", include_str!("../../definitions/paper-small.toml")),
    ("human", include_str!("../../definitions/human.toml")),
];

/// Every kind of stage, in the order in which the mission meets them.
pub const KINDS: &[&str] = &[
    "record",
    "import",
    "query",
    "pretrain",
    "finetune",
    "reward",
    "score",
    "prefer",
    "reinforce",
    "rollout",
    "label",
    "evaluate",
    "report",
    "results",
];

/// The kinds that can read the inputs of several runs.
const GATHERING: &[&str] = &["results"];

/// How many definitions may extend each other in a row.
const MAX_EXTENDS: usize = 8;

/// Names in the home folder that are not a pipeline's.
const TAKEN: &[&str] = &["runs", "lock"];

/// Names that SQL already uses for something else.
const RESERVED: &[&str] = &[
    "runs",
    "run_stages",
    "metrics",
    "checkpoints",
    "episodes",
    "steps",
    "frames",
    "public",
    "datafusion",
    "information_schema",
];

/// Where a definition came from; knows how to point at a line of it.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The path as typed, or `built-in <name>`.
    pub label: String,
    /// The folder that relative SQL paths start from; none for a built-in.
    pub folder: Option<PathBuf>,
    text: String,
}

impl Origin {
    /// An error at a byte offset of the text.
    fn at(&self, offset: usize, message: impl Into<String>) -> Error {
        self.on_line(Some(self.line(offset)), message)
    }

    /// An error on a line.
    pub fn on_line(&self, line: Option<usize>, message: impl Into<String>) -> Error {
        Error::Definition { file: self.label.clone(), line, message: message.into() }
    }

    fn line(&self, offset: usize) -> usize {
        let end = offset.min(self.text.len());
        1 + self.text.as_bytes()[..end].iter().filter(|b| **b == b'\n').count()
    }
}

/// A definition, well-formed but not yet resolved.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The pipeline's name: the folder of its outputs.
    pub name: String,
    /// One or two sentences for people.
    pub description: String,
    /// Parameters and their defaults.
    pub parameters: BTreeMap<String, Value>,
    /// Values to sweep, by parameter.
    pub matrix: BTreeMap<String, Vec<Value>>,
    /// Stages in the order of the file.
    pub stages: Vec<StageSpec>,
    /// The file.
    pub origin: Arc<Origin>,
}

/// A stage as written.
#[derive(Debug, Clone)]
pub struct StageSpec {
    /// Unique in the pipeline, and the table's or schema's name in SQL.
    pub name: String,
    /// One of [`KINDS`].
    pub kind: String,
    /// One sentence for people.
    pub description: String,
    /// Settings, with `${parameter}` still in them.
    pub settings: Table,
    /// Kind `query`: name, path or text.
    pub sql: Option<String>,
    /// Queries that must return no row once the stage is done.
    pub expect: Vec<String>,
    /// Inputs beyond those that settings and SQL name.
    pub inputs: Vec<String>,
    /// A seed of its own instead of the run's.
    pub seed: Option<Value>,
    /// Once for the whole matrix, with the inputs of every run.
    pub gather: bool,
    /// The file it stands in.
    pub origin: Arc<Origin>,
    /// Line of the stage's name.
    pub line: usize,
}

impl StageSpec {
    /// An error that points at this stage.
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        self.origin.on_line(Some(self.line), format!("stage `{}`: {message}", self.name))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    name: Spanned<String>,
    extends: Option<Spanned<String>>,
    description: Option<String>,
    #[serde(default)]
    parameters: BTreeMap<String, Spanned<Value>>,
    #[serde(default)]
    matrix: BTreeMap<String, Spanned<Vec<Value>>>,
    #[serde(default)]
    stage: Vec<RawStage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStage {
    name: Spanned<String>,
    kind: Spanned<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    settings: Table,
    sql: Option<String>,
    #[serde(default)]
    expect: Vec<String>,
    #[serde(default)]
    inputs: Vec<String>,
    seed: Option<Value>,
    #[serde(default)]
    gather: bool,
}

impl Definition {
    /// Loads a built-in pipeline by its name, or a `.toml` file by its path.
    pub fn load(name_or_path: &str) -> Result<Self> {
        Self::load_below(name_or_path, 0)
    }

    fn load_below(name_or_path: &str, depth: usize) -> Result<Self> {
        let path = Path::new(name_or_path);
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse_below(&format!("built-in {name}"), None, text, depth);
        }
        if path.extension().is_none_or(|e| e != "toml") && !path.is_file() {
            let names = BUILT_IN.iter().map(|(name, _)| *name);
            return Err(Error::Usage(format!(
                "no pipeline is called `{name_or_path}`{}; give one of these names or the path of a .toml file",
                hint(name_or_path, names)
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|reason| Error::Io {
            action: "read the pipeline",
            path: path.to_owned(),
            reason,
            help: "give the path of a definition, or the name of a built-in one (`playhouse definitions`)",
        })?;
        Self::parse_below(name_or_path, path.parent().map(Path::to_owned), &text, depth)
    }

    /// Parses a definition's text; `label` names it in errors.
    pub fn parse(label: &str, folder: Option<PathBuf>, text: &str) -> Result<Self> {
        Self::parse_below(label, folder, text, 0)
    }

    fn parse_below(label: &str, folder: Option<PathBuf>, text: &str, depth: usize) -> Result<Self> {
        let origin = Arc::new(Origin { label: label.to_owned(), folder, text: text.to_owned() });
        let raw: RawFile = toml::from_str(text).map_err(|e| {
            let message = explain(e.message());
            match e.span() {
                Some(span) => origin.at(span.start, message),
                None => origin.on_line(None, message),
            }
        })?;
        let name_at = raw.name.span().start;
        let name = raw.name.into_inner();
        if !is_name(&name, "-_") || TAKEN.contains(&name.as_str()) {
            return Err(origin.at(
                name_at,
                format!(
                    "`{name}` cannot name a pipeline: use lower-case letters, digits, - and _, starting with a letter (and not `{}`)",
                    TAKEN.join("` or `")
                ),
            ));
        }
        let base = raw.extends.map(|base| Self::base(base, &origin, depth)).transpose()?;
        let mut definition = base.unwrap_or_else(|| Self {
            name: String::new(),
            description: String::new(),
            parameters: BTreeMap::new(),
            matrix: BTreeMap::new(),
            stages: Vec::new(),
            origin: Arc::clone(&origin),
        });
        definition.name = name;
        definition.origin = Arc::clone(&origin);
        if let Some(description) = raw.description {
            definition.description = description;
        }
        for (key, value) in raw.parameters {
            let at = value.span().start;
            let value = value.into_inner();
            match definition.parameters.get(&key) {
                Some(known) if !known.same_type(&value) => {
                    return Err(origin.at(
                        at,
                        format!(
                            "parameter {key} is of type {}; the extended pipeline has it as {}",
                            value.type_str(),
                            known.type_str()
                        ),
                    ));
                }
                _ => definition.parameters.insert(key, value),
            };
        }
        for (key, values) in raw.matrix {
            let at = values.span().start;
            let values = values.into_inner();
            if !definition.parameters.contains_key(&key) {
                let known = definition.parameters.keys().map(String::as_str);
                return Err(
                    origin.at(at, format!("[matrix] sweeps `{key}`, which is no parameter{}", hint(&key, known)))
                );
            }
            if values.is_empty() {
                return Err(origin.at(at, format!("[matrix] {key}: the list of values is empty")));
            }
            definition.matrix.insert(key, values);
        }
        for stage in raw.stage {
            let stage = stage.check(&origin)?;
            if let Some(first) = definition.stages.iter().find(|s| s.name == stage.name) {
                return Err(
                    stage.error(format!("defined twice; the first is in {}, line {}", first.origin.label, first.line))
                );
            }
            definition.stages.push(stage);
        }
        if definition.stages.is_empty() {
            return Err(origin.on_line(None, "the pipeline has no stages; begin one with [[stage]]"));
        }
        Ok(definition)
    }

    /// The definition that another one extends: a built-in, or a path from the extending file's folder.
    fn base(base: Spanned<String>, origin: &Origin, depth: usize) -> Result<Self> {
        let (at, base) = (base.span().start, base.into_inner());
        if depth >= MAX_EXTENDS {
            return Err(origin.at(
                at,
                format!("extends \"{base}\": more than {MAX_EXTENDS} definitions extend each other; is it a circle?"),
            ));
        }
        let built_in = BUILT_IN.iter().any(|(name, _)| *name == base);
        let place = match &origin.folder {
            Some(folder) if !built_in => folder.join(&base).display().to_string(),
            _ => base.clone(),
        };
        Self::load_below(&place, depth + 1).map_err(|e| match e {
            Error::Usage(_) | Error::Io { .. } => origin.at(at, format!("extends \"{base}\": {e}")),
            other => other,
        })
    }

    /// A stage as written.
    pub fn stage(&self, name: &str) -> Option<&StageSpec> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The definition's text as written.
    pub fn text(&self) -> &str {
        &self.origin.text
    }
}

impl RawStage {
    fn check(self, origin: &Arc<Origin>) -> Result<StageSpec> {
        let (at, name) = (self.name.span().start, self.name.into_inner());
        if !is_name(&name, "_") {
            return Err(origin.at(
                at,
                format!("`{name}` cannot name a stage: use lower-case letters, digits and _, starting with a letter, because it is a name in SQL too"),
            ));
        }
        if RESERVED.contains(&name.as_str()) {
            return Err(
                origin.at(at, format!("a stage cannot be called `{name}`: SQL already knows a table by that name"))
            );
        }
        let (kind_at, kind) = (self.kind.span().start, self.kind.into_inner());
        if !KINDS.contains(&kind.as_str()) {
            return Err(origin.at(
                kind_at,
                format!("stage `{name}` has the unknown kind `{kind}`{}", hint(&kind, KINDS.iter().copied())),
            ));
        }
        match (kind == "query", self.sql.is_some()) {
            (true, false) => {
                return Err(origin.at(
                    at,
                    format!(
                        "stage `{name}` is a query without `sql`: name one of sql/, a .sql file, or write the text"
                    ),
                ));
            }
            (false, true) => {
                return Err(origin
                    .at(at, format!("stage `{name}` is of kind `{kind}`, which takes no `sql`; only `query` does")));
            }
            _ => {}
        }
        if self.gather && !GATHERING.contains(&kind.as_str()) {
            return Err(origin.at(
                at,
                format!(
                    "stage `{name}` is of kind `{kind}` and cannot `gather` the runs of a matrix; only `{}` can",
                    GATHERING.join("`, `")
                ),
            ));
        }
        Ok(StageSpec {
            origin: Arc::clone(origin),
            line: origin.line(at),
            name,
            kind,
            description: self.description,
            settings: self.settings,
            sql: self.sql,
            expect: self.expect,
            inputs: self.inputs,
            seed: self.seed,
            gather: self.gather,
        })
    }
}

/// Adds the nearest name to serde's "unknown field" message.
fn explain(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown field"), quoted.next()) {
        (true, Some(word)) => format!("the key `{word}` is not known here{}", hint(word, quoted)),
        _ => message.to_owned(),
    }
}

fn is_name(name: &str, also: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || also.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Definition::parse("p.toml", None, text).unwrap_err().to_string()
    }

    #[test]
    fn reads_a_definition() {
        let text = "name = \"p\"\n[parameters]\nseed = 1\n[matrix]\nseed = [1, 2]\n[[stage]]\nname = \"a\"\nkind = \"record\"\nsettings = { map = \"x\" }\n";
        let d = Definition::parse("p.toml", None, text).unwrap();
        assert_eq!((d.name.as_str(), d.stages.len(), d.stages[0].line), ("p", 1, 7));
        assert_eq!(d.matrix["seed"].len(), 2);
        assert_eq!(d.stages[0].settings["map"].as_str(), Some("x"));
    }

    #[test]
    fn errors_name_the_line_and_the_nearest_word() {
        let stage = |line: &str| format!("name = \"p\"\n[[stage]]\nname = \"a\"\n{line}\n");
        assert_eq!(
            error(&stage("kind = \"pretrian\"")),
            "p.toml:4: stage `a` has the unknown kind `pretrian`; did you mean `pretrain`?"
        );
        assert_eq!(
            error(&stage("kind = \"record\"\nsetings = {}")),
            "p.toml:5: the key `setings` is not known here; did you mean `settings`?"
        );
        assert!(error(&stage("kind = \"query\"")).starts_with("p.toml:3: stage `a` is a query without `sql`"));
        assert!(error(&stage("kind = \"record\"\nsql = \"x\"")).contains("takes no `sql`"));
        assert!(error("name = \"p\"\nkind = 3\n").starts_with("p.toml:2: the key `kind` is not known here"));
        assert!(error("name = \"p\"\n[matrix]\nsed = [1]\n[parameters]\nseed = 1\n").contains("did you mean `seed`?"));
        assert!(error("name = \"p\"\n").contains("no stages"));
        for name in ["P p", "runs", "lock", ".tmp-removed-1", ""] {
            let message = error(&format!("name = \"{name}\"\n"));
            assert!(message.starts_with(&format!("p.toml:1: `{name}` cannot name a pipeline")), "{message}");
        }
        assert!(error("name = \"p\"\n[[stage]]\nname = \"metrics\"\nkind = \"record\"").contains("SQL already knows"));
        let gathers = error(&stage("kind = \"record\"\ngather = true"));
        assert_eq!(
            gathers,
            "p.toml:3: stage `a` is of kind `record` and cannot `gather` the runs of a matrix; only `results` can"
        );
        let twice =
            "name = \"p\"\n[[stage]]\nname = \"a\"\nkind = \"record\"\n[[stage]]\nname = \"a\"\nkind = \"record\"\n";
        assert_eq!(error(twice), "p.toml:6: stage `a`: defined twice; the first is in p.toml, line 3");
    }

    #[test]
    fn a_definition_extends_another() {
        let text = "name = \"mine\"\nextends = \"jumppad\"\n[parameters]\nplay = 3\n[matrix]\nseed = [1, 2]\n";
        let (mine, base) = (Definition::parse("m.toml", None, text).unwrap(), Definition::load("jumppad").unwrap());
        assert_eq!((mine.name.as_str(), mine.stages.len()), ("mine", base.stages.len()));
        assert_eq!(mine.parameters["play"], Value::Integer(3));
        assert_eq!(mine.parameters["target"], base.parameters["target"]);
        assert_eq!(mine.matrix.len(), 1);
        let wrong = error("name = \"m\"\nextends = \"jumppad\"\n[parameters]\nplay = \"x\"\n");
        assert_eq!(wrong, "p.toml:4: parameter play is of type string; the extended pipeline has it as integer");
        assert!(
            error("name = \"m\"\nextends = \"jumpad\"\n")
                .starts_with("p.toml:2: extends \"jumpad\": no pipeline is called")
        );
    }

    #[test]
    fn unknown_pipelines_are_usage_errors() {
        let e = Definition::load("jumpad").unwrap_err();
        assert!(matches!(e, Error::Usage(_)));
        assert!(e.to_string().contains("did you mean `jumppad`?"), "{e}");
    }

    #[test]
    fn every_built_in_is_well_formed() {
        for (name, _) in BUILT_IN {
            assert_eq!(Definition::load(name).unwrap().name, *name);
        }
    }
}
