//! The reward model: a score for a window, learnt from pairs (Bradley and Terry 1952).
//!
//! P(a better than b) = s(score(a) - score(b)). The score of a window is the head's output at its last real timestep: the transformer is
//! causal, so that position has seen all of it. Only differences are identified; a small penalty on the squared sum of a pair's scores
//! pins the constant.

use std::path::Path;

use playhouse_kernels::{Kind, Tensor};

use crate::config::{Head, ModelConfig};
use crate::encoder::gemm;
use crate::error::Result;
use crate::feed::{Batch, Loader, Pairs};
use crate::learner::Learner;
use crate::model::{Input, Pass, initial_values};
use crate::pairs::PairMeter;
use crate::report::{Observer, Report};
use crate::settings::Training;
use crate::source::{PairSource, last_positions};
use crate::train::{Objective, Run};

/// Trains a reward model on pairs of windows, `settings.batch` pairs a step.
///
/// `init` is a policy (its encoder and transformer are taken over, the head is new) or a reward model; without it all weights are drawn.
/// The run lives in `dir` as for [`imitate`](crate::imitate).
///
/// Metrics: `train/loss`, `train/gradient_norm`, `train/lr` each step; at each evaluation `held_out/loss` (log loss in nats, centering apart),
/// `held_out/accuracy` = `held_out/correct` / `held_out/pairs` (equal scores count half, ties are apart as `held_out/ties`), `held_out/ece`
/// and `held_out/margin` (mean of chosen minus rejected); at the end, with `patience`, `kept_step`.
pub fn train_reward(
    config: &ModelConfig,
    init: Option<&Path>,
    train: &mut dyn PairSource,
    held_out: &mut dyn PairSource,
    settings: &Training,
    dir: &Path,
    observer: &mut dyn Observer,
) -> Result<Report> {
    config.validate()?;
    settings.validate()?;
    let mut train = Pairs::new(train, config, "training pairs")?;
    let mut held_out = Pairs::new(held_out, config, "held-out pairs")?;
    let mut l = Learner::plan(settings.compute.backend()?, config, Head::Reward);
    l.b.join(&settings.ranks)?;
    let pass = Pass::plan(l.b.as_mut(), config, 2 * settings.most_of_batch(), true);
    let mut objective = Preference::plan(&mut l, settings);
    let run = Run {
        identity: settings.compute.mark(serde_json::json!({
            "kind": "train_reward",
            "model": config,
            "settings": settings,
            "pairs": train.items(),
            "held_out": held_out.items(),
        })),
        settings,
        dir,
        windows_an_item: 2,
        initial: initial_values(config, &l.model.layout, settings.seed, init)?,
    };
    run.go(&mut l, &pass, &mut objective, &mut train, Some(&mut held_out), observer)
}

/// Bradley-Terry as an [`Objective`].
pub(crate) struct Preference {
    gather: LastHidden,
    d_last: Tensor,
    scores: Tensor,
    d_scores: Tensor,
    /// `d_scores`, of the mean over all ranks' pairs.
    shared: Tensor,
    label: Tensor,
    loss: Tensor,
    centering: f64,
    label_noise: f64,
    held_out: PairMeter,
    losses: Vec<f32>,
    /// Pairs a step, on all ranks together.
    batch: usize,
}

impl Preference {
    pub fn plan(l: &mut Learner, settings: &Training) -> Self {
        let windows = 2 * settings.most_of_batch();
        let config = l.model.config.clone();
        let b = l.b.as_mut();
        Self {
            gather: LastHidden::plan(b, &config, windows),
            d_last: b.alloc(windows * config.width, Kind::Activation),
            scores: b.alloc(windows, Kind::Scratch),
            d_scores: b.alloc(windows, Kind::Scratch),
            shared: b.alloc(windows, Kind::Scratch),
            label: b.alloc(windows / 2, Kind::Scratch),
            loss: b.alloc(windows / 2, Kind::Scratch),
            batch: settings.batch,
            centering: settings.centering,
            label_noise: settings.label_noise,
            held_out: PairMeter::default(),
            losses: Vec::new(),
        }
    }
}

impl Objective for Preference {
    fn launch(&mut self, l: &mut Learner, pass: &Pass, input: Input, batch: &Batch) -> Result<()> {
        let (windows, pairs) = (batch.windows, batch.labels.len());
        let last = last_positions(&batch.weights, l.model.config.context)?;
        // A share of labels is taken to be noise: even where the loss is at its lowest, the model is never quite sure.
        let noise = self.label_noise as f32;
        let labels: Vec<f32> = batch.labels.iter().map(|l| (1.0 - noise) * l + 0.5 * noise).collect();
        let b = l.b.as_mut();
        let hidden = pass.forward(b, &l.model.w, input, windows);
        let rows = self.gather.gather(b, hidden, &last);
        let (scores, d_scores) = (self.scores.slice(0, windows), self.d_scores.slice(0, windows));
        l.model.head_forward(b, rows, scores, windows);
        let label = self.label.slice(0, pairs);
        b.upload(label, &labels);
        b.bradley_terry(scores, label, self.centering as f32, d_scores, self.loss.slice(0, pairs));
        // The gradient is of the mean over this rank's pairs; what is wanted is the mean over the batch.
        let shared = self.shared.slice(0, windows);
        b.fill(shared, 0.0);
        b.add_scaled(d_scores, shared, (pairs as f64 / self.batch as f64) as f32);
        let d_last = self.d_last.slice(0, rows.len());
        let d = gemm(windows, l.model.w.head);
        b.linear_backward(shared, rows, l.model.w.head.w, Some(d_last), None, l.g.head.w, l.g.head.b, d);
        self.gather.scatter(b, d_last, pass.d_hidden(windows), &last);
        l.backward(pass, input, windows)
    }

    fn finish(&mut self, l: &mut Learner, batch: &Batch) -> Result<f64> {
        self.losses.resize(batch.labels.len(), 0.0);
        l.b.download(self.loss.slice(0, self.losses.len()), &mut self.losses);
        Ok(self.losses.iter().map(|&x| f64::from(x)).sum::<f64>() / self.batch as f64)
    }

    fn measure(&mut self, l: &mut Learner, pass: &Pass, input: Input, batch: &Batch) -> Result<()> {
        let last = last_positions(&batch.weights, l.model.config.context)?;
        let b = l.b.as_mut();
        let hidden = pass.forward(b, &l.model.w, input, batch.windows);
        let rows = self.gather.gather(b, hidden, &last);
        let scores = self.scores.slice(0, batch.windows);
        l.model.head_forward(b, rows, scores, batch.windows);
        let mut values = vec![0.0; batch.windows];
        b.download(scores, &mut values);
        for (pair, &label) in values.chunks_exact(2).zip(&batch.labels) {
            self.held_out.add(pair[0].into(), pair[1].into(), label.into());
        }
        Ok(())
    }

    fn measured(&mut self) -> Vec<(String, f64)> {
        self.held_out.take()
    }

    fn state(&self) -> Vec<f64> {
        Vec::new()
    }

    fn restore(&mut self, _state: &[f64]) {}
}

/// Hidden states of each window's last real timestep, `[B,d]`, and their way back.
pub(crate) struct LastHidden {
    rows: Tensor,
    width: usize,
    context: usize,
}

impl LastHidden {
    pub fn plan(b: &mut dyn playhouse_kernels::Backend, config: &ModelConfig, windows: usize) -> Self {
        Self { rows: b.alloc(windows * config.width, Kind::Activation), width: config.width, context: config.context }
    }

    /// `hidden [B,T,d]` -> `[B,d]`.
    pub fn gather(&self, b: &mut dyn playhouse_kernels::Backend, hidden: Tensor, last: &[usize]) -> Tensor {
        for (window, position) in last.iter().enumerate() {
            b.copy(self.row(hidden, window, *position), self.rows.slice(window * self.width, self.width));
        }
        self.rows.slice(0, last.len() * self.width)
    }

    /// `d_last [B,d]` -> `d_hidden [B,T,d]`, zero elsewhere.
    fn scatter(&self, b: &mut dyn playhouse_kernels::Backend, d_last: Tensor, d_hidden: Tensor, last: &[usize]) {
        b.fill(d_hidden, 0.0);
        for (window, position) in last.iter().enumerate() {
            b.copy(d_last.slice(window * self.width, self.width), self.row(d_hidden, window, *position));
        }
    }

    fn row(&self, all: Tensor, window: usize, position: usize) -> Tensor {
        all.slice((window * self.context + position) * self.width, self.width)
    }
}
