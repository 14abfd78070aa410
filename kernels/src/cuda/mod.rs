//! The CUDA backend.
//!
//! ```text
//! Backend's operators      backend.rs    checks kinds and lengths, finds addresses (memory.rs), takes scratch memory
//!   -> lists of Launch     one file an operator, as its kernels in cuda/*.cu: which kernels, how many blocks, which arguments
//!   -> Queue               queue.rs      what is put off, and the graphs of steps that came before
//!   -> Driver              driver.rs     memory, transfers, launches, matrix products: all that a device has to do
//!        a GPU         device/       cudarc: NVRTC, two streams, cuBLASLt
//!        emulated          emulator.rs   kernels compiled as C++, products in plain loops: tests on any CPU
//! ```
//!
//! One operator, one file here, one `.cu` of the same name, one oracle in [`crate::reference`]. A [`Launch`] is data, so that the
//! same list runs on the emulator and on a device.
//!
//! Tensors are device addresses. Activations are bf16; parameters, their gradients and statistics are f32, and beside each weight
//! lies its bf16 copy, which matrix products read. `parts` is scratch memory of the length that the operator's `parts` function tells.

mod adamw;
mod attention;
mod backend;
mod bf16;
mod bottleneck;
mod bradley_terry;
mod depthwise;
mod device;
mod driver;
mod elementary;
pub mod emulator;
mod frames;
pub mod laboratory;
mod layer_norm;
mod linear;
mod memory;
mod planes;
mod policy_loss;
mod queue;
mod stem;
#[cfg(test)]
mod tests;

use std::hash::{Hash, Hasher};

use backend::Cuda;
use driver::{Driver, Fused, Operand, Product};

pub use device::CudaError;

/// The GPU at this place of CUDA's list, counted from 0, as a backend.
///
/// # Errors
/// What is missing or too old, and how to get it.
pub fn open(place: usize) -> Result<Box<dyn crate::Backend>, CudaError> {
    Ok(Box::new(Cuda::new(device::Gpu::open(place)?)))
}

/// A device address.
pub type Pointer = u64;

/// How a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Store {
    /// Rounded to nearest, ties to even.
    Bf16,
    /// As it is.
    F32,
}

impl Store {
    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Store::Bf16 => 2,
            Store::F32 => 4,
        }
    }
}

/// One argument of a kernel, by the kind of its parameter. Numbers are equal if their bits are.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    /// A tensor.
    Pointer(Pointer),
    /// A size or a switch.
    Int(i32),
    /// A number.
    Float(f32),
}

impl Argument {
    /// The kind of the parameter, and the bits of its value.
    fn bits(self) -> (u8, u64) {
        match self {
            Argument::Pointer(p) => (b'p', p),
            Argument::Int(i) => (b'i', u64::from(i.cast_unsigned())),
            Argument::Float(f) => (b'f', u64::from(f.to_bits())),
        }
    }
}

impl PartialEq for Argument {
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Argument {}

impl Hash for Argument {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

/// One kernel launch. Its block size is the kernel's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Launch {
    /// Name of the entry point.
    pub kernel: &'static str,
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Bytes of shared memory that a block carves its arrays from, where 48 KiB do not do.
    pub shared: u32,
    /// In the order of the kernel's parameters.
    pub arguments: Vec<Argument>,
}

impl From<Pointer> for Argument {
    fn from(pointer: Pointer) -> Argument {
        Argument::Pointer(pointer)
    }
}

/// # Panics
/// If the size does not fit the kernels' `int` (programmer error).
impl From<usize> for Argument {
    fn from(size: usize) -> Argument {
        Argument::Int(
            i32::try_from(size).unwrap_or_else(|_| panic!("a size of {size} elements is beyond the kernels' int")),
        )
    }
}

impl From<bool> for Argument {
    fn from(on: bool) -> Argument {
        Argument::Int(i32::from(on))
    }
}

impl From<f32> for Argument {
    fn from(number: f32) -> Argument {
        Argument::Float(number)
    }
}

/// `launch!("name", [x, y, z], a, b, c)`: a [`Launch`] of sizes and arguments as they are.
macro_rules! launch {
    ($kernel:expr, [$x:expr, $y:expr, $z:expr], $($argument:expr),+ $(,)?) => {
        $crate::cuda::Launch {
            kernel: $kernel,
            grid: [$x, $y, $z].map($crate::cuda::blocks),
            shared: 0,
            arguments: vec![$($crate::cuda::Argument::from($argument)),+],
        }
    };
}
use launch;

/// # Panics
/// If there are more blocks than CUDA takes (programmer error).
fn blocks(count: usize) -> u32 {
    u32::try_from(count).unwrap_or_else(|_| panic!("a grid of {count} blocks"))
}

/// Gradients that one launch adds up.
const GRADIENTS: usize = 7;

/// Each gradient += the sum over rows of its columns of parts[rows, ..], which hold the gradients one after another; each comes with its
/// length.
///
/// # Panics
/// If there are more than [`GRADIENTS`] (programmer error).
fn add_rows(parts: Pointer, rows: usize, gradients: &[(Pointer, usize)]) -> Launch {
    assert!(gradients.len() <= GRADIENTS, "{} gradients in one launch", gradients.len());
    let columns: usize = gradients.iter().map(|(_, columns)| columns).sum();
    let mut launch = launch!("add_rows", [columns.div_ceil(32), 1, 1], parts, rows);
    let none = std::iter::repeat_n(&(0, 0), GRADIENTS - gradients.len());
    for (gradient, columns) in gradients.iter().chain(none) {
        launch.arguments.extend([Argument::from(*gradient), Argument::from(*columns)]);
    }
    launch
}
