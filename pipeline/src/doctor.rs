//! What this machine has and what will be used.

use std::fmt;
use std::path::{Path, PathBuf};

use playhouse_kernels::device;
use serde::Serialize;

use crate::limits::{kibibytes, of_container};

/// Everything that `playhouse doctor` found out.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    /// Product version.
    pub version: &'static str,
    /// Operating system and processor architecture.
    pub system: String,
    /// The processor's name.
    pub processor: String,
    /// Cores this process may use.
    pub cores: usize,
    /// Threads that will be used.
    pub threads: usize,
    /// Memory of the machine, in bytes.
    pub memory_total: Option<u64>,
    /// Memory that is free to use, in bytes.
    pub memory_available: Option<u64>,
    /// The limit of the container, in bytes, if there is one.
    pub memory_limit: Option<u64>,
    /// Where runs are kept.
    pub home: PathBuf,
    /// Room on that disk, in bytes.
    pub disk_free: Option<u64>,
    /// Why the home cannot be written, if it cannot.
    pub home_problem: Option<String>,
    /// Instruction sets that the kernels know and the processor has, the best first.
    pub simd: Vec<&'static str>,
    /// GPUs that the CUDA driver lists.
    pub gpus: Vec<Gpu>,
    /// Libraries that are loaded when they are needed.
    pub libraries: Vec<Library>,
    /// What will do the computing.
    pub backend: String,
}

/// A GPU.
#[derive(Debug, Clone, Serialize)]
pub struct Gpu {
    /// As its driver calls it.
    pub name: String,
    /// `sm_90`.
    pub architecture: String,
    /// In bytes.
    pub memory: u64,
}

/// A library that is there, or why it is not.
#[derive(Debug, Clone, Serialize)]
pub struct Library {
    /// What it is called here.
    pub name: &'static str,
    /// Its version, if it is there.
    pub version: Option<String>,
    /// Why it cannot be used and what to do, if it cannot.
    pub missing: Option<String>,
}

impl Library {
    fn new(name: &'static str, found: &device::Library) -> Self {
        match found {
            device::Library::Present { version } => Self { name, version: Some(version.clone()), missing: None },
            device::Library::Missing { why } => Self { name, version: None, missing: Some(why.clone()) },
        }
    }
}

/// Looks at the machine. Changes nothing but a file that it makes and removes in the home, if the home is there.
pub fn examine(home: &Path, threads: usize) -> Findings {
    let devices = device::probe();
    let gpu = |gpu: &device::Gpu| Gpu {
        name: gpu.name.clone(),
        architecture: format!("sm_{}{}", gpu.capability.0, gpu.capability.1),
        memory: gpu.memory,
    };
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let place = existing(home);
    let disk = rustix::fs::statvfs(&place).ok();
    Findings {
        version: env!("CARGO_PKG_VERSION"),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        processor: devices.cpu.model.clone(),
        cores: devices.cpu.threads,
        threads,
        memory_total: devices.cpu.memory,
        memory_available: kibibytes(&memory, "MemAvailable:"),
        memory_limit: of_container(),
        home: home.to_owned(),
        disk_free: disk.map(|d| d.f_bavail * d.f_frsize),
        home_problem: writable(&place).err().map(|e| format!("{}: {e}", place.display())),
        gpus: devices.gpus.iter().map(gpu).collect(),
        libraries: vec![
            Library::new("CUDA driver", &devices.driver),
            Library::new("NVRTC", &devices.nvrtc),
            Library::new("cuBLASLt", &devices.cublaslt),
            Library::new("NCCL", &devices.nccl),
        ],
        backend: backend(&devices, threads),
        simd: devices.cpu.simd,
    }
}

/// The nearest folder above that exists: where the home would be made.
fn existing(home: &Path) -> PathBuf {
    let whole = std::path::absolute(home).unwrap_or_else(|_| home.to_owned());
    whole.ancestors().find(|path| path.is_dir()).map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

fn writable(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".tmp-doctor-{}", std::process::id()));
    std::fs::File::create_new(&probe)?;
    std::fs::remove_file(probe)
}

/// A line of /proc/meminfo, in bytes.
/// What trains and plays with `--device auto`, which starts it to be sure.
fn backend(devices: &device::Devices, threads: usize) -> String {
    let simd = devices.cpu.simd.first().copied().unwrap_or("scalar");
    match devices.gpus.first() {
        Some(gpu) if devices.cuda_complete() => format!("the CUDA backend: {gpu} (--device)"),
        _ => format!("the CPU backend: {threads} threads, {simd} (--device)"),
    }
}

/// Bytes as people read them: `1.5 GiB`.
pub fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |value: Option<u64>| value.map_or_else(|| "not known".to_owned(), bytes);
        writeln!(f, "playhouse   {} on {}", self.version, self.system)?;
        writeln!(f, "processor   {} ({})", self.processor, self.simd.join(", "))?;
        writeln!(f, "cores       {}, of which {} will be used (--threads)", self.cores, self.threads)?;
        let limit = self.memory_limit.map(|limit| format!(", limited to {}", bytes(limit))).unwrap_or_default();
        writeln!(f, "memory      {} of {} available{limit}", size(self.memory_available), size(self.memory_total))?;
        writeln!(f, "home        {}, {} free on its disk (--home)", self.home.display(), size(self.disk_free))?;
        if let Some(problem) = &self.home_problem {
            writeln!(f, "            CANNOT BE WRITTEN: {problem}; choose another with --home")?;
        }
        for gpu in &self.gpus {
            writeln!(f, "gpu         {}, {}, {}", gpu.name, gpu.architecture, bytes(gpu.memory))?;
        }
        for library in &self.libraries {
            let state = library.version.as_deref().or(library.missing.as_deref()).unwrap_or_default();
            writeln!(f, "{:<11} {state}", library.name)?;
        }
        writeln!(f, "will use    {}", self.backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!([bytes(12), bytes(1536), bytes(3 << 30)], ["12 B", "1.5 KiB", "3.0 GiB"]);
    }

    #[test]
    fn says_why_a_home_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(examine(&folder.path().join("not/yet"), 2).home_problem, None);
        assert!(examine(Path::new("/proc/nowhere"), 2).home_problem.is_some());
    }
}
