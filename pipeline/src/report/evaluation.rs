//! What the evaluated policies do: bars, heatmaps, a table by spawn, episodes that play.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use playhouse_schemas::{Dataset, EpisodeRow};

use super::clip::{Clip, LIMIT};
use super::heatmap::heatmap;
use super::page::{Text, data_uri, legend, percent, section, table};
use super::{Input, chart};
use crate::evaluate::{Evaluation, PADS, Pads, PolicySummary, Row, Share, Summary};

/// An evaluation with the dataset of its rollouts.
pub struct Evaluated {
    evaluation: Evaluation,
    summary: Summary,
    dataset: Dataset,
    episodes: BTreeMap<i64, EpisodeRow>,
}

impl Evaluated {
    pub fn read(input: &Input) -> Result<Self> {
        let evaluation = Evaluation::read(&input.dir)?;
        let dataset = Dataset::open(&input.dir.join("data"))?;
        let episodes = dataset.episodes()?.into_iter().map(|row| (row.episode_id, row)).collect();
        Ok(Evaluated { summary: evaluation.summary(), evaluation, dataset, episodes })
    }

    /// All rollouts.
    pub fn rows(&self) -> &[Row] {
        &self.evaluation.rows
    }

    /// First against last policy, and the target pad from each to the next.
    pub fn tiles(&self, target: Option<&str>) -> Vec<(String, String)> {
        let [first, .., last] = &self.summary.policies[..] else { return Vec::new() };
        let (from, to) = (Text(&first.policy), Text(&last.policy));
        let mut tiles = Vec::new();
        let pad = |policy: &PolicySummary, name: &str| {
            policy.pads.entries().into_iter().find(|(pad, _)| *pad == name).map(|(_, share)| share)
        };
        if let Some((target, before, after)) = target.and_then(|name| Some((name, pad(first, name)?, pad(last, name)?)))
        {
            let text = format!("of {to} rollouts reach the {} pad; {from}: {}", Text(target), percent(before.share));
            tiles.push((percent(after.share), text));
        }
        let text = format!("of {to} rollouts reach no pad; {from}: {}", percent(first.pads.none.share));
        tiles.push((percent(last.pads.none.share), text));
        tiles.push((last.pads.none.of.to_string(), "rollouts of each policy, from the same starts".into()));
        tiles
    }

    /// Bars and the table.
    pub fn outcomes(&self) -> String {
        let pads: Vec<(String, Pads)> =
            self.summary.policies.iter().map(|policy| (policy.policy.clone(), policy.pads)).collect();
        let bars = format!("<div class=\"card\">{}</div>\n", chart::pad_bars(&pads));
        let head = [
            "policy",
            "n",
            "left",
            "middle",
            "right",
            "none",
            "falls",
            "seconds to a pad",
            "at walls",
            "reward",
            "KL a step",
        ];
        let rows: Vec<Vec<String>> = self.summary.policies.iter().map(policy_row).collect();
        section(
            "Where the rollouts end",
            "Share of rollouts that reach each pad, or none of them (a fall, or the time limit). Whiskers are Wilson 95% \
             intervals.",
            &(bars + &table(&head, &rows)),
        )
    }

    /// One map for each policy.
    pub fn heatmaps(&self) -> Result<String> {
        let Some(map) = self.episodes.values().find_map(|row| row.map.as_deref()) else { return Ok(String::new()) };
        let mut figures = String::new();
        for policy in &self.summary.policies {
            let rollouts = self.evaluation.rows.iter().zip(&self.evaluation.paths);
            let paths = rollouts.filter(|(row, _)| row.policy == policy.policy).map(|(_, path)| path.as_slice());
            let heat = heatmap(map, paths)?;
            let _ = writeln!(
                figures,
                "<figure class=\"card\"><img class=\"map\" alt=\"Trajectories of {name} on the map\" src=\"{}\">\
                 <figcaption><b>{name}</b> &middot; up to {:.0} visits a pixel</figcaption></figure>",
                data_uri("image/png", &heat.png),
                heat.most,
                name = Text(&policy.policy)
            );
        }
        Ok(section(
            "Where they go",
            &format!(
                "Every step of every rollout, over the map <em>{}</em> seen from above (north is up). Colour is the logarithm \
                 of the visits; rings are spawns.",
                Text(map)
            ),
            &format!("<div class=\"grid three\">\n{figures}</div>\n"),
        ))
    }

    /// For each policy and spawn a bar that is split by result.
    pub fn by_spawn(&self) -> String {
        let policies = &self.summary.policies;
        let mut spawns: BTreeMap<&str, Vec<Option<&Pads>>> = BTreeMap::new();
        for (place, policy) in policies.iter().enumerate() {
            for spawn in &policy.spawns {
                spawns.entry(&spawn.spawn).or_insert_with(|| vec![None; policies.len()])[place] = Some(&spawn.pads);
            }
        }
        let head: Vec<&str> =
            std::iter::once("spawn").chain(policies.iter().map(|policy| policy.policy.as_str())).collect();
        let cell = |pads: Option<&Pads>| pads.map_or_else(|| "&ndash;".to_owned(), stacked);
        let rows: Vec<Vec<String>> = spawns
            .into_iter()
            .map(|(spawn, pads)| std::iter::once(Text(spawn).to_string()).chain(pads.into_iter().map(cell)).collect())
            .collect();
        let names = ["left", "middle", "right", "none"];
        section(
            "By spawn",
            "From left to right in each bar: left, middle and right pad, none. The number counts rollouts.",
            &(legend(names.map(|pad| (pad, chart::pad_colour(pad)))) + &table(&head, &rows)),
        )
    }

    /// For each policy, rollouts with its most common results.
    pub fn episodes(&self, samples: usize) -> Result<String> {
        if samples == 0 {
            return Ok(String::new());
        }
        let mut figures = String::new();
        for policy in &self.summary.policies {
            for row in self.typical(&policy.policy, samples) {
                let episode =
                    self.episodes.get(&row.episode_id).context("an evaluated rollout is not in the dataset")?;
                let clip = Clip::load(&self.dataset, episode, LIMIT)?;
                let reward = row.reward.map_or(String::new(), |reward| format!(" &middot; reward {reward:.2}"));
                let _ = writeln!(
                    figures,
                    "<figure class=\"card\">{}<figcaption><b>{}</b> &middot; {} &middot; {:.1} s from {}{reward}</figcaption></figure>",
                    clip.html(),
                    Text(&row.policy),
                    Text(&row.outcome),
                    row.num_steps as f32 / row.hz,
                    Text(&row.spawn)
                );
            }
        }
        Ok(section(
            "Watch them play",
            "A rollout for each of a policy's most common results, as the agent saw it. Space plays, arrows step.",
            &format!("<div class=\"grid three\">\n{figures}</div>\n"),
        ))
    }

    /// The first rollout of each of a policy's most common results.
    fn typical(&self, policy: &str, samples: usize) -> Vec<&Row> {
        let rows = || self.evaluation.rows.iter().filter(move |row| row.policy == policy);
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for row in rows() {
            *counts.entry(&row.outcome).or_default() += 1;
        }
        let mut results: Vec<(&str, usize)> = counts.into_iter().collect();
        results.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        results.into_iter().take(samples).filter_map(|(result, _)| rows().find(|row| row.outcome == result)).collect()
    }
}

fn policy_row(policy: &PolicySummary) -> Vec<String> {
    let interval = |share: Share| {
        format!("{}<small>{:.0}&ndash;{:.0}</small>", percent(share.share), 100.0 * share.low, 100.0 * share.high)
    };
    let dash = || "&ndash;".to_owned();
    let mut cells = vec![Text(&policy.policy).to_string(), policy.pads.none.of.to_string()];
    cells.extend(policy.pads.entries().map(|(_, share)| interval(share)));
    cells.push(percent(policy.falls.share));
    cells.push(policy.seconds_to_pad.map_or_else(dash, |times| format!("{:.1}", times.median)));
    cells.push(percent(policy.wall_hugging));
    cells.push(policy.reward.get("all").map_or_else(dash, |reward| format!("{reward:.2}")));
    cells.push(policy.kl.map_or_else(dash, |kl| format!("{kl:.3}")));
    cells
}

/// A bar split by result, with the count beside it.
fn stacked(pads: &Pads) -> String {
    const WIDTH: f64 = 92.0;
    let mut x = 0.0;
    let mut svg = String::new();
    let mut tip = String::new();
    for (pad, share) in pads.entries() {
        let _ = write!(
            svg,
            "<rect x=\"{x:.2}\" y=\"0\" width=\"{:.2}\" height=\"14\" fill=\"{}\"/>",
            WIDTH * share.share,
            chart::pad_colour(pad)
        );
        let _ = write!(tip, "{pad} {} ", share.count);
        x += WIDTH * share.share;
    }
    format!(
        "<svg viewBox=\"0 0 {WIDTH} 14\" style=\"width:{WIDTH}px;display:inline-block;vertical-align:-2px;border-radius:3px\">\
         <title>{}</title>{svg}</svg><small>{}</small>",
        tip.trim_end(),
        pads.none.of
    )
}

/// The order of results in figures about outcomes.
pub fn outcome_order(outcome: &str) -> usize {
    let known = PADS.iter().copied().chain(["fall", "timeout"]);
    known.into_iter().position(|name| name == outcome).unwrap_or(usize::MAX)
}
