//! Using a trained model on windows, without training it.

use std::path::Path;

use playhouse_kernels::{Backend, Kind, Tensor};

use crate::compute::Compute;
use crate::config::{Head, ModelConfig};
use crate::error::{Error, Result};
use crate::feed::{Batch, Loader, Windows, ahead};
use crate::files::ModelFile;
use crate::imitate::PolicyMeter;
use crate::model::{Input, Model, Pass, read_model};
use crate::report::Observer;
use crate::reward::LastHidden;
use crate::softmax::log_softmax;
use crate::source::{WindowSource, last_positions};

/// Windows computed together.
const BATCH: usize = 16;

/// The reward model's score of every window, at its last real timestep.
pub fn score(
    model: &Path,
    windows: &mut dyn WindowSource,
    compute: Compute,
    observer: &mut dyn Observer,
) -> Result<Vec<f32>> {
    let mut scorer = Scorer::load(model, compute)?;
    let mut loader = Windows::new(windows, &scorer.model.config.clone(), "windows to score")?;
    let items = loader.items();
    let mut scores = Vec::with_capacity(items);
    each_batch(&mut loader, observer, "scoring windows", |batch| {
        scores.extend(scorer.score(batch)?);
        Ok(())
    })?;
    Ok(scores)
}

/// A policy's losses on windows: the names and meanings of [`imitate`](crate::imitate)'s held-out metrics, without the prior's.
pub fn evaluate_loss(
    model: &Path,
    windows: &mut dyn WindowSource,
    compute: Compute,
    observer: &mut dyn Observer,
) -> Result<Vec<(String, f64)>> {
    let mut reader = Reader::new(&read_model(model, Head::Policy)?, compute)?;
    let mut meter = PolicyMeter::new(&reader.model.config);
    let mut loader = Windows::new(windows, &reader.model.config, "windows to evaluate")?;
    each_batch(&mut loader, observer, "evaluating windows", |batch| {
        meter.add(&reader.logits(batch), &batch.actions, &batch.weights, None);
        Ok(())
    })?;
    Ok(meter.take())
}

/// How far `policy` has moved from `reference`: of each window, the mean over its timesteps (by weight) of the exact KL(policy || reference),
/// summed over the action components, in nats a timestep.
pub fn divergence(
    policy: &Path,
    reference: &Path,
    windows: &mut dyn WindowSource,
    compute: Compute,
    observer: &mut dyn Observer,
) -> Result<Vec<f64>> {
    let (policy, reference) = (read_model(policy, Head::Policy)?, read_model(reference, Head::Policy)?);
    let (own, other) = (&policy.config, &reference.config);
    if own.frame_size != other.frame_size || own.context != other.context || own.actions != other.actions {
        return Err(Error::Input("the policy and the reference see other frames or have other actions".to_owned()));
    }
    let (mut policy, mut reference) = (Reader::new(&policy, compute)?, Reader::new(&reference, compute)?);
    let config = policy.model.config.clone();
    let cardinalities = config.cardinalities();
    let mut loader = Windows::new(windows, &config, "windows to compare")?;
    let mut means = Vec::with_capacity(loader.items());
    each_batch(&mut loader, observer, "comparing policies", |batch| {
        let (p, q) = (policy.logits(batch), reference.logits(batch));
        let rows: Vec<f64> = p
            .chunks_exact(config.logits())
            .zip(q.chunks_exact(config.logits()))
            .map(|(p, q)| kl(p, q, &cardinalities))
            .collect();
        for (kl, weights) in rows.chunks_exact(config.context).zip(batch.weights.chunks_exact(config.context)) {
            let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
            let sum: f64 = kl.iter().zip(weights).map(|(kl, &w)| kl * f64::from(w)).sum();
            means.push(if total > 0.0 { sum / total } else { 0.0 });
        }
        Ok(())
    })?;
    Ok(means)
}

/// Sum over components of KL(softmax p || softmax q).
fn kl(p: &[f32], q: &[f32], cardinalities: &[usize]) -> f64 {
    let (mut own, mut other) = (Vec::new(), Vec::new());
    let (mut offset, mut total) = (0, 0.0);
    for &values in cardinalities {
        log_softmax(&p[offset..offset + values], &mut own);
        log_softmax(&q[offset..offset + values], &mut other);
        total += own.iter().zip(&other).map(|(a, b)| a.exp() * (a - b)).sum::<f64>();
        offset += values;
    }
    total
}

/// A policy ready to look at windows.
struct Reader {
    b: Box<dyn Backend>,
    model: Model,
    pass: Pass,
    logits: Tensor,
}

impl Reader {
    fn new(file: &ModelFile, compute: Compute) -> Result<Self> {
        let mut b = compute.backend()?;
        let model = Model::from_file(b.as_mut(), file);
        let pass = Pass::plan(b.as_mut(), &file.config, BATCH, false);
        let logits = b.alloc(BATCH * file.config.context * file.config.logits(), Kind::Activation);
        Ok(Self { b, model, pass, logits })
    }

    /// Logits `[B,T,sum K]` of a batch (at most [`BATCH`] windows).
    fn logits(&mut self, batch: &Batch) -> Vec<f32> {
        let b = self.b.as_mut();
        self.pass.upload_pixels(b, 0, &batch.pixels);
        b.wait_uploads();
        let hidden = self.pass.forward(b, &self.model.w, Input::Pixels(0), batch.windows);
        let rows = batch.windows * self.model.config.context;
        let logits = self.logits.slice(0, rows * self.model.config.logits());
        self.model.head_forward(b, hidden, logits, rows);
        let mut values = vec![0.0; logits.len()];
        b.download(logits, &mut values);
        values
    }
}

/// All items in order, batch by batch, loaded ahead.
fn each_batch(
    loader: &mut dyn Loader,
    observer: &mut dyn Observer,
    message: &str,
    mut body: impl FnMut(&Batch) -> Result<()>,
) -> Result<()> {
    let items = loader.items();
    let plan = (0..items).step_by(BATCH).map(|start| (start..items.min(start + BATCH)).collect());
    ahead(loader, plan, |feed| {
        for start in (0..items).step_by(BATCH) {
            if observer.stop() {
                return Err(Error::Interrupted);
            }
            let batch = feed.next()?;
            body(&batch)?;
            feed.recycle(batch);
            observer.progress(items.min(start + BATCH) as u64, items as u64, message);
        }
        Ok(())
    })
}

/// A reward model ready to score.
pub(crate) struct Scorer {
    b: Box<dyn Backend>,
    pub model: Model,
    pass: Pass,
    gather: LastHidden,
    scores: Tensor,
}

impl Scorer {
    pub fn load(path: &Path, compute: Compute) -> Result<Self> {
        Self::new(&read_model(path, Head::Reward)?, compute)
    }

    pub fn new(file: &ModelFile, compute: Compute) -> Result<Self> {
        let mut b = compute.backend()?;
        let model = Model::from_file(b.as_mut(), file);
        let pass = Pass::plan(b.as_mut(), &file.config, BATCH, false);
        let gather = LastHidden::plan(b.as_mut(), &file.config, BATCH);
        let scores = b.alloc(BATCH, Kind::Scratch);
        Ok(Self { b, model, pass, gather, scores })
    }

    /// Configuration of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    /// Scores of the windows of a batch (at most [`BATCH`]).
    pub fn score(&mut self, batch: &Batch) -> Result<Vec<f32>> {
        let b = self.b.as_mut();
        let last = last_positions(&batch.weights, self.model.config.context)?;
        let input = if batch.pixels.is_empty() {
            self.pass.upload_embeddings(b, &batch.embeddings);
            Input::Embeddings
        } else {
            self.pass.upload_pixels(b, 0, &batch.pixels);
            b.wait_uploads();
            Input::Pixels(0)
        };
        let hidden = self.pass.forward(b, &self.model.w, input, batch.windows);
        let rows = self.gather.gather(b, hidden, &last);
        let scores = self.scores.slice(0, batch.windows);
        self.model.head_forward(b, rows, scores, batch.windows);
        let mut values = vec![0.0; batch.windows];
        b.download(scores, &mut values);
        Ok(values)
    }

    /// Windows it scores at once.
    pub fn capacity(&self) -> usize {
        self.pass.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kl_is_exact_over_components() {
        let (p, q) = ([0.0, 0.0, 1f32.ln(), 3f32.ln()], [0.0, 0.0, 0.0, 0.0]);
        let expected = 0.25 * 0.5f64.ln() + 0.75 * 1.5f64.ln();
        assert!((kl(&p, &q, &[2, 2]) - expected).abs() < 1e-7);
        assert_eq!(kl(&p, &p, &[2, 2]), 0.0);
    }
}
