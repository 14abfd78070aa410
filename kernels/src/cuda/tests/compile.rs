//! Every kernel through NVRTC for real architectures. No GPU is needed, but the library is: `cuda/compile.sh` fetches it.

use crate::cuda::device::compile::{SOURCES, compile};
use cudarc::nvrtc::sys;

/// Ampere, Hopper, Blackwell.
const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90", "sm_100"];

/// What ptxas says of one kernel.
#[derive(Debug, Default, PartialEq)]
struct Usage {
    kernel: String,
    registers: u32,
    /// Bytes a block.
    shared: u32,
    /// Bytes stored to and loaded from local memory for want of registers, and the stack.
    spilled: u32,
}

/// The number before `unit` in a line of ptxas, or 0.
fn number(line: &str, unit: &str) -> u32 {
    let before = line.find(unit).map_or("", |at| &line[..at]);
    before.split_whitespace().next_back().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The kernels of a log of `--ptxas-options=-v`, in its order.
fn parse(log: &str) -> Vec<Usage> {
    let mut all: Vec<Usage> = Vec::new();
    for line in log.lines() {
        if let Some(name) = line.split("Compiling entry function '").nth(1) {
            all.push(Usage { kernel: name.split('\'').next().unwrap().to_owned(), ..Usage::default() });
        } else if let Some(last) = all.last_mut() {
            last.spilled +=
                number(line, " bytes stack") + number(line, " bytes spill stores") + number(line, " bytes spill loads");
            last.registers += number(line, " registers");
            last.shared += number(line, " bytes smem");
        }
    }
    all
}

#[test]
#[ignore = "needs NVRTC 13.0, which kernels/cuda/compile.sh fetches"]
fn every_kernel_compiles_without_spills() {
    // SAFETY: loads the library, as `device::probe` does.
    assert!(unsafe { sys::is_culib_present() }, "NVRTC is not on LD_LIBRARY_PATH: run kernels/cuda/compile.sh");
    println!("{:<40} {:>8} {:>10} {:>10} {:>8}", "kernel", "for", "registers", "shared B", "spilled");
    let mut spilled = Vec::new();
    let mut count = 0;
    for source in SOURCES {
        for architecture in ARCHITECTURES {
            // SAFETY: the library is there.
            let (_, log) = unsafe { compile(source, architecture, &["--ptxas-options=-v"]) }.unwrap();
            assert!(!log.contains("warning"), "{} for {architecture}\n{log}", source.0);
            for Usage { kernel, registers, shared, spilled: bytes } in parse(&log) {
                println!("{kernel:<40} {architecture:>8} {registers:>10} {shared:>10} {bytes:>8}");
                assert!(registers > 0, "{kernel}: ptxas does not say how many registers");
                count += 1;
                if bytes > 0 {
                    spilled.push(kernel);
                }
            }
        }
    }
    let kernels = SOURCES.map(|(_, text)| text.matches("\nREGISTER(").count());
    assert!(
        count >= ARCHITECTURES.len() * kernels.iter().sum::<usize>(),
        "{count} kernels: the log names fewer than the sources"
    );
    assert!(spilled.is_empty(), "these kernels spill or use a stack: {spilled:?}");
}

#[test]
fn the_log_of_ptxas_is_understood() {
    let log = "ptxas info    : 0 bytes gmem\n\
               ptxas info    : Compiling entry function 'a' for 'sm_90'\n\
               ptxas info    : Function properties for a\n\
               ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
               ptxas info    : Used 40 registers, used 1 barriers, 4096 bytes smem\n\
               ptxas info    : Compiling entry function 'b' for 'sm_90'\n\
               ptxas         .     8 bytes stack frame, 4 bytes spill stores, 2 bytes spill loads\n\
               ptxas info    : Used 255 registers, used 0 barriers\n";
    let usage =
        |kernel: &str, registers, shared, spilled| Usage { kernel: kernel.to_owned(), registers, shared, spilled };
    assert_eq!(parse(log), [usage("a", 40, 4096, 0), usage("b", 255, 0, 14)]);
}
