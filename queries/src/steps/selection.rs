//! Which steps of which episodes a query wants, as far as the index can say.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::PhysicalExpr;
use playhouse_schemas::EpisodeSteps;

use crate::table::PartRows;

/// The name of an episode's key in `steps`.
pub(super) const EPISODE_ID: &str = "episode_id";
/// The name of a step's number within its episode.
pub(super) const T: &str = "t";

/// Steps `from..to` of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) episode: EpisodeSteps,
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Chosen {
    fn rows(&self) -> u64 {
        u64::from(self.to - self.from)
    }
}

/// Number of steps in all.
pub(super) fn rows(chosen: &[Chosen]) -> u64 {
    chosen.iter().map(Chosen::rows).sum()
}

/// What a filter of a query is to the index.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// About the episode alone: the index decides it.
    Episode,
    /// Bounds on `t`, both included.
    Time { least: i64, most: i64 },
    /// About the steps' contents.
    Step,
}

impl Condition {
    pub(super) fn of(filter: &Expr) -> Self {
        if let Some((least, most)) = time_bounds(filter) {
            return Self::Time { least, most };
        }
        let columns = filter.column_refs();
        let about_episode = columns.iter().all(|column| column.name == EPISODE_ID) && !columns.is_empty();
        // What has a plan of its own inside, or another value at every call, is not decided ahead.
        let plain = !filter.is_volatile() && !filter.exists(|e| Ok(has_plan(e))).unwrap_or(true);
        if about_episode && plain { Self::Episode } else { Self::Step }
    }
}

fn has_plan(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::ScalarSubquery(_)
            | Expr::InSubquery(_)
            | Expr::Exists(_)
            | Expr::SetComparison(_)
            | Expr::OuterReferenceColumn(..)
    )
}

/// The least and the greatest `t` of `t < 600`, `600 > t`, `t = 5`, `t between 3 and 9`, and conjunctions of them.
fn time_bounds(filter: &Expr) -> Option<(i64, i64)> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let (left, right) = (time_bounds(left)?, time_bounds(right)?);
            Some((left.0.max(right.0), left.1.min(right.1)))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (op, value) = match (is_time(left), is_time(right)) {
                (true, false) => (*op, integer(right)?),
                (false, true) => (op.swap()?, integer(left)?),
                _ => return None,
            };
            match op {
                Operator::Lt => Some((i64::MIN, value.checked_sub(1)?)),
                Operator::LtEq => Some((i64::MIN, value)),
                Operator::Gt => Some((value.checked_add(1)?, i64::MAX)),
                Operator::GtEq => Some((value, i64::MAX)),
                Operator::Eq => Some((value, value)),
                _ => None,
            }
        }
        Expr::Between(between) if !between.negated && is_time(&between.expr) => {
            Some((integer(&between.low)?, integer(&between.high)?))
        }
        _ => None,
    }
}

fn is_time(expr: &Expr) -> bool {
    match expr {
        Expr::Column(column) => column.name == T,
        // Compared with a 64-bit literal, `t` is widened first, which changes no value.
        Expr::Cast(cast) => *cast.field.data_type() == DataType::Int64 && is_time(&cast.expr),
        _ => false,
    }
}

fn integer(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int32(Some(value)), _) => Some(i64::from(*value)),
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(*value),
        _ => None,
    }
}

/// Keeps what lies within the bounds on `t`, both included.
pub(super) fn clip(chosen: &mut Vec<Chosen>, least: i64, most: i64) {
    chosen.retain_mut(|one| {
        one.from = one.from.max(u32::try_from(least.max(0)).unwrap_or(u32::MAX));
        one.to = one.to.min(u32::try_from(most.saturating_add(1).max(0)).unwrap_or(u32::MAX));
        one.from < one.to
    });
}

/// Keeps the episodes for which every condition holds: expressions over a table whose only column is `episode_id`.
pub(super) fn keep(chosen: &mut Vec<Chosen>, conditions: &[Arc<dyn PhysicalExpr>]) -> Result<()> {
    if conditions.is_empty() || chosen.is_empty() {
        return Ok(());
    }
    let ids = Int64Array::from_iter_values(chosen.iter().map(|one| one.episode.episode_id));
    let batch = RecordBatch::try_new(key_schema().into(), vec![Arc::new(ids)])?;
    let mut kept = vec![true; chosen.len()];
    for condition in conditions {
        let verdict = condition.evaluate(&batch)?.into_array(batch.num_rows())?;
        let Some(verdict) = verdict.as_boolean_opt() else {
            return exec_err!("the filter {condition} is {} and not true or false", verdict.data_type());
        };
        // A null drops the row, as in WHERE.
        kept.iter_mut().zip(verdict).for_each(|(kept, verdict)| *kept &= verdict == Some(true));
    }
    let mut kept = kept.into_iter();
    chosen.retain(|_| kept.next() == Some(true));
    Ok(())
}

/// The table that conditions on the episode are evaluated over.
pub(super) fn key_schema() -> Schema {
    Schema::new(vec![Field::new(EPISODE_ID, DataType::Int64, false)])
}

/// An expression over a scan's columns, as one over [`key_schema`]; none if it looks at other columns, or at none.
pub(super) fn over_key(expr: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    let columns = collect_columns(expr);
    if columns.is_empty() || columns.iter().any(|column| column.name() != EPISODE_ID) {
        return None;
    }
    let moved = Arc::clone(expr).transform(|node| {
        if node.is::<Column>() {
            return Ok(Transformed::yes(Arc::new(Column::new(EPISODE_ID, 0)) as Arc<dyn PhysicalExpr>));
        }
        Ok(Transformed::no(node))
    });
    moved.data().ok()
}

/// Splits into at most `count` runs of whole episodes with about as many rows each.
pub(super) fn split(chosen: &[Chosen], count: usize) -> Vec<Range<usize>> {
    let total = rows(chosen);
    let (mut parts, mut start, mut done) = (Vec::new(), 0, 0);
    for (at, one) in chosen.iter().enumerate() {
        done += one.rows();
        // Part k ends where it has at least k + 1 shares of the whole.
        if done * count as u64 >= total * (parts.len() as u64 + 1) {
            parts.push(start..at + 1);
            start = at + 1;
        }
    }
    if start < chosen.len() || parts.is_empty() {
        parts.push(start..chosen.len());
    }
    parts
}

/// The rows of the chosen steps, by part, neighbours joined.
pub(super) fn by_part(chosen: &[Chosen]) -> Vec<PartRows> {
    let mut parts: Vec<PartRows> = Vec::new();
    for one in chosen {
        let first = one.episode.first_row;
        let range = first + u64::from(one.from)..first + u64::from(one.to);
        match parts.last_mut() {
            Some((part, ranges)) if *part == one.episode.part => match ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => ranges.push(range),
            },
            _ => parts.push((one.episode.part, vec![range])),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    fn episodes(lengths: &[u32]) -> Vec<Chosen> {
        let mut first_row = 0;
        let mut chosen = Vec::new();
        for (id, steps) in lengths.iter().enumerate() {
            let episode = EpisodeSteps { episode_id: id as i64, part: 0, first_row, steps: *steps };
            chosen.push(Chosen { episode, from: 0, to: *steps });
            first_row += u64::from(*steps);
        }
        chosen
    }

    #[test]
    fn conditions_are_told_apart() {
        let time = |least, most| Condition::Time { least, most };
        assert_eq!(Condition::of(&col("t").lt(lit(600))), time(i64::MIN, 599));
        assert_eq!(Condition::of(&lit(600i64).lt_eq(col("t"))), time(600, i64::MAX));
        assert_eq!(Condition::of(&col("t").between(lit(3), lit(9))), time(3, 9));
        assert_eq!(Condition::of(&col("t").gt(lit(3)).and(col("t").eq(lit(9)))), time(9, 9));
        assert_eq!(Condition::of(&col("episode_id").eq(lit(4i64))), Condition::Episode);
        assert_eq!(Condition::of(&(col("episode_id") % lit(4i64)).eq(lit(1i64))), Condition::Episode);
        assert_eq!(Condition::of(&col("t").eq(col("episode_id"))), Condition::Step);
        assert_eq!(Condition::of(&(col("t") % lit(2)).eq(lit(0))), Condition::Step);
        assert_eq!(Condition::of(&col("a")), Condition::Step);
        assert_eq!(Condition::of(&lit(false)), Condition::Step);
    }

    #[test]
    fn bounds_on_t_cut_steps_and_drop_episodes() {
        let mut chosen = episodes(&[5, 20, 9]);
        clip(&mut chosen, 7, 9);
        let left: Vec<_> = chosen.iter().map(|one| (one.episode.episode_id, one.from, one.to)).collect();
        assert_eq!(left, [(1, 7, 10), (2, 7, 9)]);
        clip(&mut chosen, i64::MIN, -1);
        assert!(chosen.is_empty());
    }

    #[test]
    fn parts_hold_whole_episodes_and_all_of_them() {
        for (lengths, count) in
            [(vec![5, 20, 9], 2), (vec![1; 100], 7), (vec![1000, 1, 1], 3), (vec![3], 4), (vec![], 2)]
        {
            let chosen = episodes(&lengths);
            let parts = split(&chosen, count);
            assert!(parts.len() <= count.max(1), "{lengths:?}");
            assert_eq!(parts.iter().cloned().flatten().collect::<Vec<_>>(), (0..chosen.len()).collect::<Vec<_>>());
            assert!(parts.iter().all(|part| !part.is_empty()) || chosen.is_empty());
        }
        let even = split(&episodes(&[10; 10]), 2);
        assert_eq!(even, [0..5, 5..10]);
    }

    #[test]
    fn neighbouring_rows_become_one_range() {
        let mut chosen = episodes(&[5, 20, 9]);
        assert_eq!(by_part(&chosen)[0].1.first(), Some(&(0..34)));
        assert_eq!(by_part(&chosen)[0].1.len(), 1);
        clip(&mut chosen, 0, 7);
        assert_eq!(by_part(&chosen), [(0, vec![0..13, 25..33])]);
    }
}
