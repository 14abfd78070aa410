//! What every kernel takes of a multiprocessor, as the assembler says: no GPU is needed, but NVRTC is.

use crate::cuda::CudaError;
use crate::cuda::device::compile::{SOURCES, compile};
use crate::device::{Library, probe};

/// What ptxas says of one kernel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Its name.
    pub kernel: String,
    /// Registers a thread.
    pub registers: u32,
    /// Bytes of shared memory a block.
    pub shared: u32,
    /// Bytes stored to and loaded from local memory for want of registers, and the stack.
    pub spilled: u32,
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
            all.push(Usage { kernel: name.split('\'').next().unwrap_or_default().to_owned(), ..Usage::default() });
        } else if let Some(last) = all.last_mut() {
            last.spilled +=
                number(line, " bytes stack") + number(line, " bytes spill stores") + number(line, " bytes spill loads");
            last.registers += number(line, " registers");
            last.shared += number(line, " bytes smem");
        }
    }
    all
}

/// Compiles every kernel for an architecture ("sm_90").
///
/// # Errors
/// NVRTC is not there, or refuses a kernel, or warns of something.
pub fn usage(architecture: &str) -> Result<Vec<Usage>, CudaError> {
    if let Library::Missing { why } = probe().nvrtc {
        return Err(CudaError::Missing(why));
    }
    let mut all = Vec::new();
    for source in SOURCES {
        // SAFETY: the library is there.
        let (_, log) = unsafe { compile(source, architecture, &["--ptxas-options=-v"]) }?;
        if log.contains("warning") {
            return Err(CudaError::Compile { file: source.0, log });
        }
        all.extend(parse(&log));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
