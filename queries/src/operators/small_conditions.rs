//! Conditions on buttons and sticks, evaluated as bitmaps.
//!
//! DataFusion evaluates `a and left_y >= 8 and ..` one comparison after the other, and where few rows are left it copies
//! them from every column before it goes on. That pays where a term is dear. Buttons are bitmaps and buckets are bytes: a
//! term costs less than a copy of anything, so here all are evaluated over all rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::datatypes::UInt8Type;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal, NotExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::quick::{Way, quick};

/// A condition that is never null, by the numbers of its columns.
#[derive(Clone, Debug)]
enum Condition {
    /// A column of booleans.
    Is(usize),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    /// A column of bytes is at least so much.
    AtLeast(usize, u8),
    Equals(usize, u8),
}

impl Condition {
    /// None for what is not made of buttons and buckets alone.
    fn parse(expr: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        if let Some(column) = expr.downcast_ref::<Column>() {
            return Some(Self::Is(column.index()));
        }
        if let Some(not) = expr.downcast_ref::<NotExpr>() {
            return Some(Self::Not(Box::new(Self::parse(not.arg())?)));
        }
        let binary = expr.downcast_ref::<BinaryExpr>()?;
        let both = || Some(vec![Self::parse(binary.left())?, Self::parse(binary.right())?]);
        match binary.op() {
            Operator::And => Some(Self::All(both()?)),
            Operator::Or => Some(Self::Any(both()?)),
            op => {
                let column = binary.left().downcast_ref::<Column>()?.index();
                let literal = binary.right().downcast_ref::<Literal>()?;
                let &ScalarValue::UInt8(Some(value)) = literal.value() else { return None };
                let not = |condition| Self::Not(Box::new(condition));
                let above = || value.checked_add(1).map(|next| Self::AtLeast(column, next));
                match op {
                    Operator::Eq => Some(Self::Equals(column, value)),
                    Operator::NotEq => Some(not(Self::Equals(column, value))),
                    Operator::GtEq => Some(Self::AtLeast(column, value)),
                    Operator::Lt => Some(not(Self::AtLeast(column, value))),
                    Operator::Gt => above(),
                    Operator::LtEq => above().map(not),
                    _ => None,
                }
            }
        }
    }

    /// The rows for which it holds; none if a column is not of the kind, or has nulls.
    fn rows(&self, batch: &RecordBatch) -> Option<BooleanBuffer> {
        match self {
            Self::Is(column) => {
                let flags = batch.column(*column).as_boolean_opt().filter(|flags| flags.null_count() == 0)?;
                Some(flags.values().clone())
            }
            Self::Not(inner) => Some(!&inner.rows(batch)?),
            Self::All(terms) => Self::combine(terms, batch, |all, term| all & term),
            Self::Any(terms) => Self::combine(terms, batch, |all, term| all | term),
            Self::AtLeast(column, least) => Some(bits(bytes(batch, *column)?, |byte| byte >= *least)),
            Self::Equals(column, value) => Some(bits(bytes(batch, *column)?, |byte| byte == *value)),
        }
    }

    fn combine(
        terms: &[Self],
        batch: &RecordBatch,
        with: impl Fn(&BooleanBuffer, &BooleanBuffer) -> BooleanBuffer,
    ) -> Option<BooleanBuffer> {
        let (first, rest) = terms.split_first()?;
        rest.iter().try_fold(first.rows(batch)?, |all, term| Some(with(&all, &term.rows(batch)?)))
    }
}

fn bytes(batch: &RecordBatch, column: usize) -> Option<&[u8]> {
    let bytes = batch.column(column).as_primitive_opt::<UInt8Type>().filter(|bytes| bytes.null_count() == 0)?;
    Some(bytes.values())
}

/// The bytes for which a test holds. Made of steps that a compiler turns into comparisons of sixteen bytes at once.
fn bits(bytes: &[u8], test: impl Fn(u8) -> bool) -> BooleanBuffer {
    let word = |sixty_four: &[u8; 64]| {
        let lanes = sixty_four.map(|byte| if test(byte) { 0xff } else { 0u8 });
        let (eights, _) = lanes.as_chunks::<8>();
        // Lane i keeps its bit i, and the product adds them all up in the highest byte.
        let byte = |eight: &[u8; 8]| {
            (u64::from_le_bytes(*eight) & 0x8040_2010_0804_0201).wrapping_mul(0x0101_0101_0101_0101) >> 56
        };
        eights.iter().rev().fold(0, |word, eight| word << 8 | byte(eight))
    };
    let (whole, rest) = bytes.as_chunks::<64>();
    let mut words: Vec<u64> = Vec::with_capacity(bytes.len().div_ceil(64));
    words.extend(whole.iter().map(word));
    if !rest.is_empty() {
        let mut last = [0; 64];
        last[..rest.len()].copy_from_slice(rest);
        words.push(word(&last));
    }
    // Lowest bits first, on any machine.
    words.iter_mut().for_each(|word| *word = word.to_le());
    BooleanBuffer::new(Buffer::from_vec(words), 0, bytes.len())
}

impl Way for Condition {
    fn of(expr: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        // A column alone is there already.
        if expr.is::<Column>() { None } else { Self::parse(expr) }
    }

    fn compute(&self, batch: &RecordBatch) -> Result<Option<ArrayRef>> {
        Ok(self.rows(batch).map(|rows| Arc::new(BooleanArray::new(rows, None)) as ArrayRef))
    }
}

/// An expression whose conditions are evaluated as bitmaps, wherever they stand in it.
fn rewrite(expr: &Arc<dyn PhysicalExpr>) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    Arc::clone(expr).transform_down(|node| {
        Ok(match quick::<Condition>(&node) {
            // What it is made of stays as it is.
            Some(condition) => Transformed::new(condition, true, TreeNodeRecursion::Jump),
            None => Transformed::no(node),
        })
    })
}

/// Rewrites what filters keep and what aggregates count.
#[derive(Debug)]
pub(crate) struct SmallConditions;

impl PhysicalOptimizerRule for SmallConditions {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            if let Some(filter) = node.downcast_ref::<FilterExec>() {
                let predicate = rewrite(filter.predicate())?;
                if predicate.transformed {
                    let filter = FilterExecBuilder::from(filter).with_predicate(predicate.data).build()?;
                    return Ok(Transformed::yes(Arc::new(filter) as Arc<dyn ExecutionPlan>));
                }
            }
            if let Some(aggregate) = node.downcast_ref::<AggregateExec>()
                && let Some(rewritten) = rewrite_aggregate(aggregate)?
            {
                return Ok(Transformed::yes(Arc::new(rewritten) as Arc<dyn ExecutionPlan>));
            }
            Ok(Transformed::no(node))
        })
        .data()
    }

    fn name(&self) -> &str {
        "small_conditions"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The arguments of aggregates that look at rows, and not at partial results.
fn rewrite_aggregate(aggregate: &AggregateExec) -> Result<Option<AggregateExec>> {
    let of_rows =
        matches!(aggregate.mode(), AggregateMode::Partial | AggregateMode::Single | AggregateMode::SinglePartitioned);
    if !of_rows {
        return Ok(None);
    }
    let mut any = false;
    let mut all = Vec::with_capacity(aggregate.aggr_expr().len());
    for one in aggregate.aggr_expr() {
        let arguments = one.expressions().iter().map(rewrite).collect::<Result<Vec<_>>>()?;
        let rewritten = arguments.iter().any(|argument| argument.transformed) && one.order_bys().is_empty();
        let arguments = arguments.into_iter().map(|argument| argument.data).collect();
        let rewritten = if rewritten { one.with_new_expressions(arguments, Vec::new()) } else { None };
        any |= rewritten.is_some();
        all.push(rewritten.map_or_else(|| Arc::clone(one), Arc::new));
    }
    Ok(any.then(|| aggregate.with_new_aggr_exprs(all)))
}

#[cfg(test)]
mod tests {
    use arrow::array::UInt8Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_expr::expressions::{binary, col, lit, not};

    use super::*;

    fn batch(nullable: bool) -> RecordBatch {
        // Not a multiple of anything.
        let buckets = |seed: u32| UInt8Array::from_iter_values((0..203u32).map(move |i| ((i * seed) % 11) as u8));
        let flags = (0..203u32).map(|i| (!nullable || i % 7 > 0).then_some(i * 2_654_435_761 % 3 == 0));
        let columns: [(&str, ArrayRef, bool); 3] = [
            ("a", Arc::new(flags.collect::<BooleanArray>()), nullable),
            ("left_x", Arc::new(buckets(7)), false),
            ("left_y", Arc::new(buckets(3)), false),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    #[test]
    fn conditions_hold_for_the_same_rows() {
        for nullable in [false, true] {
            let batch = batch(nullable);
            let schema = batch.schema();
            let a = || col("a", &schema).unwrap();
            let compare =
                |name: &str, op, value: u8| binary(col(name, &schema).unwrap(), op, lit(value), &schema).unwrap();
            let join = |left, op, right| binary(left, op, right, &schema).unwrap();
            let mut all = vec![not(a()).unwrap()];
            for op in [Operator::Eq, Operator::NotEq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq] {
                for value in [0, 5, 10, 11] {
                    all.push(compare("left_x", op, value));
                }
                let either = join(compare("left_y", op, 4), Operator::Or, a());
                all.push(join(not(either).unwrap(), Operator::And, compare("left_x", Operator::Lt, 9)));
            }
            for expr in all {
                let small =
                    quick::<Condition>(&expr).unwrap_or_else(|| panic!("{expr} is a condition on small values"));
                let rows = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(&batch).unwrap().into_array(203).unwrap();
                assert_eq!(&rows(&small), &rows(&expr), "{expr}, nulls: {nullable}");
            }
        }
    }

    #[test]
    fn others_are_left_alone() {
        let schema =
            Schema::new(vec![Field::new("x", DataType::Float32, false), Field::new("k", DataType::UInt8, true)]);
        let compare = |name: &str, value: Arc<dyn PhysicalExpr>| {
            binary(col(name, &schema).unwrap(), Operator::Lt, value, &schema).unwrap()
        };
        assert!(quick::<Condition>(&compare("x", lit(1f32))).is_none());
        assert!(quick::<Condition>(&compare("k", lit(ScalarValue::UInt8(None)))).is_none());
        assert!(quick::<Condition>(&compare("k", lit(255u8))).is_some());
        let above_all = binary(col("k", &schema).unwrap(), Operator::Gt, lit(255u8), &schema).unwrap();
        assert!(quick::<Condition>(&above_all).is_none());
    }
}
