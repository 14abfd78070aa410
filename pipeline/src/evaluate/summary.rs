//! From one row a rollout to what a policy does, on the whole and by spawn.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::wilson::Share;

/// The pads, in the order of every table and figure.
pub const PADS: [&str; 3] = ["left", "middle", "right"];

/// One rollout: a row of `evaluation.parquet`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The policy's stage name.
    pub policy: String,
    /// The rollout's id in the evaluation's dataset.
    pub episode_id: i64,
    /// Where it started.
    pub spawn: String,
    /// left, middle, right, fall or timeout.
    pub outcome: String,
    /// Actions taken.
    pub num_steps: u32,
    /// Decisions a second.
    pub hz: f32,
    /// Seconds until the pad; `None` if none was reached.
    pub time_to_pad: Option<f32>,
    /// Share of the steps spent touching a wall or an obstacle.
    pub wall_fraction: f32,
    /// True if it ended by falling.
    pub fell: bool,
    /// The reward model's score, if one was given.
    pub reward: Option<f32>,
    /// Exact KL to the reference policy in nats a step, if one was given; only for the first rollouts of each policy.
    pub kl: Option<f32>,
}

/// Every policy of an evaluation, in the order they were named.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// One entry a policy.
    pub policies: Vec<PolicySummary>,
}

/// What one policy does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicySummary {
    /// The policy's stage name.
    pub policy: String,
    /// Where the rollouts ended.
    pub pads: Pads,
    /// Rollouts that fell off the edge (a part of `none`).
    pub falls: Share,
    /// Median and mean seconds until a pad, over the rollouts that reached one.
    pub seconds_to_pad: Option<Times>,
    /// Mean share of steps spent touching a wall or an obstacle.
    pub wall_hugging: f64,
    /// Mean reward by outcome and over `all`, if a reward model was given.
    pub reward: BTreeMap<String, f64>,
    /// Mean KL to the reference in nats a step, if one was given.
    pub kl: Option<f64>,
    /// The same by spawn, sorted by its name.
    pub spawns: Vec<SpawnSummary>,
}

/// How many rollouts ended where; the four shares sum to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pads {
    /// On the left pad.
    pub left: Share,
    /// On the middle pad.
    pub middle: Share,
    /// On the right pad.
    pub right: Share,
    /// On none: a fall or the time limit.
    pub none: Share,
}

/// Where rollouts from one spawn ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpawnSummary {
    /// The spawn's name.
    pub spawn: String,
    /// Where they ended.
    pub pads: Pads,
}

/// Seconds, over some rollouts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// Half were faster.
    pub median: f64,
    /// Arithmetic mean.
    pub mean: f64,
}

impl Pads {
    /// Counts outcomes.
    pub fn count<'a>(outcomes: impl Iterator<Item = &'a str>) -> Self {
        let mut counts = [0u64; 4];
        for outcome in outcomes {
            counts[PADS.iter().position(|pad| *pad == outcome).unwrap_or(PADS.len())] += 1;
        }
        let of = counts.iter().sum();
        let [left, middle, right, none] = counts.map(|count| Share::new(count, of));
        Pads { left, middle, right, none }
    }

    /// Names and shares in the order of [`PADS`], then `none`.
    pub fn entries(&self) -> [(&'static str, Share); 4] {
        [("left", self.left), ("middle", self.middle), ("right", self.right), ("none", self.none)]
    }
}

impl Summary {
    /// Summarises rollouts; policies keep the order of their first row.
    pub fn of(rows: &[Row]) -> Self {
        let mut order: Vec<&str> = Vec::new();
        for row in rows {
            if !order.contains(&row.policy.as_str()) {
                order.push(&row.policy);
            }
        }
        let policies = order.into_iter().map(|policy| {
            let rows: Vec<&Row> = rows.iter().filter(|row| row.policy == policy).collect();
            PolicySummary::of(policy, &rows)
        });
        Summary { policies: policies.collect() }
    }

    /// Figures for the end of a run, such as `sft.left`.
    pub fn figures(&self) -> BTreeMap<String, f64> {
        let shares = self.policies.iter().flat_map(|policy| {
            policy.pads.entries().into_iter().map(|(pad, share)| (format!("{}.{pad}", policy.policy), share.share))
        });
        shares.collect()
    }
}

impl PolicySummary {
    fn of(policy: &str, rows: &[&Row]) -> Self {
        let mut spawns: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for row in rows {
            spawns.entry(&row.spawn).or_default().push(&row.outcome);
        }
        let spawns = spawns
            .into_iter()
            .map(|(spawn, outcomes)| SpawnSummary { spawn: spawn.to_owned(), pads: Pads::count(outcomes.into_iter()) });
        PolicySummary {
            policy: policy.to_owned(),
            pads: Pads::count(rows.iter().map(|row| row.outcome.as_str())),
            falls: Share::new(rows.iter().filter(|row| row.fell).count() as u64, rows.len() as u64),
            seconds_to_pad: Times::of(rows.iter().filter_map(|row| row.time_to_pad)),
            wall_hugging: mean(rows.iter().map(|row| row.wall_fraction)).unwrap_or(0.0),
            reward: rewards(rows),
            kl: mean(rows.iter().filter_map(|row| row.kl)),
            spawns: spawns.collect(),
        }
    }
}

fn rewards(rows: &[&Row]) -> BTreeMap<String, f64> {
    let mut groups: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
    for (row, reward) in rows.iter().filter_map(|row| Some((row, row.reward?))) {
        groups.entry("all").or_default().push(reward);
        groups.entry(&row.outcome).or_default().push(reward);
    }
    let means = groups.into_iter().filter_map(|(name, values)| Some((name.to_owned(), mean(values.into_iter())?)));
    means.collect()
}

fn mean(values: impl Iterator<Item = f32>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + f64::from(value), count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

impl Times {
    fn of(seconds: impl Iterator<Item = f32>) -> Option<Self> {
        let mut sorted: Vec<f64> = seconds.map(f64::from).collect();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let middle = [*sorted.get(count.checked_sub(1)? / 2)?, sorted[count / 2]];
        Some(Times { median: (middle[0] + middle[1]) / 2.0, mean: sorted.iter().sum::<f64>() / count as f64 })
    }
}

/// A table for the terminal.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let width = self.policies.iter().map(|policy| policy.policy.len()).max().unwrap_or(0).max("policy".len());
        writeln!(
            f,
            "{:width$}  {:>5}  {:>20}  {:>20}  {:>20}  {:>20}  {:>6}  {:>9}  {:>6}  {:>8}",
            "policy", "n", "left", "middle", "right", "none", "falls", "s to pad", "walls", "KL/step"
        )?;
        for policy in &self.policies {
            write!(f, "{:width$}  {:>5}", policy.policy, policy.pads.none.of)?;
            for (_, share) in policy.pads.entries() {
                let text = format!("{:.1}% [{:.1}, {:.1}]", 100.0 * share.share, 100.0 * share.low, 100.0 * share.high);
                write!(f, "  {text:>20}")?;
            }
            let seconds = policy.seconds_to_pad.map_or("-".into(), |times| format!("{:.1}", times.median));
            let kl = policy.kl.map_or("-".into(), |kl| format!("{kl:.4}"));
            let (falls, walls) = (100.0 * policy.falls.share, 100.0 * policy.wall_hugging);
            writeln!(f, "  {falls:>5.1}%  {seconds:>9}  {walls:>5.1}%  {kl:>8}")?;
        }
        write!(f, "Shares with Wilson 95% intervals; seconds to a pad are medians; walls: share of steps touching one.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(policy: &str, spawn: &str, outcome: &str, seconds: f32, reward: Option<f32>) -> Row {
        Row {
            policy: policy.into(),
            episode_id: 0,
            spawn: spawn.into(),
            outcome: outcome.into(),
            num_steps: (seconds * 10.0) as u32,
            hz: 10.0,
            time_to_pad: PADS.contains(&outcome).then_some(seconds),
            wall_fraction: 0.5,
            fell: outcome == "fall",
            reward,
            kl: None,
        }
    }

    #[test]
    fn counts_times_and_rewards() {
        let rows = [
            row("sft", "east", "left", 4.0, Some(1.0)),
            row("sft", "east", "left", 8.0, Some(2.0)),
            row("sft", "west", "fall", 2.0, Some(-3.0)),
            row("sft", "west", "timeout", 30.0, None),
            row("base", "west", "right", 5.0, None),
        ];
        let summary = Summary::of(&rows);
        assert_eq!(summary.policies.iter().map(|p| p.policy.as_str()).collect::<Vec<_>>(), ["sft", "base"]);
        let sft = &summary.policies[0];
        assert_eq!(sft.pads.entries().map(|(_, share)| share.count), [2, 0, 0, 2]);
        assert_eq!((sft.pads.left.of, sft.falls.count), (4, 1));
        assert_eq!(sft.seconds_to_pad, Some(Times { median: 6.0, mean: 6.0 }));
        assert_eq!(sft.wall_hugging, 0.5);
        assert_eq!(sft.reward["left"], 1.5);
        assert_eq!(sft.reward["all"], 0.0);
        assert!(!sft.reward.contains_key("timeout"));
        assert_eq!(sft.spawns.len(), 2);
        assert_eq!((sft.spawns[1].spawn.as_str(), sft.spawns[1].pads.none.count), ("west", 2));
        assert_eq!(summary.figures()["sft.left"], 0.5);
        let shares: f64 = sft.pads.entries().iter().map(|(_, share)| share.share).sum();
        assert!((shares - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_table_has_a_line_for_each_policy() {
        let text = Summary::of(&[row("base", "west", "right", 5.0, None)]).to_string();
        assert!(text.contains("base") && text.contains("100.0% [20.7, 100.0]"), "{text}");
    }

    #[test]
    fn medians_of_even_and_odd_counts() {
        assert_eq!(Times::of([3.0, 1.0, 2.0].into_iter()).unwrap().median, 2.0);
        assert_eq!(Times::of([4.0, 1.0].into_iter()).unwrap().median, 2.5);
        assert_eq!(Times::of([].into_iter()), None);
    }
}
