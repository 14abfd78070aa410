//! What to compute with.

use playhouse_kernels::device::Device;
use playhouse_kernels::{Backend, Cpu, open_cuda};

use crate::error::Result;

/// A device, and the threads that feed it, or are it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compute {
    /// Where operators run. Another device rounds otherwise, so its losses differ in their last digits.
    pub device: Device,
    /// Threads to compute and to play with; 0 takes all. Never changes a result.
    pub threads: usize,
    /// Which GPU, counted from 0 in the order of the CUDA driver's list.
    pub gpu: usize,
}

impl Compute {
    /// The CPU.
    pub fn cpu(threads: usize) -> Self {
        Self { device: Device::Cpu, threads, gpu: 0 }
    }

    /// Opens the device.
    pub(crate) fn backend(self) -> Result<Box<dyn Backend>> {
        match self.device {
            Device::Cpu => Ok(Box::new(Cpu::new(self.threads()))),
            Device::Cuda => Ok(open_cuda(self.gpu)?),
        }
    }

    /// Their number, resolved.
    pub(crate) fn threads(self) -> usize {
        if self.threads > 0 { self.threads } else { std::thread::available_parallelism().map_or(1, usize::from) }
    }

    /// Puts the device into what a run is known by: its checkpoint goes on bit for bit on the same kind of device only.
    pub(crate) fn mark(self, mut identity: serde_json::Value) -> serde_json::Value {
        if self.device != Device::Cpu {
            identity["device"] = self.device.to_string().into();
        }
        identity
    }
}
