//! Arguments of the commands that make, describe and check datasets.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

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

A copy appears part by part, whole parts only. One that was stopped or killed goes on where it was. Of a file whose upload
was killed the server keeps the pieces, unseen: give the bucket a rule that ends unfinished uploads after a day (in S3 a
lifecycle rule with AbortIncompleteMultipartUpload).")]
pub struct CopyArgs {
    /// A dataset: a folder, s3://bucket/prefix, or a stage whose output is one
    pub source: String,
    /// A folder or s3://bucket/prefix: empty, or an unfinished copy
    pub target: PathBuf,
    /// Take the stage from this pipeline, or this run of its matrix, as paper@seed=22 [default: what ran last]
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
}

/// A frame codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FrameCodec {
    /// Lossless, decoded several times as fast as JPEG, 20 to 30 kB a frame: for training
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
    /// Take the stage from this pipeline, or this run of its matrix, as paper@seed=22 [default: what ran last]
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
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
    /// Take the stage from this pipeline, or this run of its matrix, as paper@seed=22 [default: what ran last]
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

/// A number of images, or `all`.
fn pictures(text: &str) -> Result<u64, String> {
    match text {
        "all" => Ok(u64::MAX),
        number => number.parse().map_err(|_| "a whole number, or `all`".to_owned()),
    }
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
    /// Take the stage from this pipeline, or this run of its matrix, as paper@seed=22 [default: what ran last]
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
    /// Take the stage from this pipeline, or this run of its matrix, as paper@seed=22 [default: what ran last]
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
}
