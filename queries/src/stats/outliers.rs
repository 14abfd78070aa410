//! Episodes unlike the others of their map, and in what.
//!
//! A value is far when it lies more than three interquartile ranges outside the middle half of its map's episodes (Tukey's
//! outer fences; for a normal distribution 1 in 400,000). Maps with few episodes are compared with all.

use std::collections::BTreeMap;

use serde::Serialize;

use super::frame;
use super::histogram::quantile;
use super::index::Index;
use crate::error::Result;

/// Where Tukey's outer fences stand, in interquartile ranges.
const FENCES: f64 = 3.0;
/// Episodes from which on a map has quartiles of its own.
const OWN: usize = 20;
/// Outliers that are told of; there may be more.
pub(super) const TOLD: usize = 100;

/// An episode to look at.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Outlier {
    /// The episode.
    pub episode_id: i64,
    /// Its map.
    pub map: Option<String>,
    /// How far out the most unusual value lies: 3 at the fences, in interquartile ranges.
    pub distance: f64,
    /// In what it is unlike the others, the most unusual first.
    pub reasons: Vec<Reason>,
}

/// One way in which an episode is unlike the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Reason {
    /// What was measured: `seconds`, `speed`, `action_entropy`, `presses` or `mean_stick_deflection`.
    pub measure: &'static str,
    /// Its value.
    pub value: f64,
    /// The middle half of the others: 25% and 75%.
    pub middle: (f64, f64),
    /// How far outside it lies, in interquartile ranges.
    pub distance: f64,
    /// All this in words.
    pub text: String,
}

/// A column of the index, and its words and unit.
const MEASURES: [(&str, &str, &str); 5] = [
    ("seconds", "length", " s"),
    ("speed", "mean speed", " m/s"),
    ("action_entropy", "variety of actions", " bits"),
    ("presses", "presses a minute", ""),
    ("mean_stick_deflection", "mean stick deflection", ""),
];

/// Every outlier, the most unusual first.
pub(super) fn outliers(index: &Index) -> Result<Vec<Outlier>> {
    let mut reasons: BTreeMap<usize, Vec<Reason>> = BTreeMap::new();
    for (measure, words, unit) in MEASURES {
        let values = frame::optional_numbers(&index.frame, measure)?;
        let values: Vec<Option<f64>> = values.into_iter().map(|v| v.filter(|v| v.is_finite())).collect();
        let all = quartiles(values.iter().flatten().copied());
        let of_map: Vec<Option<(f64, f64)>> = (0..index.maps.len())
            .map(|map| {
                let own = values.iter().zip(&index.map).filter(|(_, of)| **of == map).filter_map(|(value, _)| *value);
                let own: Vec<f64> = own.collect();
                if own.len() < OWN { all } else { quartiles(own.into_iter()) }
            })
            .collect();
        for (row, value) in values.iter().enumerate() {
            let (Some(value), Some((low, high))) = (value, of_map[index.map[row]]) else { continue };
            let distance = (low - value).max(value - high) / (high - low);
            if distance > FENCES {
                let text = format!("{words} {value:.2}{unit}; half of the others {low:.2} to {high:.2}");
                let reason = Reason { measure, value: *value, middle: (low, high), distance, text };
                reasons.entry(row).or_default().push(reason);
            }
        }
    }
    let mut outliers: Vec<Outlier> = reasons
        .into_iter()
        .map(|(row, mut reasons)| {
            reasons.sort_by(|a, b| b.distance.total_cmp(&a.distance));
            let (episode_id, map) = (index.ids[row], index.maps[index.map[row]].clone());
            Outlier { episode_id, map, distance: reasons[0].distance, reasons }
        })
        .collect();
    outliers.sort_by(|a, b| b.distance.total_cmp(&a.distance).then(a.episode_id.cmp(&b.episode_id)));
    Ok(outliers)
}

/// The quartiles, unless the middle half of the values are all the same: then nothing is far.
fn quartiles(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    if sorted.len() < 4 {
        return None;
    }
    let (low, high) = (quantile(&sorted, 0.25), quantile(&sorted, 0.75));
    (high > low).then_some((low, high))
}
