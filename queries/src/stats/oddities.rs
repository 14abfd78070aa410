//! What to look at before training on a dataset. The codes are stable: scripts may match on them.

use std::path::Path;

use polars::prelude::{DataFrame, SortMultipleOptions, col, len, lit};
use serde::Serialize;

use super::histogram::quantile;
use super::{Component, frame};
use crate::error::Result;

/// How many ids an oddity names.
const NAMED: usize = 10;
/// Where Tukey's fences stand, in interquartile ranges.
const FENCES: f64 = 3.0;
/// The model's context: a shorter episode does not fill a window.
const WINDOW: f64 = 32.0;

/// Something unusual, with the episodes to look at.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Oddity {
    /// A stable name.
    pub code: &'static str,
    /// What it is.
    pub message: String,
    /// How many episodes.
    pub episodes: u64,
    /// Up to ten of them, the most unusual first.
    pub episode_ids: Vec<i64>,
}

/// Oddities that the index shows.
pub(super) fn of_episodes(root: &Path, episodes: &DataFrame) -> Result<Vec<Oddity>> {
    let mut found = vec![
        above(episodes, "idle", "idle_fraction", 0.9, "more than 90% of the steps without any input")?,
        above(episodes, "repeat", "repeat_fraction", 0.9, "one unchanged action for more than 90% of the episode")?,
        below(episodes, "short", "num_steps", WINDOW, "shorter than a 32-step window")?,
        outside(episodes, "length-outlier", "seconds", "length far from the others'")?,
        outside(episodes, "speed-outlier", "speed", "mean speed far from the others'")?,
        outside(episodes, "entropy-outlier", "action_entropy", "variety of the actions far from the others'")?,
    ];
    found.push(duplicates(root, episodes)?);
    found.retain(|oddity| oddity.episodes > 0);
    Ok(found)
}

/// Components that nobody uses. No episode is to blame, so none is named.
pub(super) fn of_components(components: &[Component]) -> Vec<Oddity> {
    let unused: Vec<&str> = components.iter().filter(|c| c.active == 0.0).map(|c| c.name.as_str()).collect();
    if unused.is_empty() {
        return Vec::new();
    }
    let message = format!("never used: {}", unused.join(", "));
    vec![Oddity { code: "constant-component", message, episodes: 0, episode_ids: Vec::new() }]
}

fn above(episodes: &DataFrame, code: &'static str, column: &str, limit: f64, message: &str) -> Result<Oddity> {
    rank(episodes, code, column, message, |value| value - limit)
}

fn below(episodes: &DataFrame, code: &'static str, column: &str, limit: f64, message: &str) -> Result<Oddity> {
    rank(episodes, code, column, message, |value| limit - value)
}

/// Outside Tukey's fences. Where the middle half of the values are all the same there are no fences.
fn outside(episodes: &DataFrame, code: &'static str, column: &str, message: &str) -> Result<Oddity> {
    let mut sorted = frame::numbers(episodes, column)?;
    sorted.retain(|v| v.is_finite());
    sorted.sort_by(f64::total_cmp);
    let (q1, q3) = match sorted.len() {
        0 => (0.0, 0.0),
        _ => (quantile(&sorted, 0.25), quantile(&sorted, 0.75)),
    };
    let range = q3 - q1;
    let message = format!("{message}: outside {:.3} to {:.3}", q1 - FENCES * range, q3 + FENCES * range);
    rank(episodes, code, column, &message, |value| match range > 0.0 {
        true => (q1 - value).max(value - q3) / range - FENCES,
        false => 0.0,
    })
}

/// Episodes whose `excess` is above zero, the largest first.
fn rank(
    episodes: &DataFrame,
    code: &'static str,
    column: &str,
    message: &str,
    excess: impl Fn(f64) -> f64,
) -> Result<Oddity> {
    let ids = frame::ids(episodes, "episode_id")?;
    let values = frame::optional_numbers(episodes, column)?;
    let mut odd: Vec<(f64, i64)> = ids
        .into_iter()
        .zip(values)
        .filter_map(|(id, value)| Some((excess(value?), id)))
        .filter(|(excess, _)| *excess > 0.0)
        .collect();
    odd.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    Ok(Oddity {
        code,
        message: message.to_owned(),
        episodes: odd.len() as u64,
        episode_ids: odd.into_iter().take(NAMED).map(|(_, id)| id).collect(),
    })
}

/// Episodes whose actions are those of one with a lower id.
fn duplicates(root: &Path, episodes: &DataFrame) -> Result<Oddity> {
    let groups = frame::lazy(episodes)
        .group_by([col("action_hash")])
        .agg([len().alias("copies"), col("episode_id").max().alias("last")])
        .filter(col("copies").gt(lit(1u32)))
        .sort(["last"], SortMultipleOptions::default());
    let groups = frame::collect(root, groups)?;
    let copies = frame::sum(&groups, "copies")? as u64 - groups.height() as u64;
    let mut ids = frame::ids(&groups, "last")?;
    ids.truncate(NAMED);
    let message = "the same actions as an episode with a lower id".to_owned();
    Ok(Oddity { code: "duplicate", message, episodes: copies, episode_ids: ids })
}
