//! Tensors and operators of the agent, forward and backward.
//!
//! Four nouns:
//!
//! - A [`Backend`] is one device: static memory, a compute stream, a copy stream, and the operators.
//! - A [`Tensor`] (or [`Bytes`]) is a *handle*: a range of that memory, `Copy`, without a borrow.
//! - A [`Kind`] says what a tensor is for, so that a device may choose how to store it.
//! - An *operator* is a method of [`Backend`]; it takes handles and sizes, writes its outputs, returns nothing.
//!
//! ```text
//!            plan (alloc)          |  run (operators; no allocation any more)
//!                                  |
//!  static  +--------+-----------+-----------+------------+---------+
//!  memory  | weight | gradient  | moments   | activation | scratch |     one region, handles are ranges
//!          +--------+-----------+-----------+------------+---------+
//!
//!  copy stream     upload_bytes(batch 1) ....... upload_bytes(batch 2) .......
//!                              \ wait_uploads                \ wait_uploads
//!  compute stream               stem linear ... adamw         stem linear ... adamw   download
//! ```
//!
//! **Accumulation policy.** Parameter gradients accumulate (`+=`), so several micro-batches need no extra code;
//! activation gradients are written (`=`). The exception is the residual stream: `layer_norm_backward` and `depthwise_backward` can add.
//!
//! **Letters.** B batch, T time, C channels, NH heads, HS head size, M rows, K inner, N columns (or images).
//!
//! **Determinism.** The same calls on the same machine give the same bits, whatever the number of threads:
//! every reduction is cut into chunks by the shape alone, and partial sums are added in order.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod backend;
mod cpu;
mod cuda;
pub mod device;
pub mod ranks;
pub mod reference;
mod tensor;

pub use backend::{AdamW, Attention, Backend, Bottleneck, Capacity, Epilogue, FusedBottleneck, Gemm, Plane, Stem};
pub use cpu::Cpu;
#[doc(hidden)]
pub use cuda::emulator;
pub use cuda::{CudaError, laboratory, open as open_cuda};
pub use ranks::{Ranks, RanksError};
pub use tensor::{Bytes, Kind, Tensor};
