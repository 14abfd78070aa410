//! Whether a claim holds: its own SQL over its aggregated rows.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Schema};
use playhouse_queries::{Params, Session, SessionOptions};

use super::aggregate::Row;
use super::{Claim, tables};
use crate::progress::interrupted;

/// The name under which SQL finds the aggregated rows.
const TABLE: &str = "claim";

/// What a claim's SQL says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// True.
    Holds,
    /// False.
    DoesNotHold,
    /// Null, or no row: what it compares did not happen.
    NotDecided,
    /// There is no SQL.
    NotAsked,
}

impl Verdict {
    /// As people read it: of what the paper says, or of what it does not say.
    pub fn of(self, paper: bool) -> &'static str {
        match (self, paper) {
            (Self::Holds, true) => "reproduced",
            (Self::Holds, false) => "holds",
            (Self::DoesNotHold, true) => "not reproduced",
            (Self::DoesNotHold, false) => "does not hold",
            (Self::NotDecided, _) => "not decided",
            (Self::NotAsked, _) => "figures only",
        }
    }
}

/// Plans a claim's SQL on the columns that it will see.
///
/// # Errors
/// SQL that cannot run, reads another table, or whose result is not one boolean column.
pub fn check(claim: &Claim) -> Result<()> {
    let Some(sql) = &claim.holds else { return Ok(()) };
    let schema = session(&[])?.check(sql, &Params::new()).with_context(|| about(sql))?;
    boolean(&schema).with_context(|| about(sql))
}

/// Asks a claim's SQL.
pub fn decide(claim: &Claim, rows: &[Row]) -> Result<Verdict> {
    let Some(sql) = &claim.holds else { return Ok(Verdict::NotAsked) };
    let answer = || -> Result<Verdict> {
        let batches = session(rows)?.query(sql, &Params::new())?;
        boolean(&batches[0].schema())?;
        let found: usize = batches.iter().map(|batch| batch.num_rows()).sum();
        ensure!(found <= 1, "it returns {found} rows; it must return one");
        // No row: what it compares is not there, so it says nothing.
        let Some(column) = batches.iter().find(|batch| batch.num_rows() == 1).map(|batch| batch.column(0)) else {
            return Ok(Verdict::NotDecided);
        };
        Ok(match column.as_boolean_opt() {
            Some(column) if column.is_valid(0) && column.value(0) => Verdict::Holds,
            Some(column) if column.is_valid(0) => Verdict::DoesNotHold,
            _ => Verdict::NotDecided,
        })
    };
    answer().with_context(|| about(sql))
}

fn about(sql: &str) -> String {
    format!("holds = `{}`", sql.trim())
}

/// A session that knows the aggregated rows and nothing else.
fn session(rows: &[Row]) -> Result<Session> {
    let session =
        Session::new(&SessionOptions { threads: Some(1), stop: Some(Arc::new(interrupted)), ..Default::default() })?;
    session.register_batches(None, TABLE, vec![tables::claim(rows)?])?;
    Ok(session)
}

fn boolean(schema: &Schema) -> Result<()> {
    let kinds: Vec<String> = schema.fields().iter().map(|field| field.data_type().to_string()).collect();
    match schema.fields().iter().map(|field| field.data_type()).collect::<Vec<_>>()[..] {
        [DataType::Boolean | DataType::Null] => Ok(()),
        _ => bail!(
            "it returns {}; it must return one boolean, as in `select bool_and(worst >= 0.9) as holds from {TABLE}`",
            kinds.join(", ")
        ),
    }
}
