//! One policy step for many lanes at once: encode one new frame a lane, append it to the lane's context, return its logits.
//!
//! ```text
//! lane's context   | e0 e1 e2 ... e31 |   32 embeddings, and keys and values of every layer in a cache
//! full             | e16 ... e31 | e32    the oldest 16 go; the kept 16 run again at positions 0..16 and refill the cache
//! ```
//!
//! Positions are learned and absolute, so a cached key is valid only at its position: the context cannot slide by one. It hops by half
//! instead, and training windows with stride 16 see exactly the contexts that were seen here.
//!
//! Active lanes are always the first ones: [`Decoder::swap_remove`] closes the gap when a lane ends.

use playhouse_kernels::{Attention, Backend, Bytes, Epilogue, Kind, Tensor};

use crate::config::ModelConfig;
use crate::encoder::{self, EncoderActs, NormActs, gemm};
use crate::model::Model;
use crate::transformer::{self, TransformerActs};

/// Contexts that are refilled together after a hop.
const REFILL: usize = 8;

/// Memory and positions of up to `lanes` contexts.
pub(crate) struct Decoder {
    config: ModelConfig,
    pixels: Bytes,
    encoder: EncoderActs,
    embeddings: Tensor,
    /// `[lanes, T, d]`.
    contexts: Tensor,
    /// Of each layer, `[lanes, 2, T, NH, HS]`.
    caches: Vec<Tensor>,
    step: StepActs,
    refill: TransformerActs,
    logits: Tensor,
    /// Filled positions of each lane; the first `active` lanes count.
    positions: Vec<u32>,
    active: usize,
}

/// Activations of one new timestep for all lanes.
struct StepActs {
    /// Two buffers between which the residual stream alternates, `[lanes, d]`.
    x: Tensor,
    middle: Tensor,
    norm: NormActs,
    qkv: Tensor,
    attended: Tensor,
    pre: Tensor,
    hidden: Tensor,
}

impl Decoder {
    /// Plans memory for `lanes` lanes.
    pub fn plan(b: &mut dyn Backend, config: &ModelConfig, lanes: usize) -> Self {
        let d = config.width;
        let mut alloc = |len| b.alloc(len, Kind::Activation);
        let (embeddings, contexts) = (alloc(lanes * d), alloc(lanes * config.context * d));
        let caches = (0..config.layers).map(|_| alloc(lanes * 2 * config.context * d)).collect();
        let logits = alloc(lanes * config.logits());
        let (x, middle, qkv, attended) = (alloc(lanes * d), alloc(lanes * d), alloc(lanes * 3 * d), alloc(lanes * d));
        let (pre, hidden) = (alloc(lanes * config.ffn), alloc(lanes * config.ffn));
        let norm = NormActs::plan(b, lanes, d);
        let chunk = b.capacity().images.min(lanes);
        Self {
            config: config.clone(),
            pixels: b.alloc_bytes(lanes * config.frame_bytes()),
            encoder: EncoderActs::plan(b, config, chunk),
            embeddings,
            contexts,
            caches,
            step: StepActs { x, middle, norm, qkv, attended, pre, hidden },
            refill: TransformerActs::plan(b, config, REFILL.min(lanes), config.hop()),
            logits,
            positions: vec![0; lanes],
            active: 0,
        }
    }

    /// Lanes it was planned for.
    pub fn capacity(&self) -> usize {
        self.positions.len()
    }

    /// Starts `lanes` empty contexts.
    pub fn start(&mut self, lanes: usize) {
        self.active = lanes;
        self.positions.fill(0);
    }

    /// Empties a lane's context: another episode begins there.
    pub fn reset(&mut self, lane: usize) {
        self.positions[lane] = 0;
    }

    /// Ends a lane; the last active lane moves into its place.
    pub fn swap_remove(&mut self, b: &mut dyn Backend, lane: usize) {
        self.active -= 1;
        if lane == self.active {
            return;
        }
        self.positions[lane] = self.positions[self.active];
        for tensor in self.caches.iter().chain([&self.contexts]) {
            let each = tensor.len() / self.positions.len();
            b.copy(tensor.slice(self.active * each, each), tensor.slice(lane * each, each));
        }
    }

    /// One timestep of all active lanes: their frames `[active,S,S,3]` in, their logits `[active, sum K]` out.
    pub fn step(&mut self, b: &mut dyn Backend, model: &Model, frames: &[u8], logits: &mut [f32]) {
        let n = self.active;
        let config = &self.config;
        let d = config.width;
        let pixels = self.pixels.slice(0, frames.len());
        b.upload_bytes(pixels, frames);
        b.wait_uploads();
        encoder::forward(b, config, &model.w, &self.encoder, pixels, self.embeddings.slice(0, n * d));
        self.hop(b, model);
        let x = self.step.x.slice(0, n * d);
        b.copy(self.embeddings.slice(0, n * d), x);
        for lane in 0..n {
            let position = self.positions[lane] as usize;
            let row = |t: Tensor| t.slice(lane * d, d);
            b.copy(row(self.embeddings), self.contexts.slice((lane * self.config.context + position) * d, d));
            b.add_position_forward(row(x), model.w.position.slice(position * d, d), 1, 1, d);
        }
        self.decode(b, model, n);
        let out = self.logits.slice(0, n * self.config.logits());
        b.download(out, logits);
        for position in &mut self.positions[..n] {
            *position += 1;
        }
    }

    /// Embeddings of the frames of the last [`Decoder::step`], `[active, d]`.
    pub fn embeddings(&self, b: &mut dyn Backend, out: &mut [f32]) {
        b.download(self.embeddings.slice(0, out.len()), out);
    }

    fn decode(&mut self, b: &mut dyn Backend, model: &Model, n: usize) {
        let config = &self.config;
        let d = config.width;
        let cut = |t: Tensor, width: usize| t.slice(0, n * width);
        let s = &self.step;
        let norm = s.norm.at(self.positions.len(), 0, n);
        let (x, middle) = (cut(s.x, d), cut(s.middle, d));
        let (qkv, attended) = (cut(s.qkv, 3 * d), cut(s.attended, d));
        let (pre, hidden) = (cut(s.pre, config.ffn), cut(s.hidden, config.ffn));
        let attention = Attention { b: n, t: config.context, heads: config.heads, head_size: config.head_size() };
        for (w, cache) in model.w.layers.iter().zip(&self.caches) {
            norm.forward(b, x, w.attention_norm);
            b.linear_forward(norm.y, w.qkv.w, w.qkv.b, qkv, gemm(n, w.qkv), Epilogue::None);
            let cache = cut(*cache, 2 * config.context * d);
            b.attention_decode(qkv, cache, attended, &self.positions[..n], attention);
            b.linear_forward(attended, w.out.w, w.out.b, middle, gemm(n, w.out), Epilogue::Residual { skip: x });
            norm.forward(b, middle, w.ffn_norm);
            b.linear_forward(norm.y, w.expand.w, w.expand.b, hidden, gemm(n, w.expand), Epilogue::Gelu { pre });
            let contract = Epilogue::Residual { skip: middle };
            b.linear_forward(hidden, w.contract.w, w.contract.b, x, gemm(n, w.contract), contract);
        }
        norm.forward(b, x, model.w.norm);
        model.head_forward(b, norm.y, cut(self.logits, config.logits()), n);
    }

    /// Drops the older half of every full context and refills its cache.
    fn hop(&mut self, b: &mut dyn Backend, model: &Model) {
        let (t, hop, d) = (self.config.context, self.config.hop(), self.config.width);
        let full: Vec<usize> = (0..self.active).filter(|&lane| self.positions[lane] as usize == t).collect();
        for lanes in full.chunks(REFILL) {
            let refill = self.refill.first(lanes.len());
            for (i, &lane) in lanes.iter().enumerate() {
                let context = self.contexts.slice(lane * t * d, t * d);
                b.copy(context.slice((t - hop) * d, hop * d), context.slice(0, hop * d));
                b.copy(context.slice(0, hop * d), refill.x.slice(i * hop * d, hop * d));
                self.positions[lane] = hop as u32;
            }
            transformer::forward(b, &self.config, &model.w, &refill);
            for (layer, cache) in self.caches.iter().enumerate() {
                let qkv = refill.qkv(layer);
                for (i, &lane) in lanes.iter().enumerate() {
                    for position in 0..hop {
                        let from = qkv.slice((i * hop + position) * 3 * d, 3 * d);
                        let to = cache.slice(lane * 2 * t * d, 2 * t * d);
                        b.copy(from.slice(d, d), to.slice(position * d, d));
                        b.copy(from.slice(2 * d, d), to.slice((t + position) * d, d));
                    }
                }
            }
        }
    }
}
