//! The CPU backend: f32, SIMD by what the CPU has, threads by fixed cutting. One file an operator.
//!
//! ```text
//!  operator file      checks shapes, asks `memory` for disjoint slices,
//!                     cuts the outputs into tasks by shape        -> `pool` runs them on any thread
//!                     a task calls kernels written over `simd`    -> compiled for AVX-512, AVX2, portable
//!                     matrix products of all kinds                -> `product`
//! ```
//!
//! Workspace (packed weights, partial sums) belongs to the backend and grows to its largest use in the first step.

mod adamw;
mod attention;
mod bradley_terry;
mod depthwise;
mod elementary;
mod fork_join;
mod frames;
mod gelu;
mod grad_norm;
mod layer_norm;
mod layer_scale;
mod linear;
mod mean_pool;
mod memory;
mod policy_loss;
mod pool;
mod position;
mod product;
pub(crate) mod simd;
mod stem;
#[cfg(test)]
mod tests;

use crate::{
    AdamW, Attention, Backend, Bytes, Capacity, Epilogue, FusedBottleneck, Gemm, Kind, Plane, Ranks, RanksError, Stem,
    Tensor,
};
use memory::{Aligned, Memory};
use pool::Pool;
use simd::Level;

/// Elements of a task of an elementwise operator: 64 KiB of each operand.
const BLOCK: usize = 16_384;

/// The CPU as a [`Backend`].
///
/// ```
/// use playhouse_kernels::{Backend, Cpu, Epilogue, Gemm, Kind};
///
/// let mut cpu = Cpu::new(1);
/// let [x, w] = [[1.0, 2.0], [3.0, 4.0]].map(|values: [f32; 2]| {
///     let tensor = cpu.alloc(2, Kind::Activation);
///     cpu.upload(tensor, &values);
///     tensor
/// });
/// let (b, y) = (cpu.alloc(1, Kind::Weight), cpu.alloc(1, Kind::Activation));
/// cpu.linear_forward(x, w, b, y, Gemm { m: 1, k: 2, n: 1 }, Epilogue::None);
/// let mut out = [0.0];
/// cpu.download(y, &mut out);
/// assert_eq!(out, [11.0]);
/// ```
pub struct Cpu {
    level: Level,
    pool: Pool,
    memory: Memory,
    scratch: Scratch,
    ranks: Ranks,
}

/// Workspace of the operator that runs now.
#[derive(Default)]
struct Scratch(Aligned);

impl Scratch {
    /// `len` values, content undefined.
    fn take(&mut self, len: usize) -> &mut [f32] {
        self.0.grow(len);
        &mut self.0.as_mut_slice()[..len]
    }
}

impl Cpu {
    /// A backend with its own threads; 0 takes every core. Results do not depend on the number.
    pub fn new(threads: usize) -> Self {
        Self::with_level(Level::available()[0], threads)
    }

    fn with_level(level: Level, threads: usize) -> Self {
        Cpu {
            level,
            pool: Pool::new(threads),
            memory: Memory::default(),
            scratch: Scratch::default(),
            ranks: Ranks::default(),
        }
    }
}

/// Panics unless every tensor has the length that the operator's dimensions say.
#[track_caller]
fn check(operator: &str, tensors: &[(&str, Tensor, usize)]) {
    for (name, tensor, want) in tensors {
        assert!(tensor.len() == *want, "{operator}: {name} has {} elements, its shape {want}", tensor.len());
    }
}

/// As [`check`], for bytes.
#[track_caller]
fn check_bytes(operator: &str, name: &str, bytes: Bytes, want: usize) {
    assert!(bytes.len() == want, "{operator}: {name} has {} bytes, its shape {want}", bytes.len());
}

impl Backend for Cpu {
    fn name(&self) -> String {
        let threads = self.pool.threads();
        format!("cpu ({}, {threads} thread{})", self.level.name(), if threads == 1 { "" } else { "s" })
    }

    fn capacity(&self) -> Capacity {
        Capacity::PROCESSOR
    }

    fn alloc(&mut self, len: usize, kind: Kind) -> Tensor {
        self.memory.alloc(len, kind)
    }
    fn alloc_bytes(&mut self, len: usize) -> Bytes {
        self.memory.alloc_bytes(len)
    }
    fn upload(&mut self, dst: Tensor, src: &[f32]) {
        assert_eq!(dst.len(), src.len(), "upload: lengths of the tensor and of the source");
        self.memory.floats(dst).copy_from_slice(src);
    }
    fn download(&mut self, src: Tensor, dst: &mut [f32]) {
        assert_eq!(src.len(), dst.len(), "download: lengths of the tensor and of the destination");
        dst.copy_from_slice(self.memory.floats(src));
    }
    fn upload_bytes(&mut self, dst: Bytes, src: &[u8]) {
        assert_eq!(dst.len(), src.len(), "upload_bytes: lengths of the tensor and of the source");
        self.memory.bytes(dst).copy_from_slice(src);
    }
    fn submit(&mut self) {}
    fn join(&mut self, ranks: &Ranks) -> Result<(), RanksError> {
        self.ranks = ranks.clone();
        Ok(())
    }
    fn reduce(&mut self, x: Tensor) -> Result<(), RanksError> {
        self.ranks.sum_f32(self.memory.floats(x))
    }
    fn wait_reduced(&mut self) {}
    fn wait_uploads(&mut self) {}
    fn synchronize(&mut self) {}

    fn fill(&mut self, x: Tensor, value: f32) {
        elementary::fill(self, x, value);
    }
    fn copy(&mut self, src: Tensor, dst: Tensor) {
        elementary::copy(self, src, dst);
    }
    fn add_scaled(&mut self, src: Tensor, dst: Tensor, alpha: f32) {
        elementary::add_scaled(self, src, dst, alpha);
    }

    fn frames_decode(&mut self, packed: Bytes, pixels: Bytes, n: usize, size: usize) {
        frames::decode(self, packed, pixels, n, size);
    }
    fn stem_forward(&mut self, pixels: Bytes, w: Tensor, b: Tensor, y: Tensor, d: Stem) {
        stem::forward(self, pixels, w, b, y, d);
    }
    fn stem_backward(&mut self, dy: Tensor, pixels: Bytes, dw: Tensor, db: Tensor, d: Stem) {
        stem::backward(self, dy, pixels, dw, db, d);
    }
    fn depthwise_forward(&mut self, x: Tensor, w: Tensor, b: Tensor, y: Tensor, d: Plane) {
        depthwise::forward(self, x, w, b, y, d);
    }
    fn depthwise_backward(
        &mut self,
        dy: Tensor,
        x: Tensor,
        w: Tensor,
        dx: Tensor,
        dw: Tensor,
        db: Tensor,
        d: Plane,
        accumulate: bool,
    ) {
        depthwise::backward(self, dy, x, w, dx, dw, db, d, accumulate);
    }
    fn norm_patches2_forward(
        &mut self,
        x: Tensor,
        g: Tensor,
        b: Tensor,
        y: Tensor,
        mean: Tensor,
        rstd: Tensor,
        d: Plane,
    ) {
        let name = "norm_patches2_forward";
        d.check_even(name);
        layer_norm::forward(self, name, x, g, b, y, mean, rstd, d.rows(), d.c, d.w);
    }
    fn norm_patches2_backward(
        &mut self,
        dy: Tensor,
        x: Tensor,
        g: Tensor,
        mean: Tensor,
        rstd: Tensor,
        dx: Tensor,
        dg: Tensor,
        db: Tensor,
        d: Plane,
    ) {
        let name = "norm_patches2_backward";
        d.check_even(name);
        layer_norm::backward(self, name, dy, x, g, mean, rstd, dx, dg, db, d.rows(), d.c, d.w, false);
    }
    fn mean_pool_forward(&mut self, x: Tensor, y: Tensor, n: usize, p: usize, c: usize) {
        mean_pool::forward(self, x, y, n, p, c);
    }
    fn mean_pool_backward(&mut self, dy: Tensor, dx: Tensor, n: usize, p: usize, c: usize) {
        mean_pool::backward(self, dy, dx, n, p, c);
    }

    fn linear_forward(&mut self, x: Tensor, w: Tensor, b: Tensor, y: Tensor, d: Gemm, e: Epilogue) {
        linear::forward(self, x, w, b, y, d, e);
    }
    fn linear_backward(
        &mut self,
        dy: Tensor,
        x: Tensor,
        w: Tensor,
        dx: Option<Tensor>,
        before: Option<Tensor>,
        dw: Tensor,
        db: Tensor,
        d: Gemm,
    ) {
        linear::backward(self, dy, x, w, dx, before, dw, db, d);
    }
    fn layer_scale_backward(
        &mut self,
        dy: Tensor,
        pre: Tensor,
        scale: Tensor,
        dpre: Tensor,
        dscale: Tensor,
        rows: usize,
        cols: usize,
    ) {
        layer_scale::backward(self, dy, pre, scale, dpre, dscale, rows, cols);
    }
    fn layer_norm_forward(
        &mut self,
        x: Tensor,
        g: Tensor,
        b: Tensor,
        y: Tensor,
        mean: Tensor,
        rstd: Tensor,
        rows: usize,
        cols: usize,
    ) {
        layer_norm::forward(self, "layer_norm_forward", x, g, b, y, mean, rstd, rows, cols, 0);
    }
    fn layer_norm_backward(
        &mut self,
        dy: Tensor,
        x: Tensor,
        g: Tensor,
        mean: Tensor,
        rstd: Tensor,
        dx: Tensor,
        dg: Tensor,
        db: Tensor,
        rows: usize,
        cols: usize,
        accumulate: bool,
    ) {
        let name = "layer_norm_backward";
        layer_norm::backward(self, name, dy, x, g, mean, rstd, dx, dg, db, rows, cols, 0, accumulate);
    }

    fn bottleneck(&mut self, _: usize) -> Option<&mut dyn FusedBottleneck> {
        None
    }

    fn add_position_forward(&mut self, x: Tensor, pos: Tensor, b: usize, t: usize, c: usize) {
        position::forward(self, x, pos, b, t, c);
    }
    fn add_position_backward(&mut self, dx: Tensor, dpos: Tensor, b: usize, t: usize, c: usize) {
        position::backward(self, dx, dpos, b, t, c);
    }
    fn attention_forward(&mut self, qkv: Tensor, y: Tensor, probs: Tensor, d: Attention) {
        attention::forward(self, qkv, y, probs, d);
    }
    fn attention_backward(&mut self, dy: Tensor, qkv: Tensor, probs: Tensor, dqkv: Tensor, d: Attention) {
        attention::backward(self, dy, qkv, probs, dqkv, d);
    }
    fn attention_decode(&mut self, qkv: Tensor, cache: Tensor, y: Tensor, positions: &[u32], d: Attention) {
        attention::decode(self, qkv, cache, y, positions, d);
    }

    fn policy_loss(
        &mut self,
        logits: Tensor,
        reference: Option<Tensor>,
        actions: Bytes,
        weight: Tensor,
        kl_weight: Option<Tensor>,
        dlogits: Tensor,
        nll: Tensor,
        kl: Tensor,
        entropy: Tensor,
        heads: &[usize],
    ) {
        policy_loss::policy_loss(self, logits, reference, actions, weight, kl_weight, dlogits, nll, kl, entropy, heads);
    }
    fn bradley_terry(&mut self, scores: Tensor, label: Tensor, centering: f32, dscores: Tensor, loss: Tensor) {
        bradley_terry::bradley_terry(self, scores, label, centering, dscores, loss);
    }

    fn grad_norm(&mut self, g: Tensor, out: Tensor) {
        grad_norm::grad_norm(self, g, out);
    }
    fn adamw(&mut self, p: Tensor, g: Tensor, m: Tensor, v: Tensor, norm: Tensor, d: AdamW) {
        adamw::adamw(self, p, g, m, v, norm, d);
    }
}
