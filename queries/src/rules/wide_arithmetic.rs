//! Sticks are bytes, and `left_x - right_x` of bytes wraps around: 5 - 6 is 255. Here it is -1.
//!
//! Sums, differences and products of small whole numbers are made of 64-bit ones instead, as they are where one side is a literal,
//! and so are all differences of unsigned numbers, which are the ones that everybody forgets to be.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::Analyzer;

/// Runs before types are settled: what is around an expression is made to fit its new type.
#[derive(Debug)]
struct WideArithmetic;

/// DataFusion's rules of analysis, and this one before them.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(WideArithmetic)];
    rules.extend(Analyzer::new().rules);
    rules
}

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let plan = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(expr.transform_up(|expr| Ok(widen(expr, &schema)))?.update_data(|expr| name.restore(expr)))
    })?;
    // What it reads may have other types now, whether it was changed itself or not.
    plan.map_data(LogicalPlan::recompute_schema)
}

fn widen(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return Transformed::no(expr) };
    // An unknown column or a wrong type is for others to complain of.
    let types = left.get_type(schema).ok().zip(right.get_type(schema).ok());
    let wraps = types.is_some_and(|(left, right)| match op {
        Operator::Plus | Operator::Multiply => is_small(&left) && is_small(&right),
        Operator::Minus => {
            left.is_unsigned_integer() && right.is_unsigned_integer() || is_small(&left) && is_small(&right)
        }
        _ => false,
    });
    if !wraps {
        return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    }
    let wide = |expr: Box<Expr>| Box::new(cast(*expr, DataType::Int64));
    Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: wide(left), op, right: wide(right) }))
}

fn is_small(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int8 | DataType::UInt8 | DataType::Int16 | DataType::UInt16)
}

impl AnalyzerRule for WideArithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(rewrite).data()
    }

    fn name(&self) -> &str {
        "wide_arithmetic"
    }
}
