//! What training did: learning curves, and what the reward model is worth.

use std::collections::BTreeMap;

use anyhow::Result;
use playhouse_agent::{KEPT_STEP, MetricRow};
use playhouse_schemas::Dataset;

use super::chart::{Range, Series, Stroke, curves, pad_colour, ranges};
use super::evaluation::{Evaluated, outcome_order};
use super::page::{Text, percent, section};
use super::{Input, Inputs};
use crate::evaluate::{PADS, Share};
use crate::stages::table;

/// The metrics of all training stages.
pub struct Curves {
    stages: Vec<(String, Vec<MetricRow>)>,
    reward: Option<(String, Vec<MetricRow>)>,
}

/// A chart, and the metrics it shows with their names and strokes. One without any of its metrics is left out.
struct Chart {
    title: &'static str,
    x_label: &'static str,
    range: Range,
    lines: &'static [(&'static str, &'static str, Stroke)],
}

/// Imitation and REINFORCE.
const POLICY_CHARTS: &[Chart] = &[
    Chart {
        title: "loss, nats a step",
        x_label: "step",
        range: Range::Free,
        lines: &[
            ("train/loss", "training", Stroke::Noisy),
            ("held_out/loss", "held out", Stroke::Plain),
            ("held_out/prior_loss", "action prior", Stroke::Dashed),
        ],
    },
    Chart {
        title: "reward, in the reference's standard deviations",
        x_label: "update",
        range: Range::Free,
        lines: &[("reward/standardised", "reward", Stroke::Noisy)],
    },
    Chart {
        title: "true outcomes, which training never sees",
        x_label: "update",
        range: Range::Shares,
        lines: &[
            ("label/left", "left", Stroke::Noisy),
            ("label/middle", "middle", Stroke::Noisy),
            ("label/right", "right", Stroke::Noisy),
            ("label/none", "none", Stroke::Noisy),
        ],
    },
    Chart {
        title: "KL to the reference, nats a step",
        x_label: "update",
        range: Range::Free,
        lines: &[("kl/step", "KL", Stroke::Noisy)],
    },
    Chart {
        title: "entropy of an action, nats",
        x_label: "update",
        range: Range::Free,
        lines: &[("entropy", "entropy", Stroke::Noisy)],
    },
];

/// Reward models.
const REWARD_CHARTS: &[Chart] = &[
    Chart {
        title: "log loss, nats a pair",
        x_label: "step",
        range: Range::Free,
        lines: &[("train/loss", "training", Stroke::Noisy), ("held_out/loss", "held out", Stroke::Plain)],
    },
    Chart {
        title: "accuracy on held-out pairs",
        x_label: "step",
        range: Range::UpToOne,
        lines: &[("held_out/accuracy", "accuracy", Stroke::Plain)],
    },
];

impl Curves {
    pub fn read(inputs: &Inputs) -> Result<Self> {
        let read = |input: &Input| -> Result<(String, Vec<MetricRow>)> {
            Ok((input.name.clone(), table::read_metrics(&input.dir.join("metrics.parquet"))?))
        };
        let stages = inputs.training.iter().map(read).collect::<Result<_>>()?;
        Ok(Curves { stages, reward: inputs.reward.as_ref().map(read).transpose()? })
    }

    /// Accuracy of the reward model; losses against the prior where there is nothing better to show.
    pub fn tiles(&self, inputs: &Inputs, losses: bool) -> Vec<(String, String)> {
        let mut tiles = Vec::new();
        if let Some(share) = self.accuracy() {
            let text = format!("of {} held-out pairs are judged rightly by the reward model", share.of);
            tiles.push((percent(share.share), text));
        }
        if losses {
            for (stage, metrics) in &self.stages {
                let Some(loss) = kept(metrics, "held_out/loss") else { continue };
                let prior = kept(metrics, "held_out/prior_loss");
                let prior = prior.map_or(String::new(), |prior| format!("; the action prior: {prior:.2}"));
                tiles.push((format!("{loss:.2}"), format!("nats a step on held-out windows, {}{prior}", Text(stage))));
            }
            let rows =
                inputs.data.iter().filter_map(|input| Dataset::open(&input.dir.join("data")).ok()?.episodes().ok());
            let steps: u64 = rows.flatten().map(|row| u64::from(row.num_steps)).sum();
            if steps > 0 {
                tiles.push((steps.to_string(), "steps of gameplay".into()));
            }
        }
        tiles
    }

    /// Pairwise accuracy on held-out pairs, with its interval.
    fn accuracy(&self) -> Option<Share> {
        let (_, metrics) = self.reward.as_ref()?;
        let (correct, pairs) = (kept(metrics, "held_out/correct")?, kept(metrics, "held_out/pairs")?);
        Some(Share::new(correct.round() as u64, pairs.round() as u64))
    }

    /// The charts of every training stage.
    pub fn section(&self) -> String {
        let charts: String =
            self.stages.iter().map(|(stage, metrics)| stage_charts(POLICY_CHARTS, stage, metrics)).collect();
        if charts.is_empty() {
            return String::new();
        }
        let lead = "Losses are nats a timestep, summed over the 16 components of an action. The action prior is the best \
                    that can be done without looking at the screen.";
        section("Learning curves", lead, &format!("<div class=\"grid two\">\n{charts}</div>\n"))
    }

    /// Accuracy, curves, and rewards by true outcome.
    pub fn reward_section(&self, inputs: &Inputs, evaluated: Option<&Evaluated>) -> Result<String> {
        let mut figures = String::new();
        if let Some(evaluated) = evaluated {
            let rewards = evaluated.rows().iter().filter_map(|row| Some((row.outcome.as_str(), row.reward?)));
            figures += &by_outcome("Reward by true outcome, all evaluated rollouts", rewards);
        }
        if let Some(input) = &inputs.reward {
            figures += &scored(input, &inputs.data)?;
        }
        if let Some((stage, metrics)) = &self.reward {
            figures += &stage_charts(REWARD_CHARTS, stage, metrics);
        }
        if figures.is_empty() {
            return Ok(String::new());
        }
        let accuracy = self.accuracy().map_or(String::new(), |share| {
            let (low, high) = (100.0 * share.low, 100.0 * share.high);
            format!(
                "It judges {} of {} held-out pairs rightly ({}, interval {low:.1}&ndash;{high:.1}%). ",
                share.count,
                share.of,
                percent(share.share)
            )
        });
        let lead = format!(
            "{accuracy}Dots are medians, lines hold the middle 80% of the rollouts; the number at the right counts them. The \
             model never sees the outcome, only the last 32 frames."
        );
        Ok(section("The reward model", &lead, &format!("<div class=\"grid two\">\n{figures}</div>\n")))
    }
}

fn stage_charts(charts: &[Chart], stage: &str, metrics: &[MetricRow]) -> String {
    let mut out = String::new();
    for chart in charts {
        let series = chart.lines.iter().map(|(metric, name, stroke)| Series {
            name: (*name).into(),
            points: points(metrics, metric),
            stroke: *stroke,
            colour: metric.starts_with("label/").then(|| pad_colour(name)),
        });
        let series: Vec<Series> = series.filter(|series| !series.points.is_empty()).collect();
        out += &curves(&format!("{stage}: {}", chart.title), chart.x_label, chart.range, &series);
    }
    out
}

/// One metric by step. An outcome that did not occur has no row, and `none` is a fall or the time limit.
fn points(metrics: &[MetricRow], name: &str) -> Vec<(f64, f64)> {
    let Some(pad) = name.strip_prefix("label/") else {
        return metrics.iter().filter(|row| row.name == name).map(|row| (row.step as f64, row.value)).collect();
    };
    let mut shares: BTreeMap<u64, f64> = BTreeMap::new();
    for row in metrics {
        let Some(outcome) = row.name.strip_prefix("label/") else { continue };
        let counts = if PADS.contains(&outcome) { outcome == pad } else { pad == "none" };
        *shares.entry(row.step).or_default() += if counts { row.value } else { 0.0 };
    }
    shares.into_iter().map(|(step, share)| (step as f64, share)).collect()
}

/// A held-out metric of the weights in the model file: the last ones, unless early stopping kept those of another step.
fn kept(metrics: &[MetricRow], name: &str) -> Option<f64> {
    let last = |name: &str, by: u64| metrics.iter().rev().find(|row| row.name == name && row.step <= by);
    let step = last(KEPT_STEP, u64::MAX).map_or(u64::MAX, |row| row.value as u64);
    last(name, step).map(|row| row.value)
}

/// The scores that a reward stage gave to datasets, by the outcomes in them.
fn scored(reward: &Input, data: &[Input]) -> Result<String> {
    let path = reward.dir.join("scores.parquet");
    if !path.exists() {
        return Ok(String::new());
    }
    let batches = table::read(&path)?;
    let (names, ids) = (table::texts(&batches, "dataset")?, table::integers(&batches, "episode_id")?);
    let rewards = table::numbers(&batches, "reward")?;
    let mut out = String::new();
    for input in data {
        let mut outcomes: BTreeMap<i64, String> = BTreeMap::new();
        for row in Dataset::open(&input.dir.join("data"))?.episodes()? {
            outcomes.extend(row.outcome.map(|outcome| (row.episode_id, outcome)));
        }
        let own = names.iter().zip(&ids).zip(&rewards).filter(|((name, _), _)| name.as_deref() == Some(&input.name));
        let known = own.filter_map(|((_, id), reward)| Some((outcomes.get(id)?.as_str(), (*reward)? as f32)));
        out += &by_outcome(&format!("Reward by true outcome, {}", input.name), known);
    }
    Ok(out)
}

fn by_outcome<'a>(title: &str, rewards: impl Iterator<Item = (&'a str, f32)>) -> String {
    let mut groups: BTreeMap<(usize, &str), Vec<f64>> = BTreeMap::new();
    for (outcome, reward) in rewards {
        groups.entry((outcome_order(outcome), outcome)).or_default().push(f64::from(reward));
    }
    let rows: Vec<(String, String, [f64; 3], usize)> = groups
        .into_iter()
        .map(|((_, outcome), mut values)| {
            values.sort_by(f64::total_cmp);
            let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
            let colour = pad_colour(if PADS.contains(&outcome) { outcome } else { "none" });
            (outcome.to_owned(), colour, [at(0.1), at(0.5), at(0.9)], values.len())
        })
        .collect();
    ranges(title, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_belongs_to_the_weights_that_were_kept() {
        let row = |step, name: &str, value| MetricRow { step, name: name.into(), value };
        let mut metrics = vec![row(10, "held_out/loss", 1.0), row(20, "held_out/loss", 2.0)];
        metrics.extend([(10, 9.0), (20, 5.0)].map(|(step, correct)| row(step, "held_out/correct", correct)));
        metrics.extend([10, 20].map(|step| row(step, "held_out/pairs", 10.0)));
        let shown = |metrics: &[MetricRow]| {
            let stage = ("stage".to_owned(), metrics.to_vec());
            let curves = Curves { stages: vec![stage.clone()], reward: Some(stage) };
            curves.tiles(&Inputs::default(), true).into_iter().map(|(figure, _)| figure).collect::<Vec<_>>()
        };
        assert_eq!(shown(&metrics), [percent(0.5), "2.00".to_owned()], "trained to the end");
        metrics.push(row(20, KEPT_STEP, 10.0));
        assert_eq!(shown(&metrics), [percent(0.9), "1.00".to_owned()]);
    }
}
