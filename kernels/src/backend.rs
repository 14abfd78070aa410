//! The operator set as a trait: what the agent is written against, and what a device implements.

use crate::{Bytes, Ranks, RanksError, Tensor};

/// The patch stem: square pixels of side `size` (a multiple of 4), `channels` outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stem {
    /// Images.
    pub n: usize,
    /// Side of an image in pixels; a multiple of 4.
    pub size: usize,
    /// Output channels C.
    pub channels: usize,
}

impl Stem {
    /// Patches of the whole batch: N * (S/4)^2.
    pub fn rows(self) -> usize {
        self.n * (self.size / 4) * (self.size / 4)
    }
}

/// A matrix product: x[M,K] @ w[K,N], all row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gemm {
    /// Rows of x and y.
    pub m: usize,
    /// Columns of x, rows of w.
    pub k: usize,
    /// Columns of w and y.
    pub n: usize,
}

/// Images with channels last: [N,H,W,C].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Images.
    pub n: usize,
    /// Height.
    pub h: usize,
    /// Width.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Plane {
    /// Pixels of all images: N * H * W.
    pub fn rows(self) -> usize {
        self.n * self.h * self.w
    }

    /// Panics unless 2x2 patches fill an image.
    #[track_caller]
    pub(crate) fn check_even(self, operator: &str) {
        assert!(self.h.is_multiple_of(2) && self.w.is_multiple_of(2), "{operator}: {}x{} is not even", self.h, self.w);
    }

    /// Elements of the tensor.
    pub fn elements(self) -> usize {
        self.n * self.h * self.w * self.c
    }
}

/// Causal self-attention over packed QKV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Sequences B (lanes, for `attention_decode`).
    pub b: usize,
    /// Timesteps T (capacity of the cache, for `attention_decode`).
    pub t: usize,
    /// Heads NH.
    pub heads: usize,
    /// Head size HS.
    pub head_size: usize,
}

impl Attention {
    /// Width of the model: NH * HS.
    pub fn width(self) -> usize {
        self.heads * self.head_size
    }
}

/// What a linear layer does with `z = x @ w + b` before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// y = z.
    None,
    /// y = gelu(z) (tanh form); `pre` [M,N] keeps z for the `linear_backward` of the layer that reads y.
    Gelu {
        /// Receives z, [M,N].
        pre: Tensor,
    },
    /// y = skip + z. `y` may be the same tensor as `skip`.
    Residual {
        /// The residual stream, [M,N].
        skip: Tensor,
    },
    /// y = skip + scale * z; `pre` keeps z for `layer_scale_backward`. `y` may be the same tensor as `skip`.
    ScaledResidual {
        /// The residual stream, [M,N].
        skip: Tensor,
        /// Layer scale, [N].
        scale: Tensor,
        /// Receives z, [M,N].
        pre: Tensor,
    },
}

/// The parameters of a ConvNeXt block's inverted bottleneck of C channels, or their gradients.
#[derive(Clone, Copy, Debug)]
pub struct Bottleneck {
    /// Gain of the norm, [C].
    pub gain: Tensor,
    /// Shift of the norm, [C].
    pub shift: Tensor,
    /// [C,4C].
    pub expand_w: Tensor,
    /// [4C].
    pub expand_b: Tensor,
    /// [4C,C].
    pub contract_w: Tensor,
    /// [C].
    pub contract_b: Tensor,
    /// Layer scale, [C].
    pub scale: Tensor,
}

/// The inverted bottleneck as one operator: y = skip + scale * (gelu(norm(x) @ expand + b) @ contract + b), over rows of C channels. What
/// it means are its parts, one after another; it keeps nothing of what is between them.
pub trait FusedBottleneck {
    /// y[R,C] from x[R,C] and skip[R,C].
    fn bottleneck_forward(&mut self, x: Tensor, skip: Tensor, w: &Bottleneck, y: Tensor, rows: usize);
    /// dx[R,C] = , and the parameters' gradients += , from dy[R,C]. The gradient of skip is dy itself.
    fn bottleneck_backward(&mut self, dy: Tensor, x: Tensor, w: &Bottleneck, dx: Tensor, g: &Bottleneck, rows: usize);
}

/// One AdamW step. Decay is decoupled and multiplied by `lr`; bias correction uses `step`, which starts at 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// p -= lr * weight_decay * p, apart from the gradient.
    pub weight_decay: f32,
    /// Gradients are multiplied by min(1, clip / (norm + 1e-6)). Infinity: no clipping.
    pub clip: f32,
    /// 1 for the first step.
    pub step: u64,
}

/// How much of a batch a device wants at once, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Images that operators should be given together: as many as keep it busy, and no more than its caches hold.
    pub images: usize,
    /// Elements of activations that may be kept from the forward to the backward pass instead of being computed again.
    pub kept: usize,
    /// Whether it unpacks frames itself ([`Backend::frames_decode`]), so that uploads are smaller and the host has less to do.
    pub unpacks: bool,
}

impl Capacity {
    /// That of a processor: 32 images of a small stage fit its caches; 512 MiB of f32.
    pub const PROCESSOR: Capacity = Capacity { images: 32, kept: 128 << 20, unpacks: false };
}

/// A device: its static memory, its compute stream, its copy stream, and the operators of the agent.
///
/// Operators are queued on the compute stream in call order. `upload_bytes` is queued on the copy stream;
/// `wait_uploads` makes later operators wait for it. `download` and `synchronize` wait for everything before them.
/// The CPU backend does everything at once, in call order, which is one legal schedule of this model.
///
/// A wrong length, an illegal overlap or an allocation after the first operator is a programmer error: a panic that
/// names the operator and the sizes.
#[expect(clippy::too_many_arguments, reason = "an operator's arguments are its tensors, as on any device")]
pub trait Backend: Send {
    /// The device in words, for logs: "cpu (AVX-512, 2 threads)".
    fn name(&self) -> String;
    /// What to plan for. The number of images at once decides how sums are cut, and so is the same on all devices of a kind.
    fn capacity(&self) -> Capacity;

    // ---- memory ----------------------------------------------------------------------------------------------

    /// Plans `len` zeroed elements.
    fn alloc(&mut self, len: usize, kind: crate::Kind) -> Tensor;
    /// Plans `len` zeroed bytes.
    fn alloc_bytes(&mut self, len: usize) -> Bytes;
    /// dst = src, in stream order. May be mixed with `alloc`.
    fn upload(&mut self, dst: Tensor, src: &[f32]);
    /// dst = src; waits for all earlier work.
    fn download(&mut self, src: Tensor, dst: &mut [f32]);
    /// dst = src on the copy stream; `src` may be reused when the call returns. Operators that read `dst` must have ended: it does not
    /// wait for those that were queued.
    fn upload_bytes(&mut self, dst: Bytes, src: &[u8]);
    /// Operators called after this see every `upload_bytes` called before it.
    fn wait_uploads(&mut self);
    /// Begins all operators called so far, without waiting for them. A device may put operators off until it is asked for this, for a
    /// transfer or for a result.
    fn submit(&mut self);
    /// Waits for all work on both streams.
    fn synchronize(&mut self);

    // ---- elementary ------------------------------------------------------------------------------------------

    /// x = value.
    fn fill(&mut self, x: Tensor, value: f32);
    /// dst = src.
    fn copy(&mut self, src: Tensor, dst: Tensor);
    /// dst += alpha * src.
    fn add_scaled(&mut self, src: Tensor, dst: Tensor, alpha: f32);

    // ---- encoder ---------------------------------------------------------------------------------------------

    /// pixels u8 [N,S,S,3] = , from images of the codec `fast`; S a multiple of 4. `packed` begins with u32 at[N], little-endian: image n
    /// begins at byte 16 at[n] of `packed`, or is black where at[n] = 0. Whether an image is whole is the caller's to check: of one that is
    /// not, a device makes pixels that mean nothing, or panics; it reads nothing outside `packed`.
    fn frames_decode(&mut self, packed: Bytes, pixels: Bytes, n: usize, size: usize);
    /// pixels u8 [N,S,S,3] -> p/127.5 - 1 -> 4x4/4 patches [N*(S/4)^2, 48] (order ky,kx,c) @ w[48,C] + b[C]
    /// -> y[N,(S/4)^2,C].
    fn stem_forward(&mut self, pixels: Bytes, w: Tensor, b: Tensor, y: Tensor, d: Stem);
    /// dw[48,C] += , db[C] += , from dy[N,(S/4)^2,C]. There is no gradient of pixels.
    fn stem_backward(&mut self, dy: Tensor, pixels: Bytes, dw: Tensor, db: Tensor, d: Stem);
    /// y[N,H,W,C] = b[C] + sum over the 7x7 window of x[N,H,W,C] * w[49,C] (row ky*7+kx), zero padding of 3.
    fn depthwise_forward(&mut self, x: Tensor, w: Tensor, b: Tensor, y: Tensor, d: Plane);
    /// dw[49,C] += , db[C] += ; dx[N,H,W,C] = , or += where `accumulate` (the residual stream), from dy[N,H,W,C].
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
    );
    /// The layer norm (see `layer_norm_forward`) over the channels of x[N,H,W,C], as 2x2 patches: y[N,H/2,W/2,4C], order ky,kx,c; H and W
    /// even. mean[N*H*W] and rstd[N*H*W] are kept, in x's order. With a linear layer: the 2x2/2 convolution of the norm.
    fn norm_patches2_forward(
        &mut self,
        x: Tensor,
        g: Tensor,
        b: Tensor,
        y: Tensor,
        mean: Tensor,
        rstd: Tensor,
        d: Plane,
    );
    /// dg[C] += , db[C] += ; dx[N,H,W,C] = , from dy[N,H/2,W/2,4C]; `d` is the plane of x.
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
    );
    /// x[N,P,C] -> y[N,C], the mean over P.
    fn mean_pool_forward(&mut self, x: Tensor, y: Tensor, n: usize, p: usize, c: usize);
    /// dx[N,P,C] = , from dy[N,C].
    fn mean_pool_backward(&mut self, dy: Tensor, dx: Tensor, n: usize, p: usize, c: usize);

    // ---- layers ----------------------------------------------------------------------------------------------

    /// y[M,N] = epilogue(x[M,K] @ w[K,N] + b[N]). `y` is an activation, or exact (scratch) where there is no epilogue.
    fn linear_forward(&mut self, x: Tensor, w: Tensor, b: Tensor, y: Tensor, d: Gemm, e: Epilogue);
    /// dx[M,K] = dy @ w^T (when asked), dw[K,N] += x^T @ dy, db[N] += column sums of dy[M,N]. dy, of the kind of y, is the gradient of
    /// x @ w + b: undo layer scale first (`layer_scale_backward`; a residual needs nothing). Where x is gelu(before[M,K]), dx is the
    /// gradient of `before`: (dy @ w^T) * gelu'(before), elementwise.
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
    );
    /// Of y = skip + scale[cols] * pre[rows,cols]: dpre = scale * dy, dscale[cols] += sum over rows of dy * pre.
    /// The gradient of skip is dy itself.
    fn layer_scale_backward(
        &mut self,
        dy: Tensor,
        pre: Tensor,
        scale: Tensor,
        dpre: Tensor,
        dscale: Tensor,
        rows: usize,
        cols: usize,
    );
    /// y = (x - mean) * rstd * g + b over the columns of x[rows,cols]; eps 1e-5; mean[rows] and rstd[rows] are kept.
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
    );
    /// dg[cols] += , db[cols] += ; dx[rows,cols] = , or += where `accumulate` (the residual stream).
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
    );

    /// The inverted bottleneck of `channels` as one operator; none if the device has its parts only.
    fn bottleneck(&mut self, channels: usize) -> Option<&mut dyn FusedBottleneck>;

    // ---- transformer -----------------------------------------------------------------------------------------

    /// x[B,T,C] += pos[T,C], in place.
    fn add_position_forward(&mut self, x: Tensor, pos: Tensor, b: usize, t: usize, c: usize);
    /// dpos[T,C] += sum over B of dx[B,T,C]. The gradient of the embeddings is dx itself.
    fn add_position_backward(&mut self, dx: Tensor, dpos: Tensor, b: usize, t: usize, c: usize);
    /// Causal attention: qkv[B,T,3,NH,HS] -> y[B,T,NH*HS]; probs[B,NH,T,T] keeps the softmax (zero above the
    /// diagonal). Scores are scaled by 1/sqrt(HS).
    fn attention_forward(&mut self, qkv: Tensor, y: Tensor, probs: Tensor, d: Attention);
    /// dqkv[B,T,3,NH,HS] = , from dy[B,T,NH*HS].
    fn attention_backward(&mut self, dy: Tensor, qkv: Tensor, probs: Tensor, dqkv: Tensor, d: Attention);
    /// One new timestep a lane, for rollouts. qkv[B,3,NH,HS] is of the new timestep, whose index in lane b is
    /// positions[b] < T. K and V are stored at that index of cache[B,2,T,NH,HS] (0 = K, 1 = V); then the query
    /// attends to 0..=positions[b] -> y[B,NH*HS].
    fn attention_decode(&mut self, qkv: Tensor, cache: Tensor, y: Tensor, positions: &[u32], d: Attention);

    // ---- losses ----------------------------------------------------------------------------------------------

    /// The policy's loss over logits[N, sum K], one categorical of heads[h] values for each component h:
    /// sum over i of weight[i] * sum_h CE_h(i) + kl_weight[i] * sum_h KL(pi_h || ref_h)(i).
    ///
    /// Writes dlogits[N, sum K] = its gradient, and of each token nll[N] = sum_h CE_h, kl[N] (0 without a reference),
    /// entropy[N], all in nats and without the weights. `actions` is u8 [N, heads]; `reference` has the layout of
    /// logits; `kl_weight` needs a reference. A token of weight 0 (padding) still needs legal actions.
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
    );
    /// Bradley-Terry with centering: scores[P,2] (chosen, rejected), label[P] = P(chosen is better);
    /// loss[P] = -label ln s(d) - (1-label) ln s(-d) + centering * (chosen + rejected)^2, where d = chosen - rejected
    /// and s is the logistic function. dscores[P,2] = the gradient of the mean of loss over the pairs.
    fn bradley_terry(&mut self, scores: Tensor, label: Tensor, centering: f32, dscores: Tensor, loss: Tensor);

    // ---- ranks -----------------------------------------------------------------------------------------------

    /// Whose sums [`Backend::reduce`] makes from here on; before that there is this process alone.
    ///
    /// # Errors
    /// A rank is lost, or the devices cannot reach each other.
    fn join(&mut self, ranks: &Ranks) -> Result<(), RanksError>;
    /// x = the sum of x over all ranks; x is a gradient. It begins after the operators called before, and goes on beside those that are
    /// called after: they must leave x alone until [`Backend::wait_reduced`]. All ranks reduce the same lengths in the same order.
    ///
    /// # Errors
    /// A rank is lost or has given up.
    fn reduce(&mut self, x: Tensor) -> Result<(), RanksError>;
    /// Operators called after this see every `reduce` called before it.
    fn wait_reduced(&mut self);

    // ---- optimiser -------------------------------------------------------------------------------------------

    /// out[1] = the Euclidean norm of g.
    fn grad_norm(&mut self, g: Tensor, out: Tensor);
    /// One step over parameters p with gradients g and moments m, v, all of one length. `norm[1]` is the global
    /// gradient norm (`grad_norm` over all gradients), read on the device.
    fn adamw(&mut self, p: Tensor, g: Tensor, m: Tensor, v: Tensor, norm: Tensor, d: AdamW);
}
