//! What a run would do, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use playhouse_queries::inspect;
use serde::Serialize;

use super::definition::Definition;
use super::error::Result;
use super::fingerprint;
use super::graph::{Graph, Node, shown};
use super::names::{self, Latest};
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

/// One stage of one run. Runs of a matrix that share a fingerprint share the item; a gathered stage is one item of all.
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
    /// Direct inputs: stage to fingerprint. A gathered stage has those of every run, as `stage@seed=1`.
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

/// What stands between an input's stage and its run; no stage's name has it.
pub const OF_RUN: char = '@';

/// The stage that an input's name means, whichever run's it is.
pub fn stage_of(input: &str) -> &str {
    input.split(OF_RUN).next().unwrap_or(input)
}

impl Item {
    /// The inputs that SQL can name: all, but for a gathered stage's, of which each name means several.
    pub fn named_inputs(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = self.inputs.iter().filter(|(input, _)| !input.contains(OF_RUN));
        named.map(|(stage, fingerprint)| (stage.as_str(), fingerprint.as_str()))
    }

    /// The stages of its inputs, each once.
    pub fn input_stages(&self) -> BTreeSet<&str> {
        self.inputs.keys().map(|input| stage_of(input)).collect()
    }
}

/// One run of the matrix, resolved.
struct Run {
    /// As `seed=1`; empty where there is only one.
    label: String,
    graph: Graph,
    chosen: BTreeSet<String>,
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
    /// What tells the runs of a matrix apart, as `seed=1`, in the same order; empty where there is only one.
    pub labels: Vec<String>,
    /// Stages to look at, inputs first.
    pub stages: Vec<Item>,
    /// Stages of the pipeline that were not selected, with their folders.
    #[serde(skip)]
    pub unselected: Vec<Item>,
    /// What the last run made or found.
    #[serde(skip)]
    latest: Latest,
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
            labels: Vec::new(),
            stages: Vec::new(),
            unselected: Vec::new(),
            latest: names::latest(home, &definition.name).unwrap_or_default(),
        };
        let resolve = |run| -> Result<Run> {
            let graph = Graph::resolve(definition, run)?;
            Ok(Run { label: parameters::label(run, &varying), chosen: graph.select(select)?, graph })
        };
        let runs: Vec<Run> = runs.iter().map(resolve).collect::<Result<_>>()?;
        plan.labels = runs.iter().map(|run| run.label.clone()).filter(|label| !label.is_empty()).collect();
        for run in &runs {
            for node in run.graph.nodes.iter().filter(|node| !node.gather) {
                let fingerprint = |input| run.graph.node(input).map(|n| n.fingerprint.clone()).unwrap_or_default();
                let inputs = node.inputs.iter().map(|input| (input.clone(), fingerprint(input))).collect();
                let labels = Some(run.label.clone()).filter(|label| !label.is_empty());
                plan.add(home, node, inputs, labels.into_iter().collect(), run.chosen.contains(&node.name))?;
            }
        }
        plan.gather(definition, home, &runs)?;
        Ok(plan)
    }

    /// Adds the stages that exist once for all runs, after everything that they may read.
    fn gather(&mut self, definition: &Definition, home: &Home, runs: &[Run]) -> Result<()> {
        let mut gathered: BTreeMap<&str, String> = BTreeMap::new();
        for first in runs[0].graph.nodes.iter().filter(|node| node.gather) {
            let fail = |message: String| match definition.stage(&first.name) {
                Some(spec) => spec.error(message),
                None => definition.origin.on_line(None, message),
            };
            let (mut node, mut inputs) = (first.clone(), BTreeMap::new());
            for run in runs {
                let own = run.graph.node(&first.name).unwrap_or(first);
                if own.settings != first.settings || own.expect != first.expect {
                    return Err(fail(
                        "it gathers all runs of the matrix, and its settings or expectations are not the same in each; keep the swept parameters out of them"
                            .to_owned(),
                    ));
                }
                // A seed that is swept is no seed of what belongs to all of them.
                if own.seed != first.seed {
                    node.seed = 0;
                }
                for input in &own.inputs {
                    match (gathered.get(input.as_str()), run.graph.node(input)) {
                        (Some(fingerprint), _) => inputs.insert(input.clone(), fingerprint.clone()),
                        (None, Some(other)) if run.label.is_empty() => {
                            inputs.insert(input.clone(), other.fingerprint.clone())
                        }
                        (None, Some(other)) => {
                            inputs.insert(format!("{input}{OF_RUN}{}", run.label), other.fingerprint.clone())
                        }
                        (None, None) => None,
                    };
                }
            }
            check_expectations(&node, &inputs).map_err(fail)?;
            let known = inputs.iter().map(|(input, fingerprint)| (input.as_str(), fingerprint.as_str())).collect();
            node.fingerprint = fingerprint::of(&node, &known).map_err(|e| fail(e.to_string()))?;
            gathered.insert(&first.name, node.fingerprint.clone());
            let labels = runs.iter().map(|run| run.label.clone()).filter(|l| !l.is_empty()).collect();
            self.add(home, &node, inputs, labels, runs[0].chosen.contains(&first.name))?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        home: &Home,
        node: &Node,
        inputs: BTreeMap<String, String>,
        runs: Vec<String>,
        chosen: bool,
    ) -> Result<()> {
        let known = if chosen { &mut self.stages } else { &mut self.unselected };
        if let Some(item) = known.iter_mut().find(|i| i.stage == node.name && i.fingerprint == node.fingerprint) {
            item.runs.extend(runs);
            return Ok(());
        }
        let dir = home.stage_dir(&self.pipeline, &node.name, &node.fingerprint);
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
            Content::Nothing => (State::ToRun, self.why(home, node, &inputs, &runs), None),
        };
        let list = if chosen { &mut self.stages } else { &mut self.unselected };
        list.push(Item {
            stage: node.name.clone(),
            kind: node.kind.clone(),
            fingerprint: node.fingerprint.clone(),
            state,
            why,
            inputs,
            dir,
            runs,
            rows: record.as_ref().map(|r| r.rows.clone()).unwrap_or_default(),
            figures: record.as_ref().map(|r| r.figures.clone()).unwrap_or_default(),
            seconds: record.as_ref().map(|r| r.seconds),
            node: node.clone(),
            record,
        });
        Ok(())
    }

    /// Why a stage without an output has none: in what it differs from the earlier output that is most like it. One of
    /// another run of the matrix is not an earlier one.
    fn why(&self, home: &Home, node: &Node, inputs: &BTreeMap<String, String>, runs: &[String]) -> Vec<String> {
        let own = |record: &StageRecord| {
            let named = self.latest.output(&node.name, &record.fingerprint);
            named.is_none_or(|named| named.runs.is_empty() || named.runs.iter().any(|run| runs.contains(run)))
        };
        let earlier = home.outputs_of(&self.pipeline, &node.name);
        let differences = earlier.iter().rev().filter(|(_, record)| own(record));
        let differences = differences.map(|(_, record)| changes(record, node, inputs));
        differences.min_by_key(Vec::len).unwrap_or_else(|| vec!["new".to_owned()])
    }

    /// The item of an input, selected or not: its stage, whichever run's it is, and fingerprint.
    pub fn item(&self, input: &str, fingerprint: &str) -> Option<&Item> {
        let stage = stage_of(input);
        self.stages.iter().chain(&self.unselected).find(|i| i.stage == stage && i.fingerprint == fingerprint)
    }

    /// What a stage was made from beyond its direct inputs.
    pub fn further<'a>(&'a self, item: &'a Item) -> Vec<&'a Item> {
        let direct = |of: &'a Item| of.named_inputs().filter_map(|(stage, fingerprint)| self.item(stage, fingerprint));
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

/// An expectation of a gathered stage can look at its own tables only: any other name would mean several.
fn check_expectations(node: &Node, inputs: &BTreeMap<String, String>) -> std::result::Result<(), String> {
    let several: BTreeSet<&str> = inputs.keys().filter(|input| input.contains(OF_RUN)).map(|i| stage_of(i)).collect();
    for query in &node.expect {
        let tables = inspect(&query.text).map_err(|e| e.to_string())?.tables;
        if let Some(table) = tables.iter().find(|table| several.contains(table.split('.').next().unwrap_or(table))) {
            return Err(format!(
                "it expects something of `{table}`, which each run of the matrix has one of; look at its own tables, as in `{}.summary`, or move the expectation there",
                node.name
            ));
        }
    }
    Ok(())
}

/// Bytes of a setting's old and new value that are shown.
const LONG: usize = 200;

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
            let (old, new) = (text(old), text(new));
            why.push(match old.len() + new.len() > LONG {
                true => format!("setting {key} changed"),
                false => format!("setting {key} changed: {old} -> {new}"),
            });
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

#[cfg(test)]
mod tests {
    use super::*;

    const GATHERED: &str = r#"
name = "p"
[parameters]
seed = 1
least = 0
[matrix]
seed = [1, 2, 10]
[[stage]]
name = "shared"
kind = "query"
sql = "select 'a' as series, 1 as x, 0.5 as value"
[[stage]]
name = "own"
kind = "query"
sql = "select series, x, value + $seed as value from shared"
[[stage]]
name = "results"
kind = "results"
gather = true
[stage.settings]
title = "T"
[[stage.settings.claims]]
table = "own"
title = "Own"
paper = "P."
[[stage.settings.claims]]
table = "shared"
title = "Shared"
paper = "P."
[[stage]]
name = "last"
kind = "query"
sql = "select * from own"
"#;

    fn plan(text: &str, set: &[&str], select: &[&str]) -> Result<Plan> {
        let folder = tempfile::tempdir().unwrap();
        let definition = Definition::parse("p.toml", None, text)?;
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Plan::make(&definition, &owned(set), &owned(select), &Home::new(folder.path()))
    }

    fn print(plan: &Plan) -> &str {
        &plan.stages.iter().find(|item| item.stage == "results").unwrap().fingerprint
    }

    #[test]
    fn a_gathered_stage_is_one_item_after_every_run() {
        let all = plan(GATHERED, &[], &[]).unwrap();
        let names: Vec<&str> = all.stages.iter().map(|item| item.stage.as_str()).collect();
        assert_eq!(names, ["shared", "own", "last", "own", "last", "own", "last", "results"]);
        let results = &all.stages[7];
        assert_eq!(results.runs, ["seed=1", "seed=2", "seed=10"]);
        let keys: Vec<&str> = results.inputs.keys().map(String::as_str).collect();
        let own = ["own@seed=1", "own@seed=10", "own@seed=2", "shared@seed=1", "shared@seed=10", "shared@seed=2"];
        assert_eq!(keys, own, "runs that share an output are inputs of their own");
        assert_eq!(results.inputs["own@seed=2"], all.stages[3].fingerprint);
        assert_eq!(results.input_stages().into_iter().collect::<Vec<_>>(), ["own", "shared"]);
        assert_eq!(results.named_inputs().count(), 0);
        assert!(results.inputs.iter().all(|(input, print)| all.item(input, print).is_some()));
    }

    #[test]
    fn the_fingerprint_is_of_all_runs_in_no_order() {
        let all = plan(GATHERED, &[], &[]).unwrap();
        let print_of = |text: &str| print(&plan(text, &[], &[]).unwrap()).to_owned();
        assert_eq!(print_of(&GATHERED.replace("[1, 2, 10]", "[10, 1, 2]")), print(&all));
        assert_ne!(print_of(&GATHERED.replace("[1, 2, 10]", "[1, 2, 11]")), print(&all));
        assert_ne!(print_of(&GATHERED.replace("0.5 as value", "0.6 as value")), print(&all));
        assert_eq!(print_of(&GATHERED.replace("select * from own", "select x from own")), print(&all));
    }

    #[test]
    fn with_one_run_it_is_a_stage_like_any_other() {
        let one = plan(GATHERED, &["seed=2"], &[]).unwrap();
        let ordinary = plan(&GATHERED.replace("gather = true", ""), &["seed=2"], &[]).unwrap();
        assert_eq!(print(&one), print(&ordinary));
        let results = &one.stages[3];
        assert!(results.inputs.keys().eq(["own", "shared"]) && results.runs.is_empty(), "{results:?}");
        let each = plan(&GATHERED.replace("gather = true", ""), &[], &[]).unwrap();
        assert_eq!(each.stages.iter().filter(|item| item.stage == "results").count(), 3);
    }

    #[test]
    fn one_gathered_stage_may_read_another() {
        let second = "[[stage]]\nname = \"second\"\nkind = \"results\"\ngather = true\ninputs = [\"results\"]\n\
            settings = { title = \"T\", claims = [{ table = \"own\", title = \"O\", paper = \"P.\" }] }\n";
        let all = plan(&format!("{GATHERED}{second}"), &[], &[]).unwrap();
        let last = all.stages.last().unwrap();
        let keys: Vec<&str> = last.inputs.keys().map(String::as_str).collect();
        assert_eq!((last.stage.as_str(), keys), ("second", vec!["own@seed=1", "own@seed=10", "own@seed=2", "results"]));
        assert_eq!(last.inputs["results"], print(&all));
    }

    #[test]
    fn it_is_selected_with_what_it_needs() {
        let chosen = plan(GATHERED, &[], &["+results"]).unwrap();
        let names: Vec<&str> = chosen.stages.iter().map(|item| item.stage.as_str()).collect();
        assert_eq!(names, ["shared", "own", "own", "own", "results"]);
        let alone = plan(GATHERED, &[], &["results"]).unwrap();
        assert_eq!((alone.stages.len(), alone.unselected.len()), (1, 7));
        assert_eq!(plan(GATHERED, &[], &["own+"]).unwrap().stages.len(), 7);
    }

    #[test]
    fn what_cannot_be_gathered_is_named_with_its_line() {
        let says = |text: &str, words: &str| {
            let error = plan(text, &[], &[]).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        says(
            &GATHERED.replace("\"select * from own\"", "\"select * from results.summary\""),
            "p.toml:31: stage `last`: its input `results` gathers all runs of the matrix",
        );
        says(&GATHERED.replace("\"Own\"", "\"Seed ${seed}\""), "p.toml:17: stage `results`: it gathers all runs");
        let expecting = |sql: &str| GATHERED.replace("gather = true", &format!("gather = true\nexpect = [\"{sql}\"]"));
        says(&expecting("select * from own"), "which each run of the matrix has one of");
        plan(&expecting("select * from results.summary where runs < 3"), &[], &[]).unwrap();
        says(&expecting("select * from results.summary where runs < $seed"), "not the same in each");
    }
}
