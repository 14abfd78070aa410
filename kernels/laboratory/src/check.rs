//! `laboratory check`: a table of kernels, and what each is off by.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use playhouse_kernels::emulator::{self, Device, Scheduled};
use playhouse_kernels::laboratory::usage::{Usage, usage};
use playhouse_kernels::laboratory::{Case, GpuBench, Outcome, cases};
use serde_json::json;

use crate::Output;

#[derive(Args)]
pub struct CheckArgs {
    /// What runs the kernels
    #[arg(long, value_enum, default_value_t = On::Cuda)]
    device: On,
    /// Only cases with this in their names, such as attention
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// Also compile the kernels for this architecture and show what they take of it
    #[arg(long, value_name = "sm_NN")]
    usage: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum On {
    /// The first GPU
    Cuda,
    /// No GPU: the kernels as C++ under checks of every access
    Emulated,
}

/// What is known of a kernel from all cases that ran it.
#[derive(Default)]
struct Line {
    tensors: usize,
    /// Relative to the largest value of a tensor.
    largest: f64,
    /// Of the tolerance.
    used: f64,
    failed: usize,
}

impl CheckArgs {
    /// False if a kernel is wrong.
    pub fn run(&self) -> Result<bool> {
        let usage = self.usage.as_deref().map(usage).transpose()?;
        let word = self.only.as_deref().unwrap_or_default();
        let cases: Vec<Case> = cases().into_iter().filter(|case| case.name.contains(word)).collect();
        ensure!(!cases.is_empty(), "no case has `{word}` in its name");
        let (device, mut run) = open(self.device)?;
        println!("{} cases on {device}", cases.len());
        let (mut lines, mut failures) = (BTreeMap::<&str, Line>::new(), Vec::new());
        for case in &cases {
            let outcome = run(case);
            failures.extend(outcome.refused.map(|error| format!("{}: {error}", case.name)));
            for checked in outcome.checked {
                for kernel in checked.kernels {
                    let line = lines.entry(kernel).or_default();
                    line.tensors += 1;
                    match &checked.result {
                        Ok(off) => {
                            line.largest = line.largest.max(off.largest);
                            line.used = line.used.max(off.used);
                        }
                        Err(_) => line.failed += 1,
                    }
                }
                failures.extend(checked.result.err().map(|error| format!("{}: {error}", case.name)));
            }
        }
        print(&lines, usage.as_deref());
        for failure in &failures {
            println!("WRONG  {failure}");
        }
        let verdict =
            if failures.is_empty() { "every kernel agrees with its oracle" } else { "there are wrong kernels" };
        println!("{verdict}");
        let kernels: Vec<_> = lines
            .iter()
            .map(|(kernel, line)| {
                let taken = usage.iter().flatten().find(|usage| usage.kernel == *kernel);
                json!({
                    "kernel": kernel, "tensors": line.tensors, "largest_error": line.largest, "tolerance_used": line.used,
                    "failed": line.failed, "registers": taken.map(|t| t.registers), "shared_bytes": taken.map(|t| t.shared),
                    "spilled_bytes": taken.map(|t| t.spilled),
                })
            })
            .collect();
        self.output.write(&json!({
            "device": device, "architecture": self.usage, "cases": cases.len(), "kernels": kernels, "failures": failures,
        }))?;
        Ok(failures.is_empty())
    }
}

/// How a device runs a case.
type Run = Box<dyn FnMut(&Case) -> Outcome>;

/// The device in words, and how it runs a case.
fn open(on: On) -> Result<(String, Run)> {
    match on {
        On::Cuda => {
            let mut gpu = GpuBench::open()?;
            let name = gpu.name();
            let run = move |case: &Case| {
                let outcome = case.run(&mut gpu);
                gpu.clear();
                outcome
            };
            Ok((name, Box::new(run)))
        }
        On::Emulated => {
            ensure!(
                emulator::available(),
                "the emulated device needs a C++ compiler when this program is built, and the sources where they were: \
                 install g++ or clang++ and build again"
            );
            let run = |case: &Case| case.run(&mut Scheduled { device: Device::start(), seed: 0 });
            Ok(("the emulated device".to_owned(), Box::new(run)))
        }
    }
}

fn print(lines: &BTreeMap<&str, Line>, usage: Option<&[Usage]>) {
    let taken = if usage.is_some() { "  registers  shared B  spilled B" } else { "" };
    println!("{:<34} {:>7} {:>13} {:>15}{taken}", "kernel", "tensors", "largest error", "of tolerance");
    for (kernel, line) in lines {
        let error = match line.failed {
            0 => format!("{:>13.2e} {:>13.0} %", line.largest, 100.0 * line.used),
            failed => format!("{:>29}", format!("WRONG in {failed}")),
        };
        let taken = usage.map_or(String::new(), |all| match all.iter().find(|usage| usage.kernel == *kernel) {
            Some(Usage { registers, shared, spilled, .. }) => format!("{registers:>11}{shared:>10}{spilled:>11}"),
            None => String::new(),
        });
        println!("{kernel:<34} {:>7} {error}{taken}", line.tensors);
    }
    println!("errors are relative to the largest value of a tensor; the tolerance is counted from sums and roundings");
}
