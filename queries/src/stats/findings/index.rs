//! Findings that the table `episodes` and the footers show: they hold for the whole dataset.

use std::path::Path;

use playhouse_schemas::ActionSpace;
use polars::prelude::{SortMultipleOptions, col, len, lit};

use super::super::frame;
use super::super::index::Index;
use super::super::outliers::Outlier;
use super::super::plan::Plan;
use super::{Cases, Code, Finding};
use crate::error::Result;

/// The model's context: a shorter episode does not fill a window.
const WINDOW: u64 = 32;

/// Everything that the index shows.
pub(in super::super) fn of_index(
    root: &Path,
    index: &Index,
    plan: &Plan,
    actions: &ActionSpace,
    outliers: &[Outlier],
) -> Result<Vec<Finding>> {
    let checked = index.ids.len() as u64;
    let mut found = vec![
        impossible(index, checked)?,
        short(index, checked),
        above(index, Code::IdleEpisode, "idle_fraction", "without input")?,
        above(index, Code::RepeatedAction, "repeat_fraction", "with one unchanged action")?,
        lengths(outliers, checked),
        duplicate_actions(root, index)?,
        duplicate_ids(root, index)?,
        constant(index, plan, actions),
    ];
    found.extend(parts(index, plan).into_iter().map(Some));
    Ok(found.into_iter().flatten().collect())
}

fn impossible(index: &Index, checked: u64) -> Result<Option<Finding>> {
    let idle = frame::optional_numbers(&index.frame, "idle_fraction")?;
    let mut cases = Cases::new(index, checked);
    for (row, idle) in idle.into_iter().enumerate() {
        let (steps, hz) = (index.steps[row], index.hz[row]);
        let idle = idle.unwrap_or(f64::NAN);
        if steps == 0 || !(hz.is_finite() && hz > 0.0) || !(0.0..=1.0).contains(&idle) {
            cases.push(row, 0.0, |id| format!("episode {id}: num_steps {steps}, hz {hz}, idle_fraction {idle}"));
        }
    }
    Ok(cases.finding(Code::ImpossibleIndex))
}

fn short(index: &Index, checked: u64) -> Option<Finding> {
    let mut cases = Cases::new(index, checked);
    for (row, &steps) in index.steps.iter().enumerate().filter(|(_, steps)| (1..WINDOW).contains(steps)) {
        cases.push(row, -(steps as f64), |id| format!("the shortest is episode {id} with {steps} steps"));
    }
    cases.finding(Code::ShortEpisode)
}

fn above(index: &Index, code: Code, column: &str, what: &str) -> Result<Option<Finding>> {
    const LIMIT: f64 = 0.9;
    let values = frame::optional_numbers(&index.frame, column)?;
    let mut cases = Cases::new(index, index.ids.len() as u64);
    for (row, value) in values.into_iter().enumerate() {
        if let Some(value) = value.filter(|value| *value > LIMIT) {
            cases.push(row, value, |id| format!("episode {id} is {:.0}% {what}", 100.0 * value));
        }
    }
    Ok(cases.finding(code))
}

fn lengths(outliers: &[Outlier], checked: u64) -> Option<Finding> {
    let far = |outlier: &&Outlier| outlier.reasons.iter().any(|reason| reason.measure == "seconds");
    let far: Vec<&Outlier> = outliers.iter().filter(far).collect();
    let worst = far.first()?;
    let reason = worst.reasons.iter().find(|reason| reason.measure == "seconds")?;
    let message = format!("episode {}: {}", worst.episode_id, reason.text);
    let ids = far.iter().map(|outlier| outlier.episode_id).collect();
    Some(Finding::new(Code::LengthOutlier, message, far.len() as u64, checked, ids))
}

/// Episodes whose actions are those of one with a lower id.
fn duplicate_actions(root: &Path, index: &Index) -> Result<Option<Finding>> {
    let twice = frame::lazy(&index.frame)
        .group_by([col("action_hash")])
        .agg([len().alias("copies"), col("episode_id").min().alias("first"), col("episode_id").max().alias("last")])
        .filter(col("copies").gt(lit(1u32)))
        .sort(["last"], SortMultipleOptions::default());
    let twice = frame::collect(root, twice)?;
    let copies = frame::sum(&twice, "copies")? as u64 - twice.height() as u64;
    let (first, last) = (frame::ids(&twice, "first")?, frame::ids(&twice, "last")?);
    let Some((one, other)) = first.first().zip(last.first()) else { return Ok(None) };
    let message = format!("episode {other} has exactly the actions of episode {one}");
    Ok(Some(Finding::new(Code::DuplicateEpisode, message, copies, index.ids.len() as u64, last)))
}

fn duplicate_ids(root: &Path, index: &Index) -> Result<Option<Finding>> {
    let twice = frame::lazy(&index.frame)
        .group_by([col("episode_id")])
        .agg([len().alias("rows")])
        .filter(col("rows").gt(lit(1u32)))
        .sort(["episode_id"], SortMultipleOptions::default());
    let twice = frame::collect(root, twice)?;
    let ids = frame::ids(&twice, "episode_id")?;
    let Some(first) = ids.first() else { return Ok(None) };
    let message = format!("episode {first} is listed more than once");
    Ok(Some(Finding::new(Code::DuplicateEpisodeId, message, ids.len() as u64, index.ids.len() as u64, ids)))
}

/// Components with one value in every footer. No episode is to blame, so none is named.
fn constant(index: &Index, plan: &Plan, actions: &ActionSpace) -> Option<Finding> {
    let value = |at: usize| {
        let mut spans = plan.surveys.iter().map(|survey| survey.steps.components.get(at).copied().flatten());
        let (low, high) = spans.next()??;
        let same = low == high && spans.all(|span| span == Some((low, high)));
        same.then_some(low)
    };
    let constant: Vec<String> = actions
        .components
        .iter()
        .enumerate()
        .filter_map(|(at, component)| {
            let value = value(at)?;
            let rest = if value == component.neutral() { "never used".to_owned() } else { format!("always {value}") };
            Some(format!("{} ({rest})", component.name))
        })
        .collect();
    if constant.is_empty() {
        return None;
    }
    let message = constant.join(", ");
    Some(Finding::new(Code::ConstantComponent, message, 0, index.ids.len() as u64, Vec::new()))
}

/// Parts whose row counts contradict the index and that are not read whole, because there are too many of them.
fn parts(index: &Index, plan: &Plan) -> Vec<Finding> {
    let unread = || plan.surveys.iter().zip(&index.parts).enumerate().filter(|(i, _)| !plan.whole.contains(i));
    let checked = index.ids.len() as u64;
    let mut found = Vec::new();
    let mut add = |code, files: Vec<String>, what: &str| {
        if let Some(first) = files.first() {
            let message = format!("{} files, {first} the first, {what}; --full names the episodes", files.len());
            found.push(Finding::new(code, message, 0, checked, Vec::new()));
        }
    };
    let name = |path: &Path| path.display().to_string();
    let steps = unread().filter(|(_, (survey, part))| survey.steps.rows != index.steps_of(part));
    add(
        Code::StepCount,
        steps.map(|(_, (_, part))| name(&part.steps)).collect(),
        "have other numbers of rows than `episodes` lists",
    );
    let frames = |more: bool| {
        let differs =
            move |(_, (survey, part)): &(usize, (&super::super::plan::Survey, &super::super::index::Part))| {
                let listed = index.steps_of(part);
                survey.frames.is_some_and(|rows| if more { rows > listed } else { rows < listed })
            };
        unread().filter(differs).filter_map(|(_, (_, part))| part.frames.as_deref().map(name)).collect::<Vec<_>>()
    };
    add(Code::StepsWithoutFrames, frames(false), "have fewer rows than there are steps");
    add(Code::FramesWithoutSteps, frames(true), "have more rows than there are steps");
    found
}
