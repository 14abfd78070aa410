//! The emulated device: `cuda/*.cu` compiled as C++ with `cuda/emulator`, run as a child process.
//!
//! Objects are kept below the target folder under the hash of what they were made of, so an edit to one kernel compiles one.

use crate::cuda::{Argument, Launch, Pointer};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// Checks are switched on by the sanitizer's instrumentation; its runtime is the emulator's.
const KERNEL_FLAGS: [&str; 4] = ["-O1", "-fsanitize=thread", "-fno-strict-aliasing", "-Wno-unknown-pragmas"];
const RUNTIME_FLAGS: [&str; 1] = ["-O2"];
const FLAGS: [&str; 7] = ["-std=c++17", "-g", "-fno-pie", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"];

/// The C++ compiler that the build script found. Without one the tests that need it are ignored.
const COMPILER: &str = env!("PLAYHOUSE_CXX");

fn cuda() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda")
}

/// Files of a folder with one of these extensions, in order of their names.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let has = |path: &PathBuf| path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x));
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(has).collect();
    files.sort();
    files
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Writes under a name of its own, then renames: tests of several processes may build at once.
fn build(path: &Path, write: impl FnOnce(&Path)) {
    if !path.exists() {
        let temporary = path.with_extension(format!("{}", std::process::id()));
        write(&temporary);
        std::fs::rename(temporary, path).unwrap();
    }
}

fn compile(source: &Path, headers: &str, folder: &Path) -> PathBuf {
    let is_kernel = source.extension().is_some_and(|e| e == "cu");
    let mut flags = FLAGS.to_vec();
    flags.extend(if is_kernel { &KERNEL_FLAGS[..] } else { &RUNTIME_FLAGS[..] });
    let mut hash = DefaultHasher::new();
    (COMPILER, &flags, headers, std::fs::read_to_string(source).unwrap()).hash(&mut hash);
    let stem = source.file_stem().unwrap().to_str().unwrap();
    let object = folder.join(format!("{stem}-{:016x}.o", hash.finish()));
    build(&object, |to| {
        let include = cuda().join("emulator");
        let mut command = Command::new(COMPILER);
        command.args(&flags).arg("-I").arg(cuda()).arg("-I").arg(&include).arg("-include").arg(include.join("cuda.h"));
        run(command.args(["-x", "c++", "-c"]).arg(source).arg("-o").arg(to));
    });
    object
}

/// The device's executable, built if it is not there.
fn executable() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let target = std::env::current_exe().unwrap();
        let folder = target.ancestors().nth(2).unwrap().join("cuda-emulator");
        std::fs::create_dir_all(&folder).unwrap();
        let emulator = cuda().join("emulator");
        let mut headers = files(&cuda(), &["cuh"]);
        headers.extend(files(&emulator, &["h"]));
        let headers: String = headers.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        let mut sources = files(&cuda(), &["cu"]);
        sources.extend(files(&emulator, &["cpp", "cu"]));
        let (sources, headers, objects) = (&sources, &headers, &folder);
        let compiled: Vec<PathBuf> = std::thread::scope(|scope| {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            let worker = move |first: usize| {
                let own = sources.iter().enumerate().skip(first).step_by(threads);
                own.map(|(i, source)| (i, compile(source, headers, objects))).collect::<Vec<_>>()
            };
            let workers: Vec<_> = (0..threads).map(|first| scope.spawn(move || worker(first))).collect();
            let mut all: Vec<_> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
            all.sort();
            all.into_iter().map(|(_, object)| object).collect()
        });
        let mut hash = DefaultHasher::new();
        compiled.hash(&mut hash);
        let device = folder.join(format!("device-{:016x}", hash.finish()));
        build(&device, |to| run(Command::new(COMPILER).arg("-no-pie").args(&compiled).arg("-o").arg(to)));
        device
    })
}

/// One emulated device with memory of its own.
pub struct Device {
    child: Child,
    requests: BufWriter<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Device {
    pub fn new() -> Device {
        let mut command = Command::new(executable());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (requests, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Device { child, requests: BufWriter::new(requests), answers: BufReader::new(answers) }
    }

    /// What the device answers to a request (cuda/emulator/main.cpp has the protocol), or its error.
    fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, String> {
        self.requests.write_all(request).and_then(|()| self.requests.flush()).map_err(|e| e.to_string())?;
        let mut head = [0; 9];
        self.answers.read_exact(&mut head).map_err(|e| format!("the emulator ended: {e}"))?;
        let mut answer = vec![0; u64::from_le_bytes(head[1..].try_into().unwrap()) as usize];
        self.answers.read_exact(&mut answer).map_err(|e| format!("the emulator ended: {e}"))?;
        if head[0] == 1 { Ok(answer) } else { Err(String::from_utf8_lossy(&answer).into_owned()) }
    }

    /// A buffer of NaN patterns.
    pub fn alloc(&mut self, name: &str, bytes: usize) -> Pointer {
        let mut request = vec![b'a'];
        request.extend((bytes as u64).to_le_bytes());
        request.extend((name.len() as u64).to_le_bytes());
        request.extend(name.as_bytes());
        u64::from_le_bytes(self.ask(&request).unwrap().try_into().unwrap())
    }

    pub fn write(&mut self, to: Pointer, bytes: &[u8]) {
        let mut request = vec![b'w'];
        request.extend(to.to_le_bytes());
        request.extend((bytes.len() as u64).to_le_bytes());
        request.extend(bytes);
        self.ask(&request).unwrap();
    }

    pub fn read(&mut self, from: Pointer, bytes: usize) -> Vec<u8> {
        let mut request = vec![b'r'];
        request.extend(from.to_le_bytes());
        request.extend((bytes as u64).to_le_bytes());
        self.ask(&request).unwrap()
    }

    /// Runs a launch to its end, with the schedule of `seed`.
    pub fn launch(&mut self, launch: &Launch, seed: u64) -> Result<(), String> {
        let mut request = vec![b'l'];
        request.extend((launch.kernel.len() as u64).to_le_bytes());
        request.extend(launch.kernel.as_bytes());
        launch.grid.iter().for_each(|n| request.extend(n.to_le_bytes()));
        request.extend(seed.to_le_bytes());
        request.extend((launch.arguments.len() as u32).to_le_bytes());
        for argument in &launch.arguments {
            let (kind, bits) = match argument {
                Argument::Pointer(p) => (b'p', *p),
                Argument::Int(i) => (b'i', u64::from(i.cast_unsigned())),
                Argument::Float(f) => (b'f', u64::from(f.to_bits())),
            };
            request.push(kind);
            request.extend(bits.to_le_bytes());
        }
        self.ask(&request).map(|_| ())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
