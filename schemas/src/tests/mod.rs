//! Tests of the dataset as a whole: what is written comes back, whatever happens in between.

mod cost;
mod crash;
mod damage;
mod round_trip;
mod scan;
mod store;

use std::path::Path;

use crate::{Dataset, DatasetSpec, Episode, PartLimits, Result};

/// Parts of about ten steps.
const SMALL: PartLimits = PartLimits { steps: 10, frame_bytes: 1 << 20 };

/// Writes episodes into a dataset, in parts of the given size.
fn write(root: &Path, spec: &DatasetSpec, limits: PartLimits, episodes: &[Episode]) -> Result<Dataset> {
    let dataset = Dataset::create(root, spec)?;
    let mut writer = dataset.writer_with(limits)?;
    for episode in episodes {
        writer.push(episode.clone())?;
    }
    writer.finish()?;
    Ok(dataset)
}
