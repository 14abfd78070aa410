//! The laboratory: is every kernel right on this GPU, and how far is it from the best there can be?
//!
//! A program of its own, without the query engines, so that it can be carried to a machine that has a GPU, a driver, NVRTC and cuBLASLt
//! and nothing else. Without a GPU it checks the same cases on the emulated device.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod check;
mod sanitize;
mod step;
mod time;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use serde_json::Value;

#[derive(Parser)]
#[command(
    about = "Checks every CUDA kernel against its oracle in f64, and times it beside the ceilings of the card",
    after_help = "\
Examples:
  laboratory check                         every kernel at every class of shape, on the GPU
  laboratory check --device emulated       the same without a GPU; needs the sources and a C++ compiler
  laboratory check --usage sm_90           with registers, shared memory and spills, which needs NVRTC
  laboratory sanitize                      the check under each tool of compute-sanitizer
  laboratory time --json times.json        every operator of a training step at the paper's size
  python tests/gpu/pytorch.py times.json   the same operators in PyTorch, side by side
  laboratory step step/                    whole training steps of the paper's model, and what PyTorch needs to repeat them
  python tests/gpu/step.py step/           the same steps in PyTorch: do the losses agree, and who is faster
  laboratory step step/ --device cpu --preset tiny --sequences 8
                                           the same without a GPU"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare every kernel with its oracle
    Check(check::CheckArgs),
    /// Run the check under memcheck, racecheck, initcheck and synccheck of compute-sanitizer
    Sanitize,
    /// Time every operator of a training step with a cold cache
    Time(time::TimeArgs),
    /// Train for some steps on noise, and leave weights, data, losses and times for a peer
    Step(step::StepArgs),
}

/// Where results go beside the terminal.
#[derive(Args)]
struct Output {
    /// Also write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Output {
    fn write(&self, results: &Value) -> Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        write(path, results).with_context(|| format!("{} cannot be written", path.display()))
    }
}

fn write(path: &Path, results: &Value) -> Result<()> {
    Ok(std::fs::write(path, serde_json::to_vec_pretty(results)?)?)
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Check(args) => args.run(),
        Command::Sanitize => sanitize::run(),
        Command::Time(args) => args.run(),
        Command::Step(args) => args.run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("laboratory: {error:#}");
            ExitCode::FAILURE
        }
    }
}
