//! Plans every query and expectation of a run before the first stage works, so that a misspelt column is found in a
//! second and not after a quarter of an hour of recording.
//!
//! ```text
//!   finished stage        its files
//!   record, rollout       the columns that every dataset of the arena has, no rows
//!   query                 the columns that planning it just gave, no rows
//!   anything else         not known: SQL that reads it is left to the run
//! ```
//!
//! The rule of a `label` is left to the run too: here it is a setting like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use playhouse_queries::{Session, SessionOptions, inspect};
use playhouse_schemas::{ActionSpace, Table};

use super::graph::Query;
use super::plan::{Item, Plan, State};
use super::run::limited;
use super::{catalog, chain};
use crate::progress::interrupted;

/// What is known of a stage's output before it is there.
enum Shape {
    /// The output itself.
    Finished,
    /// Tables by schema and name, and their columns.
    Tables(Vec<(Option<String>, String, SchemaRef)>),
}

/// By stage and fingerprint; what is not there is not known.
type Shapes<'a> = BTreeMap<(&'a str, &'a str), Shape>;

/// The queries and expectations that cannot run, and why: stage and message.
pub fn check(plan: &Plan) -> Result<Vec<(String, String)>> {
    let mut problems = Vec::new();
    let mut shapes = Shapes::new();
    for item in plan.unselected.iter().filter(|item| item.record.is_some()) {
        shapes.insert(key(item), Shape::Finished);
    }
    for item in &plan.stages {
        let mut report = |error: &anyhow::Error| problems.push((item.stage.clone(), chain(error)));
        let shape = match (&item.node.query, item.kind.as_str()) {
            _ if item.record.is_some() => Some(Shape::Finished),
            (Some(query), _) => match plan_query(plan, item, query, &shapes) {
                Ok(columns) => columns.map(|columns| Shape::Tables(vec![(None, item.stage.clone(), columns)])),
                Err(error) => {
                    report(&error);
                    None
                }
            },
            (None, "record" | "rollout") => {
                let actions = ActionSpace::gamepad();
                let table = |table: Table| (Some(item.stage.clone()), table.name().to_owned(), table.schema(&actions));
                Some(Shape::Tables(Table::COMMIT_ORDER.map(table).to_vec()))
            }
            _ => None,
        };
        if let Some(shape) = shape {
            shapes.insert(key(item), shape);
        }
        if item.state != State::Cached
            && let Err(error) = plan_expectations(plan, item, &shapes)
        {
            report(&error);
        }
    }
    Ok(problems)
}

fn key(item: &Item) -> (&str, &str) {
    (&item.stage, &item.fingerprint)
}

/// The columns of a query's result; none if one of its inputs is not known.
fn plan_query(plan: &Plan, item: &Item, query: &Query, shapes: &Shapes) -> Result<Option<SchemaRef>> {
    let (session, unknown) = open(plan, item, shapes)?;
    match unknown.is_empty() {
        true => Ok(Some(session.check(&query.text, &query.parameters)?)),
        false => Ok(None),
    }
}

/// Plans what is expected of a stage: of its own tables, its inputs', and those further up, as at the end of its run.
fn plan_expectations(plan: &Plan, item: &Item, shapes: &Shapes) -> Result<()> {
    let is_query = item.node.query.is_some();
    // What keeps a query from being planned is reported once.
    if item.node.expect.is_empty() || (is_query && !shapes.contains_key(&key(item))) {
        return Ok(());
    }
    let (session, mut unknown) = open(plan, item, shapes)?;
    if is_query && !unknown.is_empty() {
        return Ok(());
    }
    for other in std::iter::once(item).chain(plan.further(item)) {
        if !register(&session, other, shapes)? {
            unknown.insert(&other.stage);
        }
    }
    for query in &item.node.expect {
        let about = || format!("expectation `{}`", query.text.trim());
        let tables = inspect(&query.text).with_context(about)?.tables;
        if tables.iter().all(|table| !unknown.contains(table.split('.').next().unwrap_or(table))) {
            session.check(&limited(query), &query.parameters).with_context(about)?;
        }
    }
    Ok(())
}

/// A session with a stage's inputs as far as they are known, and the names of those that are not. The names that a
/// query's settings give are there if all inputs are.
fn open<'a>(plan: &'a Plan, item: &Item, shapes: &Shapes) -> Result<(Session, BTreeSet<&'a str>)> {
    let session =
        Session::new(&SessionOptions { threads: Some(1), stop: Some(Arc::new(interrupted)), ..Default::default() })?;
    let inputs: Vec<&'a Item> = item.named_inputs().filter_map(|(stage, print)| plan.item(stage, print)).collect();
    let mut unknown = BTreeSet::new();
    for input in &inputs {
        if !register(&session, input, shapes)? {
            unknown.insert(input.stage.as_str());
        }
    }
    if item.node.query.is_some() && unknown.is_empty() {
        let mut settings = item.node.settings.clone();
        let dataset = settings.get("dataset").and_then(|stage| stage.as_str());
        let tables =
            inputs.iter().find(|input| Some(input.stage.as_str()) == dataset).and_then(|i| shapes.get(&key(i)));
        if let Some(Shape::Tables(tables)) = tables {
            // There is no folder yet that the engine could look into.
            for (_, table, columns) in tables {
                session.register_batches(None, table, empty(columns))?;
            }
            settings.remove("dataset");
        }
        let dir_of = |stage: &str| -> Option<PathBuf> { Some(inputs.iter().find(|i| i.stage == stage)?.dir.clone()) };
        catalog::register_aliases(&session, &settings, &dir_of)?;
    }
    Ok((session, unknown))
}

/// Registers a stage's tables under its name; false if they are not known.
fn register(session: &Session, item: &Item, shapes: &Shapes) -> Result<bool> {
    match shapes.get(&key(item)) {
        None => return Ok(false),
        Some(Shape::Finished) => catalog::register(session, &item.stage, &item.dir)?,
        Some(Shape::Tables(tables)) => {
            for (schema, table, columns) in tables {
                session.register_batches(schema.as_deref(), table, empty(columns))?;
            }
        }
    }
    Ok(true)
}

fn empty(columns: &SchemaRef) -> Vec<RecordBatch> {
    vec![RecordBatch::new_empty(Arc::clone(columns))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::definition::Definition;
    use crate::engine::store::Home;

    fn problems(definition: &Definition) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        check(&Plan::make(definition, &[], &[], &Home::new(folder.path())).unwrap()).unwrap()
    }

    #[test]
    fn the_built_in_pipelines_are_planned_to_the_end() {
        for name in ["jumppad", "jumppad-small", "paper", "paper-small"] {
            assert_eq!(problems(&Definition::load(name).unwrap()), []);
        }
    }

    #[test]
    fn expectations_are_planned_on_what_is_known() {
        let with = |play: &str, long: &str, judged: &str| {
            let text = format!(
                r#"
name = "p"
[parameters]
least = 1
[[stage]]
name = "play"
kind = "record"
settings = {{ map = "skygarden", episodes = 4, frames = "none" }}
expect = ["{play}"]
[[stage]]
name = "long"
kind = "query"
sql = "select episode_id, num_steps as amount from episodes"
settings = {{ dataset = "play", tables = {{ ticks = "play.steps" }} }}
[[stage]]
name = "longer"
kind = "query"
sql = "select * from long where amount > $least"
expect = ["{long}"]
[[stage]]
name = "judged"
kind = "label"
settings = {{ data = "play", pairs = "long", rule = "select 'left' as verdict" }}
inputs = ["longer"]
expect = ["{judged}"]
"#
            );
            problems(&Definition::parse("p.toml", None, &text).unwrap())
        };
        let good = "select * from play.episodes where num_steps < $least";
        let far = "select * from longer l join play.steps s on l.episode_id = s.episode_id where l.amount < s.t";
        assert_eq!(with(good, far, "select * from judged.judgments where no_such = 1"), []);
        let one = |problems: Vec<(String, String)>| {
            assert_eq!(problems.len(), 1, "{problems:?}");
            problems.into_iter().next().unwrap()
        };
        let (stage, why) = one(with("select * from play.episodes where num_stepz < 1", far, good));
        assert_eq!(stage, "play");
        assert!(why.contains("expectation `select *") && why.contains("num_steps"), "{why}");
        let (stage, why) = one(with(good, "select amuont from longer", good));
        assert!(stage == "longer" && why.contains("amount"), "{why}");
        let (stage, why) = one(with(good, far, "select amuont from longer"));
        assert!(stage == "judged" && why.contains("amount"), "{why}");
        let (stage, why) = one(with(good, "select * from ticks", good));
        assert!(stage == "longer" && why.contains("no table named ticks"), "the settings of another stage: {why}");
    }
}
