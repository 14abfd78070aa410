//! Every kernel through NVRTC for real architectures. No GPU is needed, but the library is: `cuda/compile.sh` fetches it.

use cudarc::nvrtc::sys;
use std::ffi::{CString, c_char};
use std::path::Path;

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

/// Compiles one file; its log, or panics with it.
fn compile(path: &Path, architecture: &str) -> String {
    let text = |path: &Path| CString::new(std::fs::read_to_string(path).unwrap()).unwrap();
    let header = path.with_file_name("device.cuh");
    let (source, header, header_name) = (text(path), text(&header), CString::new("device.cuh").unwrap());
    let name = CString::new(path.file_name().unwrap().to_str().unwrap()).unwrap();
    let options = [format!("--gpu-architecture={architecture}"), "--std=c++17".into(), "--ptxas-options=-v".into()];
    let options: Vec<CString> = options.into_iter().map(|option| CString::new(option).unwrap()).collect();
    let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
    let mut program = std::ptr::null_mut();
    let mut log = Vec::new();
    // SAFETY: every pointer is to a live NUL-terminated string or a place of the size that NVRTC asks for.
    let result = unsafe {
        let (headers, names) = ([header.as_ptr()], [header_name.as_ptr()]);
        let created =
            sys::nvrtcCreateProgram(&mut program, source.as_ptr(), name.as_ptr(), 1, headers.as_ptr(), names.as_ptr());
        assert_eq!(created, sys::nvrtcResult::NVRTC_SUCCESS);
        let result = sys::nvrtcCompileProgram(program, options.len() as i32, options.as_ptr());
        let mut size = 0;
        assert_eq!(sys::nvrtcGetProgramLogSize(program, &mut size), sys::nvrtcResult::NVRTC_SUCCESS);
        log.resize(size, 0u8);
        assert_eq!(sys::nvrtcGetProgramLog(program, log.as_mut_ptr().cast()), sys::nvrtcResult::NVRTC_SUCCESS);
        sys::nvrtcDestroyProgram(&mut program);
        result
    };
    let log = String::from_utf8_lossy(&log).into_owned();
    let clean = !log.contains("warning");
    assert!(
        result == sys::nvrtcResult::NVRTC_SUCCESS && clean,
        "{} for {architecture}: {result:?}\n{log}",
        path.display()
    );
    log
}

#[test]
#[ignore = "needs NVRTC 13.0, which kernels/cuda/compile.sh fetches"]
fn every_kernel_compiles_without_spills() {
    // SAFETY: loads the library, as `device::probe` does.
    assert!(unsafe { sys::is_culib_present() }, "NVRTC is not on LD_LIBRARY_PATH: run kernels/cuda/compile.sh");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda");
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut sources: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "cu")).collect();
    sources.sort();
    println!("{:<40} {:>8} {:>10} {:>10} {:>8}", "kernel", "for", "registers", "shared B", "spilled");
    let mut spilled = Vec::new();
    let mut count = 0;
    for source in &sources {
        for architecture in ARCHITECTURES {
            for Usage { kernel, registers, shared, spilled: bytes } in parse(&compile(source, architecture)) {
                println!("{kernel:<40} {architecture:>8} {registers:>10} {shared:>10} {bytes:>8}");
                assert!(registers > 0, "{kernel}: ptxas does not say how many registers");
                count += 1;
                if bytes > 0 {
                    spilled.push(kernel);
                }
            }
        }
    }
    let kernels = sources.iter().map(|path| std::fs::read_to_string(path).unwrap().matches("\nREGISTER(").count());
    assert!(
        count >= ARCHITECTURES.len() * kernels.sum::<usize>(),
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
