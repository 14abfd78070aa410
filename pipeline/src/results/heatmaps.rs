//! Where each policy went, over the rollouts of all runs.

use std::path::Path;

use anyhow::{Context, Result, bail};
use playhouse_schemas::Dataset;

use super::{Output, distinct};
use crate::engine::store::write_atomically;
use crate::evaluate::Evaluation;
use crate::report::heatmap::heatmap;

/// The pictures that were written.
pub struct Heatmaps {
    /// The map they are over.
    pub map: String,
    /// Each policy, the file's name in `figures/`, and its rollouts.
    pub policies: Vec<(String, String, usize)>,
}

impl Heatmaps {
    /// Writes `<stage>-<policy>.png` into `figures`, one for each policy of the evaluations.
    ///
    /// # Errors
    /// An output is no evaluation, or the runs played on different maps.
    pub fn draw(stage: &str, outputs: &[Output], figures: &Path) -> Result<Self> {
        let about = || format!("heatmaps of `{stage}`");
        let evaluations: Vec<Evaluation> =
            outputs.iter().map(|output| Evaluation::read(&output.dir)).collect::<Result<_>>().with_context(about)?;
        let mut maps = Vec::new();
        for output in outputs {
            let episodes = Dataset::open(&output.dir.join("data")).and_then(|data| data.episodes());
            maps.extend(episodes.with_context(about)?.into_iter().find_map(|row| row.map));
        }
        let [map] = &distinct(maps)[..] else {
            bail!("heatmaps of `{stage}`: its rollouts are not on one map; evaluate the runs on the same");
        };
        let mut policies = Vec::new();
        for policy in distinct(evaluations.iter().flat_map(|e| e.rows.iter().map(|row| row.policy.as_str()))) {
            let rollouts = evaluations.iter().flat_map(|e| e.rows.iter().zip(&e.paths));
            let paths: Vec<&[[f32; 2]]> =
                rollouts.filter(|(row, _)| row.policy == policy).map(|(_, path)| path.as_slice()).collect();
            let file = format!("{stage}-{policy}.png");
            write_atomically(&figures.join(&file), &heatmap(map, paths.iter().copied())?.png)?;
            policies.push((policy.to_owned(), file, paths.len()));
        }
        Ok(Heatmaps { map: map.clone(), policies })
    }
}
