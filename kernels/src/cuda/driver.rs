//! What a device has to do for the backend: everything above this seam runs in tests on any CPU.

use super::queue::Work;
use super::{Pointer, Store, linear};
use crate::{Ranks, RanksError};

/// A row-major bf16 matrix of a [`Product`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operand {
    /// Its first element.
    pub at: Pointer,
    /// What lies there is the operand's transpose.
    pub transposed: bool,
}

/// out[M,N] = left[M,K] @ right[K,N], summed in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Product {
    /// [M,K]; stored [K,M] where transposed.
    pub left: Operand,
    /// [K,N]; stored [N,K] where transposed.
    pub right: Operand,
    /// [M,N], row-major.
    pub out: Pointer,
    /// How `out` is stored.
    pub store: Store,
    /// The product is added to `out`.
    pub accumulate: bool,
    /// Rows of `out`.
    pub m: usize,
    /// Columns of `left`.
    pub k: usize,
    /// Columns of `out`.
    pub n: usize,
}

/// What a device may do with a product before it stores it, so that the product itself is never read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fused {
    /// The rest of a linear layer's forward pass.
    Forward {
        /// bf16 [N].
        bias: Pointer,
        /// What is added or computed, and kept.
        epilogue: linear::Epilogue,
    },
    /// out = product * gelu'(pre): the end of a backward pass through gelu(pre) @ w.
    GeluBackward {
        /// bf16 [M,N].
        pre: Pointer,
    },
}

/// A device with a compute stream, a copy stream, and one for sums over ranks.
///
/// Everything but [`Driver::upload`] and [`Work::Reduce`] happens on the compute stream, in call order. A device that fails cannot go on:
/// a panic that says what failed.
pub trait Driver: Send {
    /// The device in words, for logs.
    fn name(&self) -> String;
    /// Free bytes of device memory; none if it is the host's.
    fn free_memory(&self) -> Option<usize>;
    /// Zeroed memory that lives as long as the device: the address of each of so many bytes, a multiple of 256 on a real device
    /// and of 16 on the emulated one.
    fn allocate(&mut self, bytes: &[usize]) -> Vec<Pointer>;
    /// Host to device; `bytes` may be reused when the call returns.
    fn write(&mut self, to: Pointer, bytes: &[u8]);
    /// Device to host, after all that was queued before.
    fn read(&mut self, from: Pointer, bytes: &mut [u8]);
    /// Queues a piece of work. A product with more than itself is one that the device said it [fuses](Driver::fuses).
    fn queue(&mut self, work: &Work);
    /// Whether the device does this product and what follows it in one go.
    fn fuses(&mut self, product: &Product, with: Fused) -> bool;
    /// Makes a graph of work that has been queued before, to be [replayed](Driver::replay); nothing is queued. None if the device cannot.
    fn capture(&mut self, work: &[Work]) -> Option<usize>;
    /// Queues a graph.
    fn replay(&mut self, graph: usize);
    /// As [`Driver::write`], on the copy stream.
    fn upload(&mut self, to: Pointer, bytes: &[u8]);
    /// What is queued on the compute stream after this sees every `upload` before it.
    fn wait_uploads(&mut self);
    /// Connects the device with those of other ranks, before the first [`Work::Reduce`].
    fn join(&mut self, ranks: &Ranks) -> Result<(), RanksError>;
    /// Waits for all streams.
    fn synchronize(&mut self);
}
