//! From SQL text to one statement that may run.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{
    ObjectName, SetExpr, Spanned, Statement as SqlStatement, visit_expressions, visit_relations,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;

use crate::error::{Error, Position, Result, syntax_error};
use crate::library;
use crate::params::{Params, bind, placeholder};

/// What a SQL text refers to, found without planning it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Tables, as `table` or `schema.table`; common table expressions left out.
    pub tables: BTreeSet<String>,
    /// Parameters, without the `$`.
    pub parameters: BTreeSet<String>,
}

/// Parses `sql` and lists its tables and parameters: what a planner of stages needs to know before the data exists.
///
/// # Errors
/// [`Error::Sql`] on a syntax error, [`Error::Forbidden`] on a statement that may not run.
pub fn inspect(sql: &str) -> Result<Inspection> {
    let statement = parse(sql)?;
    let (references, _) = resolve_table_references(&statement, true).map_err(|e| Error::from_engine(e, sql, None))?;
    let tables = references.iter().map(|r| match r.schema() {
        Some(schema) => format!("{schema}.{}", r.table()),
        None => r.table().to_owned(),
    });
    let mut parameters = BTreeSet::new();
    if let Some(tree) = tree(&statement) {
        let _ = visit_expressions(tree, |expr| {
            parameters.extend(placeholder(expr).map(str::to_owned));
            ControlFlow::<()>::Continue(())
        });
    }
    Ok(Inspection { tables: tables.collect(), parameters })
}

/// Parses exactly one statement and lets it through if it only reads.
pub(crate) fn parse(sql: &str) -> Result<Statement> {
    let parsed = DFParserBuilder::new(sql)
        .with_dialect(&GenericDialect {})
        .build()
        .and_then(|mut parser| parser.parse_statements());
    let mut statements = parsed.map_err(|e| match e.find_root() {
        datafusion::common::DataFusionError::SQL(parser, _) => syntax_error(&parser.to_string(), sql),
        _ => Error::from_engine(e, sql, None),
    })?;
    let plain = |message: &str| Error::Sql { message: message.to_owned(), position: None };
    let statement = statements.pop_front().ok_or_else(|| plain("the SQL text holds no statement"))?;
    if !statements.is_empty() {
        return Err(plain("the SQL text holds more than one statement: give one at a time"));
    }
    allow(&statement)?;
    Ok(statement)
}

/// Parses, checks and binds: what is left has no placeholders.
pub(crate) fn prepare(sql: &str, params: &Params) -> Result<Statement> {
    let mut statement = parse(sql)?;
    library::check(sql, params)?;
    match tree_mut(&mut statement) {
        Some(tree) => bind(tree, params)?,
        None => bind(&mut Vec::<datafusion::sql::sqlparser::ast::Expr>::new(), params)?,
    }
    Ok(statement)
}

/// The planner refuses what changes data too; this check is on the text, before any planning, and names the statement.
fn allow(statement: &Statement) -> Result<()> {
    let forbidden = |text: String| {
        let words: Vec<&str> = text.split_whitespace().take(2).collect();
        Err(Error::Forbidden { statement: words.join(" ") })
    };
    match statement {
        Statement::Statement(sql) => match sql.as_ref() {
            SqlStatement::Query(query) => match query.body.as_ref() {
                SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                    forbidden(query.body.to_string())
                }
                SetExpr::Select(select) if select.into.is_some() => forbidden("SELECT INTO".to_owned()),
                _ => Ok(()),
            },
            SqlStatement::Explain { statement, .. } => allow(&Statement::Statement(statement.clone())),
            SqlStatement::ExplainTable { .. }
            | SqlStatement::ShowTables { .. }
            | SqlStatement::ShowColumns { .. }
            | SqlStatement::ShowFunctions { .. }
            | SqlStatement::ShowVariable { .. }
            | SqlStatement::ShowVariables { .. } => Ok(()),
            other => forbidden(other.to_string()),
        },
        Statement::Explain(explain) => allow(&explain.statement),
        other => forbidden(other.to_string()),
    }
}

fn tree(statement: &Statement) -> Option<&SqlStatement> {
    match statement {
        Statement::Statement(sql) => Some(sql),
        Statement::Explain(explain) => tree(&explain.statement),
        _ => None,
    }
}

fn tree_mut(statement: &mut Statement) -> Option<&mut SqlStatement> {
    match statement {
        Statement::Statement(sql) => Some(sql),
        Statement::Explain(explain) => tree_mut(&mut explain.statement),
        _ => None,
    }
}

/// Where `table` (as written, any case) first stands in the statement.
pub(crate) fn position_of(statement: &Statement, table: &str, sql: &str) -> Option<Position> {
    let wanted = table.to_lowercase();
    let found = visit_relations(tree(statement)?, |name: &ObjectName| {
        if name.to_string().replace('"', "").to_lowercase() == wanted {
            let start = name.span().start;
            return ControlFlow::Break((start.line, start.column));
        }
        ControlFlow::Continue(())
    });
    match found {
        ControlFlow::Break((line, column)) => Position::of(sql, line, column),
        ControlFlow::Continue(()) => None,
    }
}
