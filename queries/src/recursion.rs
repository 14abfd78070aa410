//! Cross joins with what a recursion has found.
//!
//! A cross join makes a batch of the right side's rows for every row of the left. DataFusion puts the smaller side to the right
//! only where it knows how large both are, and of a recursion it does not: `from r cross join (values (1), (2))` would make a batch of
//! two rows of every row of `r`, and a recursion that doubles its rows would take minutes to reach its memory limit. This rule
//! puts what the recursion has found to the right, where it is read batch by batch.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::CrossJoinExec;
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

#[derive(Debug)]
pub(crate) struct RecursionToTheRight;

impl PhysicalOptimizerRule for RecursionToTheRight {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let turn = |node: Arc<dyn ExecutionPlan>| match node.downcast_ref::<CrossJoinExec>() {
            // A left side is collected from one partition.
            Some(join)
                if recurses(join.left())
                    && !recurses(join.right())
                    && join.right().output_partitioning().partition_count() == 1 =>
            {
                Ok(Transformed::yes(join.swap_inputs()?))
            }
            _ => Ok(Transformed::no(node)),
        };
        plan.transform_up(turn).data()
    }

    fn name(&self) -> &str {
        "recursion_to_the_right"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether a plan reads what a recursion has found.
fn recurses(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<WorkTableExec>() || plan.children().into_iter().any(recurses)
}

#[cfg(test)]
mod tests {
    use crate::{Params, Session, SessionOptions};

    #[test]
    fn what_a_recursion_has_found_is_read_batch_by_batch() {
        let session = Session::new(&SessionOptions { threads: Some(2), ..SessionOptions::default() }).unwrap();
        let ask = |sql: &str| Session::format_table(&session.query(sql, &Params::new()).unwrap()).unwrap();
        let sql = "with recursive r(n, k) as (select 1, 0 union all select n + 1, v.k from r cross join (values (1), (2)) as v(k) \
                   where n < 4) select n, k, count(*) as rows from r group by n, k order by n, k";
        let plan = ask(&format!("explain {sql}"));
        let at = |words: &str| plan.find(words).unwrap_or_else(|| panic!("{words} in\n{plan}"));
        assert!(at("DataSourceExec") < at("WorkTableExec"), "{plan}");
        let rows = ask(sql);
        let rows: Vec<&str> = rows.lines().filter(|line| line.starts_with("| ") && !line.contains('n')).collect();
        let expected = ["1 | 0 | 1", "2 | 1 | 1", "2 | 2 | 1", "3 | 1 | 2", "3 | 2 | 2", "4 | 1 | 4", "4 | 2 | 4"];
        let cells = |row: &str| row.trim_matches(['|', ' ']).split('|').map(str::trim).collect::<Vec<_>>().join(" | ");
        assert_eq!(rows.into_iter().map(cells).collect::<Vec<_>>(), expected);
    }
}
