//! A model being trained: weights, gradients, AdamW's moments, and the step that moves them.

use std::ops::Range;

use playhouse_kernels::{AdamW, Backend, Kind, RanksError, Tensor};

use crate::config::{Head, ModelConfig};
use crate::error::{Error, Result};
use crate::files::Checkpoint;
use crate::model::{Input, Model, Pass};
use crate::view::View;

/// What AdamW is set to for one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hyper {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub weight_decay: f64,
    pub clip: f64,
    pub freeze_encoder: bool,
}

/// A model with what training adds to it: four tensors of one layout.
pub(crate) struct Learner {
    pub b: Box<dyn Backend>,
    pub model: Model,
    gradients: Tensor,
    pub g: View,
    m: Tensor,
    v: Tensor,
    norm: Tensor,
    /// Optimiser steps done.
    pub step: u64,
}

impl Learner {
    /// Plans the memory on `b`.
    pub fn plan(mut b: Box<dyn Backend>, config: &ModelConfig, head: Head) -> Self {
        let model = Model::plan(b.as_mut(), config, head);
        let len = model.layout.len();
        let gradients = b.alloc(len, Kind::Gradient);
        let (m, v) = (b.alloc(len, Kind::Moment), b.alloc(len, Kind::Moment));
        let norm = b.alloc(1, Kind::Scratch);
        let g = View::new(config, head, &model.layout, gradients);
        Self { b, model, gradients, g, m, v, norm, step: 0 }
    }

    /// Gradients are zero again.
    pub fn zero_gradients(&mut self) {
        self.b.fill(self.gradients, 0.0);
    }

    /// Adds the gradients of all parameters below the head, then sums all gradients over the ranks. Those of the trunk, which are nearly all,
    /// are on their way while the encoder's are still computed.
    pub fn backward(&mut self, pass: &Pass, input: Input, windows: usize) -> Result<()> {
        pass.backward_trunk(self.b.as_mut(), &self.model.w, &self.g, windows);
        self.reduce(self.model.layout.trunk())?;
        if input != Input::Embeddings {
            pass.backward_encoder(self.b.as_mut(), &self.model.w, &self.g, input, windows);
            self.reduce(self.model.layout.encoder())?;
        }
        self.b.wait_reduced();
        Ok(())
    }

    fn reduce(&mut self, ranges: [Range<usize>; 2]) -> Result<(), RanksError> {
        ranges.into_iter().try_for_each(|range| self.b.reduce(self.gradients.slice(range.start, range.len())))
    }

    /// One AdamW step on the accumulated gradients.
    pub fn optimise(&mut self, hyper: Hyper) {
        self.step += 1;
        self.b.grad_norm(self.gradients, self.norm);
        for (range, decays) in self.model.layout.trainable(hyper.freeze_encoder) {
            let cut = |t: Tensor| t.slice(range.start, range.len());
            let d = AdamW {
                lr: hyper.lr as f32,
                beta1: hyper.beta1 as f32,
                beta2: hyper.beta2 as f32,
                eps: 1e-8,
                weight_decay: if decays { hyper.weight_decay as f32 } else { 0.0 },
                clip: hyper.clip as f32,
                step: self.step,
            };
            self.b.adamw(cut(self.model.weights), cut(self.gradients), cut(self.m), cut(self.v), self.norm, d);
        }
    }

    /// Global gradient norm of the last [`Learner::optimise`], before clipping.
    pub fn gradient_norm(&mut self) -> Result<f64> {
        let mut norm = [0.0];
        self.b.download(self.norm, &mut norm);
        let value = f64::from(norm[0]);
        if value.is_finite() {
            return Ok(value);
        }
        Err(Error::Diverged { step: self.step.saturating_sub(1), what: "the gradient norm", value })
    }

    /// Fetches weights and moments into a checkpoint.
    pub fn save_into(&mut self, checkpoint: &mut Checkpoint) {
        let groups =
            [(self.model.weights, &mut checkpoint.weights), (self.m, &mut checkpoint.m), (self.v, &mut checkpoint.v)];
        for (tensor, values) in groups {
            values.resize(tensor.len(), 0.0);
            self.b.download(tensor, values);
        }
    }

    /// Puts a checkpoint's weights and moments back; `step` is the number of optimiser steps behind them.
    pub fn restore(&mut self, checkpoint: &Checkpoint, step: u64) {
        self.b.upload(self.model.weights, &checkpoint.weights);
        self.b.upload(self.m, &checkpoint.m);
        self.b.upload(self.v, &checkpoint.v);
        self.step = step;
    }

    /// All gradients, in the layout's order.
    #[cfg(test)]
    pub fn gradients(&mut self) -> Vec<f32> {
        let mut values = vec![0.0; self.gradients.len()];
        self.b.download(self.gradients, &mut values);
        values
    }
}
