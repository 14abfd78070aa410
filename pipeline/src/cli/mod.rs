//! The command line: what was typed becomes what is run, results go to stdout, everything else to stderr.
//!
//! Each command has a file. It takes its arguments ([`args`]), resolves them (names to folders, texts to values) and
//! only then touches the system. Errors travel up to [`main`], which prints each once, as a chain, and picks the exit
//! status: 0 done, 1 failed, 2 wrong arguments, 130 interrupted. A closed pipe is no error.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::Parser;

use crate::engine::nearest::hint;
use crate::engine::store::Home;
use crate::engine::{Error, chain, names};
use crate::limits;
use crate::progress::{Console, catch_interrupts, interrupted};

mod args;
mod cluster;
mod data;
mod definitions;
mod device;
mod evaluate;
mod housekeeping;
mod pipeline;
mod sql;
mod stats;
mod terminal;
mod text;

use args::{Cli, Command, Global};

/// What every command needs, resolved from the global options.
pub(crate) struct Context<'a> {
    home: Home,
    console: Console,
    threads: usize,
    memory_limit: Option<usize>,
    spill_limit: Option<u64>,
    out: &'a mut dyn Write,
}

impl Context<'_> {
    /// The folder of a stage's newest output, by the stage's name.
    fn stage_dir(&self, stage: &str, pipeline: Option<&str>) -> Result<PathBuf> {
        let mut names = names::current(&self.home, pipeline)?;
        if let Some((dir, _)) = names.outputs.remove(stage) {
            self.tell(names.note);
            return Ok(dir);
        }
        let home = self.home.root().display();
        let message = match names.unfinished.contains(stage) {
            true => {
                format!("stage `{stage}` is not finished in {home}; the command that runs its pipeline goes on with it")
            }
            false => format!(
                "`{stage}` is neither a path nor a stage with a finished output in {home}{}",
                hint(stage, names.outputs.keys().map(String::as_str))
            ),
        };
        Err(Error::Usage(message).into())
    }

    /// Says which of a matrix's runs was taken, if that is to be said.
    fn tell(&self, note: Option<String>) {
        if let Some(note) = note {
            self.console.line(&format!("playhouse: {note}"));
        }
    }

    /// A dataset: the folder or URL itself, or the data of a stage.
    fn dataset(&self, path_or_stage: &str, pipeline: Option<&str>) -> Result<PathBuf> {
        let path = PathBuf::from(path_or_stage);
        if path.exists() || path_or_stage.contains(std::path::MAIN_SEPARATOR) {
            return Ok(path);
        }
        let data = self.stage_dir(path_or_stage, pipeline)?.join("data");
        match data.is_dir() {
            true => Ok(data),
            false => Err(Error::Usage(format!("the output of stage `{path_or_stage}` is no dataset")).into()),
        }
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are such "errors" too; if they cannot be printed, nobody is there to be told.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let closed = AtomicBool::new(false);
    let mut out = BufWriter::new(Stdout { closed: &closed });
    let result = dispatch(cli, &mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the results has enough of them; what failed, failed because of that.
        Err(_) if closed.load(Ordering::Relaxed) => ExitCode::SUCCESS,
        Err(error) => {
            let status = status(&error);
            // Results that were printed come before the error that ended them; if stderr is closed too, the status tells.
            let _ = out.flush();
            let _ = writeln!(io::stderr(), "playhouse: {}", chain(&error));
            ExitCode::from(status)
        }
    }
}

fn dispatch(cli: Cli, out: &mut dyn Write) -> Result<()> {
    let Global { home, quiet, threads, memory_limit, spill_limit } = cli.global;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut context = Context {
        home: Home::new(home),
        console: Console::new(quiet),
        threads: threads.map_or(cores, usize::from),
        memory_limit: memory_limit.or_else(limits::memory),
        spill_limit: spill_limit.map(|limit| limit as u64).or_else(limits::temporary_files),
        out,
    };
    let context = &mut context;
    // Commands that look at the flag let Ctrl-C set it; the others end at once, as everywhere.
    if matches!(
        cli.command,
        Command::Run(_)
            | Command::Sql(_)
            | Command::Stats(_)
            | Command::Import(_)
            | Command::Record(_)
            | Command::Copy(_)
            | Command::Transcode(_)
            | Command::Evaluate(_)
    ) {
        catch_interrupts()?;
    }
    match cli.command {
        Command::Plan(args) => pipeline::plan(context, args),
        Command::Run(args) => pipeline::run(context, args),
        Command::Sql(args) => sql::sql(context, args),
        Command::Cluster(args) => cluster::cluster(context, args),
        Command::Stats(args) => stats::stats(context, &args),
        Command::Import(args) => data::import(context, &args),
        Command::Record(args) => data::record(context, &args),
        Command::Copy(args) => data::copy(context, &args),
        Command::Transcode(args) => data::transcode(context, &args),
        Command::Verify(args) => data::verify(context, &args),
        Command::Play(args) => data::play(context, &args),
        Command::Evaluate(args) => evaluate::evaluate(context, &args),
        Command::Doctor(args) => housekeeping::doctor(context, &args),
        Command::Definitions(args) => definitions::definitions(context, args),
        Command::Clean(args) => housekeeping::clean(context, &args),
    }
}

/// The exit status of an error.
fn status(error: &anyhow::Error) -> u8 {
    match error.chain().find_map(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::Usage(_)) => 2,
        Some(Error::Interrupted) => 130,
        _ if interrupted() => 130,
        _ => 1,
    }
}

/// Standard output that remembers when nobody reads it any more. Writers of other crates turn that error into texts of
/// their own, so that it could not be told from others later.
struct Stdout<'a> {
    closed: &'a AtomicBool,
}

impl Stdout<'_> {
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
            self.closed.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl Write for Stdout<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.note(io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.note(io::stdout().flush())
    }
}

/// Prints a value as JSON for people and programs.
fn json(out: &mut dyn Write, value: &impl serde::Serialize) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let of = |e: anyhow::Error| status(&e.context("while doing something"));
        assert_eq!(of(Error::Usage("x".into()).into()), 2);
        assert_eq!(of(Error::Interrupted.into()), 130);
        assert_eq!(of(io::Error::from(io::ErrorKind::NotFound).into()), 1);
    }
}
