//! What can be typed. Nothing here touches the system: each command turns its arguments into what it runs.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
  playhouse run my.toml --cluster 10.0.0.1:50050

Ctrl-C stops at the next checkpoint; the same command goes on from there.")]
pub struct RunArgs {
    /// The pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// What trains and plays. `auto` takes the GPU where CUDA works, and says so
    #[arg(long, value_enum, default_value_t = DeviceArg::Auto, value_name = "DEVICE")]
    pub device: DeviceArg,
    /// Let the executors of this scheduler run the SQL of `query` stages; rows and fingerprints stay the same
    #[arg(long, value_name = "HOST:PORT")]
    pub cluster: Option<String>,
}

/// What trains and plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceArg {
    /// The GPU where CUDA works, the processor where not
    Auto,
    /// The processor
    Cpu,
    /// The first GPU; an error where CUDA does not work
    Cuda,
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// One JSON object a line
    Json,
    /// Comma-separated, with a header
    Csv,
    /// Parquet; needs --output
    Parquet,
}

/// `playhouse sql`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse sql                                    a prompt; \\? there lists its commands
  playhouse sql \"select outcome, count(*) from play.episodes group by 1 order by 2 desc\"
  playhouse sql \"select stage, max(step) from metrics group by stage\"
  playhouse sql --dataset human/ \"select * from episodes where num_steps > $n\" --param n=1000
  playhouse sql --dataset a=one/ --dataset b=two/ \"select count(*) from a.steps, b.steps\"
  playhouse sql --dataset human/ --images out/ \"select * from frames where episode_id = 7\"
  playhouse sql '\\d'                               which tables there are; '\\d TABLE': columns
  playhouse sql '\\df'                              our functions; '\\df NAME': a manual with an example
  playhouse sql -f questions.sql --format csv > answer.csv
  echo 'show tables' | playhouse sql
  playhouse sql --cluster 10.0.0.1:50050 --dataset /data/human/ \"select count(*) from steps\"

The prompt, on a terminal and without a query:
  A statement ends with `;` and may have many lines. Tab completes tables, columns, functions and words; Up calls up
  earlier statements, Ctrl-R searches them (they are kept in ~/.local/state/playhouse/history). Ctrl-C ends a running
  statement, Ctrl-D leaves. \\d lists tables, \\df functions, \\set NAME VALUE sets $NAME, \\o FILE writes the next answer
  to a file, \\format json changes how answers are shown, \\? lists the rest. Tables show their first 1,000 rows.

Answers that do not fit the terminal go through $PAGER [default: less -SFRX]; PAGER= turns that off.")]
pub struct SqlArgs {
    /// Statements, with `;` between them; without any they are read from --file, a pipe, or a prompt
    pub query: Option<String>,
    /// The query (the same as giving it plainly)
    #[arg(short = 'c', long, conflicts_with = "query", value_name = "QUERY")]
    pub command: Option<String>,
    /// Read statements from a file and run them in order, up to the first error
    #[arg(short, long, conflicts_with_all = ["query", "command"], value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How to print rows [default: table, or what --output ends in]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Write rows to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write the pictures of the rows to files of a folder, named after episode_id and t where they are selected
    #[arg(long, value_name = "FOLDER")]
    pub images: Option<PathBuf>,
    /// A value for $NAME in the query; repeat for more
    #[arg(long, value_name = "NAME=VALUE")]
    pub param: Vec<String>,
    /// A dataset folder or s3://bucket/prefix: its tables by their own names, or under NAME; repeat for more
    #[arg(long, value_name = "[NAME=]DATASET")]
    pub dataset: Vec<String>,
    /// Take stage outputs from this pipeline [default: the one that ran last]
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Let the executors of this scheduler run the statements (see `playhouse cluster`)
    #[arg(long, value_name = "HOST:PORT")]
    pub cluster: Option<String>,
}

/// `playhouse cluster`
#[derive(Debug, Args)]
#[command(after_help = "\
A query is planned where it is asked, cut into tasks by the scheduler and run by the executors. All machines must see the
datasets that are asked about under the same names.

Examples:
  playhouse cluster scheduler --bind 10.0.0.1:50050            on one machine
  playhouse cluster executor --scheduler 10.0.0.1:50050 --bind 10.0.0.2:50051
                                                               on each of the others
  playhouse sql --cluster 10.0.0.1:50050 --dataset /data/human/ \"select count(*) from steps\"
  playhouse run --cluster 10.0.0.1:50050                       the `query` stages of a pipeline

An executor that is lost costs its tasks a second try, and no rows. Nothing between the machines is encrypted, and whoever
reaches the scheduler can read what the executors can: keep them in a network of their own.")]
pub struct ClusterArgs {
    /// What this process is.
    #[command(subcommand)]
    pub part: ClusterPart,
}

/// The parts of a cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterPart {
    /// Cut queries into tasks, and give them to executors
    Scheduler(SchedulerArgs),
    /// Run tasks: as many at a time as --threads says, in as much memory as --memory says [default: half of the machine's]
    Executor(ExecutorArgs),
}

/// `playhouse cluster scheduler`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse cluster scheduler                                   for executors on this machine alone
  playhouse cluster scheduler --bind 0.0.0.0:50050 --advertise scheduler.lan")]
pub struct SchedulerArgs {
    /// Address to listen at; with port 0 the system chooses one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:50050")]
    pub bind: SocketAddr,
    /// Name or address under which executors reach this machine [default: that of --bind]
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,
    /// Seconds of silence after which an executor is given up and its tasks are run by others
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..))]
    pub patience: u64,
}

/// `playhouse cluster executor`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse cluster executor --scheduler 127.0.0.1:50050
  playhouse cluster executor --scheduler 10.0.0.1:50050 --bind 10.0.0.2:50051 --threads 8 --memory 16GiB")]
pub struct ExecutorArgs {
    /// Where the scheduler listens
    #[arg(long, value_name = "HOST:PORT")]
    pub scheduler: String,
    /// Address to listen at for others who want rows, and at the next port for tasks; with port 0 the system chooses
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    pub bind: SocketAddr,
    /// Name or address under which others reach this machine [default: that of --bind]
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,
    /// Folder for rows between tasks [default: one of its own among the temporary files]
    #[arg(long, value_name = "FOLDER")]
    pub work_dir: Option<PathBuf>,
}

/// `playhouse stats`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse stats human/
  playhouse stats human/ --full --html human.html    every step, and a page with pictures
  playhouse stats play --json                        of the stage `play`; --keys explains it
  playhouse stats human/ --check --allow PH201       for CI
  playhouse stats new/ --against human/ --max-drift 0.1

Of a large dataset it reads the index (every episode), all footers, and the steps of a sample
of episodes. What is estimated from the sample has its error beside it.

Exit status 1: with --check, if there is an error (PH1xx) or a finding that --deny names; with
--max-drift, if a difference is larger and not chance.")]
pub struct StatsArgs {
    /// A dataset folder, s3://bucket/prefix, or a stage whose output is one
    #[arg(required_unless_present_any = ["codes", "keys"])]
    pub dataset: Option<String>,
    /// Take the stage from this pipeline [default: the one that ran last]
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
    /// Write a page with pictures
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Read every step, not a sample of a large dataset
    #[arg(long)]
    pub full: bool,
    /// Episodes of the sample, at most
    #[arg(long, value_name = "N", default_value_t = 256, conflicts_with = "full", value_parser = clap::value_parser!(u32).range(2..))]
    pub sample: u32,
    /// Decides which episodes are in the sample
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Images compared to find frozen pictures, at most: a number, or `all`
    #[arg(long, value_name = "N", default_value = "32768", value_parser = pictures)]
    pub pictures: u64,
    /// Show in what it differs from another dataset
    #[arg(long, value_name = "DATASET")]
    pub against: Option<String>,
    /// Fail if a difference that is not chance is larger than this distance, 0 to 1
    #[arg(long, value_name = "DISTANCE", requires = "against")]
    pub max_drift: Option<f64>,
    /// Fail if the data contradicts itself
    #[arg(long)]
    pub check: bool,
    /// Let --check fail because of this finding too, as in PH203 or frozen-pictures; repeat for more
    #[arg(long, value_name = "CODE", requires = "check")]
    pub deny: Vec<String>,
    /// Leave this finding out; repeat for more
    #[arg(long, value_name = "CODE")]
    pub allow: Vec<String>,
    /// List what every code means
    #[arg(long, exclusive = true)]
    pub codes: bool,
    /// List what every key of the JSON means
    #[arg(long, exclusive = true)]
    pub keys: bool,
}

/// `playhouse import`
#[derive(Debug, Args)]
#[command(after_help = "\
Formats:
  bleeding-edge    npz clips with `images` and `actions`, as in microsoft/bleeding-edge-gameplay-sample
                   options: frames=jpeg|png|fast|raw, sticks=buckets|continuous, first_id=N
  table            plain Parquet: SOURCE/steps/*.parquet, one row a step, sorted by (episode_id, t), and
                   SOURCE/episodes.parquet, one row an episode; a mapping says which column is what
                   options: hz=N, sticks=buckets|continuous, action_source=human|scripted|policy|predicted, first_id=N

Examples:
  playhouse import bleeding-edge clip.npz human/
  playhouse import bleeding-edge clips/ human/ --option sticks=continuous
  playhouse import table recorded/ human/ --option hz=10          columns with our names need no mapping
  playhouse import table --example-mapping > mapping.toml         a mapping to edit, with everything it can say
  playhouse import table recorded/ human/ --mapping mapping.toml

A table import that was stopped or killed goes on where it was: the same command skips what is there.")]
pub struct ImportArgs {
    /// The source's format
    pub format: String,
    /// A file, or a folder of them
    #[arg(required_unless_present = "example_mapping")]
    pub source: Option<PathBuf>,
    /// The dataset folder or s3://bucket/prefix; it is made, or added to
    #[arg(required_unless_present = "example_mapping")]
    pub dataset: Option<PathBuf>,
    /// Which column of a table is what, a TOML file
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,
    /// Print a mapping to begin with
    #[arg(long)]
    pub example_mapping: bool,
    /// A setting of the format; repeat for more
    #[arg(long, value_name = "NAME=VALUE")]
    pub option: Vec<String>,
}

/// `playhouse record`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse record play/ --episodes 100
  playhouse record play/ --map skygarden --persona mixed --episodes 1000 --frames none --seed 7
  playhouse record play/ --hours 10000 --frames none      players and physics alone; frames are rendered when read

Which episodes are recorded depends on the arguments alone: on more threads they are the same, only sooner. A recording that
was stopped or killed goes on where it was.")]
pub struct RecordArgs {
    /// The dataset folder, or s3://bucket/prefix, to make
    pub dataset: PathBuf,
    /// A map of the arena
    #[arg(long, default_value = "skygarden")]
    pub map: String,
    /// Who plays
    #[arg(long, default_value = "mixed")]
    pub persona: String,
    /// Number of episodes [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub episodes: Option<u32>,
    /// Hours of play instead: episodes until there are as many
    #[arg(long, value_name = "H", conflicts_with = "episodes")]
    pub hours: Option<f64>,
    /// Frame codec: jpeg, png, fast, raw, or none to re-render them from seed and actions
    #[arg(long, default_value = "jpeg")]
    pub frames: String,
    /// Seed that decides every episode
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// `playhouse copy`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse copy human/ s3://bucket/human
  playhouse copy s3://bucket/human human/
  playhouse copy play s3://bucket/play          the output of the stage `play`

Settings of a bucket come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION; for servers other
than Amazon's AWS_ENDPOINT_URL, and AWS_ALLOW_HTTP=true where it is not encrypted.

A copy appears part by part, whole parts only. One that was stopped or killed goes on where it was.")]
pub struct CopyArgs {
    /// A dataset: a folder, s3://bucket/prefix, or a stage whose output is one
    pub source: String,
    /// A folder or s3://bucket/prefix: empty, or an unfinished copy
    pub target: PathBuf,
    /// Take the stage from this pipeline [default: the one that ran last]
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
}

/// A frame codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FrameCodec {
    /// Lossless, decoded several times as fast as JPEG, 20 to 27 kB a frame: for training
    Fast,
    /// Lossless, small, slow
    Png,
    /// Lossy, the smallest
    Jpeg,
    /// The pixels themselves, 49 kB a frame
    Raw,
}

/// `playhouse transcode`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse transcode human/ human-fast/ --codec fast       for training: frames are read several times as fast
  playhouse transcode human-fast/ small/ --codec jpeg --quality 80
  playhouse transcode rollouts out/ --codec png             a stage's output

Episodes and steps stay as they are. Codecs other than jpeg keep the source's pixels, which is checked frame by frame.
A transcoding that was stopped or killed goes on where it was: the same command skips what is there.")]
pub struct TranscodeArgs {
    /// A dataset folder, or a stage whose output is one
    pub source: String,
    /// The dataset folder to make
    pub dataset: PathBuf,
    /// The codec to write
    #[arg(long, value_enum)]
    pub codec: FrameCodec,
    /// Quality of JPEG, 1 to 100 [default: 90]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub quality: Option<u8>,
    /// Take the stage from this pipeline [default: the one that ran last]
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
}

/// `playhouse verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse verify human/
  playhouse verify human/ --deep        decode every image too
  playhouse verify human/ --repair

Exit status 1 if something is wrong and was not repaired.")]
pub struct VerifyArgs {
    /// A dataset folder, s3://bucket/prefix, or a stage whose output is one
    pub dataset: String,
    /// Take the stage from this pipeline [default: the one that ran last]
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Remove what no episode belongs to: leftovers of a crash
    #[arg(long)]
    pub repair: bool,
    /// Decode every image
    #[arg(long)]
    pub deep: bool,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// `playhouse play`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse play human/ 0 --out episode.html
  playhouse play rollouts 12 --out episode.html     an episode of the stage `rollouts`")]
pub struct PlayArgs {
    /// A dataset folder, s3://bucket/prefix, or a stage whose output is one
    pub dataset: String,
    /// The episode's episode_id
    pub episode: i64,
    /// The page to write [default: episode-<EPISODE>.html]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Take the stage from this pipeline [default: the one that ran last]
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
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
    /// Take the stage from this pipeline [default: the one that ran last]
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// What plays. `auto` takes the GPU where CUDA works, and says so
    #[arg(long, value_enum, default_value_t = DeviceArg::Auto, value_name = "DEVICE")]
    pub device: DeviceArg,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// `playhouse doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// `playhouse definitions`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  playhouse definitions
  playhouse definitions jumppad > mine.toml")]
pub struct DefinitionsArgs {
    /// The pipeline to show
    pub name: Option<String>,
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

/// A number of images, or `all`.
fn pictures(text: &str) -> Result<u64, String> {
    match text {
        "all" => Ok(u64::MAX),
        number => number.parse().map_err(|_| "a whole number, or `all`".to_owned()),
    }
}

/// `2GiB`, `512MB`, `1000000`: bytes.
fn size(text: &str) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize =
        text[..digits].parse().map_err(|_| "a size is a whole number with a unit, as in 2GiB".to_owned())?;
    let unit: usize = match text[digits..].trim().to_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        other => return Err(format!("the unit `{other}` is not known; use B, KB, MB, GB, KiB, MiB or GiB")),
    };
    number
        .checked_mul(unit)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "a size is more than nothing and fits in memory".to_owned())
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
    fn sizes() {
        assert_eq!(size("2GiB"), Ok(2 << 30));
        assert_eq!(size("1500"), Ok(1500));
        assert!(size("GiB").is_err() && size("1 parsec").is_err() && size("0").is_err());
        assert!(size("99999999999GiB").is_err());
    }

    #[test]
    fn every_command_teaches_by_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Examples:") || command.get_name() == "doctor", "{}", command.get_name());
        }
    }
}
