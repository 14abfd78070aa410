//! How the controller is used: each component, each stick, and how often an action repeats.

use playhouse_schemas::Kind;
use serde::Serialize;

use super::estimate::Share;
use super::frame;
use super::index::Index;
use super::layout::Layout;
use super::tally::{EpisodeTally, Tally};
use crate::error::Result;

/// How one component of the actions is used.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Component {
    /// The component.
    pub name: String,
    /// `button` or `axis`.
    pub kind: Kind,
    /// The value at rest.
    pub rest: u8,
    /// Steps read, by value: up and down for a button, the buckets of an axis.
    pub counts: Vec<u64>,
    /// Share of the steps with each value.
    pub shares: Vec<Share>,
    /// Share of the steps away from rest.
    pub active: Share,
    /// Of a button: how often it goes down in a minute, over all episodes.
    pub presses_per_minute: Option<f64>,
    /// Of a button: mean seconds that it is held down; none for one that is never pressed.
    pub mean_hold: Option<f64>,
}

/// Where a stick is, both axes at once.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stick {
    /// The name that its axes share: `left` for `left_x` and `left_y`.
    pub name: String,
    /// Steps read, by row and column: `counts[y][x]`, row 0 is fully back, column 0 fully left.
    pub counts: Vec<Vec<u64>>,
}

/// Rates over steps.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Rates {
    /// Share of the steps with nothing pressed and every axis at rest, over all episodes.
    pub idle: f64,
    /// Share of the steps whose action is that of the step before; none if no step was read.
    pub repeated: Option<Share>,
}

/// The tallies that count for the distributions.
pub(super) fn counted<'a>(tally: &'a Tally) -> impl Iterator<Item = &'a EpisodeTally> + Clone {
    tally.episodes.iter().filter(|episode| episode.counted && episode.sequence.rows > 0)
}

pub(super) fn components(index: &Index, layout: &Layout, tally: &Tally) -> Result<Vec<Component>> {
    let episodes = index.ids.len();
    if counted(tally).next().is_none() {
        return Ok(Vec::new());
    }
    let minutes = frame::sum(&index.frame, "hours")? * 60.0;
    let mut components = Vec::with_capacity(layout.slots.len());
    for slot in &layout.slots {
        let mut counts = vec![0u64; slot.values];
        for episode in counted(tally) {
            counts.iter_mut().zip(slot.of(&episode.counts)).for_each(|(all, more)| *all += u64::from(*more));
        }
        let share = |at: usize| {
            let rows = counted(tally).map(|e| (f64::from(slot.of(&e.counts)[at]), e.sequence.rows as f64));
            Share::of(rows, episodes)
        };
        let shares: Vec<Share> = (0..slot.values).map(share).collect();
        let rest = shares[usize::from(slot.rest)];
        let active = Share { share: 1.0 - rest.share, ..rest };
        let presses = match slot.kind {
            Kind::Button if minutes > 0.0 => {
                Some(frame::sum(&index.frame, &format!("presses_{}", slot.name))? / minutes)
            }
            _ => None,
        };
        let mean_hold = presses.filter(|presses| *presses > 0.0).map(|presses| active.share * 60.0 / presses);
        components.push(Component {
            name: slot.name.clone(),
            kind: slot.kind,
            rest: slot.rest,
            counts,
            shares,
            active,
            presses_per_minute: presses,
            mean_hold,
        });
    }
    Ok(components)
}

pub(super) fn sticks(layout: &Layout, tally: &Tally) -> Vec<Stick> {
    let stick = |((x, y), joint): (&(usize, usize), &Vec<u64>)| {
        let (columns, rows) = (layout.slots[*x].values, layout.slots[*y].values);
        let name = layout.slots[*x].name.trim_end_matches("_x").to_owned();
        let counts = (0..rows).map(|y| (0..columns).map(|x| joint[x * rows + y]).collect()).collect();
        Stick { name, counts }
    };
    let sticks = layout.sticks.iter().zip(&tally.joint).map(stick);
    sticks.filter(|stick| stick.counts.iter().flatten().any(|steps| *steps > 0)).collect()
}

pub(super) fn rates(index: &Index, tally: &Tally) -> Result<Rates> {
    let idle = frame::optional_numbers(&index.frame, "idle_fraction")?;
    let idle: f64 = idle.iter().zip(&index.steps).map(|(idle, steps)| idle.unwrap_or(0.0) * *steps as f64).sum();
    let rows = counted(tally).map(|e| (e.repeated as f64, (e.sequence.rows - 1) as f64));
    let repeated = Share::of(rows, index.ids.len());
    Ok(Rates {
        idle: idle / index.total_steps().max(1) as f64,
        repeated: counted(tally).next().is_some().then_some(repeated),
    })
}
