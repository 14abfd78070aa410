//! A GPU as a [`Driver`], through cudarc: the layer that only a GPU can test, and so as thin as it can be.
//!
//! cudarc panics when a library is absent, so [`Gpu::open`] asks for each before its first call. Two streams: one computes; one copies
//! frames, from two buffers of pinned memory in turns, so that the host fills one while the other is on its way.

pub mod bench;
pub mod compile;
mod multiply;
mod nccl;
mod staging;

use super::queue::Work;
use super::{Driver, Fused, Launch, Pointer, Product};
use crate::device::{Library, probe};
use crate::{Ranks, RanksError};
use cudarc::cublaslt::result::CublasError;
use cudarc::driver::{DriverError, result, sys};
use multiply::{Multiplier, WORKSPACE};
use nccl::Communicator;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::fmt;
use std::mem::MaybeUninit;

/// Why CUDA cannot be used here.
#[derive(Debug)]
#[non_exhaustive]
pub enum CudaError {
    /// A library is absent or does not work, or there is no GPU: what it is and how to get it.
    Missing(String),
    /// What is there is too old: what, and what is needed.
    TooOld(String),
    /// NVRTC refuses a kernel: a fault of ours, or of an NVRTC that does not know the GPU.
    Compile {
        /// The kernel's file.
        file: &'static str,
        /// What NVRTC says.
        log: String,
    },
    /// The driver or cuBLASLt refuses what it must be able to do.
    Refused {
        /// What was asked of it.
        what: String,
        /// Its answer.
        answer: String,
    },
}

impl fmt::Display for CudaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CudaError::Missing(why) | CudaError::TooOld(why) => f.write_str(why),
            CudaError::Compile { file, log } => write!(f, "NVRTC does not compile {file}: {log}"),
            CudaError::Refused { what, answer } => write!(f, "{what}: {answer}"),
        }
    }
}

impl std::error::Error for CudaError {}

fn refused(what: &str, error: DriverError) -> CudaError {
    let text = error.error_string().map_or(String::new(), |text| text.to_string_lossy().into_owned());
    CudaError::Refused { what: what.to_owned(), answer: format!("{:?} {text}", error.0) }
}

/// A device that fails in the middle of work cannot go on, and neither can its caller.
#[track_caller]
fn must<T>(what: &str, result: Result<T, DriverError>) -> T {
    result.unwrap_or_else(|error| panic!("CUDA: {}", refused(what, error)))
}

#[track_caller]
fn multiplied<T>(result: Result<T, CublasError>, p: &Product) -> T {
    result.unwrap_or_else(|error| panic!("cuBLASLt: [{}, {}] @ [{}, {}]: {error}", p.m, p.k, p.k, p.n))
}

/// Pinned memory on its way to the device.
struct Staging {
    at: *mut u8,
    bytes: usize,
    /// When it has arrived.
    arrived: sys::CUevent,
}

/// One GPU, its streams, its kernels.
pub struct Gpu {
    name: String,
    context: sys::CUcontext,
    compute: sys::CUstream,
    copy: sys::CUstream,
    uploaded: sys::CUevent,
    staging: [Staging; 2],
    modules: Vec<sys::CUmodule>,
    /// Kernels that were launched, and their threads a block.
    kernels: HashMap<&'static str, (sys::CUfunction, u32)>,
    multiplier: Multiplier,
    graphs: Vec<sys::CUgraphExec>,
    communicator: Option<Communicator>,
    /// Device memory to be freed at the end.
    memory: Vec<sys::CUdeviceptr>,
}

// SAFETY: the driver's handles may be used from any thread in which the context is current; every method makes it so.
unsafe impl Send for Gpu {}

impl Gpu {
    /// The GPU that CUDA lists at this place, with all kernels compiled.
    pub fn open(place: usize) -> Result<Gpu, CudaError> {
        let found = probe();
        for library in [&found.driver, &found.nvrtc, &found.cublaslt] {
            if let Library::Missing { why } = library {
                return Err(CudaError::Missing(why.clone()));
            }
        }
        let Some(gpu) = found.gpus.get(place) else {
            let why = match found.gpus.len() {
                0 => "the CUDA driver lists no GPU: see what nvidia-smi says".to_owned(),
                some => format!(
                    "the CUDA driver lists {some} GPUs, and this process is to take number {place} counted from 0 (LOCAL_RANK): start \
                     one process a GPU"
                ),
            };
            return Err(CudaError::Missing(why));
        };
        if gpu.capability < (8, 0) {
            return Err(CudaError::TooOld(format!("{gpu} has no bf16: sm_80 (Ampere) or later is needed")));
        }
        // SAFETY: NVRTC is there.
        let (version, mut cuda) = (unsafe { compile::version() }, 0);
        // SAFETY: libcuda is there, and `cuda` a place for the answer.
        unsafe { sys::cuDriverGetVersion(&mut cuda) }.result().map_err(|e| refused("version of the driver", e))?;
        if cuda / 1000 < version.0 {
            return Err(CudaError::TooOld(format!(
                "the CUDA driver is of CUDA {}.{}, and what NVRTC {}.{} compiles needs one of {}.0 or later: update the driver, or put \
                 an older NVRTC first on LD_LIBRARY_PATH",
                cuda / 1000,
                cuda % 1000 / 10,
                version.0,
                version.1,
                version.0,
            )));
        }
        let architecture = format!("sm_{}{}", gpu.capability.0, gpu.capability.1);
        let cache = compile::cache();
        let mut code = Vec::new();
        for source in compile::SOURCES {
            let place = compile::place(&cache, source, &architecture, version);
            // SAFETY: NVRTC is there.
            code.push(compile::kept(&place, || unsafe { compile::compile(source, &architecture, &[]) }.map(|c| c.0))?);
        }
        let name = format!("cuda ({}, {architecture})", gpu.name);
        // SAFETY: `probe` has started the driver, which lists that device.
        unsafe { Self::start(name, place, &code) }.map_err(|e| refused("starting on the GPU", e))?
    }

    /// # Safety
    /// The driver is there and has been started.
    unsafe fn start(name: String, place: usize, code: &[Vec<u8>]) -> Result<Result<Gpu, CudaError>, DriverError> {
        let untimed = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
        let stream = || result::stream::create(result::stream::StreamKind::NonBlocking);
        // SAFETY: the context is made current first; every handle comes from the driver just before.
        unsafe {
            let context = result::primary_ctx::retain(result::device::get(place as i32)?)?;
            result::ctx::set_current(context)?;
            let modules = code.iter().map(|code| result::module::load_data(code.as_ptr().cast()));
            let modules = modules.collect::<Result<Vec<_>, _>>()?;
            let staging = || -> Result<Staging, DriverError> {
                Ok(Staging { at: std::ptr::null_mut(), bytes: 0, arrived: result::event::create(untimed)? })
            };
            let workspace = result::malloc_sync(WORKSPACE)?;
            let multiplier = match Multiplier::new(workspace) {
                Ok(multiplier) => multiplier,
                Err(e) => {
                    let what = "starting cuBLASLt".to_owned();
                    return Ok(Err(CudaError::Refused { what, answer: e.to_string() }));
                }
            };
            Ok(Ok(Gpu {
                name,
                context,
                compute: stream()?,
                copy: stream()?,
                uploaded: result::event::create(untimed)?,
                staging: [staging()?, staging()?],
                modules,
                kernels: HashMap::new(),
                multiplier,
                graphs: Vec::new(),
                communicator: None,
                memory: vec![workspace],
            }))
        }
    }

    /// Makes the context current in this thread.
    fn enter(&self) {
        // SAFETY: the context lives as long as the process: it is the device's primary one and never released.
        must("making its context current", unsafe { result::ctx::set_current(self.context) });
    }

    /// Frees what `allocate` gave in a call for one size.
    fn release(&mut self, at: Pointer) {
        self.enter();
        self.memory.retain(|base| *base != at);
        // SAFETY: it came from `allocate`, and is taken from what `drop` frees.
        must("freeing device memory", unsafe { result::free_sync(at) });
    }

    /// A kernel and its threads a block, which its `__launch_bounds__` say; it may carve `shared` bytes from here on.
    fn kernel(&mut self, name: &'static str, shared: u32) -> (sys::CUfunction, u32) {
        if let Some(known) = self.kernels.get(name) {
            return *known;
        }
        let text = || CString::new(name).unwrap_or_else(|_| unreachable!("a kernel's name has no NUL"));
        // SAFETY: the modules are loaded and stay.
        let mut found = self.modules.iter().filter_map(|m| unsafe { result::module::get_function(*m, text()) }.ok());
        let function = found.next().unwrap_or_else(|| panic!("CUDA: no kernel is called {name}"));
        let bound = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
        // SAFETY: the function was just found.
        let threads = must(name, unsafe { result::function::get_function_attribute(function, bound) });
        if shared > 0 {
            let carved = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // As much shared memory as there is, so that as many blocks fit as its registers allow.
            let share = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT;
            for (attribute, value) in [(carved, shared.cast_signed()), (share, 100)] {
                // SAFETY: as above.
                must(name, unsafe { result::function::set_function_attribute(function, attribute, value) });
            }
        }
        let kernel = (function, threads.unsigned_abs());
        self.kernels.insert(name, kernel);
        kernel
    }

    fn joined(&self) -> &Communicator {
        self.communicator.as_ref().unwrap_or_else(|| unreachable!("the backend joins the ranks before it reduces"))
    }

    /// Queues a copy on the device.
    fn copy(&mut self, from: Pointer, to: Pointer, bytes: usize) {
        self.enter();
        // SAFETY: both are of at least so many bytes.
        must("a copy on the device", unsafe { result::memcpy_dtod_async(to, from, bytes, self.compute) });
    }

    /// Queues a kernel.
    fn launch(&mut self, launch: &Launch) {
        self.enter();
        let (function, threads) = self.kernel(launch.kernel, launch.shared);
        // A parameter of 4 bytes is read from the first 4 of 8: the devices' hosts are little-endian.
        let mut values: Vec<u64> = launch.arguments.iter().map(|argument| argument.bits().1).collect();
        let mut parameters: Vec<*mut c_void> = values.iter_mut().map(|value| (&raw mut *value).cast()).collect();
        let [x, y, z] = launch.grid;
        // SAFETY: the operator's file gives the kernel's parameters in their order and kind, as the emulator checks; CUDA reads them before
        // it returns.
        let queued = unsafe {
            result::launch_kernel(function, (x, y, z), (threads, 1, 1), launch.shared, self.compute, &mut parameters)
        };
        must(launch.kernel, queued);
    }

    /// Queues a matrix product.
    fn product(&mut self, product: &Product) {
        self.enter();
        // SAFETY: the backend has checked the lengths of the product's tensors.
        let queued = unsafe { self.multiplier.multiply(product, None, self.compute.cast()) };
        assert!(multiplied(queued, product), "cuBLASLt has no algorithm for {product:?}");
    }

    /// Queues a matrix product with what follows it; false, and nothing is queued, if cuBLASLt has no algorithm for it.
    fn product_with(&mut self, product: &Product, fused: Fused) -> bool {
        self.enter();
        // SAFETY: as for `product`.
        multiplied(unsafe { self.multiplier.multiply(product, Some(fused), self.compute.cast()) }, product)
    }
}

/// The next stage of a pipeline wants the memory. A device that has failed answers with errors, which nobody can use any more.
impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: everything is freed once, in the context that it was made in, after the streams have come to their ends.
        unsafe {
            let _ = result::ctx::set_current(self.context);
            for stream in [self.copy, self.compute] {
                let _ = result::stream::synchronize(stream);
                let _ = result::stream::destroy(stream);
            }
            for graph in self.graphs.drain(..) {
                let _ = result::graph::exec_destroy(graph);
            }
            // Graphs hold work of its: NCCL wants them gone first.
            drop(self.communicator.take());
            for at in self.memory.drain(..) {
                let _ = result::free_sync(at);
            }
            for staging in &self.staging {
                let _ = result::event::destroy(staging.arrived);
                if !staging.at.is_null() {
                    let _ = result::free_host(staging.at.cast());
                }
            }
            let _ = result::event::destroy(self.uploaded);
            for module in self.modules.drain(..) {
                let _ = result::module::unload(module);
            }
        }
    }
}

impl Driver for Gpu {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn free_memory(&self) -> Option<usize> {
        self.enter();
        Some(must("asking for free memory", result::mem_get_info()).0)
    }

    fn allocate(&mut self, bytes: &[usize]) -> Vec<Pointer> {
        self.enter();
        let mut total = 0;
        let starts: Vec<usize> = bytes
            .iter()
            .map(|bytes| {
                let start = total;
                total += bytes.next_multiple_of(256);
                start
            })
            .collect();
        let total = total.max(256);
        let what =
            || format!("{:.1} GiB of device memory (a smaller batch needs less)", total as f64 / f64::from(1 << 30));
        // SAFETY: the memory is ours, of `total` bytes, and lives as long as `self`.
        let base = unsafe {
            let base = must(&what(), result::malloc_sync(total));
            must("clearing memory", result::memset_d8_async(base, 0, total, self.compute));
            base
        };
        self.memory.push(base);
        self.synchronize();
        starts.into_iter().map(|start| base + start as u64).collect()
    }

    fn write(&mut self, to: Pointer, bytes: &[u8]) {
        self.enter();
        // SAFETY: `to` is of at least so many bytes. From pageable memory CUDA takes a copy before it returns.
        must("a transfer to the device", unsafe { result::memcpy_htod_async(to, bytes, self.compute) });
    }

    fn read(&mut self, from: Pointer, bytes: &mut [u8]) {
        self.enter();
        // SAFETY: `from` is of at least so many bytes, and `bytes` is borrowed until the stream has come to the end of the copy.
        unsafe {
            must("a transfer from the device", result::memcpy_dtoh_async(bytes, from, self.compute));
            must("waiting for the device", result::stream::synchronize(self.compute));
        }
    }

    fn queue(&mut self, work: &Work) {
        self.enter();
        match work {
            Work::Launch(launch) => self.launch(launch),
            Work::Product(product, None) => self.product(product),
            Work::Product(product, Some(fused)) => {
                let done = self.product_with(product, *fused);
                assert!(done, "cuBLASLt has no algorithm any more for {product:?} with {fused:?}");
            }
            Work::Copy { from, to, bytes } => self.copy(*from, *to, *bytes),
            // SAFETY: the backend has checked the length, and leaves the memory alone until it waits; the stream lives as long as `self`.
            Work::Reduce { at, len } => unsafe { self.joined().sum(*at, *len, self.compute) },
            // SAFETY: the stream lives as long as `self`.
            Work::AwaitReduced => unsafe { self.joined().wait(self.compute) },
        }
    }

    fn fuses(&mut self, product: &Product, with: Fused) -> bool {
        self.enter();
        multiplied(self.multiplier.fuses(product, with), product)
    }

    fn capture(&mut self, work: &[Work]) -> Option<usize> {
        self.enter();
        // Other threads may allocate and copy meanwhile.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives as long as `self`; between begin and end nothing but `work` is queued on it, none of which waits,
        // allocates or compiles: it has been queued before.
        let graph = unsafe {
            result::stream::begin_capture(self.compute, mode).ok()?;
            work.iter().for_each(|work| self.queue(work));
            result::stream::end_capture(self.compute).ok().filter(|graph| !graph.is_null())?
        };
        // SAFETY: the graph was just captured; what is instantiated does not need it any more.
        let executable = unsafe {
            let executable = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            must("releasing a graph", result::graph::destroy(graph));
            executable.ok()?
        };
        self.graphs.push(executable);
        Some(self.graphs.len() - 1)
    }

    fn replay(&mut self, graph: usize) {
        self.enter();
        // SAFETY: the graph lives as long as `self`, and so does all memory that it reads and writes.
        must("a captured step", unsafe { result::graph::launch(self.graphs[graph], self.compute) });
    }

    fn upload(&mut self, to: Pointer, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.enter();
        self.staging.swap(0, 1);
        let staging = &mut self.staging[0];
        // SAFETY: the buffer is waited for before it is written or replaced, and has room for `bytes`; `to` is of at least so many.
        unsafe {
            must("waiting for an upload", result::event::synchronize(staging.arrived));
            if staging.bytes < bytes.len() {
                if !staging.at.is_null() {
                    must("freeing pinned memory", result::free_host(staging.at.cast()));
                }
                // Where it was too small, some more than is asked for: packed frames have another length each time, and pinning
                // takes long.
                staging.bytes = bytes.len() + if staging.bytes == 0 { 0 } else { bytes.len() / 8 };
                staging.at = must("pinned memory", result::malloc_host(staging.bytes, 0)).cast();
            }
            let pinned = std::slice::from_raw_parts_mut(staging.at.cast::<MaybeUninit<u8>>(), bytes.len());
            staging::fill(pinned, bytes, |start, piece| {
                must("an upload", result::memcpy_htod_async(to + start as u64, piece, self.copy));
            });
            must("recording an upload", result::event::record(staging.arrived, self.copy));
        }
    }

    fn wait_uploads(&mut self) {
        self.enter();
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: the event and both streams live as long as `self`.
        unsafe {
            must("recording uploads", result::event::record(self.uploaded, self.copy));
            must("waiting for uploads", result::stream::wait_event(self.compute, self.uploaded, flags));
        }
    }

    fn join(&mut self, ranks: &Ranks) -> Result<(), RanksError> {
        self.enter();
        self.communicator = Some(Communicator::join(ranks)?);
        Ok(())
    }

    fn synchronize(&mut self) {
        self.enter();
        for stream in [self.copy, self.compute] {
            // SAFETY: the streams live as long as `self`.
            must("waiting for the device", unsafe { result::stream::synchronize(stream) });
        }
    }
}
