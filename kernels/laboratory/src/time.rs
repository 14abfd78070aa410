//! `laboratory time`: every operator of a training step, in milliseconds and as a share of what the card can do.

use anyhow::{Result, ensure};
use clap::Args;
use playhouse_kernels::laboratory::Clock;
use playhouse_kernels::laboratory::timing::{Sizes, works};
use serde_json::json;

use crate::Output;

#[derive(Args)]
pub struct TimeArgs {
    /// Sequences of 32 frames in a batch
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    sequences: u32,
    /// Runs of each operator that count; one before them does not
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    #[command(flatten)]
    output: Output,
}

impl TimeArgs {
    /// Always true: no figure is wrong.
    pub fn run(&self) -> Result<bool> {
        let sizes = Sizes { sequences: self.sequences as usize, ..Sizes::paper() };
        // The largest tensor is counted in the kernels' int.
        let widest = 4 * sizes.sequences * sizes.context * (sizes.frame / 4).pow(2) * sizes.dims[0];
        ensure!(i32::try_from(widest).is_ok(), "--sequences {}: at most 511 fit the kernels' int", self.sequences);
        let repeat = self.repeat as usize;
        let mut clock = Clock::open()?;
        let ceilings = clock.ceilings(repeat);
        let device = clock.backend().name();
        println!("{device}: copies {:.2} TB/s, multiplies {:.0} TFLOP/s", ceilings.bytes / 1e12, ceilings.flops / 1e12);
        println!("{:<44} {:>9} {:>9} {:>9} {:>9} {:>9}", "operator", "ms", "spread", "GB/s", "TFLOP/s", "of best");
        let mut results = Vec::new();
        for work in works(clock.backend(), &sizes) {
            let mut times = clock.milliseconds(&work, repeat);
            times.sort_by(f64::total_cmp);
            let (median, fastest, slowest) = (times[times.len() / 2], times[0], times[times.len() - 1]);
            let seconds = median / 1000.0;
            let (bytes, flops) = (work.bytes / seconds, work.flops / seconds);
            // What the memory or the arithmetic would need, if that were all.
            let share = (bytes / ceilings.bytes).max(flops / ceilings.flops);
            println!(
                "{:<44} {median:>9.4} {:>8.0}% {:>9.0} {:>9.1} {:>8.0}%",
                work.name,
                100.0 * (slowest - fastest) / median,
                bytes / 1e9,
                flops / 1e12,
                100.0 * share
            );
            results.push(json!({
                "name": work.name, "ms": median, "fastest_ms": fastest, "slowest_ms": slowest, "bytes": work.bytes,
                "flops": work.flops, "share_of_ceiling": share,
            }));
        }
        self.output.write(&json!({
            "device": device, "sequences": self.sequences, "repeat": repeat, "bytes_per_second": ceilings.bytes,
            "flops_per_second": ceilings.flops, "operators": results,
        }))?;
        Ok(true)
    }
}
