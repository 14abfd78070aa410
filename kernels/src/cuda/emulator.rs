//! The emulated device: `cuda/*.cu` compiled as C++ with `cuda/emulator`, run as a child process. Tests only, here and in the crates
//! above; it is part of the library for theirs.
//!
//! Objects are kept below the target folder under the hash of what they were made of, so an edit to one kernel compiles one.

#![expect(clippy::unwrap_used, reason = "for tests")]

use super::laboratory::Bench;
use super::linear::Epilogue;
use super::queue::Work;
use super::{Cuda, Driver, Fused, Launch, Operand, Pointer, Product, Store, bf16};
use crate::reference::gelu;
use crate::{Backend, Ranks, RanksError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Checks are switched on by the sanitizer's instrumentation; its runtime is the emulator's.
const KERNEL_FLAGS: [&str; 4] = ["-O1", "-fsanitize=thread", "-fno-strict-aliasing", "-Wno-unknown-pragmas"];
const RUNTIME_FLAGS: [&str; 1] = ["-O2"];
const FLAGS: [&str; 7] = ["-std=c++17", "-g", "-fno-pie", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"];

/// The C++ compiler that the build script found. Without one the tests that need it are ignored.
const COMPILER: &str = env!("PLAYHOUSE_CXX");

/// Whether there is a C++ compiler, and the kernels' sources are where they were when this was built.
pub fn available() -> bool {
    !COMPILER.is_empty() && cuda().is_dir()
}

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

/// The backend on an emulated device of its own. It fuses nothing with products, so that everything is a kernel of ours.
pub fn backend() -> Box<dyn Backend> {
    with_graphs(true).0
}

/// The same, which makes graphs of repeated work or refuses to, and how many of them it has replayed.
pub fn with_graphs(makes: bool) -> (Box<dyn Backend>, Arc<AtomicUsize>) {
    let emulated = Emulated::start(makes, None);
    let replayed = Arc::clone(&emulated.graphs.replayed);
    (Box::new(Cuda::new(emulated)), replayed)
}

/// The backend on an emulated device that fuses with products whatever it is asked to, and how many it has done so in forward and in
/// backward passes.
pub fn fusing() -> (Box<dyn Backend>, Arc<[AtomicUsize; 2]>) {
    let done = Arc::<[AtomicUsize; 2]>::default();
    (Box::new(Cuda::new(Emulated::start(true, Some(Arc::clone(&done))))), done)
}

/// An emulated device that runs the threads of every launch in the order of a seed: 0 is as they are numbered, 1 is reversed.
pub struct Scheduled {
    /// With memory of its own.
    pub device: Device,
    /// Of the order.
    pub seed: u64,
}

impl Bench for Scheduled {
    fn alloc(&mut self, name: &str, bytes: usize) -> Pointer {
        self.device.alloc(name, bytes)
    }
    fn write(&mut self, to: Pointer, bytes: &[u8]) {
        self.device.write(to, bytes);
    }
    fn read(&mut self, from: Pointer, bytes: usize) -> Vec<u8> {
        self.device.read(from, bytes)
    }
    fn launch(&mut self, launch: &Launch) -> Result<(), String> {
        self.device.launch(launch, self.seed)
    }
    fn multiply(&mut self, product: &Product, fused: Option<Fused>) -> Result<bool, String> {
        self.device.multiply(product, fused);
        Ok(true)
    }
}

/// The emulated device as a driver: every buffer has its red zones, every access is checked, products are plain loops.
struct Emulated {
    device: Device,
    buffers: usize,
    graphs: Graphs,
    /// How many products it has done with what follows them, forward and backward; none if it does not.
    fused: Option<Arc<[AtomicUsize; 2]>>,
    ranks: Ranks,
    /// Sums that have begun: where, and what lay there. They arrive as late as they may, and over whatever was written meanwhile.
    reducing: Vec<(Pointer, Vec<u8>)>,
}

struct Graphs {
    makes: bool,
    made: Vec<Vec<Work>>,
    replayed: Arc<AtomicUsize>,
}

impl Emulated {
    fn start(makes: bool, fused: Option<Arc<[AtomicUsize; 2]>>) -> Self {
        let graphs = Graphs { makes, made: Vec::new(), replayed: Arc::default() };
        let (ranks, reducing) = (Ranks::default(), Vec::new());
        Emulated { device: Device::start(), buffers: 0, graphs, fused, ranks, reducing }
    }
}

impl Driver for Emulated {
    fn name(&self) -> String {
        "emulated CUDA device".to_owned()
    }
    fn free_memory(&self) -> Option<usize> {
        None
    }
    fn allocate(&mut self, bytes: &[usize]) -> Vec<Pointer> {
        let mut one = |bytes: usize| {
            self.buffers += 1;
            let at = self.device.alloc(&format!("buffer {}", self.buffers), bytes);
            self.device.write(at, &vec![0; bytes]);
            at
        };
        bytes.iter().map(|bytes| one(*bytes)).collect()
    }
    fn write(&mut self, to: Pointer, bytes: &[u8]) {
        self.device.write(to, bytes);
    }
    fn read(&mut self, from: Pointer, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.device.read(from, bytes.len()));
    }
    fn queue(&mut self, work: &Work) {
        match work {
            Work::Launch(launch) => self.device.launch(launch, 0).unwrap_or_else(|error| panic!("{error}")),
            Work::Product(product, None) => self.device.multiply(product, None),
            Work::Product(product, Some(with)) => {
                let [forward, backward] =
                    &**self.fused.as_ref().unwrap_or_else(|| panic!("{with:?} is not fused here: {product:?}"));
                let count = if matches!(with, Fused::GeluBackward { .. }) { backward } else { forward };
                count.fetch_add(1, Ordering::Relaxed);
                self.device.multiply(product, Some(*with));
            }
            Work::Copy { from, to, bytes } => {
                let bytes = self.device.read(*from, *bytes);
                self.device.write(*to, &bytes);
            }
            Work::Reduce { at, len } => self.reducing.push((*at, self.device.read(*at, len * 4))),
            Work::AwaitReduced => {
                for (at, bytes) in std::mem::take(&mut self.reducing) {
                    let mut values: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                    self.ranks.sum_f32(&mut values).unwrap();
                    self.device.write(at, &values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
                }
            }
        }
    }
    fn fuses(&mut self, _: &Product, _: Fused) -> bool {
        self.fused.is_some()
    }
    fn capture(&mut self, work: &[Work]) -> Option<usize> {
        self.graphs.made.push(work.to_vec());
        self.graphs.makes.then(|| self.graphs.made.len() - 1)
    }
    fn replay(&mut self, graph: usize) {
        let work = std::mem::take(&mut self.graphs.made[graph]);
        work.iter().for_each(|work| self.queue(work));
        self.graphs.made[graph] = work;
        self.graphs.replayed.fetch_add(1, Ordering::Relaxed);
    }
    fn upload(&mut self, to: Pointer, bytes: &[u8]) {
        self.device.write(to, bytes);
    }
    fn wait_uploads(&mut self) {}
    fn join(&mut self, ranks: &Ranks) -> Result<(), RanksError> {
        self.ranks = ranks.clone();
        Ok(())
    }
    fn synchronize(&mut self) {}
}

/// One emulated device with memory of its own.
pub struct Device {
    child: Child,
    requests: BufWriter<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Device {
    /// A device whose kernels are compiled if they are not.
    pub fn start() -> Device {
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

    /// Host to device.
    pub fn write(&mut self, to: Pointer, bytes: &[u8]) {
        let mut request = vec![b'w'];
        request.extend(to.to_le_bytes());
        request.extend((bytes.len() as u64).to_le_bytes());
        request.extend(bytes);
        self.ask(&request).unwrap();
    }

    /// Device to host.
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
        request.extend(launch.shared.to_le_bytes());
        request.extend(seed.to_le_bytes());
        request.extend((launch.arguments.len() as u32).to_le_bytes());
        for argument in &launch.arguments {
            let (kind, bits) = argument.bits();
            request.push(kind);
            request.extend(bits.to_le_bytes());
        }
        self.ask(&request).map(|_| ())
    }

    /// A matrix product in plain loops, with what NVIDIA's documentation says of cuBLASLt's epilogues.
    fn multiply(&mut self, p: &Product, fused: Option<Fused>) {
        let Product { m, k, n, .. } = *p;
        let (left, right) = (self.operand(p.left, m, k), self.operand(p.right, k, n));
        let mut out = vec![0.0f32; m * n];
        if p.accumulate {
            assert!(p.store == Store::F32, "a product is added to f32 only");
            let before = self.read(p.out, m * n * 4);
            let values = before.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            out.iter_mut().zip(values).for_each(|(to, x)| *to = x);
        }
        for (left, out) in left.chunks_exact(k).zip(out.chunks_exact_mut(n)) {
            for (x, right) in left.iter().zip(right.chunks_exact(n)) {
                out.iter_mut().zip(right).for_each(|(to, w)| *to += x * w);
            }
        }
        if let Some(fused) = fused {
            self.finish(&mut out, n, fused);
        }
        let bytes = match p.store {
            Store::Bf16 => bf16::encode(&out),
            Store::F32 => out.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        self.write(p.out, &bytes);
    }

    /// What follows a product out[M,N] before it is rounded. What is kept for the backward pass is rounded on its own.
    fn finish(&mut self, out: &mut [f32], n: usize, fused: Fused) {
        match fused {
            Fused::Forward { bias, epilogue } => {
                let bias = self.halves(bias, n);
                out.chunks_exact_mut(n).flat_map(|row| row.iter_mut().zip(&bias)).for_each(|(z, b)| *z += b);
                match epilogue {
                    Epilogue::Bias => {}
                    Epilogue::Gelu { pre } => {
                        self.write(pre, &bf16::encode(out));
                        map(out, gelu::forward);
                    }
                    Epilogue::Residual { skip } => {
                        let skip = self.halves(skip, out.len());
                        out.iter_mut().zip(skip).for_each(|(y, skip)| *y += skip);
                    }
                }
            }
            Fused::GeluBackward { pre } => {
                let pre: Vec<f64> = self.halves(pre, out.len()).into_iter().map(f64::from).collect();
                map(out, |product| gelu::backward(product, &pre));
            }
        }
    }

    /// So many bf16.
    fn halves(&mut self, at: Pointer, len: usize) -> Vec<f32> {
        bf16::decode(&self.read(at, len * 2)).collect()
    }

    /// A [rows, cols] operand of a product.
    fn operand(&mut self, operand: Operand, rows: usize, cols: usize) -> Vec<f32> {
        let values = self.halves(operand.at, rows * cols);
        if !operand.transposed {
            return values;
        }
        (0..rows * cols).map(|i| values[i % cols * rows + i / cols]).collect()
    }
}

/// out = f(out), by an oracle.
fn map(out: &mut [f32], f: impl Fn(&[f64]) -> Vec<f64>) {
    let exact: Vec<f64> = out.iter().copied().map(f64::from).collect();
    out.iter_mut().zip(f(&exact)).for_each(|(out, exact)| *out = exact as f32);
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
