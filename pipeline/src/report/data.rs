//! What a dataset holds: its size, the actions in it, an episode that plays.

use std::fmt::Write;

use anyhow::{Context, Result};
use playhouse_schemas::{Dataset, EpisodeRow, Kind};

use super::clip::Clip;
use super::page::{self, Text, table};
use super::{Inputs, chart};

/// Episodes whose actions are counted; more would not change the picture.
const COUNTED: usize = 300;
/// Steps shown of a sample episode: a minute at 10 Hz.
const SHOWN: usize = 600;

/// One row of the table of datasets.
fn shape(name: &str, episodes: &[EpisodeRow]) -> Vec<String> {
    let steps: u64 = episodes.iter().map(|row| u64::from(row.num_steps)).sum();
    let seconds: f64 = episodes.iter().map(|row| f64::from(row.num_steps) / f64::from(row.hz)).sum();
    let mut sources: Vec<&str> = episodes.iter().map(|row| row.source.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    let idle = episodes.iter().map(|row| f64::from(row.stats.idle_fraction) * f64::from(row.num_steps)).sum::<f64>();
    vec![
        Text(name).to_string(),
        Text(&sources.join(", ")).to_string(),
        episodes.len().to_string(),
        steps.to_string(),
        format!("{:.1}", seconds / 60.0),
        page::percent(idle / (steps.max(1)) as f64),
    ]
}

/// Sizes of all datasets; where nothing is evaluated also histograms of their actions and episodes that play.
pub fn section(inputs: &Inputs) -> Result<String> {
    let mut rows = Vec::new();
    let mut details = String::new();
    for input in &inputs.data {
        let dataset = Dataset::open(&input.dir.join("data")).with_context(|| format!("dataset `{}`", input.name))?;
        let episodes = dataset.episodes()?;
        rows.push(shape(&input.name, &episodes));
        if inputs.evaluation.is_none() {
            details += &histograms(&input.name, &dataset, &episodes)?;
            details += &samples(&dataset, &episodes, inputs.samples)?;
        }
    }
    if rows.is_empty() {
        return Ok(String::new());
    }
    let head = ["dataset", "source", "episodes", "steps", "minutes", "idle steps"];
    Ok(page::section("The data", "", &(table(&head, &rows) + &details)))
}

fn histograms(name: &str, dataset: &Dataset, episodes: &[EpisodeRow]) -> Result<String> {
    let space = &dataset.spec().actions;
    let mut counts: Vec<Vec<u64>> = space.cardinalities().into_iter().map(|values| vec![0; values]).collect();
    let mut steps = 0u64;
    for row in episodes.iter().take(COUNTED) {
        for action in dataset.read_actions(row.episode_id)?.chunks_exact(space.len()) {
            steps += 1;
            for (count, &bucket) in counts.iter_mut().zip(action) {
                count[usize::from(bucket)] += 1;
            }
        }
    }
    let share = |count: u64| count as f64 / steps.max(1) as f64;
    let of = |kind: Kind| space.components.iter().zip(&counts).filter(move |(component, _)| component.kind == kind);
    let mut out = String::new();
    for (component, count) in of(Kind::Axis) {
        let labels: Vec<String> = (0..count.len()).map(|bucket| bucket.to_string()).collect();
        let shares: Vec<f64> = count.iter().map(|count| share(*count)).collect();
        out += &chart::histogram(&format!("{name}: {}", component.name), &labels, &shares);
    }
    let labels: Vec<String> = of(Kind::Button).map(|(component, _)| short(&component.name)).collect();
    let shares: Vec<f64> = of(Kind::Button).map(|(_, count)| share(count[1])).collect();
    out += &chart::histogram(&format!("{name}: buttons held"), &labels, &shares);
    let note = if episodes.len() > COUNTED { format!(" of the first {COUNTED} episodes") } else { String::new() };
    Ok(format!(
        "<p class=\"note\" style=\"margin-top:18px\">Share of steps{note} in each bucket of a stick (5 is the centre), and with \
         each button down.</p>\n<div class=\"grid three\">\n{out}</div>\n"
    ))
}

fn short(name: &str) -> String {
    name.replace("dpad_up", "\u{25b4}").replace("dpad_down", "\u{25be}")
}

fn samples(dataset: &Dataset, episodes: &[EpisodeRow], samples: usize) -> Result<String> {
    let mut out = String::new();
    for row in episodes.iter().take(samples) {
        let clip = Clip::load(dataset, row, SHOWN)?;
        let part =
            if row.num_steps as usize > SHOWN { format!(" &middot; its first {SHOWN} steps") } else { String::new() };
        let _ = writeln!(
            out,
            "<figure class=\"card\">{}<figcaption><b>episode {}</b> &middot; {}{part}</figcaption></figure>",
            clip.html(),
            row.episode_id,
            Text(&facts(row))
        );
    }
    Ok(format!("<div class=\"grid two\">\n{out}</div>\n"))
}

/// What is known about an episode, in a line.
pub fn facts(row: &EpisodeRow) -> String {
    let seconds = f64::from(row.num_steps) / f64::from(row.hz);
    let named = [
        ("on", row.map.as_deref()),
        ("by", row.policy.as_deref().or(row.player.as_deref())),
        ("from", row.spawn.as_deref()),
        ("ends:", row.outcome.as_deref()),
    ];
    let mut facts = vec![row.source.clone(), format!("{seconds:.1} s, {} steps", row.num_steps)];
    facts.extend(named.into_iter().filter_map(|(word, value)| Some(format!("{word} {}", value?))));
    facts.join(" \u{b7} ")
}
