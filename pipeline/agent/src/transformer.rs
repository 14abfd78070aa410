//! The transformer: embeddings of T timesteps to hidden states, causal, pre-norm, forward and backward.
//!
//! ```text
//! x = embeddings [B,T,d] + position [T,d]
//! layer: x += out(attention(qkv(LN x)));  x += contract(gelu(expand(LN x)))
//! hidden = LN x
//! ```

use playhouse_kernels::{Attention, Backend, Epilogue, Kind, Tensor};

use crate::config::ModelConfig;
use crate::encoder::{NormActs, gemm, part};
use crate::view::View;

#[derive(Clone, Copy)]
struct LayerActs {
    attention_norm: NormActs,
    /// `[B,T,3,NH,HS]`.
    qkv: Tensor,
    /// `[B,NH,T,T]`.
    probs: Tensor,
    /// `[B,T,d]`.
    attended: Tensor,
    /// The residual stream after attention, `[B,T,d]`.
    middle: Tensor,
    ffn_norm: NormActs,
    /// Before and after GELU, `[B,T,ffn]`.
    pre: Tensor,
    hidden: Tensor,
    /// The residual stream after the layer, `[B,T,d]`.
    y: Tensor,
}

/// What a forward pass over up to `windows` windows leaves for the backward pass.
#[derive(Clone)]
pub(crate) struct TransformerActs {
    windows: usize,
    /// Timesteps a window.
    t: usize,
    /// Embeddings, then embeddings plus positions: `[B,T,d]`. The caller fills it.
    pub x: Tensor,
    layers: Vec<LayerActs>,
    norm: NormActs,
}

/// Gradients in flight.
#[derive(Clone, Copy)]
pub(crate) struct TransformerScratch {
    /// `[B,T,d]`.
    a: Tensor,
    /// `[B,T,max(3d, ffn)]`.
    wide: Tensor,
}

impl TransformerActs {
    /// Plans memory for `windows` windows of `t` timesteps.
    pub fn plan(b: &mut dyn Backend, config: &ModelConfig, windows: usize, t: usize) -> Self {
        let (rows, d) = (windows * t, config.width);
        let mut layer = || LayerActs {
            attention_norm: NormActs::plan(b, rows, d),
            qkv: b.alloc(rows * 3 * d, Kind::Activation),
            probs: b.alloc(windows * config.heads * t * t, Kind::Activation),
            attended: b.alloc(rows * d, Kind::Activation),
            middle: b.alloc(rows * d, Kind::Activation),
            ffn_norm: NormActs::plan(b, rows, d),
            pre: b.alloc(rows * config.ffn, Kind::Activation),
            hidden: b.alloc(rows * config.ffn, Kind::Activation),
            y: b.alloc(rows * d, Kind::Activation),
        };
        let layers = (0..config.layers).map(|_| layer()).collect();
        Self { windows, t, x: b.alloc(rows * d, Kind::Activation), layers, norm: NormActs::plan(b, rows, d) }
    }

    /// The share of the first `windows` windows.
    pub fn first(&self, windows: usize) -> Self {
        let cut = |t: Tensor| part(t, self.windows, 0, windows);
        let norm = |x: NormActs| x.at(self.windows, 0, windows);
        Self {
            windows,
            t: self.t,
            x: cut(self.x),
            layers: self
                .layers
                .iter()
                .map(|l| LayerActs {
                    attention_norm: norm(l.attention_norm),
                    qkv: cut(l.qkv),
                    probs: cut(l.probs),
                    attended: cut(l.attended),
                    middle: cut(l.middle),
                    ffn_norm: norm(l.ffn_norm),
                    pre: cut(l.pre),
                    hidden: cut(l.hidden),
                    y: cut(l.y),
                })
                .collect(),
            norm: norm(self.norm),
        }
    }

    /// Hidden states after the last norm, `[B,T,d]`.
    pub fn hidden(&self) -> Tensor {
        self.norm.y
    }

    /// Packed queries, keys and values of a layer, `[B,T,3,NH,HS]`.
    pub fn qkv(&self, layer: usize) -> Tensor {
        self.layers[layer].qkv
    }

    fn attention(&self, config: &ModelConfig) -> Attention {
        Attention { b: self.windows, t: self.t, heads: config.heads, head_size: config.head_size() }
    }
}

impl TransformerScratch {
    /// Plans memory for `rows` timesteps.
    pub fn plan(b: &mut dyn Backend, config: &ModelConfig, rows: usize) -> Self {
        Self {
            a: b.alloc(rows * config.width, Kind::Activation),
            wide: b.alloc(rows * config.ffn.max(3 * config.width), Kind::Activation),
        }
    }
}

/// From `acts.x`, which holds the embeddings, to [`TransformerActs::hidden`].
pub(crate) fn forward(b: &mut dyn Backend, config: &ModelConfig, w: &View, acts: &TransformerActs) {
    let rows = acts.windows * acts.t;
    b.add_position_forward(acts.x, w.position.slice(0, acts.t * config.width), acts.windows, acts.t, config.width);
    let mut x = acts.x;
    for (w, acts_l) in w.layers.iter().zip(&acts.layers) {
        let a = acts_l;
        a.attention_norm.forward(b, x, w.attention_norm);
        b.linear_forward(a.attention_norm.y, w.qkv.w, w.qkv.b, a.qkv, gemm(rows, w.qkv), Epilogue::None);
        b.attention_forward(a.qkv, a.attended, a.probs, acts.attention(config));
        b.linear_forward(a.attended, w.out.w, w.out.b, a.middle, gemm(rows, w.out), Epilogue::Residual { skip: x });
        a.ffn_norm.forward(b, a.middle, w.ffn_norm);
        let expand = Epilogue::Gelu { pre: a.pre };
        b.linear_forward(a.ffn_norm.y, w.expand.w, w.expand.b, a.hidden, gemm(rows, w.expand), expand);
        let contract = Epilogue::Residual { skip: a.middle };
        b.linear_forward(a.hidden, w.contract.w, w.contract.b, a.y, gemm(rows, w.contract), contract);
        x = a.y;
    }
    acts.norm.forward(b, x, w.norm);
}

/// Adds the parameters' gradients, from `d_hidden [B,T,d]`; `dx [B,T,d]` receives the gradient of the embeddings.
#[expect(clippy::too_many_arguments, reason = "an operator's arguments are its tensors")]
pub(crate) fn backward(
    b: &mut dyn Backend,
    config: &ModelConfig,
    w: &View,
    g: &View,
    acts: &TransformerActs,
    scratch: &TransformerScratch,
    d_hidden: Tensor,
    dx: Tensor,
) {
    let rows = acts.windows * acts.t;
    let d = config.width;
    let da = scratch.a.slice(0, rows * d);
    let d_ffn = scratch.wide.slice(0, rows * config.ffn);
    let d_qkv = scratch.wide.slice(0, rows * 3 * d);
    let last = acts.layers.last().map_or(acts.x, |l| l.y);
    acts.norm.backward(b, d_hidden, last, w.norm, g.norm, dx, false);
    for i in (0..acts.layers.len()).rev() {
        let (w, g, a) = (&w.layers[i], &g.layers[i], &acts.layers[i]);
        let x = if i == 0 { acts.x } else { acts.layers[i - 1].y };
        let (d_pre, contract) = (Some(d_ffn), gemm(rows, w.contract));
        b.linear_backward(dx, a.hidden, w.contract.w, d_pre, Some(a.pre), g.contract.w, g.contract.b, contract);
        b.linear_backward(
            d_ffn,
            a.ffn_norm.y,
            w.expand.w,
            Some(da),
            None,
            g.expand.w,
            g.expand.b,
            gemm(rows, w.expand),
        );
        a.ffn_norm.backward(b, da, a.middle, w.ffn_norm, g.ffn_norm, dx, true);
        b.linear_backward(dx, a.attended, w.out.w, Some(da), None, g.out.w, g.out.b, gemm(rows, w.out));
        b.attention_backward(da, a.qkv, a.probs, d_qkv, acts.attention(config));
        b.linear_backward(d_qkv, a.attention_norm.y, w.qkv.w, Some(da), None, g.qkv.w, g.qkv.b, gemm(rows, w.qkv));
        a.attention_norm.backward(b, da, x, w.attention_norm, g.attention_norm, dx, true);
    }
    b.add_position_backward(dx, g.position.slice(0, acts.t * d), acts.windows, acts.t, d);
}
