//! The encoder: frames to embeddings, one frame at a time, forward and backward.
//!
//! ```text
//! pixels u8 [N,S,S,3] -> 4x4/4 patches, linear, LN            -> [N,P0,C0]      P0 = (S/4)^2
//!   stage s > 0: LN, 2x2/2 convolution                        -> [N,Ps,Cs]
//!   block: x + scale * (depthwise 7x7, [LN, C->4C, GELU, 4C->C])        [..]: the bottleneck, one operator where the device has it
//! mean over P or all of P (see `Readout`), LN over C, linear  -> [N,d]
//! ```
//!
//! Frames are independent, so the work is cut into chunks of as many frames as the device wants at
//! once (on a processor, so many that a chunk's tensors fit the cache). What the backward
//! pass needs is kept for as many frames as were planned; beyond that it is computed again, chunk by chunk.

use playhouse_kernels::{Backend, Bottleneck, Bytes, Epilogue, Gemm, Kind, Plane, Stem, Tensor};

use crate::config::{ModelConfig, Readout};
use crate::view::{Block, Linear, Norm, View};

/// A layer norm's output and statistics; its input is kept by whoever made it.
#[derive(Clone, Copy)]
pub(crate) struct NormActs {
    pub y: Tensor,
    pub mean: Tensor,
    pub rstd: Tensor,
}

impl NormActs {
    pub fn plan(b: &mut dyn Backend, rows: usize, cols: usize) -> Self {
        Self {
            y: b.alloc(rows * cols, Kind::Activation),
            mean: b.alloc(rows, Kind::Scratch),
            rstd: b.alloc(rows, Kind::Scratch),
        }
    }

    /// The rows of frames (or windows) `start..start + n` out of `all`.
    pub fn at(self, all: usize, start: usize, n: usize) -> Self {
        Self {
            y: part(self.y, all, start, n),
            mean: part(self.mean, all, start, n),
            rstd: part(self.rstd, all, start, n),
        }
    }

    pub fn forward(self, b: &mut dyn Backend, x: Tensor, norm: Norm) {
        let (rows, cols) = (self.mean.len(), norm.g.len());
        b.layer_norm_forward(x, norm.g, norm.b, self.y, self.mean, self.rstd, rows, cols);
    }

    /// `dx` receives (or, accumulating, is increased by) the gradient of `x`.
    #[expect(clippy::too_many_arguments, reason = "an operator's arguments are its tensors")]
    pub fn backward(self, b: &mut dyn Backend, dy: Tensor, x: Tensor, w: Norm, g: Norm, dx: Tensor, accumulate: bool) {
        let (rows, cols) = (self.mean.len(), w.g.len());
        b.layer_norm_backward(dy, x, w.g, self.mean, self.rstd, dx, g.g, g.b, rows, cols, accumulate);
    }

    /// As [`Self::forward`] over the pixels of `d`, but `y` is 2x2 patches, `[N,P/4,4C]`.
    fn forward_patches(self, b: &mut dyn Backend, x: Tensor, norm: Norm, d: Plane) {
        b.norm_patches2_forward(x, norm.g, norm.b, self.y, self.mean, self.rstd, d);
    }

    /// `dx` receives the gradient of `x`, from that of the patches.
    #[expect(clippy::too_many_arguments, reason = "an operator's arguments are its tensors")]
    fn backward_patches(self, b: &mut dyn Backend, dy: Tensor, x: Tensor, w: Norm, g: Norm, dx: Tensor, d: Plane) {
        b.norm_patches2_backward(dy, x, w.g, self.mean, self.rstd, dx, g.g, g.b, d);
    }
}

/// The share of `tensor` that belongs to items `start..start + n` of the `all` it was planned for.
pub(crate) fn part(tensor: Tensor, all: usize, start: usize, n: usize) -> Tensor {
    let each = tensor.len() / all;
    tensor.slice(start * each, n * each)
}

/// A linear layer's sizes for `m` rows.
pub(crate) fn gemm(m: usize, linear: Linear) -> Gemm {
    Gemm { m, k: linear.k, n: linear.n }
}

#[derive(Clone, Copy)]
struct BlockActs {
    /// After the depthwise convolution, `[N,P,C]`.
    depthwise: Tensor,
    /// None where the device has the bottleneck as one operator.
    inner: Option<InnerActs>,
    /// `[N,P,C]`.
    y: Tensor,
}

/// What the parts of a block's bottleneck leave for each other.
#[derive(Clone, Copy)]
struct InnerActs {
    norm: NormActs,
    /// Before and after GELU, `[N,P,4C]`.
    pre: Tensor,
    hidden: Tensor,
    /// Before layer scale, `[N,P,C]`.
    contracted: Tensor,
}

#[derive(Clone)]
struct StageActs {
    /// The norm as patches of the stage before, and what the convolution makes of them, `[N,P,C]`. None in the first stage.
    down: Option<(NormActs, Tensor)>,
    blocks: Vec<BlockActs>,
}

/// What a forward pass leaves for the backward pass, for up to `frames` frames.
#[derive(Clone)]
pub(crate) struct EncoderActs {
    frames: usize,
    /// Before the stem's norm, `[N,P0,C0]`.
    stem: Tensor,
    stem_norm: NormActs,
    stages: Vec<StageActs>,
    /// The mean over P, `[N,C]`; only where that is the readout.
    pooled: Option<Tensor>,
    /// `[N,C]` or `[N,P,C]`.
    out_norm: NormActs,
}

/// Gradients in flight, for one chunk.
#[derive(Clone, Copy)]
pub(crate) struct EncoderScratch {
    /// The residual stream's gradient, and two of its size: `[N,P,C]` of the largest stage.
    stream: Tensor,
    a: Tensor,
    b: Tensor,
    /// Patches, or `[N,P,4C]` of a stage whose bottleneck is not one operator: the largest of them.
    hidden: Tensor,
}

impl EncoderActs {
    /// Plans memory for `frames` frames.
    pub fn plan(b: &mut dyn Backend, config: &ModelConfig, frames: usize) -> Self {
        let pixels = |stage| frames * config.side(stage) * config.side(stage);
        let stage = |b: &mut dyn Backend, stage: usize| {
            let (rows, c) = (pixels(stage), config.dims[stage]);
            let down = (stage > 0).then(|| {
                let norm = NormActs::plan(b, pixels(stage - 1), config.dims[stage - 1]);
                (norm, b.alloc(rows * c, Kind::Activation))
            });
            let fused = b.bottleneck(c).is_some();
            let blocks = (0..config.depths[stage])
                .map(|_| BlockActs {
                    depthwise: b.alloc(rows * c, Kind::Activation),
                    inner: (!fused).then(|| InnerActs {
                        norm: NormActs::plan(b, rows, c),
                        pre: b.alloc(rows * 4 * c, Kind::Activation),
                        hidden: b.alloc(rows * 4 * c, Kind::Activation),
                        contracted: b.alloc(rows * c, Kind::Activation),
                    }),
                    y: b.alloc(rows * c, Kind::Activation),
                })
                .collect();
            StageActs { down, blocks }
        };
        let last = config.dims[config.dims.len() - 1];
        let mean = config.readout == Readout::Mean;
        Self {
            frames,
            stem: b.alloc(pixels(0) * config.dims[0], Kind::Activation),
            stem_norm: NormActs::plan(b, pixels(0), config.dims[0]),
            stages: (0..config.dims.len()).map(|s| stage(b, s)).collect(),
            pooled: mean.then(|| b.alloc(frames * last, Kind::Activation)),
            out_norm: NormActs::plan(b, frames * config.read_out() / last, last),
        }
    }

    /// Elements of activations that one frame leaves, norms' statistics apart.
    pub fn frame_elements(b: &mut dyn Backend, config: &ModelConfig) -> usize {
        let stage = |s: usize| {
            let values = config.side(s) * config.side(s) * config.dims[s];
            // The entry: the stem and its norm, or a norm as patches and their output. A block: depthwise and y, and between them
            // norm, pre, hidden and contracted.
            let entry = match s {
                0 => 2 * values,
                _ => 4 * config.side(s).pow(2) * config.dims[s - 1] + values,
            };
            let block = if b.bottleneck(config.dims[s]).is_some() { 2 } else { 12 };
            entry + block * values * config.depths[s]
        };
        // The last norm, and before it the mean where that is the readout.
        let end = config.read_out() * if config.readout == Readout::Mean { 2 } else { 1 };
        (0..config.dims.len()).map(stage).sum::<usize>() + end
    }

    /// Frames it was planned for.
    pub fn capacity(&self) -> usize {
        self.frames
    }

    /// What a stage hands on, `[N,P,C]`.
    fn output(&self, stage: usize) -> Tensor {
        let stage = &self.stages[stage];
        match stage.blocks.last() {
            Some(block) => block.y,
            None => stage.down.map_or(self.stem_norm.y, |(_, y)| y),
        }
    }

    /// The share of frames `start..start + n`.
    fn at(&self, start: usize, n: usize) -> Self {
        let cut = |t: Tensor| part(t, self.frames, start, n);
        let norm = |x: NormActs| x.at(self.frames, start, n);
        Self {
            frames: n,
            stem: cut(self.stem),
            stem_norm: norm(self.stem_norm),
            stages: self
                .stages
                .iter()
                .map(|s| StageActs {
                    down: s.down.map(|(x, y)| (norm(x), cut(y))),
                    blocks: s
                        .blocks
                        .iter()
                        .map(|x| BlockActs {
                            depthwise: cut(x.depthwise),
                            inner: x.inner.map(|x| InnerActs {
                                norm: norm(x.norm),
                                pre: cut(x.pre),
                                hidden: cut(x.hidden),
                                contracted: cut(x.contracted),
                            }),
                            y: cut(x.y),
                        })
                        .collect(),
                })
                .collect(),
            pooled: self.pooled.map(cut),
            out_norm: norm(self.out_norm),
        }
    }
}

impl EncoderScratch {
    /// Plans memory for chunks of `frames` frames.
    pub fn plan(b: &mut dyn Backend, config: &ModelConfig, frames: usize) -> Self {
        let values = |s: usize| config.side(s) * config.side(s) * config.dims[s];
        let stream = (0..config.dims.len()).map(values).max().unwrap_or(0);
        // Patches between stages have as many values as the picture that they are of.
        let hidden = |s: usize| if b.bottleneck(config.dims[s]).is_some() { values(s) } else { 4 * values(s) };
        let hidden = (0..config.dims.len()).map(hidden).max().unwrap_or(0);
        let mut alloc = |values| b.alloc(frames * values, Kind::Activation);
        Self { stream: alloc(stream), a: alloc(stream), b: alloc(stream), hidden: alloc(hidden) }
    }
}

/// Embeds the frames in `pixels`: `embeddings [N,d]`. What backward needs is left in the first N frames of `acts`; where N is more than its
/// capacity, chunks overwrite each other and backward has to compute them again.
pub(crate) fn forward(
    b: &mut dyn Backend,
    config: &ModelConfig,
    w: &View,
    acts: &EncoderActs,
    pixels: Bytes,
    embeddings: Tensor,
) {
    let frames = embeddings.len() / config.width;
    let keep = frames <= acts.capacity();
    let chunk = b.capacity().images.min(acts.capacity());
    for start in (0..frames).step_by(chunk) {
        let n = chunk.min(frames - start);
        let acts = acts.at(if keep { start } else { 0 }, n);
        forward_chunk(b, config, w, &acts, slice_frames(config, pixels, start, n), part(embeddings, frames, start, n));
    }
}

/// Adds the gradients of the encoder's parameters, from `d_embeddings [N,d]`. `kept` says that `acts` still holds what [`forward`] left there
/// for these very frames and weights; otherwise it is computed again, and `embeddings` with it.
#[expect(clippy::too_many_arguments, reason = "an operator's arguments are its tensors")]
pub(crate) fn backward(
    b: &mut dyn Backend,
    config: &ModelConfig,
    w: &View,
    g: &View,
    acts: &EncoderActs,
    scratch: &EncoderScratch,
    pixels: Bytes,
    embeddings: Tensor,
    d_embeddings: Tensor,
    kept: bool,
) {
    let frames = d_embeddings.len() / config.width;
    let chunk = b.capacity().images.min(acts.capacity());
    for start in (0..frames).step_by(chunk) {
        let n = chunk.min(frames - start);
        let acts = acts.at(if kept { start } else { 0 }, n);
        let pixels = slice_frames(config, pixels, start, n);
        if !kept {
            forward_chunk(b, config, w, &acts, pixels, part(embeddings, frames, start, n));
        }
        backward_chunk(b, config, w, g, &acts, scratch, pixels, part(d_embeddings, frames, start, n));
    }
}

fn slice_frames(config: &ModelConfig, pixels: Bytes, start: usize, n: usize) -> Bytes {
    pixels.slice(start * config.frame_bytes(), n * config.frame_bytes())
}

fn plane(config: &ModelConfig, stage: usize, n: usize) -> Plane {
    let side = config.side(stage);
    Plane { n, h: side, w: side, c: config.dims[stage] }
}

fn forward_chunk(b: &mut dyn Backend, config: &ModelConfig, w: &View, acts: &EncoderActs, pixels: Bytes, y: Tensor) {
    let n = acts.frames;
    let stem = Stem { n, size: config.frame_size, channels: config.dims[0] };
    b.stem_forward(pixels, w.stem.w, w.stem.b, acts.stem, stem);
    acts.stem_norm.forward(b, acts.stem, w.stem_norm);
    let mut x = acts.stem_norm.y;
    for (stage, (w, acts)) in w.stages.iter().zip(&acts.stages).enumerate() {
        if let (Some((norm, linear)), Some((norm_acts, y))) = (w.down, acts.down) {
            norm_acts.forward_patches(b, x, norm, plane(config, stage - 1, n));
            let patches = norm_acts.y;
            b.linear_forward(patches, linear.w, linear.b, y, gemm(patches.len() / linear.k, linear), Epilogue::None);
            x = y;
        }
        for (w, acts) in w.blocks.iter().zip(&acts.blocks) {
            block_forward(b, w, acts, x, plane(config, stage, n));
            x = acts.y;
        }
    }
    if let Some(pooled) = acts.pooled {
        let last = plane(config, config.dims.len() - 1, n);
        b.mean_pool_forward(x, pooled, n, last.h * last.w, last.c);
        x = pooled;
    }
    acts.out_norm.forward(b, x, w.out_norm);
    b.linear_forward(acts.out_norm.y, w.out.w, w.out.b, y, gemm(n, w.out), Epilogue::None);
}

fn block_forward(b: &mut dyn Backend, w: &Block, acts: &BlockActs, x: Tensor, d: Plane) {
    let rows = d.n * d.h * d.w;
    b.depthwise_forward(x, w.depthwise.w, w.depthwise.b, acts.depthwise, d);
    if let Some(inner) = &acts.inner {
        inner.norm.forward(b, acts.depthwise, w.norm);
        let expand = Epilogue::Gelu { pre: inner.pre };
        b.linear_forward(inner.norm.y, w.expand.w, w.expand.b, inner.hidden, gemm(rows, w.expand), expand);
        let contract = Epilogue::ScaledResidual { skip: x, scale: w.scale, pre: inner.contracted };
        b.linear_forward(inner.hidden, w.contract.w, w.contract.b, acts.y, gemm(rows, w.contract), contract);
    } else if let Some(fused) = b.bottleneck(d.c) {
        fused.bottleneck_forward(acts.depthwise, x, &bottleneck(w), acts.y, rows);
    }
}

/// The parameters of a block between its convolution and its output.
fn bottleneck(w: &Block) -> Bottleneck {
    Bottleneck {
        gain: w.norm.g,
        shift: w.norm.b,
        expand_w: w.expand.w,
        expand_b: w.expand.b,
        contract_w: w.contract.w,
        contract_b: w.contract.b,
        scale: w.scale,
    }
}

#[expect(clippy::too_many_arguments, reason = "an operator's arguments are its tensors")]
fn backward_chunk(
    b: &mut dyn Backend,
    config: &ModelConfig,
    w: &View,
    g: &View,
    acts: &EncoderActs,
    scratch: &EncoderScratch,
    pixels: Bytes,
    dy: Tensor,
) {
    let n = acts.frames;
    let stages = config.dims.len();
    let last = plane(config, stages - 1, n);

    // The end: linear, norm, and the mean where that is the readout.
    let da = scratch.a.slice(0, acts.out_norm.y.len());
    b.linear_backward(dy, acts.out_norm.y, w.out.w, Some(da), None, g.out.w, g.out.b, gemm(n, w.out));
    let mut dx = scratch.stream.slice(0, last.elements());
    match acts.pooled {
        Some(pooled) => {
            let db = scratch.b.slice(0, pooled.len());
            acts.out_norm.backward(b, da, pooled, w.out_norm, g.out_norm, db, false);
            b.mean_pool_backward(db, dx, n, last.h * last.w, last.c);
        }
        None => acts.out_norm.backward(b, da, acts.output(stages - 1), w.out_norm, g.out_norm, dx, false),
    }

    for stage in (0..stages).rev() {
        let (w, g, here) = (&w.stages[stage], &g.stages[stage], &acts.stages[stage]);
        let d = plane(config, stage, n);
        for i in (0..w.blocks.len()).rev() {
            // A block's input is the block before it, the down-sampling, or the stem.
            let x = match (i, here.down) {
                (0, None) => acts.stem_norm.y,
                (0, Some((_, y))) => y,
                _ => here.blocks[i - 1].y,
            };
            block_backward(b, &w.blocks[i], &g.blocks[i], &here.blocks[i], scratch, x, dx, d);
        }
        if let (Some((norm, linear)), Some((g_norm, g_linear)), Some((norm_acts, _))) = (w.down, g.down, here.down) {
            let before = plane(config, stage - 1, n);
            let patches = norm_acts.y;
            let d_patches = scratch.hidden.slice(0, patches.len());
            let rows = patches.len() / linear.k;
            b.linear_backward(dx, patches, linear.w, Some(d_patches), None, g_linear.w, g_linear.b, gemm(rows, linear));
            dx = scratch.stream.slice(0, before.elements());
            norm_acts.backward_patches(b, d_patches, acts.output(stage - 1), norm, g_norm, dx, before);
        }
    }
    let d_stem = scratch.a.slice(0, acts.stem.len());
    acts.stem_norm.backward(b, dx, acts.stem, w.stem_norm, g.stem_norm, d_stem, false);
    let stem = Stem { n, size: config.frame_size, channels: config.dims[0] };
    b.stem_backward(d_stem, pixels, g.stem.w, g.stem.b, stem);
}

/// `dx` enters as the gradient of the block's output and leaves as that of its input.
#[expect(clippy::too_many_arguments, reason = "an operator's arguments are its tensors")]
fn block_backward(
    b: &mut dyn Backend,
    w: &Block,
    g: &Block,
    acts: &BlockActs,
    scratch: &EncoderScratch,
    x: Tensor,
    dx: Tensor,
    d: Plane,
) {
    let (rows, size) = (d.n * d.h * d.w, d.elements());
    let (da, db) = (scratch.a.slice(0, size), scratch.b.slice(0, size));
    if let Some(inner) = &acts.inner {
        let dh = scratch.hidden.slice(0, 4 * size);
        b.layer_scale_backward(dx, inner.contracted, w.scale, da, g.scale, rows, d.c);
        let (d_pre, contract) = (Some(dh), gemm(rows, w.contract));
        b.linear_backward(da, inner.hidden, w.contract.w, d_pre, Some(inner.pre), g.contract.w, g.contract.b, contract);
        b.linear_backward(dh, inner.norm.y, w.expand.w, Some(da), None, g.expand.w, g.expand.b, gemm(rows, w.expand));
        inner.norm.backward(b, da, acts.depthwise, w.norm, g.norm, db, false);
    } else if let Some(fused) = b.bottleneck(d.c) {
        fused.bottleneck_backward(dx, acts.depthwise, &bottleneck(w), db, &bottleneck(g), rows);
    }
    b.depthwise_backward(db, x, w.depthwise.w, dx, g.depthwise.w, g.depthwise.b, d, true);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves_as_much_as_is_said(backend: impl Fn() -> Box<dyn Backend>) {
        for readout in [Readout::Mean, Readout::Flatten] {
            for preset in ModelConfig::PRESETS {
                let config = ModelConfig { readout, ..ModelConfig::preset(preset).unwrap() };
                let acts = EncoderActs::plan(backend().as_mut(), &config, 2);
                let mut planned = vec![acts.stem, acts.stem_norm.y, acts.out_norm.y];
                planned.extend(acts.pooled);
                for stage in &acts.stages {
                    planned.extend(stage.down.iter().flat_map(|(norm, y)| [norm.y, *y]));
                    planned.extend(stage.blocks.iter().flat_map(|a| [a.depthwise, a.y]));
                    let inner = stage.blocks.iter().filter_map(|a| a.inner);
                    planned.extend(inner.flat_map(|a| [a.norm.y, a.pre, a.hidden, a.contracted]));
                }
                let elements = planned.iter().map(|t| t.len()).sum::<usize>();
                let said = EncoderActs::frame_elements(backend().as_mut(), &config);
                assert_eq!(elements, 2 * said, "{preset} {readout:?}");
            }
        }
    }

    #[test]
    fn a_frame_leaves_as_much_as_is_said() {
        leaves_as_much_as_is_said(|| Box::new(playhouse_kernels::Cpu::new(1)));
    }

    #[test]
    #[cfg_attr(not(cxx), ignore = "no C++ compiler")]
    fn a_frame_leaves_as_much_as_is_said_with_fused_bottlenecks() {
        leaves_as_much_as_is_said(playhouse_kernels::emulator::backend);
    }
}
