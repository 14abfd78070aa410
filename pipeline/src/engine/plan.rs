//! What a run would do, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use super::definition::Definition;
use super::error::Result;
use super::fingerprint;
use super::graph::{Graph, Node, shown};
use super::parameters::{self, Parameters};
use super::store::{Content, Home, StageRecord};
use crate::stages;

/// What would happen to a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its output is there and is used as it is.
    Cached,
    /// Its output is there; only its expectations are looked at again.
    ToCheck,
    /// It was cut off and goes on from its last checkpoint.
    Resumes,
    /// It runs from the start.
    ToRun,
}

impl State {
    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::ToCheck => "to check",
            Self::Resumes => "resumes",
            Self::ToRun => "to run",
        }
    }
}

/// One stage of one run. Runs of a matrix that share a fingerprint share the item.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// The stage.
    pub stage: String,
    /// Its kind.
    pub kind: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// What would happen.
    pub state: State,
    /// Why it is not cached.
    pub why: Vec<String>,
    /// Direct inputs: stage to fingerprint.
    pub inputs: BTreeMap<String, String>,
    /// Where its output lies, or will.
    pub dir: PathBuf,
    /// Which combinations of the matrix it belongs to, as `seed=1`; empty without a matrix.
    pub runs: Vec<String>,
    /// Rows by table, if finished.
    pub rows: BTreeMap<String, u64>,
    /// Main figures, if finished.
    pub figures: BTreeMap<String, f64>,
    /// Seconds it took, if finished.
    pub seconds: Option<f64>,
    /// Resolved; the engine needs it, readers have its parts above.
    #[serde(skip)]
    pub node: Node,
    /// The finished output's record.
    #[serde(skip)]
    pub record: Option<StageRecord>,
}

/// A definition, resolved, beside what the home holds.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The pipeline.
    pub pipeline: String,
    /// For people.
    pub description: String,
    /// Parameters of each run.
    pub runs: Vec<Parameters>,
    /// Stages to look at, inputs first.
    pub stages: Vec<Item>,
    /// Stages of the pipeline that were not selected, with their folders.
    #[serde(skip)]
    pub unselected: Vec<Item>,
}

impl Plan {
    /// Resolves every run of a definition and looks up its outputs. Starts nothing and writes nothing.
    pub fn make(definition: &Definition, overrides: &[String], select: &[String], home: &Home) -> Result<Self> {
        let runs = parameters::resolve(definition, overrides)?;
        let varying: Vec<String> = match runs.len() {
            1 => Vec::new(),
            _ => {
                definition.matrix.keys().filter(|key| runs.iter().any(|r| r[*key] != runs[0][*key])).cloned().collect()
            }
        };
        let mut plan = Self {
            pipeline: definition.name.clone(),
            description: definition.description.clone(),
            runs: runs.clone(),
            stages: Vec::new(),
            unselected: Vec::new(),
        };
        for run in &runs {
            let graph = Graph::resolve(definition, run)?;
            let chosen = graph.select(select)?;
            let label = parameters::label(run, &varying);
            for node in &graph.nodes {
                plan.add(home, &graph, node, &label, &chosen)?;
            }
        }
        Ok(plan)
    }

    fn add(&mut self, home: &Home, graph: &Graph, node: &Node, label: &str, chosen: &BTreeSet<String>) -> Result<()> {
        let list = if chosen.contains(&node.name) { &mut self.stages } else { &mut self.unselected };
        if let Some(item) = list.iter_mut().find(|i| i.stage == node.name && i.fingerprint == node.fingerprint) {
            item.runs.push(label.to_owned());
            return Ok(());
        }
        let dir = home.stage_dir(&self.pipeline, &node.name, &node.fingerprint);
        let fingerprints = |input: &String| {
            let fingerprint = graph.node(input).map(|n| n.fingerprint.clone()).unwrap_or_default();
            (input.clone(), fingerprint)
        };
        let inputs: BTreeMap<String, String> = node.inputs.iter().map(fingerprints).collect();
        let (state, why, record) = match home.content(&dir)? {
            Content::Finished(record) if !record.violations.is_empty() => {
                (State::ToCheck, vec!["its expectations did not hold".to_owned()], Some(*record))
            }
            Content::Finished(record) if record.expectations != fingerprint::expectations(node) => {
                (State::ToCheck, vec!["its expectations changed".to_owned()], Some(*record))
            }
            Content::Finished(record) => (State::Cached, Vec::new(), Some(*record)),
            Content::Unfinished => (State::Resumes, vec!["it was cut off".to_owned()], None),
            Content::Damaged(what) => (State::ToRun, vec![format!("its output is damaged: {what}")], None),
            Content::Nothing => {
                let earlier = home.outputs_of(&self.pipeline, &node.name);
                let why = match earlier.last() {
                    Some((_, record)) => changes(record, node, &inputs),
                    None => vec!["new".to_owned()],
                };
                (State::ToRun, why, None)
            }
        };
        list.push(Item {
            stage: node.name.clone(),
            kind: node.kind.clone(),
            fingerprint: node.fingerprint.clone(),
            state,
            why,
            inputs,
            dir,
            runs: if label.is_empty() { Vec::new() } else { vec![label.to_owned()] },
            rows: record.as_ref().map(|r| r.rows.clone()).unwrap_or_default(),
            figures: record.as_ref().map(|r| r.figures.clone()).unwrap_or_default(),
            seconds: record.as_ref().map(|r| r.seconds),
            node: node.clone(),
            record,
        });
        Ok(())
    }

    /// The item of a stage's output, selected or not.
    pub fn item(&self, stage: &str, fingerprint: &str) -> Option<&Item> {
        self.stages.iter().chain(&self.unselected).find(|i| i.stage == stage && i.fingerprint == fingerprint)
    }

    /// What a stage was made from beyond its direct inputs.
    pub fn further<'a>(&'a self, item: &'a Item) -> Vec<&'a Item> {
        let direct = |of: &'a Item| of.inputs.iter().filter_map(|(stage, fingerprint)| self.item(stage, fingerprint));
        let mut found: Vec<&Item> = direct(item).collect();
        let (inputs, mut next) = (found.len(), 0);
        while let Some(above) = found.get(next).copied() {
            for item in direct(above) {
                if !found.iter().any(|known| known.stage == item.stage) {
                    found.push(item);
                }
            }
            next += 1;
        }
        found.split_off(inputs)
    }

    /// True if nothing would run.
    pub fn is_done(&self) -> bool {
        self.stages.iter().all(|item| item.state == State::Cached)
    }
}

/// In what a stage differs from an earlier output of its name.
fn changes(earlier: &StageRecord, node: &Node, inputs: &BTreeMap<String, String>) -> Vec<String> {
    let mut why = Vec::new();
    if earlier.kind != node.kind {
        why.push(format!("kind changed: {} -> {}", earlier.kind, node.kind));
    } else if earlier.kind_version != stages::version(&node.kind) {
        why.push(format!("a new version of `{}` in this playhouse", node.kind));
    }
    let keys: BTreeSet<&String> = earlier.settings.keys().chain(node.settings.keys()).collect();
    for key in keys {
        let text = |value: Option<&toml::Value>| value.map_or("(none)".to_owned(), ToString::to_string);
        let (old, new) = (earlier.settings.get(key), node.settings.get(key));
        if old != new {
            why.push(format!("setting {key} changed: {} -> {}", text(old), text(new)));
        }
    }
    match (&earlier.sql, &node.query) {
        (Some(old), Some(new)) if *old != new.text => why.push("SQL changed".to_owned()),
        (Some(_), Some(new)) => {
            for (name, value) in &new.parameters {
                let (old, new) = (earlier.bound.get(name), shown(value));
                if let Some(old) = old.filter(|old| **old != new && !node.settings.contains_key(name)) {
                    why.push(format!("${name} changed: {old} -> {new}"));
                }
            }
        }
        _ if earlier.seed != node.seed => why.push(format!("seed changed: {} -> {}", earlier.seed, node.seed)),
        _ => {}
    }
    for (input, fingerprint) in inputs {
        match earlier.inputs.get(input) {
            None => why.push(format!("input {input} is new")),
            Some(old) if old != fingerprint => why.push(format!("input {input} changed")),
            Some(_) => {}
        }
    }
    for input in earlier.inputs.keys().filter(|input| !inputs.contains_key(*input)) {
        why.push(format!("input {input} is gone"));
    }
    if why.is_empty() {
        why.push(match node.kind.as_str() {
            "import" => "its source changed".to_owned(),
            _ => "what its settings mean changed with this playhouse".to_owned(),
        });
    }
    why
}
