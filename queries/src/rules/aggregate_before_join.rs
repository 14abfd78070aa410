//! Steps are summed up by episode before they are joined to their episodes.
//!
//! ```text
//!   group by e.map: count(*), rate(s.a)             group by e.map: sum(n), sum(trues) / sum(rows)
//!     join on episode_id                              join on episode_id
//!       steps s                             ->          group by s.episode_id: n, trues, rows
//!       episodes e                                        steps s
//!                                                       episodes e
//! ```
//!
//! "How do .. differ between maps" is the commonest question there is. The join would carry a map to every step, to group by
//! it; summed up first, it carries one to every episode. Right whatever the join does: a step that finds two partners, or
//! none, is counted twice, or not at all, with all of its episode ("eager aggregation", Yan and Larson 1995).

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, NullEquality, Result};
use datafusion::functions_aggregate::expr_fn::{count, max, min, sum};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, BinaryExpr, Cast, Expr, ExprSchemable, Join, JoinType, LogicalPlan, Operator, Projection,
    cast, lit, when,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::scans_steps;
use crate::functions::trues;

/// The key of a join that carries what an episode is to its steps.
const EPISODE_ID: &str = "episode_id";

/// Runs after filters and columns have found their place.
#[derive(Debug)]
pub(crate) struct AggregateBeforeJoin {
    count_true: Arc<AggregateUDF>,
}

impl AggregateBeforeJoin {
    pub(crate) fn new() -> Self {
        Self { count_true: Arc::new(trues::count_true()) }
    }

    fn rewritten(&self, aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
        let Some(join) = join_below(&aggregate.input) else { return Ok(None) };
        let sides = [(&join.left, &join.right, true), (&join.right, &join.left, false)];
        let Some((steps, other, is_left)) = sides.into_iter().find(|(side, ..)| is_steps(side)) else {
            return Ok(None);
        };
        let plain = join.join_type == JoinType::Inner
            && join.filter.is_none()
            && join.null_equality == NullEquality::NullEqualsNothing;
        let [(left, right)] = join.on.as_slice() else { return Ok(None) };
        let key = if is_left { left } else { right };
        let by_episode = matches!(key, Expr::Column(column) if column.name == EPISODE_ID);
        let within = |expr: &Expr, schema: &DFSchema| expr.column_refs().iter().all(|column| schema.has_column(column));
        let apart = aggregate.group_expr.iter().all(|expr| within(expr, other.schema()) && !expr.is_volatile())
            && aggregate.aggr_expr.iter().all(|expr| within(expr, steps.schema()) && !expr.is_volatile());
        let grouped = !aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)));
        if !plain || !by_episode || !apart || !grouped {
            return Ok(None);
        }
        let mut parts = Parts { inner: Vec::new(), outer: Vec::new() };
        let mut results = Vec::with_capacity(aggregate.aggr_expr.len());
        for expr in &aggregate.aggr_expr {
            match self.part(expr, steps.schema(), &mut parts)? {
                Some(result) => results.push(result),
                None => return Ok(None),
            }
        }
        if results.is_empty() {
            return Ok(None);
        }
        let summed = LogicalPlan::Aggregate(Aggregate::try_new(Arc::clone(steps), vec![key.clone()], parts.inner)?);
        let other = other.as_ref().clone();
        let inputs = if is_left { vec![summed, other] } else { vec![other, summed] };
        let join = LogicalPlan::Join(join.clone());
        let joined = join.with_new_exprs(join.expressions(), inputs)?;
        let groups = aggregate.group_expr.len();
        let merged = Aggregate::try_new(Arc::new(joined), aggregate.group_expr.clone(), parts.outer)?;
        let keys = merged.schema.iter().take(groups).map(|field| Expr::Column(Column::from(field)));
        let mut columns: Vec<Expr> = keys.collect();
        for (result, (table, field)) in results.into_iter().zip(aggregate.schema.iter().skip(groups)) {
            let typed = if result.get_type(&merged.schema)? == *field.data_type() {
                result
            } else {
                cast(result, field.data_type().clone())
            };
            columns.push(typed.alias_qualified(table.cloned(), field.name()));
        }
        let merged = Arc::new(LogicalPlan::Aggregate(merged));
        Ok(Some(LogicalPlan::Projection(Projection::try_new(columns, merged)?)))
    }

    /// Puts what an aggregate is made of into `parts`, and says how to make it of them; none if it cannot be.
    fn part(&self, expr: &Expr, schema: &DFSchema, parts: &mut Parts) -> Result<Option<Expr>> {
        let expr = expr.clone().unalias_nested().data;
        let Expr::AggregateFunction(AggregateFunction { func, params }) = &expr else { return Ok(None) };
        let [argument] = params.args.as_slice() else { return Ok(None) };
        if params.distinct || !params.order_by.is_empty() || params.null_treatment.is_some() {
            return Ok(None);
        }
        // It will see steps too that the join would drop.
        for expr in params.args.iter().chain(params.filter.as_deref()) {
            if expr.exists(|expr| Ok(!never_fails(expr, schema)))? {
                return Ok(None);
            }
        }
        let number = is_number(&argument.get_type(schema)?);
        // The same rows, counted or summed up in another way.
        let over = |function: Expr| match function {
            Expr::AggregateFunction(AggregateFunction { func, params: own }) => {
                let params = AggregateFunctionParams { filter: params.filter.clone(), ..own };
                Expr::AggregateFunction(AggregateFunction { func, params })
            }
            other => other,
        };
        let rows = || over(count(argument.clone()));
        let trues = || over(self.count_true.call(vec![argument.clone()]));
        Ok(Some(match func.name() {
            "count" => {
                let total = parts.add(rows(), sum);
                // Without rows at all there is no sum, but a count.
                when(total.clone().is_null(), lit(0i64)).otherwise(total)?
            }
            "sum" if number => parts.add(expr.clone(), sum),
            "min" => parts.add(expr.clone(), min),
            "max" => parts.add(expr.clone(), max),
            "count_true" => parts.add(trues(), sum),
            "rate" => quotient(parts.add(trues(), sum), parts.add(rows(), sum)),
            "avg" if number => {
                let total = over(sum(cast(argument.clone(), DataType::Float64)));
                quotient(parts.add(total, sum), parts.add(rows(), sum))
            }
            _ => return Ok(None),
        }))
    }
}

/// Aggregates by episode, and those over the episodes.
struct Parts {
    inner: Vec<Expr>,
    outer: Vec<Expr>,
}

impl Parts {
    /// Adds one by episode, and returns the column that `merge` makes of it.
    fn add(&mut self, by_episode: Expr, merge: fn(Expr) -> Expr) -> Expr {
        let number = self.inner.len();
        let (part, whole) = (format!("__by_episode_{number}"), format!("__of_episodes_{number}"));
        self.inner.push(by_episode.alias(&part));
        self.outer.push(merge(Expr::Column(Column::new_unqualified(part))).alias(&whole));
        Expr::Column(Column::new_unqualified(whole))
    }
}

fn quotient(total: Expr, rows: Expr) -> Expr {
    cast(total, DataType::Float64) / cast(rows, DataType::Float64)
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// Whether an expression has a value whatever those that it is made of are. Sums of whole numbers wrap around.
fn never_fails(expr: &Expr, schema: &DFSchema) -> bool {
    let number = |expr: &Expr| expr.get_type(schema).is_ok_and(|found| is_number(&found));
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And | Operator::Or => true,
            Operator::Plus | Operator::Minus | Operator::Multiply => number(left) && number(right),
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => true,
            Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => true,
            _ => false,
        },
        Expr::Cast(Cast { expr, field }) => {
            expr.get_type(schema).is_ok_and(|from| always_fits(&from, field.data_type()))
        }
        Expr::Column(_)
        | Expr::Literal(..)
        | Expr::Alias(_)
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::Between(_)
        | Expr::Case(_)
        | Expr::InList(_) => true,
        _ => false,
    }
}

/// Whether a cast has a value for every value.
fn always_fits(from: &DataType, to: &DataType) -> bool {
    let of_bytes = |most| from.is_integer() && from.primitive_width().is_some_and(|width| width <= most);
    match to {
        DataType::Float64 => is_number(from) || *from == DataType::Boolean,
        DataType::Int64 => of_bytes(4) || *from == DataType::Boolean,
        DataType::Int32 => of_bytes(2) || *from == DataType::Boolean,
        _ => false,
    }
}

/// The join that a plan is, or chooses columns of.
fn join_below(plan: &LogicalPlan) -> Option<&Join> {
    match plan {
        LogicalPlan::Join(join) => Some(join),
        LogicalPlan::Projection(Projection { expr, input, .. })
            if expr.iter().all(|expr| matches!(expr, Expr::Column(_))) =>
        {
            join_below(input)
        }
        _ => None,
    }
}

/// Whether a plan is steps: some of them, and not what a query made of them.
fn is_steps(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => scans_steps(scan),
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) | LogicalPlan::Projection(_) => {
            plan.inputs().into_iter().all(is_steps)
        }
        _ => false,
    }
}

impl OptimizerRule for AggregateBeforeJoin {
    fn name(&self) -> &str {
        "aggregate_before_join"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let rewritten = match &plan {
            LogicalPlan::Aggregate(aggregate) => self.rewritten(aggregate)?,
            _ => None,
        };
        Ok(match rewritten {
            Some(rewritten) => Transformed::yes(rewritten),
            None => Transformed::no(plan),
        })
    }
}
