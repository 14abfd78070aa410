//! Plans every query of a run before the first stage works, so that a misspelt column is found in a second and not after
//! a quarter of an hour of recording.
//!
//! ```text
//!   finished input        its files
//!   record, rollout       the columns that every dataset of the arena has, no rows
//!   query                 the columns that planning it just gave, no rows
//!   anything else         not known: queries that read it are left to the run
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use playhouse_queries::{Session, SessionOptions};
use playhouse_schemas::{ActionSpace, Table};

use super::plan::{Item, Plan, State};
use super::{catalog, chain};
use crate::progress::interrupted;

/// What is known of a stage's output before it is there.
enum Shape {
    /// The output itself.
    Finished,
    /// Tables by schema and name, and their columns.
    Tables(Vec<(Option<String>, String, SchemaRef)>),
}

/// The queries that cannot run, and why: stage and message.
pub fn check(plan: &Plan) -> Result<Vec<(String, String)>> {
    let mut problems = Vec::new();
    let mut shapes: BTreeMap<(&str, &str), Shape> = BTreeMap::new();
    for item in plan.unselected.iter().filter(|item| item.record.is_some()) {
        shapes.insert((&item.stage, &item.fingerprint), Shape::Finished);
    }
    for item in &plan.stages {
        let shape = match (&item.node.query, item.kind.as_str()) {
            _ if item.record.is_some() && item.state == State::Cached => Some(Shape::Finished),
            (Some(_), _) => match plan_query(plan, item, &shapes) {
                Ok(columns) => columns.map(|columns| Shape::Tables(vec![(None, item.stage.clone(), columns)])),
                Err(error) => {
                    problems.push((item.stage.clone(), chain(&error)));
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
            shapes.insert((&item.stage, &item.fingerprint), shape);
        }
    }
    Ok(problems)
}

/// The columns of a query's result; none if one of its inputs is not known.
fn plan_query(plan: &Plan, item: &Item, shapes: &BTreeMap<(&str, &str), Shape>) -> Result<Option<SchemaRef>> {
    let Some(query) = &item.node.query else { return Ok(None) };
    let session =
        Session::new(&SessionOptions { threads: Some(1), memory_limit: None, stop: Some(Arc::new(interrupted)) })?;
    let mut bare = None;
    for (stage, fingerprint) in &item.inputs {
        let in_dataset = item.node.settings.get("dataset").and_then(|d| d.as_str()) == Some(stage);
        match shapes.get(&(stage.as_str(), fingerprint.as_str())) {
            None => return Ok(None),
            Some(Shape::Finished) => {
                let Some(input) = plan.item(stage, fingerprint) else { return Ok(None) };
                catalog::register(&session, stage, &input.dir)?;
                bare = bare.or(in_dataset.then(|| input.dir.clone()));
            }
            Some(Shape::Tables(tables)) => {
                for (schema, table, columns) in tables {
                    let empty = || vec![RecordBatch::new_empty(Arc::clone(columns))];
                    session.register_batches(schema.as_deref(), table, empty())?;
                    if in_dataset {
                        session.register_batches(None, table, empty())?;
                    }
                }
            }
        }
    }
    let mut settings = item.node.settings.clone();
    if bare.is_none() {
        settings.remove("dataset");
    }
    catalog::register_aliases(&session, &settings, &|_| bare.clone())?;
    Ok(Some(session.check(&query.text, &query.parameters)?))
}
