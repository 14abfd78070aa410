//! `report`: one self-contained page about the stages before it.

use anyhow::Result;
use serde::Deserialize;

use super::{Outcome, Stage, StageContext, parse};
use crate::engine::store::write_atomically;
use crate::report::{Input, Inputs, report};

/// Settings of `report`. Everything is optional: what is not given is left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportStage {
    /// The heading.
    title: String,
    /// A sentence below it.
    description: String,
    /// The pad that the pipeline aims for: the first figure of the report.
    target: Option<String>,
    /// The stage of kind `evaluate`.
    evaluate: Option<String>,
    /// Training stages whose curves are shown, in this order.
    training: Vec<String>,
    /// The stage of kind `reward`.
    reward: Option<String>,
    /// Dataset stages.
    data: Vec<String>,
    /// Episodes to show of each policy, or of each dataset where nothing is evaluated.
    samples: usize,
}

impl Default for ReportStage {
    fn default() -> Self {
        ReportStage {
            title: "From gameplay to an agent".into(),
            description: String::new(),
            target: None,
            evaluate: None,
            training: Vec::new(),
            reward: None,
            data: Vec::new(),
            samples: 2,
        }
    }
}

impl Stage for ReportStage {
    const VERSION: u32 = 2;

    fn parse(stage: &str, table: &toml::Table) -> Result<Self> {
        parse(stage, table)
    }

    fn inputs(&self) -> Vec<String> {
        self.evaluate.iter().chain(&self.training).chain(&self.reward).chain(&self.data).cloned().collect()
    }

    fn run(self, ctx: &StageContext) -> Result<Outcome> {
        let input =
            |name: &String| -> Result<Input> { Ok(Input { name: name.clone(), dir: ctx.input(name)?.to_owned() }) };
        let inputs = |names: &[String]| names.iter().map(input).collect::<Result<Vec<_>>>();
        let page = report(&Inputs {
            evaluation: self.evaluate.as_ref().map(input).transpose()?,
            training: inputs(&self.training)?,
            reward: self.reward.as_ref().map(input).transpose()?,
            data: inputs(&self.data)?,
            title: self.title,
            description: self.description,
            target: self.target,
            samples: self.samples,
        })?;
        write_atomically(&ctx.dir.join("report.html"), page.as_bytes())?;
        Ok(Outcome::default())
    }
}
