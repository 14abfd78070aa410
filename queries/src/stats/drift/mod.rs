//! In what two datasets differ.

mod significance;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use super::frame;
use super::index::Index;
use super::layout::{Layout, Slot};
use super::tally::Tally;
use super::usage::counted;
use super::{Basis, Described};
use crate::error::Result;
use significance::{Clusters, Test, compare_shares, compare_values, holm};

/// Below this probability, corrected for the number of questions, a difference is taken to be one.
const SIGNIFICANT: f64 = 0.01;

/// One of two datasets.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Compared {
    /// Its folder.
    pub root: PathBuf,
    /// Number of episodes.
    pub episodes: u64,
    /// Number of timesteps.
    pub steps: u64,
    /// Which steps were read.
    pub basis: Basis,
}

/// What [`drift`] finds. As JSON its keys are stable; [`KEYS`](super::KEYS) says what each means.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Drift {
    /// The dataset looked at.
    pub a: Compared,
    /// The one it is compared with.
    pub b: Compared,
    /// Every comparison, the largest difference first.
    pub differences: Vec<Difference>,
    /// Components of only one of the two, or with another number of values: nothing to compare.
    pub incomparable: Vec<String>,
}

/// How one quantity differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// `component` (shares of steps), `measure` (one value an episode) or `share` (shares of episodes).
    pub kind: &'static str,
    /// The component, the measure or the column.
    pub name: String,
    /// From 0, equal, to 1, nothing in common: total variation distance, or Kolmogorov-Smirnov's for a measure.
    pub distance: f64,
    /// The distance that two sets of this many episodes have by chance.
    pub by_chance: Option<f64>,
    /// Population stability index; none for a measure.
    pub psi: Option<f64>,
    /// Probability of this distance or more if the episodes of both come from one population.
    pub p: Option<f64>,
    /// The same, corrected for the number of comparisons (Holm).
    pub p_adjusted: Option<f64>,
    /// Whether `p_adjusted` is below 0.01.
    pub significant: bool,
    /// Where they differ most.
    pub most: Extreme,
}

/// The value whose share differs most, or the medians of a measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Extreme {
    /// The value (`down`, `bucket 10`, an outcome), or `median`.
    pub value: String,
    /// In the dataset looked at.
    pub a: f64,
    /// In the other.
    pub b: f64,
}

impl Drift {
    /// Differences that are significant and larger than `most`.
    pub fn beyond(&self, most: f64) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(move |row| row.significant && row.distance > most)
    }
}

/// What a comparison needs of a dataset.
pub(super) struct Evidence {
    components: Vec<(Slot, Clusters)>,
    measures: Vec<(&'static str, Vec<f64>)>,
    /// Of each column, the value of each episode.
    columns: Vec<(&'static str, Vec<Option<String>>)>,
}

/// Quantities of which every episode has one.
const MEASURES: [&str; 7] =
    ["seconds", "idle_fraction", "repeat_fraction", "action_entropy", "speed", "presses", "mean_stick_deflection"];
/// Columns whose values are compared by their shares of the episodes.
const COLUMNS: [&str; 3] = ["outcome", "map", "action_source"];

impl Evidence {
    pub(super) fn of(index: &Index, layout: &Layout, tally: &Tally) -> Result<Self> {
        let component = |slot: &Slot| {
            let rows = counted(tally).map(|episode| slot.of(&episode.counts));
            (slot.clone(), Clusters::of(slot.values, rows))
        };
        let measure = |name: &'static str| Ok((name, frame::numbers(&index.frame, name)?));
        let column = |name: &'static str| Ok((name, frame::texts(&index.frame, name)?));
        Ok(Self {
            components: layout.slots.iter().map(component).collect(),
            measures: MEASURES.into_iter().map(measure).collect::<Result<_>>()?,
            columns: COLUMNS.into_iter().map(column).collect::<Result<_>>()?,
        })
    }
}

/// Compares two datasets. Episodes are taken as independent of one another; where a few players made most of them, the
/// probabilities are too small.
pub fn drift(a: &Described, b: &Described) -> Drift {
    let (ours, theirs) = (&a.evidence, &b.evidence);
    let mut differences = Vec::new();
    let mut incomparable = Vec::new();
    for (slot, shares_of_a) in &ours.components {
        match theirs.components.iter().find(|(other, _)| other.name == slot.name) {
            Some((other, shares_of_b)) if (other.values, other.kind) == (slot.values, slot.kind) => {
                let names: Vec<String> = (0..slot.values).map(|value| value_name(slot, value)).collect();
                differences.extend(shares("component", &slot.name, &names, shares_of_a, shares_of_b));
            }
            Some((other, _)) => {
                incomparable.push(format!("{}: {} values and {}", slot.name, slot.values, other.values));
            }
            None => incomparable.push(format!("{}: only in {}", slot.name, a.stats.root.display())),
        }
    }
    let ours_alone = |name: &str| !ours.components.iter().any(|(slot, _)| slot.name == name);
    let only_theirs = theirs.components.iter().filter(|(slot, _)| ours_alone(&slot.name));
    incomparable.extend(only_theirs.map(|(slot, _)| format!("{}: only in {}", slot.name, b.stats.root.display())));
    for ((name, ours), (_, theirs)) in ours.measures.iter().zip(&theirs.measures) {
        if let Some(test) = compare_values(ours, theirs) {
            let most = Extreme { value: "median".to_owned(), a: median(ours), b: median(theirs) };
            differences.push(difference("measure", name, test, most));
        }
    }
    for ((name, ours), (_, theirs)) in ours.columns.iter().zip(&theirs.columns) {
        match column(name, ours, theirs) {
            Ok(found) => differences.extend(found),
            Err(values) => incomparable.push(format!("{name}: {values} different values")),
        }
    }
    let adjusted = holm(&differences.iter().map(|row| row.p).collect::<Vec<_>>());
    for (row, p) in differences.iter_mut().zip(adjusted) {
        row.p_adjusted = p;
        row.significant = p.is_some_and(|p| p < SIGNIFICANT);
    }
    differences.sort_by(|a, b| b.distance.total_cmp(&a.distance).then(a.name.cmp(&b.name)));
    Drift { a: compared(a), b: compared(b), differences, incomparable }
}

fn compared(described: &Described) -> Compared {
    let stats = &described.stats;
    Compared { root: stats.root.clone(), episodes: stats.episodes, steps: stats.steps, basis: stats.basis.clone() }
}

fn value_name(slot: &Slot, value: usize) -> String {
    match (slot.kind, value) {
        (playhouse_schemas::Kind::Button, 0) => "up".to_owned(),
        (playhouse_schemas::Kind::Button, _) => "down".to_owned(),
        _ => format!("bucket {value}"),
    }
}

/// Values of a column at most: with more it holds names and no kinds.
const MOST_VALUES: usize = 64;

/// Shares of the values of a column among the episodes; nothing where neither dataset has a value.
///
/// # Errors
/// The number of values, if they are too many to compare.
fn column(name: &str, ours: &[Option<String>], theirs: &[Option<String>]) -> Result<Option<Difference>, usize> {
    let values: BTreeSet<&Option<String>> = ours.iter().chain(theirs).collect();
    if values.iter().all(|value| value.is_none()) {
        return Ok(None);
    }
    if values.len() > MOST_VALUES {
        return Err(values.len());
    }
    let places: BTreeMap<&Option<String>, usize> = values.iter().enumerate().map(|(i, value)| (*value, i)).collect();
    // One row of counts a value: an episode's is that of its value.
    let units: Vec<Vec<u32>> =
        (0..values.len()).map(|i| (0..values.len()).map(|j| u32::from(i == j)).collect()).collect();
    let of =
        |rows: &[Option<String>]| Clusters::of(values.len(), rows.iter().map(|value| units[places[value]].as_slice()));
    let names: Vec<String> = values.iter().map(|value| value.as_deref().unwrap_or("(none)").to_owned()).collect();
    Ok(shares("share", name, &names, &of(ours), &of(theirs)))
}

fn shares(kind: &'static str, name: &str, values: &[String], ours: &Clusters, theirs: &Clusters) -> Option<Difference> {
    let apart = |i: &usize| (ours.shares[*i] - theirs.shares[*i]).abs();
    // Of a button, `down` says it; of equally large changes, the one that comes last.
    let most = (0..values.len()).max_by(|i, j| apart(i).total_cmp(&apart(j)))?;
    let most = Extreme { value: values[most].clone(), a: ours.shares[most], b: theirs.shares[most] };
    Some(difference(kind, name, compare_shares(ours, theirs), most))
}

fn difference(kind: &'static str, name: &str, test: Test, most: Extreme) -> Difference {
    let Test { distance, by_chance, psi, p } = test;
    Difference { kind, name: name.to_owned(), distance, by_chance, psi, p, p_adjusted: None, significant: false, most }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() { 0.0 } else { super::histogram::quantile(&sorted, 0.5) }
}
