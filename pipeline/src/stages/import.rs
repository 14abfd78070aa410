//! `import`: gameplay from outside becomes a dataset.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use playhouse_schemas::Dataset;
use serde::Deserialize;

use super::{Outcome, Stage, StageContext, dataset_outcome, settings};
use crate::import::{FORMATS, Options, Request, run};

/// Settings of `import`, without those of [`Options`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    /// One of the importers' formats.
    format: String,
    /// The file or folder to read.
    source: PathBuf,
}

/// Settings of `import`.
#[derive(Debug)]
pub struct Import {
    source: Source,
    options: Options,
}

impl Stage for Import {
    const VERSION: u32 = 2;

    fn parse(stage: &str, table: &toml::Table) -> Result<Self> {
        let (source, options) = settings::split::<Source, Options>(stage, table)?;
        let known = FORMATS.contains(&source.format.as_str());
        ensure!(known, "stage `{stage}`: format `{}` is not known; use one of: {}", source.format, FORMATS.join(", "));
        let path = source.source.display();
        ensure!(
            source.source.exists(),
            "stage `{stage}`: source {path} does not exist; give the path of a clip, or of a folder of clips or tables"
        );
        Ok(Import { source, options })
    }

    fn inputs(&self) -> Vec<String> {
        Vec::new()
    }

    fn run(self, ctx: &StageContext) -> Result<Outcome> {
        let root = ctx.dir.join("data");
        let Import { source: Source { format, source }, options } = self;
        let threads = ctx.compute.threads;
        run(&Request { format, source, dataset: root.clone(), options, resume: true, threads }, ctx.progress)?;
        dataset_outcome(&Dataset::open(&root)?)
    }
}
