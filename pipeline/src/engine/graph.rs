//! A definition with one set of parameters becomes a graph of stages: settings substituted, SQL found, inputs known, in
//! an order in which every stage follows its inputs, each with its fingerprint.
//!
//! ```text
//!   settings --check(kind)--> names of stages --+
//!   SQL text --inspect------> names of stages --+--> inputs --> topological order --> fingerprints
//!   inputs = [..] ------------------------------+
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use playhouse_queries::{Inspection, Params, inspect, library};
use toml::{Table, Value};

use super::definition::{Definition, StageSpec};
use super::error::{Error, Result, chain};
use super::fingerprint;
use super::nearest::{hint, nearest};
use super::parameters::{Parameters, substitute, substitute_text};
use crate::stages;

/// Settings of a query that say where its tables are, and are not bound as parameters.
const TABLE_SETTINGS: [&str; 2] = ["dataset", "tables"];

/// A stage ready to be planned.
#[derive(Debug, Clone)]
pub struct Node {
    /// Name, and table or schema in SQL.
    pub name: String,
    /// One of [`super::definition::KINDS`].
    pub kind: String,
    /// Settings with every parameter substituted.
    pub settings: Table,
    /// Kind `query`: the text and what is bound to its `$names`.
    pub query: Option<Query>,
    /// Queries that must return no row.
    pub expect: Vec<Query>,
    /// Direct inputs, sorted.
    pub inputs: Vec<String>,
    /// The stage's seed.
    pub seed: u64,
    /// Once for the whole matrix: the plan joins the runs' inputs, and the fingerprint here is that of one run alone.
    pub gather: bool,
    /// Everything that can change the result, as 16 hexadecimal digits.
    pub fingerprint: String,
}

/// A query's text with its parameters bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Where the text came from: a library name, a path, or `text`.
    pub source: String,
    /// The SQL.
    pub text: String,
    /// Values of its `$names`.
    pub parameters: Params,
}

/// One run's stages in an order that respects inputs.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The parameters of this run.
    pub parameters: Parameters,
    /// Stages, inputs first; among equals, the file's order.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// Resolves a definition with one set of parameters.
    pub fn resolve(definition: &Definition, parameters: &Parameters) -> Result<Self> {
        let names: BTreeSet<&str> = definition.stages.iter().map(|s| s.name.as_str()).collect();
        let mut nodes = Vec::with_capacity(definition.stages.len());
        for spec in &definition.stages {
            nodes.push(resolve_stage(spec, parameters, &names)?);
        }
        let mut nodes = sort(definition, nodes)?;
        check_gathered(definition, &nodes)?;
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        for node in &mut nodes {
            let inputs = node.inputs.iter().map(|input| (input.as_str(), known[input].as_str())).collect();
            node.fingerprint = fingerprint::of(node, &inputs).map_err(|e| at(definition, &node.name, e.to_string()))?;
            known.insert(node.name.clone(), node.fingerprint.clone());
        }
        let graph = Self { parameters: parameters.clone(), nodes };
        graph.check_expectations(definition)?;
        Ok(graph)
    }

    /// The stage of a name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Everything a stage needs, directly or not, without itself.
    pub fn ancestors(&self, name: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![name.to_owned()];
        while let Some(next) = open.pop() {
            for input in self.node(&next).into_iter().flat_map(|n| &n.inputs) {
                if found.insert(input.clone()) {
                    open.push(input.clone());
                }
            }
        }
        found
    }

    /// Everything that needs a stage, directly or not, without itself.
    pub fn descendants(&self, name: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::from([name.to_owned()]);
        for node in &self.nodes {
            if node.inputs.iter().any(|input| found.contains(input)) {
                found.insert(node.name.clone());
            }
        }
        found.remove(name);
        found
    }

    /// The stages that `--select` means: `a`, `a+` (and what needs it), `+a` (and what it needs), several of them
    /// separated by commas or given one by one. Nothing selected: all.
    pub fn select(&self, selectors: &[String]) -> Result<BTreeSet<String>> {
        let mut chosen = BTreeSet::new();
        for selector in selectors.iter().flat_map(|s| s.split(',')).map(str::trim).filter(|s| !s.is_empty()) {
            let name = selector.trim_matches('+');
            if self.node(name).is_none() {
                let known = self.nodes.iter().map(|n| n.name.as_str());
                return Err(Error::Usage(format!(
                    "--select {selector}: no stage is called `{name}`{}",
                    hint(name, known)
                )));
            }
            chosen.insert(name.to_owned());
            if selector.starts_with('+') {
                chosen.extend(self.ancestors(name));
            }
            if selector.ends_with('+') {
                chosen.extend(self.descendants(name));
            }
        }
        if chosen.is_empty() {
            chosen.extend(self.nodes.iter().map(|n| n.name.clone()));
        }
        Ok(chosen)
    }

    /// An expectation may look at its own stage and at whatever that stage was made from, nothing else.
    fn check_expectations(&self, definition: &Definition) -> Result<()> {
        for node in &self.nodes {
            let within = self.ancestors(&node.name);
            for query in &node.expect {
                let inspection = inspected(&query.source, &query.text).map_err(|e| at(definition, &node.name, e))?;
                for table in inspection.tables {
                    let stage = table.split('.').next().unwrap_or(&table);
                    if self.node(stage).is_some() && stage != node.name && !within.contains(stage) {
                        return Err(at(
                            definition,
                            &node.name,
                            format!(
                                "it expects something of `{stage}`, which is none of its inputs; move the expectation there or add `{stage}` to `inputs`"
                            ),
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

/// What exists once for all runs cannot be an input of one run's stage.
fn check_gathered(definition: &Definition, nodes: &[Node]) -> Result<()> {
    for node in nodes.iter().filter(|node| !node.gather) {
        let gathered = |input: &&String| nodes.iter().any(|other| other.name == **input && other.gather);
        if let Some(input) = node.inputs.iter().find(gathered) {
            let message = format!(
                "its input `{input}` gathers all runs of the matrix, and this stage belongs to one of them; only a stage with `gather = true` can read it"
            );
            return Err(at(definition, &node.name, message));
        }
    }
    Ok(())
}

/// An error that points at a stage.
fn at(definition: &Definition, stage: &str, message: String) -> Error {
    match definition.stage(stage) {
        Some(spec) => spec.error(message),
        None => definition.origin.on_line(None, message),
    }
}

fn resolve_stage(spec: &StageSpec, parameters: &Parameters, names: &BTreeSet<&str>) -> Result<Node> {
    let fail = |message: String| spec.error(message);
    let settings = match substitute(&Value::Table(spec.settings.clone()), parameters).map_err(fail)? {
        Value::Table(table) => table,
        _ => Table::new(),
    };
    let seed = match spec.seed.as_ref().map(|seed| substitute(seed, parameters)).transpose().map_err(fail)? {
        Some(seed) => seed,
        None => parameters.get("seed").cloned().unwrap_or(Value::Integer(0)),
    };
    let seed = seed
        .as_integer()
        .and_then(|seed| u64::try_from(seed).ok())
        .ok_or_else(|| fail(format!("the seed is {seed}; it must be a whole number from 0 up")))?;
    let mut inputs: BTreeSet<String> = BTreeSet::new();
    for input in &spec.inputs {
        inputs.insert(known_stage(input, names).map_err(fail)?);
    }
    let mut query = None;
    if let Some(sql) = &spec.sql {
        let (source, text) = find_sql(spec, sql, parameters).map_err(fail)?;
        let inspection = inspected(&source, &text).map_err(fail)?;
        inputs.extend(query_inputs(&settings, &inspection, names).map_err(fail)?);
        let found = bind(source, text, &inspection, &settings, parameters, seed).map_err(fail)?;
        if let Some(unused) =
            settings.keys().find(|key| !TABLE_SETTINGS.contains(&key.as_str()) && !found.parameters.contains_key(*key))
        {
            let known = inspection.parameters.iter().map(String::as_str).chain(TABLE_SETTINGS);
            return Err(fail(format!(
                "the setting `{unused}` is not used by its SQL ({}){}",
                found.source,
                hint(unused, known)
            )));
        }
        query = Some(found);
    } else {
        let referred =
            stages::check(&spec.kind, &spec.name, &settings).map_err(|e| fail_chain(&fail, &spec.name, &e))?;
        for stage in referred {
            inputs.insert(known_stage(&stage, names).map_err(fail)?);
        }
    }
    let mut expect = Vec::new();
    for text in &spec.expect {
        nothing_pasted("its expectation", text).map_err(fail)?;
        let inspection = inspected("expectation", text).map_err(fail)?;
        for table in &inspection.tables {
            stage_of(table, "its expectation", &settings, names).map_err(fail)?;
        }
        expect.push(
            bind("expectation".to_owned(), text.clone(), &inspection, &settings, parameters, seed).map_err(fail)?,
        );
    }
    Ok(Node {
        name: spec.name.clone(),
        kind: spec.kind.clone(),
        settings,
        query,
        expect,
        inputs: inputs.into_iter().collect(),
        seed,
        gather: spec.gather,
        fingerprint: String::new(),
    })
}

/// A stage's own complaint, without saying its name twice.
fn fail_chain(fail: &dyn Fn(String) -> Error, name: &str, error: &anyhow::Error) -> Error {
    let text = chain(error);
    let own = format!("stage `{name}`: ");
    fail(text.strip_prefix(&own).unwrap_or(&text).to_owned())
}

fn known_stage(name: &str, names: &BTreeSet<&str>) -> std::result::Result<String, String> {
    match names.contains(name) {
        true => Ok(name.to_owned()),
        false => Err(format!("no stage is called `{name}`{}", hint(name, names.iter().copied()))),
    }
}

/// SQL by library name, by path, or as text. Parameters may choose a name or a path; into a text nothing is pasted.
fn find_sql(spec: &StageSpec, written: &str, parameters: &Parameters) -> std::result::Result<(String, String), String> {
    let is_text = |sql: &str| sql.trim().contains(char::is_whitespace);
    let sql = if is_text(written) { written.to_owned() } else { substitute_text(written, parameters)? };
    let sql = sql.as_str();
    if let Some(text) = library::get(sql) {
        return Ok((sql.to_owned(), text.to_owned()));
    }
    if sql.ends_with(".sql") && !sql.contains(char::is_whitespace) {
        let path = spec.origin.folder.as_deref().unwrap_or(Path::new("")).join(sql);
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("cannot read its SQL from {}: {e}", path.display()))?;
        return Ok((sql.to_owned(), text));
    }
    if !is_text(sql) {
        return Err(format!("no SQL is called `{sql}`{}", hint(sql, library::names())));
    }
    nothing_pasted("its SQL", written)?;
    Ok(("text".to_owned(), sql.to_owned()))
}

/// Refuses `${name}` in SQL: a value pasted into a text could say anything, a bound one is only a value.
fn nothing_pasted(what: &str, text: &str) -> std::result::Result<(), String> {
    let Some((_, rest)) = text.split_once("${") else { return Ok(()) };
    let name = rest.split('}').next().unwrap_or(rest);
    Err(format!("{what} has `${{{name}}}` in it, but no value is pasted into SQL: write `${name}`, it is bound"))
}

/// What a text mentions, by the query engine's own parser; nothing is planned and no data is needed.
fn inspected(source: &str, text: &str) -> std::result::Result<Inspection, String> {
    inspect(text).map_err(|e| format!("its SQL ({source}): {e}"))
}

/// The stages a query reads: through `dataset`, through `tables`, and by name in its text.
fn query_inputs(
    settings: &Table,
    inspection: &Inspection,
    names: &BTreeSet<&str>,
) -> std::result::Result<Vec<String>, String> {
    let mut inputs = Vec::new();
    match settings.get("dataset") {
        None => {}
        Some(Value::String(stage)) => inputs.push(known_stage(stage, names)?),
        Some(other) => return Err(format!("`dataset` names a stage; this is {other}")),
    }
    match settings.get("tables") {
        None => {}
        Some(Value::Table(tables)) => {
            for (alias, target) in tables {
                let Value::String(target) = target else {
                    return Err(format!(
                        "tables.{alias} names a stage or a stage's table, as in \"play.episodes\"; this is {target}"
                    ));
                };
                inputs.push(known_stage(target.split('.').next().unwrap_or(target), names)?);
            }
        }
        Some(other) => return Err(format!("`tables` is a table of alias = \"stage.table\"; this is {other}")),
    }
    for table in &inspection.tables {
        inputs.extend(stage_of(table, "its SQL", settings, names)?.map(str::to_owned));
    }
    Ok(inputs)
}

/// The stage whose table a text reads; none for the names that the settings give. A slip of the finger is named; what
/// is nowhere near a stage is left to the planner of the query.
fn stage_of<'a>(
    table: &'a str,
    what: &str,
    settings: &Table,
    names: &BTreeSet<&str>,
) -> std::result::Result<Option<&'a str>, String> {
    let stage = table.split('.').next().unwrap_or(table);
    let alias = settings.get("tables").and_then(Value::as_table).is_some_and(|tables| tables.contains_key(table));
    let bare = settings.contains_key("dataset") && ["episodes", "steps", "frames"].contains(&table);
    if alias || bare {
        return Ok(None);
    }
    if names.contains(stage) {
        return Ok(Some(stage));
    }
    match nearest(stage, names.iter().copied()) {
        Some(meant) => Err(format!("{what} reads `{table}`, which is no stage's; did you mean `{meant}`?")),
        None => Ok(None),
    }
}

/// Looks up every `$name`: settings first, then the pipeline's parameters, then the text's own default. After the
/// settings, `$seed` is the stage's seed, which need not be the pipeline's parameter of that name.
fn bind(
    source: String,
    text: String,
    inspection: &Inspection,
    settings: &Table,
    parameters: &Parameters,
    seed: u64,
) -> std::result::Result<Query, String> {
    let mut defaults = library::defaults(&text);
    let mut bound = Params::new();
    for name in &inspection.parameters {
        let given = settings.get(name).or_else(|| parameters.get(name).filter(|_| name != "seed"));
        let value = match (given, defaults.remove(name)) {
            (Some(value), _) => sql_value(value)
                .ok_or_else(|| format!("${name} is {value}; only numbers, texts and true/false can be bound in SQL"))?,
            (None, _) if name == "seed" => {
                playhouse_queries::Value::Int(i64::try_from(seed).map_err(|e| format!("seed {seed}: {e}"))?)
            }
            (None, Some(default)) => default,
            (None, None) => {
                let known = settings.keys().chain(parameters.keys()).map(String::as_str);
                return Err(format!(
                    "its SQL ({source}) needs a value for ${name}: add it to `settings`{}",
                    hint(name, known)
                ));
            }
        };
        bound.insert(name.clone(), value);
    }
    Ok(Query { source, text, parameters: bound })
}

/// A setting as SQL binds it, if it can.
fn sql_value(value: &Value) -> Option<playhouse_queries::Value> {
    Some(match value {
        Value::Boolean(b) => playhouse_queries::Value::Bool(*b),
        Value::Integer(i) => playhouse_queries::Value::Int(*i),
        Value::Float(f) => playhouse_queries::Value::Float(*f),
        Value::String(s) => playhouse_queries::Value::Text(s.clone()),
        Value::Array(_) | Value::Table(_) | Value::Datetime(_) => return None,
    })
}

/// A bound value as people read it.
pub fn shown(value: &playhouse_queries::Value) -> String {
    match value {
        playhouse_queries::Value::Null => "null".to_owned(),
        playhouse_queries::Value::Bool(b) => b.to_string(),
        playhouse_queries::Value::Int(i) => i.to_string(),
        playhouse_queries::Value::Float(f) => format!("{f:?}"),
        playhouse_queries::Value::Text(s) => format!("{s:?}"),
    }
}

/// Inputs first; among stages that could go next, the one that the file names first.
fn sort(definition: &Definition, nodes: Vec<Node>) -> Result<Vec<Node>> {
    let mut left: Vec<Node> = nodes;
    let mut done: Vec<Node> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let free = left.iter().position(|node| node.inputs.iter().all(|input| done.iter().any(|d| d.name == *input)));
        match free {
            Some(at) => done.push(left.remove(at)),
            None => return Err(cycle(definition, &left)),
        }
    }
    Ok(done)
}

/// Names a cycle among stages that all wait for each other.
fn cycle(definition: &Definition, left: &[Node]) -> Error {
    let find = |name: &str| left.iter().find(|n| n.name == name);
    let mut path: Vec<&Node> = vec![&left[0]];
    loop {
        let last = path[path.len() - 1];
        let Some(next) = last.inputs.iter().find_map(|input| find(input)) else { break };
        if let Some(start) = path.iter().position(|n| n.name == next.name) {
            path.drain(..start);
            break;
        }
        path.push(next);
    }
    let mut names: Vec<&str> = path.iter().map(|n| n.name.as_str()).collect();
    names.push(names[0]);
    let message = format!(
        "the stages go round in a circle: {} (each needs the next); take one of these inputs away",
        names.join(" -> ")
    );
    at(definition, names[0], message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::parameters;

    /// Query stages only: name and text.
    fn graph(stages: &[(&str, &str)]) -> Result<Graph> {
        let mut text = "name = \"p\"\n[parameters]\nn = 1\nseed = 4\n".to_owned();
        for (name, sql) in stages {
            text.push_str(&format!("[[stage]]\nname = \"{name}\"\nkind = \"query\"\nsql = \"{sql}\"\n"));
        }
        let definition = Definition::parse("p.toml", None, &text)?;
        let runs = parameters::resolve(&definition, &[])?;
        Graph::resolve(&definition, &runs[0])
    }

    fn names(graph: &Graph) -> Vec<&str> {
        graph.nodes.iter().map(|n| n.name.as_str()).collect()
    }

    const DIAMOND: [(&str, &str); 4] =
        [("d", "select * from b, c"), ("b", "select * from a"), ("c", "select x from a"), ("a", "select $n as x")];

    #[test]
    fn inputs_come_first_and_the_file_decides_among_equals() {
        let diamond = graph(&DIAMOND).unwrap();
        assert_eq!(names(&diamond), ["a", "b", "c", "d"]);
        assert_eq!(diamond.node("d").unwrap().inputs, ["b", "c"]);
    }

    #[test]
    fn selection() {
        let diamond = graph(&DIAMOND).unwrap();
        let select = |s: &str| diamond.select(&[s.to_owned()]).map(|set| set.into_iter().collect::<String>());
        assert_eq!(select("b").unwrap(), "b");
        assert_eq!(select("+b").unwrap(), "ab");
        assert_eq!(select("b+").unwrap(), "bd");
        assert_eq!(select("+b+, c").unwrap(), "abcd");
        assert_eq!(select("").unwrap(), "abcd");
        assert!(select("bb").unwrap_err().to_string().contains("did you mean `b`?"));
    }

    #[test]
    fn fingerprints_follow_what_matters() {
        let prints = |stages: &[(&str, &str)]| -> BTreeMap<String, String> {
            graph(stages).unwrap().nodes.into_iter().map(|n| (n.name, n.fingerprint)).collect()
        };
        let before = prints(&DIAMOND);
        assert_eq!(before, prints(&DIAMOND));
        let mut changed = DIAMOND;
        changed[1].1 = "select * from a where x > 0";
        let after = prints(&changed);
        let same: Vec<&str> = before.iter().filter(|(k, v)| after[*k] == **v).map(|(k, _)| k.as_str()).collect();
        assert_eq!(same, ["a", "c"]);
        assert!(before.values().all(|print| print.len() == 16));
    }

    #[test]
    fn values_come_from_parameters_the_seed_and_defaults() {
        let stages = [("a", "select $n as n, $seed as s")];
        let resolved = graph(&stages).unwrap();
        let bound = &resolved.nodes[0].query.as_ref().unwrap().parameters;
        assert_eq!(bound["n"], playhouse_queries::Value::Int(1));
        assert_eq!(bound["seed"], playhouse_queries::Value::Int(4));
        assert!(graph(&[("a", "select $m as n")]).unwrap_err().to_string().contains("did you mean `n`?"));
    }

    fn resolve(stages: &str) -> Result<Graph> {
        let text = format!("name = \"p\"\n[parameters]\nseed = 1\nwhich = \"windows\"\n{stages}");
        let definition = Definition::parse("p.toml", None, &text)?;
        Graph::resolve(&definition, &parameters::resolve(&definition, &[])?[0])
    }

    #[test]
    fn a_stage_s_own_seed_is_the_one_that_is_bound() {
        let stage = |more: &str| {
            let text = "[[stage]]\nname = \"a\"\nkind = \"query\"\nsql = \"select $seed as s\"\nexpect = [\"select * from a where s <> $seed\"]\n";
            resolve(&format!("{text}{more}\n")).unwrap().nodes.remove(0)
        };
        let bound = |node: &Node| node.query.as_ref().unwrap().parameters["seed"].clone();
        let (inherited, own, set) = (stage(""), stage("seed = 7"), stage("seed = 7\nsettings = { seed = 9 }"));
        let int = playhouse_queries::Value::Int;
        assert_eq!([bound(&inherited), bound(&own), bound(&set)], [int(1), int(7), int(9)]);
        assert_eq!(own.expect[0].parameters["seed"], int(7));
        assert_ne!(inherited.fingerprint, own.fingerprint);
    }

    #[test]
    fn nothing_is_pasted_into_sql() {
        let query = |sql: &str| format!("[[stage]]\nname = \"a\"\nkind = \"query\"\nsql = \"{sql}\"\n");
        let message = |stages: String| resolve(&stages).unwrap_err().to_string();
        let pasted = message(query("select '${which}' as x"));
        assert!(pasted.contains("its SQL has `${which}` in it") && pasted.contains("write `$which`"), "{pasted}");
        let pasted = message(query("select 1 as x") + "expect = [\"select * from a where x > ${seed}\"]\n");
        assert!(pasted.contains("its expectation has `${seed}` in it"), "{pasted}");
        // A parameter may choose a text of the library, and may not be one.
        let play = "[[stage]]\nname = \"play\"\nkind = \"record\"\nsettings = { map = \"skygarden\", episodes = 1 }\n";
        let chosen = format!("{play}{}settings = {{ dataset = \"play\" }}\n", query("${which}"));
        assert_eq!(resolve(&chosen).unwrap().node("a").unwrap().query.as_ref().unwrap().source, "windows");
        let text = chosen.replace("which", "pasted");
        let definition = format!("name = \"p\"\n[parameters]\npasted = \"select 1 as x\"\n{text}");
        let definition = Definition::parse("p.toml", None, &definition).unwrap();
        let error = Graph::resolve(&definition, &definition.parameters).unwrap_err().to_string();
        assert!(error.contains("its SQL has `${pasted}` in it"), "{error}");
    }

    #[test]
    fn a_misspelt_stage_in_an_expectation_finds_the_nearest() {
        let stage = |expect: &str| {
            format!("[[stage]]\nname = \"demos\"\nkind = \"query\"\nsql = \"select 1 as x\"\nexpect = [\"{expect}\"]\n")
        };
        let error = resolve(&stage("select * from demso")).unwrap_err().to_string();
        assert!(error.contains("its expectation reads `demso`, which is no stage's; did you mean `demos`?"), "{error}");
        resolve(&stage("with demso as (select * from demos) select * from demso where x > 1")).unwrap();
    }

    #[test]
    fn circles_are_named() {
        let circle = [("a", "select * from b"), ("b", "select * from c"), ("c", "select * from b")];
        let message = graph(&circle).unwrap_err().to_string();
        assert!(message.contains("b -> c -> b"), "{message}");
        assert!(graph(&[("a", "select * from a")]).unwrap_err().to_string().contains("a -> a"));
    }
}
