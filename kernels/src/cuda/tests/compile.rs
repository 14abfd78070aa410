//! Every kernel through NVRTC for real architectures. No GPU is needed, but the library is: `cuda/compile.sh` fetches it.

use crate::cuda::device::compile::SOURCES;
use crate::cuda::laboratory::usage::{Usage, usage};

/// Ampere, Hopper, Blackwell.
const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90", "sm_100"];

#[test]
#[ignore = "needs NVRTC 13.0, which kernels/cuda/compile.sh fetches"]
fn every_kernel_compiles_without_spills() {
    println!("{:<40} {:>8} {:>10} {:>10} {:>8}", "kernel", "for", "registers", "shared B", "spilled");
    let kernels: usize = SOURCES.map(|(_, text)| text.matches("\nREGISTER(").count()).iter().sum();
    let mut spilled = Vec::new();
    for architecture in ARCHITECTURES {
        let all = usage(architecture).unwrap_or_else(|error| panic!("{error}\nrun kernels/cuda/compile.sh"));
        assert!(all.len() >= kernels, "{} kernels for {architecture}: the log names fewer than the sources", all.len());
        for Usage { kernel, registers, shared, spilled: bytes } in all {
            println!("{kernel:<40} {architecture:>8} {registers:>10} {shared:>10} {bytes:>8}");
            assert!(registers > 0, "{kernel}: ptxas does not say how many registers");
            if bytes > 0 {
                spilled.push(kernel);
            }
        }
    }
    assert!(spilled.is_empty(), "these kernels spill or use a stack: {spilled:?}");
}
