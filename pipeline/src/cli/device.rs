//! `--device`: what is typed, and what will compute.

use anyhow::{Context as _, Result};
use playhouse_agent::{Compute, Device};
use playhouse_kernels::{device, open_cuda};

use super::Context;
use super::args::DeviceArg;

impl Context<'_> {
    /// Whether CUDA works is found out by starting it, before anything else is.
    ///
    /// `gpu` is its place in the driver's list.
    pub(super) fn compute(&self, wanted: DeviceArg, gpu: usize) -> Result<Compute> {
        let on = |device| Compute { device, threads: self.threads, gpu };
        match wanted {
            DeviceArg::Cpu => Ok(on(Device::Cpu)),
            DeviceArg::Cuda => {
                let gpu = open_cuda(gpu).context(
                    "--device cuda cannot be had (`playhouse doctor` says all that is missing; --device auto takes the processor then)",
                )?;
                self.console.line(&format!("device: {}", gpu.name()));
                Ok(on(Device::Cuda))
            }
            DeviceArg::Auto if device::probe().gpus.is_empty() => Ok(on(Device::Cpu)),
            DeviceArg::Auto => match open_cuda(gpu) {
                Ok(gpu) => {
                    self.console.line(&format!("device: {}", gpu.name()));
                    Ok(on(Device::Cuda))
                }
                Err(why) => {
                    self.console.line(&format!("device: cpu; there is a GPU, but {why}"));
                    Ok(on(Device::Cpu))
                }
            },
        }
    }
}
