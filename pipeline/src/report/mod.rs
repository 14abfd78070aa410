//! The report and the episode player: self-contained HTML that needs no network.
//!
//! ```text
//!   Inputs (names and folders)
//!      |-- evaluation   tiles, bars with intervals, table, heatmaps, spawns, episodes that play
//!      |-- training     learning curves, reward model
//!      |-- data         shapes, action histograms, an episode that plays
//!      v
//!   page: one file with its style, its script, its pictures
//! ```
//!
//! A page of its own shows the statistics of one dataset ([`dataset()`]).
//!
//! Whatever is not given is left out: a pipeline without an arena has a report about its data and its losses.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use playhouse_schemas::Dataset;

pub use dataset::dataset;
use page::Text;

pub(crate) mod chart;
mod clip;
mod data;
mod dataset;
mod evaluation;
pub(crate) mod heatmap;
pub(crate) mod page;
#[cfg(test)]
mod tests;
mod training;

/// A stage and its folder.
#[derive(Debug, Clone)]
pub struct Input {
    /// The stage's name, shown in the report.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
}

/// What a report is about; anything may be empty.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The heading.
    pub title: String,
    /// A sentence below it.
    pub description: String,
    /// The pad that the pipeline aims for.
    pub target: Option<String>,
    /// The stage of kind `evaluate`.
    pub evaluation: Option<Input>,
    /// Training stages, in the order in which their curves are shown.
    pub training: Vec<Input>,
    /// The stage of kind `reward`.
    pub reward: Option<Input>,
    /// Datasets (record, import, rollout).
    pub data: Vec<Input>,
    /// Episodes to show of each policy and dataset.
    pub samples: usize,
}

/// The whole report as HTML.
///
/// # Errors
/// An input cannot be read.
pub fn report(inputs: &Inputs) -> Result<String> {
    let mut body = String::from("<header>\n<p class=\"kicker\">Playhouse report</p>\n");
    body += &format!("<h1>{}</h1>\n", Text(&inputs.title));
    if !inputs.description.is_empty() {
        body += &format!("<p class=\"lead\">{}</p>\n", Text(&inputs.description));
    }
    let read =
        |input: &Input| evaluation::Evaluated::read(input).with_context(|| format!("evaluation `{}`", input.name));
    let evaluated = inputs.evaluation.as_ref().map(read).transpose()?;
    let curves = training::Curves::read(inputs)?;
    body += &tiles(inputs, evaluated.as_ref(), &curves);
    body += "</header>\n";
    if let Some(evaluated) = &evaluated {
        body += &evaluated.outcomes();
        body += &evaluated.heatmaps()?;
        body += &evaluated.episodes(inputs.samples)?;
        body += &evaluated.by_spawn();
    }
    body += &curves.reward_section(inputs, evaluated.as_ref())?;
    body += &curves.section();
    body += &data::section(inputs)?;
    body += "<footer>Made by Playhouse. Intervals are Wilson's, at 95%. This file needs no network.</footer>\n";
    Ok(page::page(&inputs.title, &body))
}

/// The figures that matter most, in large type.
fn tiles(inputs: &Inputs, evaluated: Option<&evaluation::Evaluated>, curves: &training::Curves) -> String {
    let mut tiles = evaluated.map(|evaluated| evaluated.tiles(inputs.target.as_deref())).unwrap_or_default();
    tiles.extend(curves.tiles(inputs, evaluated.is_none()));
    if tiles.is_empty() {
        return String::new();
    }
    let tile =
        |(figure, text): (String, String)| format!("<div class=\"tile\"><b>{figure}</b><span>{text}</span></div>\n");
    format!("<div class=\"tiles\">\n{}</div>\n", tiles.into_iter().map(tile).collect::<String>())
}

/// A page on which one episode of a dataset plays.
///
/// # Errors
/// The dataset or the episode does not exist, or has no frames that can be shown.
pub fn player(dataset: &Path, episode_id: i64) -> Result<String> {
    let dataset = Dataset::open(dataset)?;
    let episodes = dataset.episodes()?;
    let Some(row) = episodes.iter().find(|row| row.episode_id == episode_id) else {
        let (first, last) = match (episodes.first(), episodes.last()) {
            (Some(first), Some(last)) => (first.episode_id, last.episode_id),
            _ => bail!("{} holds no episodes", dataset.root().display()),
        };
        bail!("{} has no episode {episode_id}; its ids lie between {first} and {last}", dataset.root().display());
    };
    let clip = clip::Clip::load(&dataset, row, clip::LIMIT)?;
    let title = format!("Episode {episode_id}");
    let facts = data::facts(row);
    let body = format!(
        "<div class=\"solo\"><header><p class=\"kicker\">Playhouse</p><h1>{title}</h1><p class=\"lead\">{}</p></header>\n\
         <div class=\"card\">{}</div></div>\n",
        Text(&facts),
        clip.html()
    );
    Ok(page::page(&title, &body))
}
