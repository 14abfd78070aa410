//! What can be typed. Nothing here touches the system: each command turns its arguments into what it runs.

mod datasets;
mod pipelines;
mod size;
mod sql;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::datasets::*;
pub use self::pipelines::*;
use self::size::size;
pub use self::sql::*;

/// Gameplay in, aligned agents out: a lakehouse for gameplay and the pipeline that aligns agents on it.
#[derive(Debug, Parser)]
#[command(name = "playhouse", version, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
}

const EXAMPLES: &str = "\
Examples:
  playhouse run                                   from gameplay to an aligned agent and its report
  playhouse plan --set target=right               what that would do with another target, and why
  playhouse run --select pretrain+                one stage and everything after it
  playhouse sql \"select * from metrics limit 5\"   stage outputs, runs, metrics and checkpoints are tables
  playhouse import bleeding-edge clips/ human/    recorded gameplay into a dataset
  playhouse doctor                                what this machine has and what will be used

Exit status: 0 done, 1 failed, 2 wrong arguments, 130 interrupted.";

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Folder for everything that runs write
    #[arg(long, global = true, default_value = ".playhouse", value_name = "FOLDER")]
    pub home: PathBuf,
    /// Say nothing but results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Threads to use [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Memory that one query may take, as in 2GiB; beyond it sorts and groups go to temporary files [default: half of the
    /// machine's]
    #[arg(long, global = true, value_name = "SIZE", value_parser = size)]
    pub memory_limit: Option<usize>,
    /// Temporary files that one query may write to TMPDIR, as in 50GiB [default: half of what is free there]
    #[arg(long, global = true, value_name = "SIZE", value_parser = size)]
    pub spill_limit: Option<usize>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what a run would do, stage by stage, and why
    Plan(PlanArgs),
    /// Run a pipeline; finished stages are skipped, interrupted ones go on
    Run(RunArgs),
    /// Ask a question of stage outputs, datasets, runs, metrics and checkpoints
    Sql(SqlArgs),
    /// Let several machines answer queries together: start a scheduler, start executors
    Cluster(ClusterArgs),
    /// Describe a dataset: distributions, faults, outliers, and in what it differs from another
    Stats(StatsArgs),
    /// Bring recorded gameplay into a dataset
    Import(ImportArgs),
    /// Let scripted players play the arena into a dataset
    Record(RecordArgs),
    /// Copy a dataset, between folders and buckets
    Copy(CopyArgs),
    /// Write a dataset again with its frames in another codec
    Transcode(TranscodeArgs),
    /// Check a dataset for damage, and repair what can be
    Verify(VerifyArgs),
    /// Make a page that plays an episode
    Play(PlayArgs),
    /// Let a model play the arena and count where it ends
    Evaluate(EvaluateArgs),
    /// Show what this machine has and what will be used
    Doctor(DoctorArgs),
    /// List the built-in pipelines, or show one
    Definitions(DefinitionsArgs),
    /// Remove outputs that no pipeline's last run uses
    Clean(CleanArgs),
}

/// `playhouse doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Examples:") || command.get_name() == "doctor", "{}", command.get_name());
        }
    }
}
