//! `avg(cast(b as int))` becomes `rate(b)`, `sum(cast(b as int))` becomes `count_true(b)`.
//!
//! So do the forms with `case when .. then 1 else 0 end`, which differ in that a null condition counts as false. The values
//! are the same to the last bit: sums of ones are exact, in integers and in doubles.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, Case, Cast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, AggregateUDF, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::lit;

use crate::functions::trues;

/// Runs after types are settled.
#[derive(Debug)]
pub(crate) struct CountConditions {
    rate: Arc<AggregateUDF>,
    count_true: Arc<AggregateUDF>,
}

impl CountConditions {
    pub(crate) fn new() -> Self {
        Self { rate: Arc::new(trues::rate()), count_true: Arc::new(trues::count_true()) }
    }

    fn rewrite(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&plan);
        let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(Transformed::no(plan)) };
        let schema = aggregate.input.schema();
        let rewritten: Vec<Option<Expr>> =
            aggregate.aggr_expr.iter().map(|expr| self.counted(expr, schema)).collect::<Result<_>>()?;
        if rewritten.iter().all(Option::is_none) {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        let exprs = aggregate.aggr_expr.iter().zip(rewritten).map(|(old, new)| match new {
            Some(new) => names.save(old).restore(new),
            None => old.clone(),
        });
        let exprs = exprs.collect();
        let aggregate = Aggregate::try_new(Arc::clone(&aggregate.input), aggregate.group_expr.clone(), exprs)?;
        Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
    }

    /// The same aggregate over the condition itself; none if it is no such aggregate.
    fn counted(&self, expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else { return Ok(None) };
        let function = match func.name() {
            "avg" => &self.rate,
            "sum" => &self.count_true,
            _ => return Ok(None),
        };
        let [argument] = params.args.as_slice() else { return Ok(None) };
        let same_type = expr.get_type(schema)? == function.return_type(&[DataType::Boolean])?;
        if params.distinct || !params.order_by.is_empty() || params.null_treatment.is_some() || !same_type {
            return Ok(None);
        }
        let Some(condition) = condition(argument, schema)? else { return Ok(None) };
        let params =
            datafusion::logical_expr::expr::AggregateFunctionParams { args: vec![condition], ..params.clone() };
        Ok(Some(Expr::AggregateFunction(AggregateFunction { func: Arc::clone(function), params })))
    }
}

/// The condition of which an expression is 1 where it is true and 0 where it is false.
fn condition(expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    match expr {
        Expr::Cast(Cast { expr: inner, field }) if is_number(field.data_type()) => match inner.get_type(schema)? {
            DataType::Boolean => Ok(Some(inner.as_ref().clone())),
            _ => condition(inner, schema),
        },
        Expr::Case(Case { expr: None, when_then_expr, else_expr: Some(otherwise) }) => {
            let [(when, then)] = when_then_expr.as_slice() else { return Ok(None) };
            if !is_literal(then, 1.0) || !is_literal(otherwise, 0.0) {
                return Ok(None);
            }
            if !when.nullable(schema)? {
                return Ok(Some(when.as_ref().clone()));
            }
            // `is true` would do, but its physical form claims to be nullable.
            let (yes, no) = (Box::new(lit(true)), Box::new(lit(false)));
            Ok(Some(Expr::Case(Case::new(None, vec![(when.clone(), yes)], Some(no)))))
        }
        _ => Ok(None),
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Float32 | DataType::Float64)
}

fn is_literal(expr: &Expr, wanted: f64) -> bool {
    match expr {
        Expr::Cast(Cast { expr, field }) => is_number(field.data_type()) && is_literal(expr, wanted),
        Expr::Literal(value, _) if is_number(&value.data_type()) => {
            matches!(value.cast_to(&DataType::Float64), Ok(ScalarValue::Float64(Some(value))) if value == wanted)
        }
        _ => false,
    }
}

impl AnalyzerRule for CountConditions {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| self.rewrite(plan)).data()
    }

    fn name(&self) -> &str {
        "count_conditions"
    }
}
