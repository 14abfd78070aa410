//! Arguments of the commands about pipelines and what comes out of them.

use clap::{Args, ValueEnum};

/// Which pipeline, with what parameters, and which of its stages.
#[derive(Debug, Args)]
pub struct PipelineArgs {
    /// A built-in pipeline (see `playhouse definitions`) or a .toml file
    #[arg(default_value = "jumppad")]
    pub pipeline: String,
    /// Override a parameter; repeat for more
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Only these stages: `a`, `a+` and all that needs it, `+a` and all that it needs; repeat, or use commas
    #[arg(long, value_name = "STAGES")]
    pub select: Vec<String>,
}

/// `playhouse plan`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse plan
  playhouse plan jumppad --set target=right --set rollouts=100
  playhouse plan my.toml --select '+report' --json")]
pub struct PlanArgs {
    /// The pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

/// `playhouse run`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse run
  playhouse run jumppad-small
  playhouse run jumppad --set target=right
  playhouse run my.toml --select 'finetune+' --threads 8
  playhouse run paper --jobs 2
  playhouse run my.toml --cluster 10.0.0.1:50050
  torchrun --no-python --nproc-per-node 8 playhouse run my.toml --device cuda

Training on several GPUs or machines: start one process each with RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT,
as torchrun and its like do. Each takes its part of every batch of pretrain, finetune, prefer and reward; rank 0 does the
rest. All need the same files at the same paths. The pipeline, --set and --select are those of rank 0, whatever the others were
started with. A checkpoint does not know how many there were.

Ctrl-C stops at the next checkpoint; the same command goes on from there.")]
pub struct RunArgs {
    /// The pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// What trains and plays. CUDA is new: it agrees with the CPU on an emulated GPU and has not been tried on a real one
    #[arg(long, value_enum, default_value_t = DeviceArg::Cpu, value_name = "DEVICE")]
    pub device: DeviceArg,
    /// Let the executors of this scheduler run the SQL of `query` stages; rows and fingerprints stay the same
    #[arg(long, value_name = "HOST:PORT")]
    pub cluster: Option<String>,
    /// Stages to run at once, each with its share of the threads; a matrix is through sooner, and the results are the same
    #[arg(long, default_value = "1", value_name = "N", value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    pub jobs: u16,
}

/// What trains and plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceArg {
    /// The GPU where CUDA works, the processor where not; says which
    Auto,
    /// The processor
    Cpu,
    /// The GPU of the number in LOCAL_RANK, or the first; an error where CUDA does not work
    Cuda,
}

/// `playhouse definitions`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse definitions
  playhouse definitions jumppad > mine.toml
  playhouse definitions --kinds     how one is written: every kind of stage and its settings")]
pub struct DefinitionsArgs {
    /// The pipeline to show
    pub name: Option<String>,
    /// How a definition is written, with every kind of stage and its settings
    #[arg(long, conflicts_with = "name")]
    pub kinds: bool,
}

/// `playhouse clean`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse clean --dry-run
  playhouse clean jumppad")]
pub struct CleanArgs {
    /// Only this pipeline
    pub pipeline: Option<String>,
    /// Say what would go, and keep it
    #[arg(long)]
    pub dry_run: bool,
}

/// `playhouse evaluate`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse evaluate aligned --episodes 300          the newest model of the stage `aligned`
  playhouse evaluate model.safetensors --map skygarden --json")]
pub struct EvaluateArgs {
    /// A model.safetensors, or a stage whose output is one
    pub model: String,
    /// A map of the arena
    #[arg(long, default_value = "skygarden")]
    pub map: String,
    /// Number of episodes
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub episodes: u64,
    /// Seed of the episodes; another than that of training keeps the test honest
    #[arg(long, default_value_t = 1_000_003)]
    pub seed: u64,
    /// Divides the logits: 1 plays as trained, lower is more decided, 0 takes the most probable actions
    #[arg(long, default_value_t = 1.0)]
    pub temperature: f32,
    /// Take the stage from this pipeline, or this run of its matrix, as paper@seed=22 [default: what ran last]
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// What plays; as for `run`
    #[arg(long, value_enum, default_value_t = DeviceArg::Cpu, value_name = "DEVICE")]
    pub device: DeviceArg,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}
