//! Imitation (pre-training, SFT, ReST's fine-tuning): behaviour cloning over windows of play.
//!
//! The loss of a timestep is the sum of its components' cross-entropies; the loss of a batch is the mean over its real timesteps, weighted.
//! Beside it stands the loss of the *action prior*, the best that can be done without looking: each component's share of values among the
//! actions trained on so far. An agent that does not get below it on held-out windows has not learnt from pixels.

use std::path::Path;

use playhouse_kernels::{Backend, Bytes, Kind, Ranks, Tensor};

use crate::config::{Head, ModelConfig};
use crate::error::{Error, Result};
use crate::feed::{Batch, Loader, Windows};
use crate::learner::Learner;
use crate::model::{Input, Pass, initial_values};
use crate::report::{Observer, Report};
use crate::settings::Training;
use crate::softmax::log_softmax;
use crate::source::WindowSource;
use crate::train::{Objective, Run};

/// Trains a policy to do what the windows show.
///
/// `init` is a model file to start from. The run lives in `dir`: `checkpoint.safetensors` while it goes on, `model.safetensors` at the end. The
/// same call after an interruption of any kind continues it, and ends with the same bytes.
///
/// Metrics: `train/loss`, `train/gradient_norm`, `train/lr` each step; `held_out/loss`, `held_out/prior_loss`, `held_out/accuracy` (share of
/// components predicted by their mode) and `held_out/loss/<component>`, `held_out/prior_loss/<component>` at each evaluation; at the end,
/// with `patience`, `kept_step`. All losses are nats a timestep.
pub fn imitate(
    config: &ModelConfig,
    init: Option<&Path>,
    train: &mut dyn WindowSource,
    held_out: Option<&mut dyn WindowSource>,
    settings: &Training,
    dir: &Path,
    observer: &mut dyn Observer,
) -> Result<Report> {
    config.validate()?;
    settings.validate_imitation()?;
    imitate_on(settings.compute.backend()?, config, init, train, held_out, settings, dir, observer)
}

/// The same on a device that is open.
#[expect(clippy::too_many_arguments, reason = "those of `imitate`, and the device")]
pub(crate) fn imitate_on(
    b: Box<dyn Backend>,
    config: &ModelConfig,
    init: Option<&Path>,
    train: &mut dyn WindowSource,
    held_out: Option<&mut dyn WindowSource>,
    settings: &Training,
    dir: &Path,
    observer: &mut dyn Observer,
) -> Result<Report> {
    let mut train = Windows::new(train, config, "training windows")?;
    let mut held_out = held_out.map(|source| Windows::new(source, config, "held-out windows")).transpose()?;
    let mut l = Learner::plan(b, config, Head::Policy);
    l.b.join(&settings.ranks)?;
    let windows = settings.most_of_batch();
    let mut pass = Pass::plan(l.b.as_mut(), config, windows, true);
    // Pixels that are shifted, or encoded once and for all, are unpacked here.
    let unpacks = l.b.capacity().unpacks && !settings.freeze_encoder;
    let train_packed = unpacks && settings.shift == 0 && train.pack();
    let held_out_packed = unpacks && held_out.as_mut().is_some_and(Windows::pack);
    if train_packed || held_out_packed {
        pass.plan_packed(l.b.as_mut());
    }
    let mut objective = Imitation::plan(&mut l, windows, &settings.ranks);
    let run = Run {
        identity: settings.compute.mark(serde_json::json!({
            "kind": "imitate",
            "model": config,
            "settings": settings,
            "windows": train.items(),
            "held_out": held_out.as_ref().map(|h| h.items()),
        })),
        settings,
        dir,
        windows_an_item: 1,
        initial: initial_values(config, &l.model.layout, settings.seed, init)?,
    };
    let held_out = held_out.as_mut().map(|h| h as &mut dyn Loader);
    run.go(&mut l, &pass, &mut objective, &mut train, held_out, observer)
}

/// Behaviour cloning as an [`Objective`].
pub(crate) struct Imitation {
    logits: Tensor,
    d_logits: Tensor,
    actions: Bytes,
    weight: Tensor,
    nll: Tensor,
    kl: Tensor,
    entropy: Tensor,
    cardinalities: Vec<usize>,
    prior: Prior,
    held_out: PolicyMeter,
    /// Normalised weights and losses of the step under way, `[B,T]`.
    weights: Vec<f32>,
    losses: Vec<f32>,
    /// Those who have the other parts of a batch.
    ranks: Ranks,
}

impl Imitation {
    pub fn plan(l: &mut Learner, windows: usize, ranks: &Ranks) -> Self {
        let config = &l.model.config;
        let (rows, logits) = (windows * config.context, config.logits());
        let b = &mut l.b;
        Self {
            logits: b.alloc(rows * logits, Kind::Activation),
            d_logits: b.alloc(rows * logits, Kind::Activation),
            actions: b.alloc_bytes(rows * config.actions.len()),
            weight: b.alloc(rows, Kind::Scratch),
            nll: b.alloc(rows, Kind::Scratch),
            kl: b.alloc(rows, Kind::Scratch),
            entropy: b.alloc(rows, Kind::Scratch),
            cardinalities: config.cardinalities(),
            prior: Prior::new(config),
            held_out: PolicyMeter::new(config),
            weights: Vec::new(),
            losses: Vec::new(),
            ranks: ranks.clone(),
        }
    }
}

impl Objective for Imitation {
    fn launch(&mut self, l: &mut Learner, pass: &Pass, input: Input, batch: &Batch) -> Result<()> {
        let rows = batch.weights.len();
        // A mean over the batch is one over all ranks' parts of it, and so is the prior.
        let mut sums = self.prior.counts_of(&batch.actions, &batch.weights);
        sums.push(batch.weights.iter().map(|&w| f64::from(w)).sum());
        self.ranks.sum(&mut sums)?;
        let total = sums.pop().unwrap_or_default();
        self.prior.add(&sums);
        if total <= 0.0 {
            return Err(Error::Input("a batch has no timestep with a positive weight".to_owned()));
        }
        self.weights.clear();
        self.weights.extend(batch.weights.iter().map(|&w| (f64::from(w) / total) as f32));

        let b = l.b.as_mut();
        let logits = self.logits.slice(0, rows * l.model.config.logits());
        let d_logits = self.d_logits.slice(0, logits.len());
        let cut = |t: Tensor| t.slice(0, rows);
        let actions = self.actions.slice(0, batch.actions.len());
        b.upload_bytes(actions, &batch.actions);
        b.wait_uploads();
        b.upload(cut(self.weight), &self.weights);
        let hidden = pass.forward(b, &l.model.w, input, batch.windows);
        l.model.head_forward(b, hidden, logits, rows);
        let (weight, nll, kl, entropy) = (cut(self.weight), cut(self.nll), cut(self.kl), cut(self.entropy));
        b.policy_loss(logits, None, actions, weight, None, d_logits, nll, kl, entropy, &self.cardinalities);
        let d_hidden = pass.d_hidden(batch.windows);
        let d = crate::encoder::gemm(rows, l.model.w.head);
        b.linear_backward(d_logits, hidden, l.model.w.head.w, Some(d_hidden), None, l.g.head.w, l.g.head.b, d);
        l.backward(pass, input, batch.windows)
    }

    fn finish(&mut self, l: &mut Learner, batch: &Batch) -> Result<f64> {
        self.losses.resize(batch.weights.len(), 0.0);
        l.b.download(self.nll.slice(0, self.losses.len()), &mut self.losses);
        Ok(self.losses.iter().zip(&self.weights).map(|(&l, &w)| f64::from(l) * f64::from(w)).sum())
    }

    fn measure(&mut self, l: &mut Learner, pass: &Pass, input: Input, batch: &Batch) -> Result<()> {
        let rows = batch.weights.len();
        let logits = self.logits.slice(0, rows * l.model.config.logits());
        let hidden = pass.forward(l.b.as_mut(), &l.model.w, input, batch.windows);
        l.model.head_forward(l.b.as_mut(), hidden, logits, rows);
        let mut values = vec![0.0; logits.len()];
        l.b.download(logits, &mut values);
        self.held_out.add(&values, &batch.actions, &batch.weights, Some(&self.prior));
        Ok(())
    }

    fn measured(&mut self) -> Vec<(String, f64)> {
        self.held_out.take()
    }

    fn state(&self) -> Vec<f64> {
        self.prior.counts.clone()
    }

    fn restore(&mut self, state: &[f64]) {
        if state.len() == self.prior.counts.len() {
            self.prior.counts.copy_from_slice(state);
        }
    }
}

/// Weighted counts of each component's values among the actions trained on.
pub(crate) struct Prior {
    counts: Vec<f64>,
    cardinalities: Vec<usize>,
}

impl Prior {
    fn new(config: &ModelConfig) -> Self {
        Self { counts: vec![0.0; config.logits()], cardinalities: config.cardinalities() }
    }

    /// Those of these actions alone.
    fn counts_of(&self, actions: &[u8], weights: &[f32]) -> Vec<f64> {
        let mut counts = vec![0.0; self.counts.len()];
        for (action, &weight) in actions.chunks_exact(self.cardinalities.len()).zip(weights) {
            let mut offset = 0;
            for (&bucket, &values) in action.iter().zip(&self.cardinalities) {
                counts[offset + usize::from(bucket)] += f64::from(weight);
                offset += values;
            }
        }
        counts
    }

    fn add(&mut self, counts: &[f64]) {
        self.counts.iter_mut().zip(counts).for_each(|(to, count)| *to += count);
    }

    /// -ln P(bucket) of each component, counts raised by one so that the unseen is not impossible.
    fn nll(&self, component: usize, bucket: u8) -> f64 {
        let offset: usize = self.cardinalities[..component].iter().sum();
        let counts = &self.counts[offset..offset + self.cardinalities[component]];
        let total: f64 = counts.iter().sum::<f64>() + counts.len() as f64;
        -((counts[usize::from(bucket)] + 1.0) / total).ln()
    }
}

/// Sums of a policy's losses over measured timesteps.
pub(crate) struct PolicyMeter {
    names: Vec<String>,
    cardinalities: Vec<usize>,
    weight: f64,
    nll: Vec<f64>,
    prior: Option<Vec<f64>>,
    hits: f64,
}

impl PolicyMeter {
    pub fn new(config: &ModelConfig) -> Self {
        let heads = config.actions.len();
        Self {
            names: config.actions.iter().map(|c| c.name.clone()).collect(),
            cardinalities: config.cardinalities(),
            weight: 0.0,
            nll: vec![0.0; heads],
            prior: None,
            hits: 0.0,
        }
    }

    /// Adds timesteps: `logits [N, sum K]`, `actions [N, heads]`, `weights [N]`.
    pub fn add(&mut self, logits: &[f32], actions: &[u8], weights: &[f32], prior: Option<&Prior>) {
        let heads = self.cardinalities.len();
        let width: usize = self.cardinalities.iter().sum();
        let mut log_probs = Vec::new();
        let rows = logits.chunks_exact(width).zip(actions.chunks_exact(heads)).zip(weights);
        for ((logits, action), &weight) in rows.filter(|(_, w)| **w > 0.0) {
            let weight = f64::from(weight);
            self.weight += weight;
            let mut offset = 0;
            for (h, (&bucket, &values)) in action.iter().zip(&self.cardinalities).enumerate() {
                log_softmax(&logits[offset..offset + values], &mut log_probs);
                let own = log_probs[usize::from(bucket)];
                self.nll[h] -= weight * own;
                if log_probs.iter().all(|&p| p <= own) {
                    self.hits += weight / heads as f64;
                }
                if let Some(prior) = prior {
                    self.prior.get_or_insert_with(|| vec![0.0; heads])[h] += weight * prior.nll(h, bucket);
                }
                offset += values;
            }
        }
    }

    /// The means so far, and starts over.
    pub fn take(&mut self) -> Vec<(String, f64)> {
        let weight = self.weight.max(f64::MIN_POSITIVE);
        let mut out = vec![("loss".to_owned(), self.nll.iter().sum::<f64>() / weight)];
        if let Some(prior) = &self.prior {
            out.push(("prior_loss".to_owned(), prior.iter().sum::<f64>() / weight));
        }
        out.push(("accuracy".to_owned(), self.hits / weight));
        for (h, name) in self.names.iter().enumerate() {
            out.push((format!("loss/{name}"), self.nll[h] / weight));
            if let Some(prior) = &self.prior {
                out.push((format!("prior_loss/{name}"), prior[h] / weight));
            }
        }
        self.weight = 0.0;
        self.hits = 0.0;
        self.nll.fill(0.0);
        self.prior = None;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_and_the_prior_agree_with_hand_sums() {
        let mut config = ModelConfig::preset("tiny").unwrap();
        config.actions.truncate(2);
        config.actions[1].values = 3;
        let mut prior = Prior::new(&config);
        prior.add(&prior.counts_of(&[0, 2, 1, 2, 1, 0], &[1.0, 1.0, 0.0]));
        // Component 0: counts 1,1 -> (1+1)/4; component 1: counts 0,0,2 -> (2+1)/5 for value 2.
        assert!((prior.nll(0, 0) - 2f64.ln()).abs() < 1e-12);
        assert!((prior.nll(1, 2) + (0.6f64).ln()).abs() < 1e-12);
        let mut meter = PolicyMeter::new(&config);
        // Uniform logits, then padding that would be infinitely wrong.
        let logits = [0.0, 0.0, 1.0, 1.0, 1.0, 500.0, 0.0, 0.0, 0.0, 0.0];
        meter.add(&logits, &[0, 2, 1, 1], &[2.0, 0.0], Some(&prior));
        let values: std::collections::BTreeMap<_, _> = meter.take().into_iter().collect();
        assert!((values["loss"] - (2f64.ln() + 3f64.ln())).abs() < 1e-12);
        assert!((values["prior_loss"] - (2f64.ln() - 0.6f64.ln())).abs() < 1e-12);
        assert_eq!(values["accuracy"], 1.0);
        assert_eq!(meter.take()[0].1, 0.0);
    }
}
