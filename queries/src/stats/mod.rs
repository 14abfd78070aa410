//! The shape of a dataset, the distributions of what people did in it, what contradicts itself, and what is odd.
//!
//! ```text
//!   episodes/*.parquet ──> Polars: one row an episode ──> sizes, lengths, outcomes, outliers          all episodes, exact
//!   every footer       ──> row counts, least and greatest values ──> faults, constant components      all rows, exact
//!   steps/*.parquet    ──> a sample of whole episodes, or (full) all: Tally on several threads
//!                             ──> components, sticks, coverage, faults                     with errors, or exact
//!   frames/*.parquet   ──> their t beside the steps' ──> faults;  some of their images ──> frozen pictures
//! ```
//!
//! Polars reads the index and does what is a question of tables: grouping, ranking, joining. The rows of `steps` go by in
//! order once, through loops of our own ([`tally`]): a step's count depends on the step before, and a sample needs single
//! pages of a file, which Parquet's page index gives and a table scan does not.
//!
//! A sample is drawn by hash from a seed and each episode's id, so the same dataset gives the same numbers. Its errors take
//! the episode, not the step, as what was drawn: see [`Share`].

mod coverage;
mod display;
mod drift;
mod estimate;
mod findings;
mod frame;
mod grid;
mod groups;
mod histogram;
mod index;
mod keys;
mod layout;
mod outliers;
mod part;
mod pass;
mod pictures;
mod plan;
mod sequence;
mod side_by_side;
mod tally;
mod usage;
mod watch;

use std::path::{Path, PathBuf};

use playhouse_schemas::Codec;
use playhouse_schemas::storage::describe as describe_files;
use serde::Serialize;

use crate::error::Result;
use crate::files::{TableFiles, dataset_tables};

pub use coverage::Coverage;
pub use display::{codes, keys};
pub use drift::{Compared, Difference, Drift, Extreme, drift};
pub use estimate::Share;
pub use findings::{Code, Finding, Severity};
pub use groups::{Group, Outcome};
pub use histogram::Histogram;
pub use keys::KEYS;
pub use outliers::{Outlier, Reason};
pub use usage::{Component, Rates, Stick};
pub use watch::Watch;

/// How a dataset is described.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Read every step. Without it, of a large dataset a sample of episodes is read.
    pub full: bool,
    /// Episodes of that sample at most.
    pub sample: usize,
    /// Decides which episodes are drawn.
    pub seed: u64,
    /// Frames whose images are compared at most; they are the bulk of a dataset.
    pub pictures: u64,
    /// Threads that read.
    pub threads: usize,
    /// Told of the progress, asked whether to stop.
    pub watch: &'a dyn Watch,
}

impl Default for Options<'_> {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { full: false, sample: 256, seed: 1, pictures: 1 << 15, threads, watch: &() }
    }
}

/// What [`dataset`] finds. As JSON its keys are stable; [`KEYS`] says what each means.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DatasetStats {
    /// The dataset's folder, or its URL.
    pub root: PathBuf,
    /// Number of episodes.
    pub episodes: u64,
    /// Number of timesteps.
    pub steps: u64,
    /// Hours of play: steps over their rate.
    pub hours: f64,
    /// The rates that occur, steps a second.
    pub hz: Vec<f32>,
    /// How frames are stored; none for a dataset without.
    pub frames: Option<String>,
    /// Size on disk of every table.
    pub tables: Vec<TableSize>,
    /// Which steps were read for what the index does not hold.
    pub basis: Basis,
    /// Episodes by `source`, `map`, `action_source`, `player` and `policy`.
    pub groups: Vec<Group>,
    /// Lengths of the episodes in seconds.
    pub lengths: Histogram,
    /// How episodes end, by map.
    pub outcomes: Vec<Outcome>,
    /// Outcomes of every player or policy.
    pub outcomes_by_player: Vec<Outcome>,
    /// Share of an episode's steps without input.
    pub idle: Histogram,
    /// Share of an episode that its longest unchanged action fills.
    pub repeat: Histogram,
    /// Shares of idle and repeated steps.
    pub rates: Rates,
    /// How the components of an action are used; empty if no steps were read.
    pub components: Vec<Component>,
    /// Where the sticks are.
    pub sticks: Vec<Stick>,
    /// Where players were, by map; empty without telemetry.
    pub coverage: Vec<Coverage>,
    /// Episodes unlike the others, the most unusual first: a hundred at most.
    pub outliers: Vec<Outlier>,
    /// How many there are.
    pub outliers_total: u64,
    /// What contradicts itself or should be looked at, errors first.
    pub findings: Vec<Finding>,
}

/// Size of a table on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableSize {
    /// The table.
    pub name: String,
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Which steps stand behind the distributions of components, sticks and positions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Basis {
    /// Whether every step was read; then nothing is an estimate.
    pub all: bool,
    /// Episodes counted.
    pub episodes: u64,
    /// Their steps.
    pub steps: u64,
    /// What drew the sample; none if all was read.
    pub seed: Option<u64>,
    /// Parts read whole because their footers contradict the index.
    pub suspect_parts: u64,
    /// Episodes whose images were compared.
    pub pictured: u64,
}

/// A dataset's statistics, and the episodes behind them, which [`drift()`] needs.
pub struct Described {
    /// The statistics.
    pub stats: DatasetStats,
    evidence: drift::Evidence,
}

/// Statistics of the dataset at `root`, as [`describe`] finds them by default.
///
/// # Errors
/// Those of [`describe`].
pub fn dataset(root: &Path) -> Result<DatasetStats> {
    Ok(describe(root, &Options::default())?.stats)
}

/// Statistics of the dataset at `root`.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) and [`Error::Dataset`](crate::Error::Dataset), naming the folder or file (and the
/// column) that is not readable gameplay; [`Error::Cancelled`](crate::Error::Cancelled) when told to stop.
pub fn describe(root: &Path, options: &Options) -> Result<Described> {
    let options = &Options { threads: side_by_side::readers(root, options.threads), ..*options };
    let (dataset, tables) = dataset_tables(root)?;
    let spec = dataset.spec();
    let files = |name: &str| tables.iter().find(|t| t.name == name).map_or(&[][..], |t| t.files.as_slice());
    let (episodes, steps, frames) = (files("episodes"), files("steps"), files("frames"));
    let index = index::Index::read(root, &spec.actions, options.threads, episodes, steps, frames)?;
    let plan = plan::Plan::new(&index, &spec.actions, options)?;
    let layout = layout::Layout::of(&spec.actions);
    let found = pass::run(&index, &plan, &layout, &spec.actions, options)?;
    let mut outliers = outliers::outliers(&index)?;
    let mut findings = findings::of_index(root, &index, &plan, &spec.actions, &outliers)?;
    findings.extend(findings::of_steps(&index, &layout, &found));
    findings.sort_by(|a, b| (a.code, &a.message).cmp(&(b.code, &b.message)));
    let outliers_total = outliers.len() as u64;
    outliers.truncate(outliers::TOLD);
    // As they are stored: widened to doubles, 10.1 would read 10.100000381469727.
    let mut hz: Vec<f32> = index.hz.iter().map(|hz| *hz as f32).collect();
    hz.sort_by(f32::total_cmp);
    hz.dedup();
    let episodes = &index.frame;
    let counted = || usage::counted(&found.tally);
    let stats = DatasetStats {
        root: root.to_owned(),
        episodes: index.ids.len() as u64,
        steps: index.total_steps(),
        hours: frame::sum(episodes, "hours")?,
        hz,
        frames: spec.frames.as_ref().map(|f| {
            let codec = match f.codec {
                Codec::Jpeg { quality } => format!("jpeg quality {quality}"),
                Codec::Png => "png".to_owned(),
                Codec::Fast => "fast".to_owned(),
                Codec::Raw => "raw".to_owned(),
            };
            format!("{}x{} {codec}", f.width, f.height)
        }),
        tables: tables.iter().map(table_size).collect::<Result<_>>()?,
        basis: Basis {
            all: plan.sample.is_none(),
            episodes: counted().count() as u64,
            steps: counted().map(|episode| episode.sequence.rows).sum(),
            seed: plan.sample.as_ref().map(|_| options.seed),
            suspect_parts: plan.surveys.iter().filter(|survey| survey.suspect).count() as u64,
            pictured: found.pictured,
        },
        groups: groups::groups(root, episodes)?,
        lengths: Histogram::of("s", &frame::numbers(episodes, "seconds")?, None),
        outcomes: groups::outcomes(root, episodes, "map")?,
        outcomes_by_player: groups::outcomes(root, episodes, "played_by")?,
        idle: Histogram::of("", &frame::numbers(episodes, "idle_fraction")?, Some((0.0, 1.0))),
        repeat: Histogram::of("", &frame::numbers(episodes, "repeat_fraction")?, Some((0.0, 1.0))),
        rates: usage::rates(&index, &found.tally)?,
        components: usage::components(&index, &layout, &found.tally)?,
        sticks: usage::sticks(&layout, &found.tally),
        coverage: coverage::coverage(&index, &found.tally),
        outliers,
        outliers_total,
        findings,
    };
    let evidence = drift::Evidence::of(&index, &layout, &found.tally)?;
    Ok(Described { stats, evidence })
}

fn table_size(table: &TableFiles) -> Result<TableSize> {
    let bytes = describe_files(&table.files)?.iter().map(|file| file.size).sum();
    Ok(TableSize { name: table.name.clone(), files: table.files.len() as u64, bytes })
}
