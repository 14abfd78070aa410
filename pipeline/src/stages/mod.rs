//! What each kind of stage does.
//!
//! ```text
//!   kind        reads                                 writes
//!   record      -                                     data/
//!   import      a file or folder outside              data/
//!   pretrain    windows over a dataset                model.safetensors, metrics.parquet
//!   finetune    the same, from another stage's model  model.safetensors, metrics.parquet
//!   prefer      the same, windows of top rollouts     model.safetensors, metrics.parquet
//!   label       a table of pairs, a SQL rule          judgments.parquet
//!   reward      preference pairs                      model.safetensors, metrics.parquet, scores.parquet
//!   score       a reward model, a dataset             scores.parquet
//!   rollout     a policy                              data/
//!   reinforce   a policy and a reward model           model.safetensors, metrics.parquet
//!   evaluate    policies                              data/, evaluation.parquet, paths.parquet, summary.parquet
//!   report      all of the above                      report.html
//!   results     tables of queries, of all runs        RESULTS.md, figures/, summary.parquet, points.parquet
//! ```
//!
//! The kind `query` is the engine's own. Each kind is a settings struct with an implementation of [`Stage`]; to add
//! one, write its file and add a line to [`kinds!`]. A stage that is killed and run again continues from what it has
//! committed to its folder, and ends with the same bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use playhouse_agent::{Compute, MetricRow, ModelConfig, Ranks, Report, Training};
use playhouse_queries::Session;
use playhouse_schemas::Dataset;

use crate::engine::nearest::hint;
use crate::env::purpose_seed;
use crate::progress::Progress;

mod evaluate;
mod imitate;
mod import;
mod label;
mod record;
mod reinforce;
mod report;
mod results;
mod reward;
mod rollout;
mod score;
mod settings;
pub(crate) mod table;
mod watch;

pub use record::record_into;
pub(crate) use rollout::{Rollouts, rollouts_into};
pub(crate) use settings::parse;
pub(crate) use watch::Watch;

/// Everything a stage may know while it runs.
pub struct StageContext<'a> {
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The stage's name in the pipeline.
    pub name: &'a str,
    /// Its own folder: survives a kill, holds checkpoints and, at the end, the results.
    pub dir: &'a Path,
    /// Its settings, parameters already substituted.
    pub settings: &'a toml::Table,
    /// The seed of the run.
    pub seed: u64,
    /// Finished input stages: name to folder. Of several runs of a matrix, as `stage@seed=1`.
    pub inputs: &'a BTreeMap<String, PathBuf>,
    /// A session in which every input is registered under its stage name, but those of several runs.
    pub session: &'a Session,
    /// Where to report progress, and where a stop request comes from.
    pub progress: &'a dyn Progress,
    /// Device and threads the stage may use.
    pub compute: Compute,
    /// Processes that train with this one. Only the one that leads writes.
    pub ranks: Ranks,
}

/// What a finished stage tells.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Outcome {
    /// Rows by table name.
    pub rows: BTreeMap<String, u64>,
    /// Figures worth showing at the end of a run.
    pub figures: BTreeMap<String, f64>,
}

/// One kind of stage: its settings, and what it does with them.
trait Stage: Sized {
    /// Raised when the same settings and inputs give another result than before.
    const VERSION: u32;

    /// Reads and checks the settings, as far as that is possible before any input exists.
    fn parse(stage: &str, table: &toml::Table) -> Result<Self>;

    /// The stages the settings refer to.
    fn inputs(&self) -> Vec<String>;

    /// What the settings mean beyond what they say: defaults, presets, texts of the library. Part of the fingerprint,
    /// so that outputs made with another meaning are not taken for this one's.
    fn resolved(_settings: &toml::Table) -> String {
        String::new()
    }

    /// Does the work, from the last committed state in the context's folder.
    fn run(self, context: &StageContext) -> Result<Outcome>;
}

macro_rules! kinds {
    ($($kind:literal => $stage:ty,)*) => {
        /// The kinds this module runs.
        pub const KINDS: &[&str] = &[$($kind),*];

        /// Checks a stage's settings at plan time and names the stages they refer to.
        ///
        /// # Errors
        /// An unknown kind or key, a value of the wrong type or out of range; says which and what would do.
        pub fn check(kind: &str, name: &str, settings: &toml::Table) -> Result<Vec<String>> {
            match kind {
                $($kind => Ok(<$stage>::parse(name, settings)?.inputs()),)*
                _ => unknown_kind(kind, name),
            }
        }

        /// The version of a kind's implementation: part of its fingerprint.
        pub fn version(kind: &str) -> u32 {
            match kind {
                $($kind => <$stage>::VERSION,)*
                _ => 0,
            }
        }

        /// What a stage's settings mean beyond what they say: part of its fingerprint.
        pub fn resolved(kind: &str, settings: &toml::Table) -> String {
            match kind {
                $($kind => <$stage>::resolved(settings),)*
                _ => String::new(),
            }
        }

        /// Runs a stage to its end, from its last checkpoint if there is one.
        ///
        /// # Errors
        /// Whatever keeps the stage from its result, with the place and the fix.
        pub fn run(kind: &str, ctx: &StageContext) -> Result<Outcome> {
            match kind {
                $($kind => <$stage>::parse(ctx.name, ctx.settings)?.run(ctx),)*
                _ => unknown_kind(kind, ctx.name),
            }
        }
    };
}

kinds! {
    "record" => record::Record,
    "import" => import::Import,
    "pretrain" => imitate::Imitate,
    "finetune" => imitate::Imitate,
    "prefer" => imitate::Imitate,
    "label" => label::Label,
    "reward" => reward::Reward,
    "score" => score::Score,
    "rollout" => rollout::Rollout,
    "reinforce" => reinforce::ReinforceStage,
    "evaluate" => evaluate::Evaluate,
    "report" => report::ReportStage,
    "results" => results::ResultsStage,
}

fn unknown_kind<T>(kind: &str, name: &str) -> Result<T> {
    bail!("stage `{name}`: unknown kind `{kind}`{}", hint(kind, KINDS.iter().copied().chain(["query"])))
}

impl StageContext<'_> {
    /// The folder of an input stage.
    fn input(&self, stage: &str) -> Result<&Path> {
        let known = || self.inputs.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let folder = self.inputs.get(stage);
        folder
            .map(PathBuf::as_path)
            .with_context(|| format!("`{stage}` is not an input of this stage; it has {}", known()))
    }

    /// A file or folder that an input stage has written.
    fn output_of(&self, stage: &str, file: &str, what: &str) -> Result<PathBuf> {
        let path = self.input(stage)?.join(file);
        ensure!(path.exists(), "stage `{stage}` has no {file}: name a stage that makes {what}");
        Ok(path)
    }

    /// The seed that the settings give, else the run's, mixed with the stage's name.
    fn training_seed(&self, set: u64) -> u64 {
        if self.settings.contains_key("seed") { set } else { purpose_seed(self.seed, self.name) }
    }

    /// What the settings give, with what only the run knows.
    fn training(&self, set: Training) -> Training {
        Training { seed: self.training_seed(set.seed), compute: self.compute, ranks: self.ranks.clone(), ..set }
    }

    /// The dataset of an input stage.
    fn dataset(&self, stage: &str) -> Result<PathBuf> {
        self.output_of(stage, "data", "a dataset (record, import or rollout)")
    }

    /// The table of an input query.
    fn query(&self, stage: &str) -> Result<PathBuf> {
        self.output_of(stage, "table.parquet", "a table (query)")
    }

    /// The model of an input training stage.
    fn model(&self, stage: &str) -> Result<PathBuf> {
        self.output_of(stage, "model.safetensors", "a model (pretrain, finetune, prefer, reward or reinforce)")
    }
}

/// Refuses an unknown preset, and settings from which no model's shape follows.
fn check_model(stage: &str, model: Option<&str>, init: Option<&str>) -> Result<()> {
    match model {
        Some(name) => ModelConfig::preset(name).map(|_| ()).with_context(|| format!("stage `{stage}`: model")),
        None => {
            let presets = ModelConfig::PRESETS.join(", ");
            ensure!(init.is_some(), "stage `{stage}`: give `model` ({presets}) or `init` (a stage with a model)");
            Ok(())
        }
    }
}

/// The named preset, or else the shape of the model to begin with.
fn model_config(model: Option<&str>, init: Option<&Path>) -> Result<ModelConfig> {
    match (model, init) {
        (Some(name), _) => Ok(ModelConfig::preset(name)?),
        (None, Some(path)) => Ok(ModelConfig::read(path)?),
        (None, None) => bail!("neither `model` nor `init` is given"),
    }
}

/// What the settings of a training stage mean: the algorithm's defaults, and the preset's shape if it names one.
fn training_meaning(settings: &toml::Table) -> String {
    let preset = settings.get("model").and_then(|name| name.as_str()).and_then(|name| ModelConfig::preset(name).ok());
    serde_json::json!({ "defaults": Training::default(), "model": preset }).to_string()
}

/// The last value of every metric; what was measured on held-out data is that of the weights in the model file.
fn training_outcome(report: &Report) -> Outcome {
    let counts = |row: &&MetricRow| !row.name.starts_with("held_out/") || row.step == report.kept_step;
    let figures = report.metrics.iter().filter(counts).map(|row| (row.name.clone(), row.value)).collect();
    let rows = [("metrics".to_owned(), report.metrics.len() as u64)].into();
    Outcome { rows, figures }
}

/// Rows of a dataset by table, and how its episodes end.
fn dataset_outcome(dataset: &Dataset) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let (mut episodes, mut steps) = (0u64, 0u64);
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    dataset.visit_episodes(|row| {
        episodes += 1;
        steps += u64::from(row.num_steps);
        if let Some(name) = row.outcome {
            *ends.entry(name).or_default() += 1;
        }
        anyhow::Ok(())
    })?;
    outcome.rows.insert("episodes".into(), episodes);
    outcome.rows.insert("steps".into(), steps);
    if dataset.spec().frames.is_some() {
        outcome.rows.insert("frames".into(), steps);
    }
    outcome.figures = ends.into_iter().map(|(name, count)| (name, count as f64 / episodes as f64)).collect();
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_misspelt_kind_is_named_with_the_nearest_one() {
        let error = check("pretain", "base", &toml::Table::new()).unwrap_err().to_string();
        assert!(error.contains("stage `base`: unknown kind `pretain`; did you mean `pretrain`?"), "{error}");
    }

    #[test]
    fn settings_name_the_stages_they_refer_to() {
        let settings =
            "data = 'play'\nwindows = 'train'\nheld_out = 'test'\nmodel = 'tiny'\nsteps = 10".parse().unwrap();
        assert_eq!(check("pretrain", "base", &settings).unwrap(), ["play", "train", "test"]);
        let settings = "policies = ['base', 'sft']\nmap = 'skygarden'\nreward = 'judge'".parse().unwrap();
        assert_eq!(check("evaluate", "eval", &settings).unwrap(), ["base", "sft", "judge"]);
    }

    #[test]
    fn figures_belong_to_the_weights_that_were_kept() {
        let row = |step, name: &str, value| MetricRow { step, name: name.into(), value };
        let metrics = [(10, 3.0), (20, 1.0), (30, 2.0)]
            .into_iter()
            .flat_map(|(step, loss)| [row(step, "train/loss", loss / 2.0), row(step, "held_out/loss", loss)])
            .collect();
        let mut report = Report { model: PathBuf::new(), metrics, kept_step: 20 };
        let figure = |report: &Report, name: &str| training_outcome(report).figures[name];
        assert_eq!((figure(&report, "held_out/loss"), figure(&report, "train/loss")), (1.0, 1.0));
        report.kept_step = 30;
        assert_eq!(figure(&report, "held_out/loss"), 2.0);
    }

    #[test]
    fn settings_mean_defaults_presets_and_texts_of_the_library() {
        let meaning = |kind: &str, settings: &str| resolved(kind, &settings.parse().unwrap());
        for kind in ["pretrain", "finetune", "prefer", "reward"] {
            let tiny: Value = serde_json::from_str(&meaning(kind, "model = 'tiny'")).unwrap();
            assert_eq!(tiny["defaults"], json!(Training::default()), "{kind}");
            assert_eq!(tiny["model"], json!(ModelConfig::preset("tiny").unwrap()), "{kind}");
            let begun: Value = serde_json::from_str(&meaning(kind, "init = 'base'")).unwrap();
            assert!(begun["model"].is_null(), "{kind}");
        }
        assert_eq!(meaning("reinforce", ""), json!(playhouse_agent::Reinforce::default()).to_string());
        assert_eq!(meaning("label", "rule = 'windows'"), playhouse_queries::library::get("windows").unwrap());
        assert_eq!(meaning("record", "map = 'skygarden'"), "");
    }

    #[test]
    fn every_kind_refuses_an_unknown_key() {
        for kind in KINDS {
            let settings = "no_such_setting = 1".parse().unwrap();
            let error = check(kind, "stage", &settings).unwrap_err().to_string();
            assert!(error.contains("unknown setting `no_such_setting`"), "{kind}: {error}");
            assert!(version(kind) > 0, "{kind}");
        }
    }
}
