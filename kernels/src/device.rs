//! What this machine has: for `playhouse doctor`, and for choosing a device.
//!
//! [`probe`] only looks. It never panics, on a machine without CUDA neither: cudarc panics when a library or a function in it is
//! absent, so each library is asked for before its first call, and for the functions that make it what it is and are its newest.

use crate::cpu::simd::Level;
use cudarc::{cublaslt, driver, nccl, nvrtc};
use std::fmt;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// This machine's processor, in f32.
    #[default]
    Cpu,
    /// The first GPU that the CUDA driver lists, with activations in bf16.
    Cuda,
}

/// As it is typed.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Device::Cpu => "cpu",
            Device::Cuda => "cuda",
        })
    }
}

/// The CPU and its memory.
#[derive(Clone, Debug)]
pub struct CpuDevice {
    /// Model name, or the architecture where the system does not tell.
    pub model: String,
    /// Instruction sets that the kernels were written for and that this CPU has, the best first.
    pub simd: Vec<&'static str>,
    /// Hardware threads this process may use.
    pub threads: usize,
    /// Physical memory in bytes, where the system tells.
    pub memory: Option<u64>,
}

/// A GPU that the CUDA driver lists.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// Name as the driver gives it.
    pub name: String,
    /// Compute capability: (9, 0) is sm_90.
    pub capability: (i32, i32),
    /// Device memory in bytes.
    pub memory: u64,
}

/// A library that is loaded at run time, or why it cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Library {
    /// It loads; its version.
    Present {
        /// As the library reports it.
        version: String,
    },
    /// It does not load, or answers with an error.
    Missing {
        /// What it is, what it is for, and how to get it: one sentence for the user.
        why: String,
    },
}

/// Everything [`probe`] found.
#[derive(Clone, Debug)]
pub struct Devices {
    /// The CPU.
    pub cpu: CpuDevice,
    /// The CUDA driver (libcuda).
    pub driver: Library,
    /// GPUs the driver lists; empty without a driver.
    pub gpus: Vec<Gpu>,
    /// The run-time compiler of CUDA kernels.
    pub nvrtc: Library,
    /// The library of matrix products on the GPU.
    pub cublaslt: Library,
    /// The library of sums over several GPUs; one alone does without.
    pub nccl: Library,
}

impl Devices {
    /// True when a GPU, the driver and the libraries that one GPU needs are there.
    pub fn cuda_complete(&self) -> bool {
        let present = |l: &Library| matches!(l, Library::Present { .. });
        !self.gpus.is_empty() && [&self.driver, &self.nvrtc, &self.cublaslt].into_iter().all(present)
    }
}

const DRIVER: &str = "the CUDA driver (libcuda) runs kernels on an NVIDIA GPU; it comes with the NVIDIA display driver, \
                      version 580 or later";
const NVRTC: &str = "NVRTC (libnvrtc) compiles CUDA kernels at run time; it is in the CUDA toolkit 13.0 and in the Python \
                     package nvidia-cuda-nvrtc, whose lib folder must then be on LD_LIBRARY_PATH";
const CUBLASLT: &str = "cuBLASLt (libcublasLt) multiplies matrices on the GPU; it is in the CUDA toolkit and in the Python \
                        package nvidia-cublas, whose lib folder must then be on LD_LIBRARY_PATH";

const NCCL: &str = "NCCL (libnccl) sums gradients over GPUs, for training on several; it is in NVIDIA's package libnccl-dev, and as \
                    libnccl.so.2 in the Python package nvidia-nccl-cu13: link that as libnccl.so in a folder on LD_LIBRARY_PATH";

/// Functions of each library without which it is another one, or too old.
const DRIVER_HAS: [&str; 4] =
    ["cuInit", "cuDriverGetVersion", "cuStreamBeginCapture_v2", "cuGraphInstantiateWithFlags"];
const NVRTC_HAS: [&str; 3] = ["nvrtcVersion", "nvrtcCompileProgram", "nvrtcGetCUBIN"];
const CUBLASLT_HAS: [&str; 3] = ["cublasLtGetVersion", "cublasLtMatmul", "cublasLtMatmulAlgoGetHeuristic"];
const NCCL_HAS: [&str; 3] = ["ncclGetVersion", "ncclCommInitRank", "ncclAllReduce"];

/// That a library is not there, or is not what its name says; `has` finds a function in one that is.
fn unusable(what: &str, there: bool, functions: &[&str], has: impl Fn(&str) -> bool) -> Option<Library> {
    if !there {
        return Some(missing(what, "not found"));
    }
    let lacking = functions.iter().find(|function| !has(function))?;
    Some(missing(what, &format!("found, but it is another library of that name or too old a one, without {lacking}")))
}

/// Whether a module of cudarc's finds its library, and functions in it.
macro_rules! unusable {
    ($what:expr, $functions:expr, $library:ident) => {
        // SAFETY: tries to load the library and forgets it; NVIDIA's constructors have no preconditions. Asked for functions only where it
        // is there; no function is called.
        unsafe {
            unusable($what, $library::sys::is_culib_present(), &$functions, |function| {
                $library::sys::culib().get::<*const std::ffi::c_void>(function.as_bytes()).is_ok()
            })
        }
    };
}

fn missing(what: &str, problem: &str) -> Library {
    Library::Missing { why: format!("{problem}: {what}") }
}

/// Looks at the machine.
pub fn probe() -> Devices {
    let (driver, gpus) = probe_driver();
    Devices { cpu: probe_cpu(), driver, gpus, nvrtc: probe_nvrtc(), cublaslt: probe_cublaslt(), nccl: probe_nccl() }
}

fn probe_cpu() -> CpuDevice {
    let field = |path: &str, key: &str| -> Option<String> {
        let text = std::fs::read_to_string(path).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let kib = field("/proc/meminfo", "MemTotal").and_then(|v| v.split(' ').next()?.parse::<u64>().ok());
    CpuDevice {
        model: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        simd: Level::available().into_iter().map(Level::name).collect(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        memory: kib.map(|kib| kib * 1024),
    }
}

fn probe_driver() -> (Library, Vec<Gpu>) {
    if let Some(unusable) = unusable!(DRIVER, DRIVER_HAS, driver) {
        return (unusable, Vec::new());
    }
    if let Err(error) = driver::result::init() {
        return (missing(DRIVER, &format!("found, but it does not start ({:?})", error.0)), Vec::new());
    }
    let mut version = 0;
    // SAFETY: `version` is a valid place for the answer.
    if let Err(error) = unsafe { driver::sys::cuDriverGetVersion(&mut version) }.result() {
        return (missing(DRIVER, &format!("found, but it does not answer ({:?})", error.0)), Vec::new());
    }
    let count = driver::result::device::get_count().unwrap_or(0);
    let gpus = (0..count).filter_map(|i| probe_gpu(i).ok()).collect();
    (Library::Present { version: format!("CUDA {}.{}", version / 1000, version % 1000 / 10) }, gpus)
}

fn probe_gpu(ordinal: i32) -> Result<Gpu, driver::DriverError> {
    use driver::sys::CUdevice_attribute as Attribute;
    let device = driver::result::device::get(ordinal)?;
    // SAFETY: `device` comes from the driver just now.
    let attribute = |a| unsafe { driver::result::device::get_attribute(device, a) };
    Ok(Gpu {
        name: driver::result::device::get_name(device)?,
        capability: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        // SAFETY: as above.
        memory: unsafe { driver::result::device::total_mem(device) }? as u64,
    })
}

fn probe_nvrtc() -> Library {
    if let Some(unusable) = unusable!(NVRTC, NVRTC_HAS, nvrtc) {
        return unusable;
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both places are valid for the answer.
    match unsafe { nvrtc::sys::nvrtcVersion(&mut major, &mut minor) } {
        nvrtc::sys::nvrtcResult::NVRTC_SUCCESS => Library::Present { version: format!("{major}.{minor}") },
        error => missing(NVRTC, &format!("found, but it does not answer ({error:?})")),
    }
}

fn probe_cublaslt() -> Library {
    if let Some(unusable) = unusable!(CUBLASLT, CUBLASLT_HAS, cublaslt) {
        return unusable;
    }
    // SAFETY: no arguments, no preconditions.
    let version = unsafe { cublaslt::sys::cublasLtGetVersion() };
    Library::Present { version: format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100) }
}

pub(crate) fn probe_nccl() -> Library {
    if let Some(unusable) = unusable!(NCCL, NCCL_HAS, nccl) {
        return unusable;
    }
    match nccl::result::get_nccl_version() {
        Ok(version) => {
            Library::Present { version: format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100) }
        }
        Err(error) => missing(NCCL, &format!("found, but it does not answer ({:?})", error.0)),
    }
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1u32 << 30)
}

impl fmt::Display for CpuDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.threads == 1 { "" } else { "s" };
        write!(f, "{}, {} thread{s}, {}", self.model, self.threads, self.simd.join(" > "))?;
        self.memory.map_or(Ok(()), |bytes| write!(f, ", {:.1} GiB of memory", gib(bytes)))
    }
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.capability;
        write!(f, "{}, sm_{major}{minor}, {:.1} GiB of memory", self.name, gib(self.memory))
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Library::Present { version } => f.write_str(version),
            Library::Missing { why } => f.write_str(why),
        }
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "CPU          {}", self.cpu)?;
        writeln!(f, "CUDA driver  {}", self.driver)?;
        for gpu in &self.gpus {
            writeln!(f, "GPU          {gpu}")?;
        }
        if self.gpus.is_empty() {
            writeln!(f, "GPU          none listed by a CUDA driver")?;
        }
        writeln!(f, "NVRTC        {}", self.nvrtc)?;
        writeln!(f, "cuBLASLt     {}", self.cublaslt)?;
        write!(f, "NCCL         {}", self.nccl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_never_panics_and_says_what_is_missing() {
        let found = probe();
        assert!(found.cpu.threads >= 1);
        assert_eq!(found.cpu.simd.last(), Some(&"portable SIMD"));
        let text = found.to_string();
        for library in [&found.driver, &found.nvrtc, &found.cublaslt, &found.nccl] {
            if let Library::Missing { why } = library {
                assert!(why.contains("found") && why.contains("it ") && text.contains(why.as_str()), "{why}");
                assert!(!found.cuda_complete() || library == &found.nccl);
            }
        }
    }

    #[test]
    fn versions_and_sizes_read_as_people_write_them() {
        let gpu = Gpu { name: "H200".to_owned(), capability: (9, 0), memory: 139 << 30 };
        assert_eq!(gpu.to_string(), "H200, sm_90, 139.0 GiB of memory");
        let cpu = CpuDevice { model: "A".to_owned(), simd: vec!["AVX2", "portable SIMD"], threads: 1, memory: None };
        assert_eq!(cpu.to_string(), "A, 1 thread, AVX2 > portable SIMD");
    }
}
