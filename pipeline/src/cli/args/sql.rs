//! Arguments of the commands that run SQL: here, and on a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

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
  playhouse sql --pipeline paper@seed=22 \"select * from evaluate.summary\"    of a matrix, one run
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
    /// Take stage outputs from this pipeline, or this run of its matrix, as paper@seed=22 [default: what ran last]
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
    /// Run tasks: as many at a time as --threads says, in as much memory as --memory-limit says [default: half of the machine's]
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
  playhouse cluster executor --scheduler 10.0.0.1:50050 --bind 10.0.0.2:50051 --threads 8 --memory-limit 16GiB")]
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
