//! Episodes by map, player and so on, and how they end.

use std::collections::HashMap;
use std::path::Path;

use polars::prelude::{DataFrame, col, len};
use serde::Serialize;

use super::frame;
use crate::error::Result;
use crate::functions::wilson_interval;

/// Episodes that share a value of a column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// The column of `episodes`.
    pub column: &'static str,
    /// Its value; none for null.
    pub value: Option<String>,
    /// Number of episodes.
    pub episodes: u64,
    /// Their hours.
    pub hours: f64,
}

/// How often an outcome occurred among the episodes of a map or a player.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The map, or the player.
    pub of: Option<String>,
    /// The outcome; none where the source does not say.
    pub outcome: Option<String>,
    /// Episodes that ended so.
    pub episodes: u64,
    /// Their share.
    pub share: f64,
    /// Wilson 95% interval of the share.
    pub interval: (f64, f64),
}

/// Columns worth a line each, unless every episode has null there.
const GROUPED: [&str; 5] = ["source", "map", "action_source", "player", "policy"];

pub(super) fn groups(root: &Path, episodes: &DataFrame) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    for column in GROUPED {
        let counted = frame::collect(
            root,
            frame::lazy(episodes).group_by([col(column)]).agg([len().alias("episodes"), col("hours").sum()]),
        )?;
        let names = frame::texts(&counted, column)?;
        let rows = names.into_iter().zip(frame::numbers(&counted, "episodes")?).zip(frame::numbers(&counted, "hours")?);
        let mut rows: Vec<Group> =
            rows.map(|((value, n), hours)| Group { column, value, episodes: n as u64, hours }).collect();
        if rows.iter().any(|group| group.value.is_some()) {
            rows.sort_by(|a, b| b.episodes.cmp(&a.episodes).then(a.value.cmp(&b.value)));
            groups.append(&mut rows);
        }
    }
    Ok(groups)
}

pub(super) fn outcomes(root: &Path, episodes: &DataFrame, by: &'static str) -> Result<Vec<Outcome>> {
    let groups = frame::lazy(episodes).group_by([col(by), col("outcome")]).agg([len().alias("episodes")]);
    let counted = frame::collect(root, groups)?;
    let (of, outcome) = (frame::texts(&counted, by)?, frame::texts(&counted, "outcome")?);
    let counts = frame::numbers(&counted, "episodes")?;
    let mut totals: HashMap<Option<String>, f64> = HashMap::new();
    for (of, n) in of.iter().zip(&counts) {
        *totals.entry(of.clone()).or_default() += n;
    }
    let mut rows: Vec<(f64, Outcome)> = Vec::with_capacity(of.len());
    for ((of, outcome), n) in of.into_iter().zip(outcome).zip(counts) {
        let total = totals.get(&of).copied().unwrap_or(n);
        let interval = wilson_interval(n as i64, total as i64);
        rows.push((total, Outcome { of, outcome, episodes: n as u64, share: n / total, interval }));
    }
    if rows.iter().all(|(_, row)| row.outcome.is_none()) {
        return Ok(Vec::new());
    }
    // Who played most stands first.
    rows.sort_by(|(all, a), (more, b)| {
        let names = || (&a.of, b.episodes, &a.outcome).cmp(&(&b.of, a.episodes, &b.outcome));
        more.total_cmp(all).then_with(names)
    });
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}
