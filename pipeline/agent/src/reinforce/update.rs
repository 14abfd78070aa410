//! The gradient of one update: trajectories and advantages in, accumulated parameter gradients out.
//!
//! ```text
//! loss = 1/N sum over timesteps ( - A sum_h ln pi(a_h)  +  kl sum_h KL(pi_h || reference_h) )      N = timesteps of the update
//! ```
//!
//! The embeddings of the rollout are those of the current weights, so the transformer starts from them; frames go through the encoder
//! again only where it learns, once each, when the gradient of their embeddings is known.

use playhouse_kernels::{Backend, Bytes, Kind, Tensor};

use super::windows::{Segment, learnt, pack, seen};
use crate::config::ModelConfig;
use crate::encoder::{self, EncoderActs, EncoderScratch, gemm};
use crate::learner::Learner;
use crate::model::Model;
use crate::rollout::Trajectory;
use crate::transformer::{self, TransformerActs, TransformerScratch};

/// Memory for batches of up to `windows` windows.
pub(crate) struct Update {
    windows: usize,
    pixels: Bytes,
    encoder: EncoderActs,
    encoder_scratch: EncoderScratch,
    /// Embeddings of a batch's frames, and their gradient, `[F,d]`.
    frames: Tensor,
    d_frames: Tensor,
    trunk: TransformerActs,
    trunk_scratch: TransformerScratch,
    d_hidden: Tensor,
    d_x: Tensor,
    logits: Tensor,
    reference_logits: Tensor,
    d_logits: Tensor,
    actions: Bytes,
    weight: Tensor,
    kl_weight: Tensor,
    nll: Tensor,
    kl: Tensor,
    entropy: Tensor,
}

/// What an update's gradient is made of.
pub(crate) struct Lesson<'a> {
    pub trajectories: &'a [Trajectory],
    /// Of each trajectory.
    pub advantages: &'a [f64],
    /// Whether each trajectory takes part.
    pub used: &'a [bool],
    pub kl: f64,
    pub freeze_encoder: bool,
    /// The reference embeds frames exactly like the policy.
    pub shared_encoder: bool,
}

/// Sums over the timesteps learnt from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub steps: f64,
    /// The loss as defined above (already divided by N).
    pub loss: f64,
    pub kl: f64,
    pub entropy: f64,
}

impl Update {
    pub fn plan(b: &mut dyn Backend, config: &ModelConfig, windows: usize, freeze_encoder: bool) -> Self {
        let (rows, d) = (windows * config.context, config.width);
        // Frames are encoded here only by a learning encoder or another reference's.
        let chunk = if freeze_encoder { 8 } else { b.capacity().images.min(rows) };
        let mut activation = |len| b.alloc(len, Kind::Activation);
        let (frames, d_frames) = (activation(rows * d), activation(rows * d));
        let (d_hidden, d_x) = (activation(rows * d), activation(rows * d));
        let (logits, reference_logits) = (activation(rows * config.logits()), activation(rows * config.logits()));
        let d_logits = activation(rows * config.logits());
        let mut scratch = || b.alloc(rows, Kind::Scratch);
        let (weight, kl_weight, nll, kl, entropy) = (scratch(), scratch(), scratch(), scratch(), scratch());
        Self {
            windows,
            pixels: b.alloc_bytes(rows * config.frame_bytes()),
            encoder: EncoderActs::plan(b, config, chunk),
            encoder_scratch: EncoderScratch::plan(b, config, chunk),
            frames,
            d_frames,
            trunk: TransformerActs::plan(b, config, windows, config.context),
            trunk_scratch: TransformerScratch::plan(b, config, rows),
            d_hidden,
            d_x,
            logits,
            reference_logits,
            d_logits,
            actions: b.alloc_bytes(rows * config.actions.len()),
            weight,
            kl_weight,
            nll,
            kl,
            entropy,
        }
    }

    /// Adds the gradient of `lesson` to the learner's.
    pub fn learn(&self, l: &mut Learner, reference: &Model, lesson: &Lesson) -> Sums {
        let total: usize = lesson.trajectories.iter().map(|t| t.steps).sum();
        let context = l.model.config.context;
        let used = lesson.trajectories.iter().map(|t| t.steps).enumerate().filter(|(i, _)| lesson.used[*i]);
        let mut sums = Sums::default();
        for segments in pack(used, context, self.windows) {
            self.batch(l, reference, lesson, &segments, 1.0 / total as f64, &mut sums);
        }
        sums
    }

    fn batch(
        &self,
        l: &mut Learner,
        reference: &Model,
        lesson: &Lesson,
        segments: &[Segment],
        scale: f64,
        sums: &mut Sums,
    ) {
        let host = Host::gather(&l.model.config, lesson, segments, scale);
        let config = l.model.config.clone();
        let (windows, rows) = (host.places.len(), host.weight.len());
        let cut = |t: Tensor| t.slice(0, rows);
        let wide = |t: Tensor| t.slice(0, rows * config.logits());
        let trunk = self.trunk.first(windows);
        let frames = self.frames.slice(0, host.frames * config.width);
        let pixels = self.pixels.slice(0, host.pixels.len());
        let b = l.b.as_mut();
        let actions = self.actions.slice(0, host.actions.len());
        b.upload_bytes(actions, &host.actions);
        b.upload_bytes(pixels, &host.pixels);
        b.wait_uploads();
        b.upload(cut(self.weight), &host.weight);
        b.upload(cut(self.kl_weight), &host.kl_weight);

        // The reference's opinion of the same windows.
        if lesson.shared_encoder {
            b.upload(trunk.x, &host.x);
        } else {
            encoder::forward(b, &config, &reference.w, &self.encoder, pixels, frames);
            b.fill(trunk.x, 0.0);
            for (window, &(start, len)) in host.places.iter().enumerate() {
                let row = window * config.context * config.width;
                let len = len * config.width;
                b.copy(frames.slice(start * config.width, len), trunk.x.slice(row, len));
            }
        }
        transformer::forward(b, &config, &reference.w, &trunk);
        reference.head_forward(b, trunk.hidden(), wide(self.reference_logits), rows);

        // The policy's, and the loss.
        b.upload(trunk.x, &host.x);
        transformer::forward(b, &config, &l.model.w, &trunk);
        l.model.head_forward(b, trunk.hidden(), wide(self.logits), rows);
        b.policy_loss(
            wide(self.logits),
            Some(wide(self.reference_logits)),
            actions,
            cut(self.weight),
            Some(cut(self.kl_weight)),
            wide(self.d_logits),
            cut(self.nll),
            cut(self.kl),
            cut(self.entropy),
            &config.cardinalities(),
        );

        // Back down.
        let (d_hidden, d_x) = (self.d_hidden.slice(0, trunk.x.len()), self.d_x.slice(0, trunk.x.len()));
        let (w, g) = (l.model.w.head, l.g.head);
        b.linear_backward(wide(self.d_logits), trunk.hidden(), w.w, Some(d_hidden), None, g.w, g.b, gemm(rows, w));
        transformer::backward(b, &config, &l.model.w, &l.g, &trunk, &self.trunk_scratch, d_hidden, d_x);
        if !lesson.freeze_encoder {
            let d_frames = self.d_frames.slice(0, frames.len());
            b.fill(d_frames, 0.0);
            for (window, &(start, len)) in host.places.iter().enumerate() {
                let row = window * config.context * config.width;
                let len = len * config.width;
                b.add_scaled(d_x.slice(row, len), d_frames.slice(start * config.width, len), 1.0);
            }
            let (acts, scratch) = (&self.encoder, &self.encoder_scratch);
            encoder::backward(b, &config, &l.model.w, &l.g, acts, scratch, pixels, frames, d_frames, false);
        }

        let mut fetch = |t: Tensor| {
            let mut values = vec![0.0f32; rows];
            b.download(cut(t), &mut values);
            values
        };
        let (nll, kl, entropy) = (fetch(self.nll), fetch(self.kl), fetch(self.entropy));
        for i in (0..rows).filter(|&i| host.learnt[i]) {
            sums.steps += 1.0;
            sums.loss += f64::from(host.weight[i] * nll[i]) + f64::from(host.kl_weight[i] * kl[i]);
            sums.kl += f64::from(kl[i]);
            sums.entropy += f64::from(entropy[i]);
        }
    }
}

/// A batch put together in host memory. Windows shorter than the context are padded at the end with weight zero: attention is causal, so
/// padding changes nothing before it.
struct Host {
    /// `[B,T,d]`.
    x: Vec<f32>,
    /// `[F,S,S,3]`, empty where nothing is encoded.
    pixels: Vec<u8>,
    /// F.
    frames: usize,
    actions: Vec<u8>,
    weight: Vec<f32>,
    kl_weight: Vec<f32>,
    learnt: Vec<bool>,
    /// Of each window: its first frame among F, and how many.
    places: Vec<(usize, usize)>,
}

impl Host {
    fn gather(config: &ModelConfig, lesson: &Lesson, segments: &[Segment], scale: f64) -> Self {
        let (t, d, heads, bytes) = (config.context, config.width, config.actions.len(), config.frame_bytes());
        let windows: usize = segments.iter().map(|s| s.windows.len()).sum();
        let rows = windows * t;
        let encodes = !(lesson.freeze_encoder && lesson.shared_encoder);
        let mut host = Self {
            x: vec![0.0; rows * d],
            pixels: Vec::new(),
            frames: 0,
            actions: vec![0; rows * heads],
            weight: vec![0.0; rows],
            kl_weight: vec![0.0; rows],
            learnt: vec![false; rows],
            places: Vec::with_capacity(windows),
        };
        for segment in segments {
            let trajectory = &lesson.trajectories[segment.trajectory];
            let advantage = lesson.advantages[segment.trajectory];
            let frames = segment.frames(trajectory.steps, t);
            for window in segment.windows.clone() {
                let row = host.places.len() * t;
                let seen = seen(window, trajectory.steps, t);
                let (from, n) = (seen.start, seen.len());
                host.x[row * d..(row + n) * d].copy_from_slice(&trajectory.embeddings[from * d..(from + n) * d]);
                host.actions[row * heads..(row + n) * heads]
                    .copy_from_slice(&trajectory.actions[from * heads..(from + n) * heads]);
                for step in learnt(window, trajectory.steps, t) {
                    let i = row + step - from;
                    host.weight[i] = (advantage * scale) as f32;
                    host.kl_weight[i] = (lesson.kl * scale) as f32;
                    host.learnt[i] = true;
                }
                host.places.push((host.frames + from - frames.start, n));
            }
            if encodes {
                host.pixels.extend_from_slice(&trajectory.frames[frames.start * bytes..frames.end * bytes]);
            }
            host.frames += frames.len();
        }
        host
    }
}
