//! A GPU as the laboratory's [`Bench`], and its clock.

use super::super::laboratory::Bench;
use super::super::laboratory::timing::{Work, uniform};
use super::super::{Cuda, Driver, Fused, Launch, Operand, Pointer, Product, Store, bf16};
use super::{CudaError, Gpu, must};
use crate::Backend;
use cudarc::driver::{result, sys};

/// A GPU with memory for one case at a time.
pub struct GpuBench {
    gpu: Gpu,
    held: Vec<Pointer>,
}

impl GpuBench {
    /// The first GPU.
    ///
    /// # Errors
    /// What is missing or too old, and how to get it.
    pub fn open() -> Result<Self, CudaError> {
        Ok(Self { gpu: Gpu::open(0)?, held: Vec::new() })
    }

    /// The GPU in words.
    pub fn name(&self) -> String {
        self.gpu.name()
    }

    /// Gives back what a case has allocated.
    pub fn clear(&mut self) {
        self.gpu.synchronize();
        for at in self.held.drain(..) {
            self.gpu.release(at);
        }
    }
}

impl Bench for GpuBench {
    fn alloc(&mut self, _: &str, bytes: usize) -> Pointer {
        let at = self.gpu.allocate(&[bytes])[0];
        self.gpu.write(at, &vec![0xff; bytes]);
        self.held.push(at);
        at
    }
    fn write(&mut self, to: Pointer, bytes: &[u8]) {
        self.gpu.write(to, bytes);
    }
    fn read(&mut self, from: Pointer, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        self.gpu.read(from, &mut read);
        read
    }
    fn launch(&mut self, launch: &Launch) -> Result<(), String> {
        self.gpu.launch(launch);
        Ok(())
    }
    fn multiply(&mut self, product: &Product, fused: Option<Fused>) -> Result<bool, String> {
        match fused {
            Some(fused) => Ok(self.gpu.product_with(product, fused)),
            None => {
                self.gpu.product(product);
                Ok(true)
            }
        }
    }
}

/// More than any level-2 cache holds.
const FLUSH: usize = 256 << 20;

/// A backend on a GPU with a clock.
pub struct Clock {
    cuda: Cuda<Gpu>,
    flush: Pointer,
    events: [sys::CUevent; 2],
}

/// What the card reaches at its best.
#[derive(Clone, Copy, Debug)]
pub struct Ceilings {
    /// Bytes a second of a copy in device memory, read and written.
    pub bytes: f64,
    /// Multiplications and additions a second of a bf16 product of 8192x8192 matrices.
    pub flops: f64,
}

impl Clock {
    /// The first GPU.
    ///
    /// # Errors
    /// What is missing or too old, and how to get it.
    pub fn open() -> Result<Self, CudaError> {
        let mut gpu = Gpu::open(0)?;
        let flush = gpu.allocate(&[FLUSH])[0];
        let event = || must("making an event", result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT));
        gpu.enter();
        let events = [event(), event()];
        Ok(Self { cuda: Cuda::new(gpu), flush, events })
    }

    /// The backend, to plan memory on.
    pub fn backend(&mut self) -> &mut dyn Backend {
        &mut self.cuda
    }

    /// Milliseconds of a work, so many times, each time with a cold cache; the first run is not counted.
    ///
    /// The clock runs on the device from before the first of its kernels to after the last: gaps between them count.
    pub fn milliseconds(&mut self, work: &Work, repeat: usize) -> Vec<f64> {
        let mut times: Vec<f64> = (0..=repeat).map(|_| self.time(&mut |cuda| work.run(cuda))).collect();
        times.remove(0);
        times
    }

    fn time(&mut self, run: &mut dyn FnMut(&mut Cuda<Gpu>)) -> f64 {
        let [start, end] = self.events;
        let gpu = self.cuda.driver();
        gpu.enter();
        // SAFETY: the events and the stream live as long as `self`; `flush` is of FLUSH bytes.
        unsafe {
            must("clearing the cache", result::memset_d8_async(self.flush, 1, FLUSH, gpu.compute));
            must("starting the clock", result::event::record(start, gpu.compute));
        }
        run(&mut self.cuda);
        let gpu = self.cuda.driver();
        // SAFETY: as above; both events are over when they are read.
        unsafe {
            must("stopping the clock", result::event::record(end, gpu.compute));
            gpu.synchronize();
            f64::from(must("reading the clock", result::event::elapsed(start, end)))
        }
    }

    /// Measures the ceilings: the best of so many runs.
    pub fn ceilings(&mut self, repeat: usize) -> Ceilings {
        const SIDE: usize = 8192;
        const COPIED: usize = 1 << 30;
        // Each of a call of its own, so that each can be released.
        let [from, to] = [(); 2].map(|()| self.cuda.driver().allocate(&[COPIED])[0]);
        // Zeros would be multiplied faster than numbers: they need less power.
        self.cuda.driver().write(from, &bf16::encode(&uniform(SIDE * SIDE)));
        let plain = |at| Operand { at, transposed: false };
        let (m, k, n, store) = (SIDE, SIDE, SIDE, Store::Bf16);
        let product = Product { left: plain(from), right: plain(from), out: to, store, accumulate: false, m, k, n };
        let mut best = |run: &mut dyn FnMut(&mut Gpu)| {
            let times = (0..=repeat).map(|_| self.time(&mut |cuda| run(cuda.driver())));
            times.fold(f64::INFINITY, f64::min) / 1000.0
        };
        let copy = best(&mut |gpu| gpu.copy(from, to, COPIED));
        let multiply = best(&mut |gpu| gpu.product(&product));
        [from, to].into_iter().for_each(|at| self.cuda.driver().release(at));
        Ceilings { bytes: 2.0 * COPIED as f64 / copy, flops: 2.0 * (SIDE as f64).powi(3) / multiply }
    }
}
