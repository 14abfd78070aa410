//! How far a running query has come, from the metrics of its plan.
//!
//! ```text
//!   AggregateExec                 made: the rows that left its busiest operator
//!     HashJoinExec                      |
//!       DataSourceExec (steps)    read: rows that the scans are through with, skipped ones included
//!       DataSourceExec (episodes) total: rows of their tables, from the files' statistics, less those that pruning spares
//! ```

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

/// How far a running query has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanProgress {
    /// Rows of tables that are done with: handed on, or found not to match.
    pub read: u64,
    /// Rows of tables to be read, as far as is known by now: it shrinks as row groups and files turn out not to be
    /// needed. `None` where a source does not know its size.
    pub total: Option<u64>,
    /// Encoded bytes that were read.
    pub bytes: u64,
    /// Rows that the plan's busiest operator has handed on: what grows when everything is read and a join goes on.
    pub made: u64,
}

/// Told how far a query has come, several times a second while it runs.
pub type Watch = Arc<dyn Fn(&ScanProgress) + Send + Sync>;

impl ScanProgress {
    pub(crate) fn of(plan: &dyn ExecutionPlan) -> Self {
        let mut progress = Self { total: Some(0), ..Self::default() };
        progress.add(plan);
        // A plan without tables reads nothing of a known size.
        progress.total = progress.total.filter(|&total| total > 0);
        progress
    }

    fn add(&mut self, plan: &dyn ExecutionPlan) {
        let metrics = plan.metrics();
        self.made = self.made.max(metrics.as_ref().and_then(MetricsSet::output_rows).unwrap_or(0) as u64);
        let children = plan.children();
        // What counts nothing is no table: the one row of a query without FROM, or an empty relation.
        if let Some(metrics) = metrics.filter(|_| children.is_empty()) {
            let scan = Scan::of(&metrics);
            let statistics = StatisticsContext::new().compute(plan, &StatisticsArgs::new()).ok();
            let rows = statistics.and_then(|s| s.num_rows.get_value().copied());
            let total = rows.map(|rows| scan.needed(rows as u64));
            self.read += total.map_or(scan.rows, |total| scan.rows.min(total));
            self.bytes += scan.bytes;
            self.total = self.total.zip(total).map(|(sum, total)| sum + total);
        }
        for child in children {
            self.add(child.as_ref());
        }
    }
}

/// Counters of one scan.
#[derive(Default)]
struct Scan {
    rows: u64,
    bytes: u64,
    files: Pruned,
    /// Or episodes, where a scan knows them.
    row_groups: Pruned,
}

/// Files or row groups that were looked at, by what became of them.
#[derive(Default)]
struct Pruned {
    pruned: u64,
    matched: u64,
}

impl Pruned {
    /// `rows` less the share that was pruned. Before anything was looked at, all of it is needed.
    fn keep(&self, rows: u64) -> u64 {
        let all = self.pruned + self.matched;
        if all == 0 { rows } else { (u128::from(rows) * u128::from(self.matched) / u128::from(all)) as u64 }
    }
}

impl Scan {
    fn of(metrics: &MetricsSet) -> Self {
        let mut scan = Self::default();
        for metric in metrics.iter() {
            match metric.value() {
                MetricValue::OutputRows(count) => scan.rows += count.value() as u64,
                MetricValue::Count { name, count } => match name.as_ref() {
                    "pushdown_rows_pruned" => scan.rows += count.value() as u64,
                    // Scans of Parquet files by the engine, and scans of steps by episode.
                    "bytes_scanned" | "bytes_read" => scan.bytes += count.value() as u64,
                    "episodes_read" => scan.row_groups.matched += count.value() as u64,
                    "episodes_skipped" => scan.row_groups.pruned += count.value() as u64,
                    _ => {}
                },
                MetricValue::PruningMetrics { name, pruning_metrics: found } => match name.as_ref() {
                    "page_index_rows_pruned" => scan.rows += found.pruned() as u64,
                    "files_ranges_pruned_statistics" => {
                        scan.files.pruned += found.pruned() as u64;
                        scan.files.matched += found.matched() as u64;
                    }
                    "row_groups_pruned_statistics" => {
                        scan.row_groups.pruned += found.pruned() as u64;
                        scan.row_groups.matched += found.matched() as u64;
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        scan
    }

    /// Rows of a table of `rows` that are read, if what was not looked at yet is pruned as what was. Files are looked
    /// at before their row groups, and parts are of about the same size.
    fn needed(&self, rows: u64) -> u64 {
        self.row_groups.keep(self.files.keep(rows))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use arrow::array::{ArrayRef, Int32Array, RecordBatch};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::{Params, Session, SessionOptions};

    /// A column `t` from 0 to 7,999 in eight row groups of ten pages, and `odd`, which no statistics can prune.
    fn table(path: &Path) {
        let t: ArrayRef = Arc::new(Int32Array::from_iter_values(0..8000));
        let odd: ArrayRef = Arc::new(Int32Array::from_iter_values((0..8000).map(|t| t % 2)));
        let batch = RecordBatch::try_from_iter([("t", t), ("odd", odd)]).unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(1000))
            .set_data_page_row_count_limit(100)
            .set_write_batch_size(100)
            .build();
        let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn a_scan_that_is_over_has_read_all_it_had_to() {
        let folder = tempfile::tempdir().unwrap();
        table(&folder.path().join("steps.parquet"));
        let session = Session::new(&SessionOptions { threads: Some(1), ..Default::default() }).unwrap();
        session.register_parquet(None, "steps", &folder.path().join("steps.parquet")).unwrap();
        for (condition, expected) in [
            ("true", 8000),
            // Two row groups of eight; of one of them, pages.
            ("t >= 6500", 2000),
            // Rows are filtered one by one.
            ("odd = 1", 8000),
            ("odd = 1 and t < 1000", 1000),
        ] {
            let sql = format!("select sum(t) from steps where {condition}");
            let mut rows = session.stream(&sql, &Params::new()).unwrap();
            for batch in &mut rows {
                batch.unwrap();
            }
            let progress = rows.progress();
            assert_eq!((progress.read, progress.total), (expected, Some(expected)), "{condition}: {progress:?}");
            assert!(progress.bytes > 0, "{condition}: {progress:?}");
        }
        let mut rows = session.stream("select 1", &Params::new()).unwrap();
        assert_eq!((&mut rows).count(), 1);
        assert_eq!(rows.progress().total, None, "no table, nothing to read");
    }

    #[test]
    fn pruning_makes_the_work_smaller() {
        assert_eq!(Pruned::default().keep(100), 100);
        assert_eq!(Pruned { pruned: 3, matched: 1 }.keep(100), 25);
        assert_eq!(Pruned { pruned: 3, matched: 0 }.keep(100), 0);
        let scan = Scan {
            files: Pruned { pruned: 1, matched: 1 },
            row_groups: Pruned { pruned: 1, matched: 4 },
            ..Scan::default()
        };
        assert_eq!(scan.needed(1000), 400);
    }
}
