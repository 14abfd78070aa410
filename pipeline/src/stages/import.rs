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
    const VERSION: u32 = 1;

    fn parse(stage: &str, table: &toml::Table) -> Result<Self> {
        let (source, options) = settings::split::<Source, Options>(stage, table)?;
        let known = FORMATS.contains(&source.format.as_str());
        ensure!(known, "stage `{stage}`: format `{}` is not known; use one of: {}", source.format, FORMATS.join(", "));
        let path = source.source.display();
        ensure!(
            source.source.exists(),
            "stage `{stage}`: source {path} does not exist; give the path of a clip or a folder of clips"
        );
        Ok(Import { source, options })
    }

    fn inputs(&self) -> Vec<String> {
        Vec::new()
    }

    fn run(self, ctx: &StageContext) -> Result<Outcome> {
        let root = ctx.dir.join("data");
        let options = Options { first_id: Some(self.options.first_id.unwrap_or(0)), ..self.options };
        let Source { format, source } = self.source;
        run(&Request { format, source, dataset: root.clone(), options, resume: true }, ctx.progress)?;
        dataset_outcome(&Dataset::open(&root)?)
    }
}
