//! `not a and not b and x` becomes `buttons & 7 = 4`, and `a or b` becomes `buttons & 3 <> 0`.
//!
//! `steps` stores the buttons of a step once more, packed into one number. A condition on several of them is then one
//! comparison of one column, where each column would be unpacked and the terms combined one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema, Result, ScalarValue, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, disjunction, merge_schema};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, SubqueryAlias, bitwise_and};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::lit;

use crate::steps::StepsTable;

/// Runs before columns are pruned: the packed one is still there.
#[derive(Debug)]
pub(crate) struct PackedButtons;

impl AnalyzerRule for PackedButtons {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(rewrite).data()
    }

    fn name(&self) -> &str {
        "packed_buttons"
    }
}

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut tables = Tables::default();
    plan.inputs().into_iter().for_each(|input| tables.collect(input));
    if tables.0.is_empty() {
        return Ok(Transformed::no(plan));
    }
    tables.1 = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let packed = expr.transform_down(|expr| Ok(tables.pack(expr)))?;
        Ok(packed.update_data(|expr| name.restore(expr)))
    })?;
    if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
}

/// Every `steps` whose columns a node sees, by the name it goes by, and the columns that the node sees.
struct Tables(BTreeMap<TableReference, Arc<dyn TableProvider>>, DFSchema);

impl Default for Tables {
    fn default() -> Self {
        Self(BTreeMap::new(), DFSchema::empty())
    }
}

/// Whether each button of a table is wanted down, by its bit.
type Wanted = BTreeMap<TableReference, BTreeMap<usize, bool>>;

impl Tables {
    /// Looks through the nodes that pass columns on as they are.
    fn collect(&mut self, plan: &LogicalPlan) {
        match plan {
            LogicalPlan::TableScan(scan) => {
                if let Some(provider) = source_as_provider(&scan.source).ok().filter(|p| steps(p).is_some()) {
                    self.0.insert(scan.table_name.clone(), provider);
                }
            }
            LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => {
                // Of a table itself, and not of a query that may call anything `a`.
                let mut below = Tables::default();
                if matches!(input.as_ref(), LogicalPlan::TableScan(_) | LogicalPlan::SubqueryAlias(_)) {
                    below.collect(input);
                }
                if let Some((_, provider)) = below.0.pop_first() {
                    self.0.insert(alias.clone(), provider);
                }
            }
            LogicalPlan::Filter(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Window(_) => plan.inputs().into_iter().for_each(|input| self.collect(input)),
            _ => {}
        }
    }

    fn pack(&self, expr: Expr) -> Transformed<Expr> {
        let Expr::BinaryExpr(BinaryExpr { op, .. }) = &expr else { return Transformed::no(expr) };
        let all = match op {
            Operator::And => true,
            Operator::Or => false,
            _ => return Transformed::no(expr),
        };
        let mut terms = Vec::new();
        split(&expr, *op, &mut terms);
        let mut wanted = Wanted::new();
        let mut others = Vec::new();
        for term in terms {
            match self.button(term).filter(|(_, _, down)| all || *down) {
                Some((table, bit, down)) => {
                    let known = wanted.entry(table).or_default().insert(bit, down);
                    if known.is_some_and(|known| known != down) {
                        // Never true: not worth a form of its own.
                        return Transformed::no(expr);
                    }
                }
                None => others.push(term.clone()),
            }
        }
        if wanted.values().all(|bits| bits.len() < 2) {
            return Transformed::no(expr);
        }
        let packed: Option<Vec<Expr>> = wanted.into_iter().map(|(table, bits)| self.test(table, &bits, all)).collect();
        let Some(packed) = packed else { return Transformed::no(expr) };
        let terms = packed.into_iter().chain(others);
        match if all { conjunction(terms) } else { disjunction(terms) } {
            Some(packed) => Transformed::yes(packed),
            None => Transformed::no(expr),
        }
    }

    /// A button of a table, its bit, and whether the term wants it down.
    fn button(&self, term: &Expr) -> Option<(TableReference, usize, bool)> {
        let (column, down) = match term {
            Expr::Column(column) => (column, true),
            Expr::Not(inner) => match inner.as_ref() {
                Expr::Column(column) => (column, false),
                _ => return None,
            },
            _ => return None,
        };
        let table = column.relation.as_ref()?;
        let bit = steps(self.0.get(table)?)?.button_bit(&column.name)?;
        Some((table.clone(), bit, down))
    }

    /// All of the buttons as wanted, or any of them down.
    fn test(&self, table: TableReference, bits: &BTreeMap<usize, bool>, all: bool) -> Option<Expr> {
        let column = Column::new(Some(table), StepsTable::PACKED);
        let data_type = self.1.data_type(&column).ok()?.clone();
        let number = |keep: fn(bool) -> bool| {
            let number = bits.iter().filter(|(_, down)| keep(**down)).fold(0u64, |number, (bit, _)| number | 1 << bit);
            integer(number, &data_type).map(lit)
        };
        let masked = bitwise_and(Expr::Column(column), number(|_| true)?);
        Some(if all { masked.eq(number(|down| down)?) } else { masked.not_eq(number(|_| false)?) })
    }
}

/// The terms of a chain of one operator, from left to right.
fn split<'a>(expr: &'a Expr, op: Operator, terms: &mut Vec<&'a Expr>) {
    match expr {
        Expr::BinaryExpr(binary) if binary.op == op => {
            split(&binary.left, op, terms);
            split(&binary.right, op, terms);
        }
        _ => terms.push(expr),
    }
}

fn steps(provider: &Arc<dyn TableProvider>) -> Option<&StepsTable> {
    (provider.as_ref() as &dyn std::any::Any).downcast_ref()
}

fn integer(number: u64, data_type: &DataType) -> Option<ScalarValue> {
    match data_type {
        DataType::UInt16 => u16::try_from(number).ok().map(|n| ScalarValue::UInt16(Some(n))),
        DataType::UInt32 => u32::try_from(number).ok().map(|n| ScalarValue::UInt32(Some(n))),
        DataType::UInt64 => Some(ScalarValue::UInt64(Some(number))),
        _ => None,
    }
}
