//! The loop that imitation and reward training share: resume, step, measure, checkpoint, finish.
//!
//! ```text
//! checkpoint? -> restore
//! for step: forward, backward, AdamW | meanwhile the next batch is uploaded | losses come back
//!           every eval_every: held-out metrics      every checkpoint_every: checkpoint (atomic)
//! end: held-out metrics, checkpoint, model file (the last weights, or the best with `patience`)
//! ```
//!
//! A checkpoint is written after a step's metrics are recorded and before the next step starts, so a killed run repeats whole steps from
//! the same state and arrives at the same bits.

use std::path::{Path, PathBuf};
use std::time::Instant;

use playhouse_kernels::RanksError;

use crate::error::{Error, Result};
use crate::feed::{Batch, Feed, Loader, ahead};
use crate::files::Checkpoint;
use crate::frozen::Embedded;
use crate::learner::{Hyper, Learner};
use crate::model::{Input, Pass};
use crate::report::{KEPT_STEP, MetricRow, Observer, Report};
use crate::sampler::{Sampler, fixed};
use crate::settings::Training;
use crate::shifted::Shifted;

/// What distinguishes one kind of training from another.
pub(crate) trait Objective {
    /// Queues forward and backward of `batch`, whose frames are in `input`, and prepares whatever [`Objective::finish`] fetches.
    fn launch(&mut self, l: &mut Learner, pass: &Pass, input: Input, batch: &Batch) -> Result<()>;

    /// Fetches this rank's share of the loss of what was launched last: the loss is their sum over ranks.
    fn finish(&mut self, l: &mut Learner, batch: &Batch) -> Result<f64>;

    /// Adds the held-out batch in `input` to the measurement under way.
    fn measure(&mut self, l: &mut Learner, pass: &Pass, input: Input, batch: &Batch) -> Result<()>;

    /// Ends the measurement: metric names (without `held_out/`) and values.
    fn measured(&mut self) -> Vec<(String, f64)>;

    /// The objective's own state, for checkpoints.
    fn state(&self) -> Vec<f64>;

    /// Puts it back.
    fn restore(&mut self, state: &[f64]);
}

/// What the loop needs beside the objective.
pub(crate) struct Run<'a> {
    /// What this run is, for the checkpoint.
    pub identity: serde_json::Value,
    pub settings: &'a Training,
    pub dir: &'a Path,
    /// Windows a data item: 1, or 2 for pairs.
    pub windows_an_item: usize,
    pub initial: Vec<f32>,
}

/// Early stopping's memory.
struct Best {
    step: u64,
    loss: f64,
    stale: u64,
    weights: Vec<f32>,
}

impl Run<'_> {
    fn checkpoint_path(&self) -> PathBuf {
        self.dir.join("checkpoint.safetensors")
    }

    /// Trains from the checkpoint, or from the initial weights, to the end.
    pub fn go(
        &self,
        l: &mut Learner,
        pass: &Pass,
        objective: &mut dyn Objective,
        train: &mut dyn Loader,
        held_out: Option<&mut dyn Loader>,
        o: &mut dyn Observer,
    ) -> Result<Report> {
        let t = self.settings;
        let mut state = Checkpoint { run: self.identity.clone(), ..Checkpoint::default() };
        let mut best = None;
        match Checkpoint::read(&self.checkpoint_path(), &l.model.layout, &self.identity)? {
            None => l.b.upload(l.model.weights, &self.initial),
            Some(found) => {
                l.restore(&found, found.step);
                objective.restore(found.numbers.get("objective").map_or(&[], Vec::as_slice));
                best = Best::restore(&found);
                state.step = found.step;
                state.metrics = found.metrics;
            }
        }

        self.agree(state.step)?;
        let finished = state.step >= t.steps || best.as_ref().is_some_and(|b| b.exhausted(t));
        if !finished {
            let held_out = match held_out {
                // What one rank measures, all would.
                Some(loader) if t.ranks.leads() => self.held_out(loader, l, pass, o)?,
                _ => Vec::new(),
            };
            let sampler = Sampler { seed: t.seed, items: train.items(), batch: t.batch };
            let places = t.ranks.share(t.batch);
            let plan = sampler.parts(state.step, t.steps, places.clone());
            let (mut embedded, mut shifted);
            let loader = if t.freeze_encoder {
                // The whole plan, not what is left of it: the order of first use must not depend on where one resumes.
                let plan = sampler.parts(0, t.steps, places);
                embedded = Embedded::make(train, plan, l.b.as_mut(), &l.model.w, pass, &l.model.config, o)?;
                &mut embedded as &mut dyn Loader
            } else if t.shift > 0 {
                shifted = Shifted::new(train, &l.model.config, t.shift, t.seed, state.step, places.start);
                &mut shifted
            } else {
                train
            };
            ahead(loader, plan, |feed| self.steps(l, pass, objective, feed, &held_out, &mut state, &mut best, o))?;
        }

        let model = self.dir.join("model.safetensors");
        if !t.ranks.leads() {
            return Ok(Report { model, metrics: state.metrics, kept_step: state.step });
        }
        let mut kept_step = state.step;
        if let Some(best) = best {
            l.b.upload(l.model.weights, &best.weights);
            kept_step = best.step;
            // Also as a metric: whoever reads only those must know which held-out values are the model's.
            state.metrics.push(MetricRow { step: state.step, name: KEPT_STEP.to_owned(), value: kept_step as f64 });
        }
        l.model.to_file(l.b.as_mut()).write(&model)?;
        Ok(Report { model, metrics: state.metrics, kept_step })
    }

    /// Sees to it that all ranks begin alike. After this the leader may write: the others have read.
    fn agree(&self, step: u64) -> Result<()> {
        let ranks = &self.settings.ranks;
        let hash = blake3::hash(self.identity.to_string().as_bytes());
        let [a, b, c, d, ..] = *hash.as_bytes();
        let own = [step as f64, f64::from(u32::from_le_bytes([a, b, c, d]))];
        let mut sums = own;
        ranks.sum(&mut sums)?;
        let same = |i: usize| sums[i] == own[i] * ranks.size() as f64;
        let why = match (same(0), same(1)) {
            (true, true) => return Ok(()),
            (_, false) => "ranks have different settings or data: start them with the same command",
            (false, true) => "ranks see different checkpoints: they must share a file system, and the home on it",
        };
        Err(RanksError::Apart(why.to_owned()).into())
    }

    /// The held-out items, loaded once and kept.
    fn held_out(
        &self,
        loader: &mut dyn Loader,
        l: &mut Learner,
        pass: &Pass,
        o: &mut dyn Observer,
    ) -> Result<Vec<Batch>> {
        let t = self.settings;
        let indices = fixed(loader.items(), t.eval_windows);
        let chunks: Vec<Vec<usize>> = indices.chunks(t.most_of_batch()).map(<[usize]>::to_vec).collect();
        let mut embedded;
        let loader = if t.freeze_encoder {
            let plan = chunks.iter().cloned();
            embedded = Embedded::make(loader, plan, l.b.as_mut(), &l.model.w, pass, &l.model.config, o)?;
            &mut embedded as &mut dyn Loader
        } else {
            loader
        };
        let mut batches = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let mut batch = Batch::default();
            loader.load(&chunk, &mut batch)?;
            batches.push(batch);
        }
        Ok(batches)
    }

    #[expect(clippy::too_many_arguments, reason = "the loop's whole state, spelled out")]
    fn steps(
        &self,
        l: &mut Learner,
        pass: &Pass,
        objective: &mut dyn Objective,
        feed: &mut Feed,
        held_out: &[Batch],
        state: &mut Checkpoint,
        best: &mut Option<Best>,
        o: &mut dyn Observer,
    ) -> Result<()> {
        let t = self.settings;
        let input = |slot, batch: &Batch| if t.freeze_encoder { Input::Embeddings } else { batch.frames_in(slot) };
        let started = (Instant::now(), state.step);
        let mut slot = 0;
        let mut batch = feed.next()?;
        pass.upload_frames(l.b.as_mut(), slot, &batch);
        while state.step < t.steps {
            l.b.wait_uploads();
            l.zero_gradients();
            if t.freeze_encoder {
                pass.upload_embeddings(l.b.as_mut(), &batch.embeddings);
            }
            objective.launch(l, pass, input(slot, &batch), &batch)?;
            let lr = t.lr_at(state.step);
            l.optimise(self.hyper(lr));
            // The device works while the next batch comes in.
            l.b.submit();
            let next = if state.step + 1 < t.steps { Some(feed.next()?) } else { None };
            slot = 1 - slot;
            if let Some(next) = &next {
                pass.upload_frames(l.b.as_mut(), slot, next);
            }

            // One who is asked to stop stops all: who left alone would keep the others waiting.
            let vote = |stop: bool| f64::from(u8::from(stop));
            let mut sums = [objective.finish(l, &batch)?, vote(o.stop())];
            t.ranks.sum(&mut sums)?;
            let [loss, stops] = sums;
            if !loss.is_finite() {
                return Err(Error::Diverged { step: state.step, what: "the loss", value: loss });
            }
            let norm = l.gradient_norm()?;
            state.step += 1;
            for (name, value) in [("train/loss", loss), ("train/gradient_norm", norm), ("train/lr", lr)] {
                state.metrics.push(MetricRow { step: state.step, name: name.to_owned(), value });
            }

            let last = state.step == t.steps;
            let mut stop_early = false;
            if last || (t.eval_every > 0 && state.step.is_multiple_of(t.eval_every)) {
                let mut votes = [0.0];
                // One rank alone has held-out data.
                if !held_out.is_empty() {
                    // Evaluation takes the slot that is free: the next batch is already in the other one.
                    self.evaluate(l, pass, objective, 1 - slot, held_out, state)?;
                    votes = [vote(self.judge(l, best, state))];
                }
                t.ranks.sum(&mut votes)?;
                stop_early = votes[0] > 0.0;
            }
            let frames = (state.step - started.1) * (t.batch * self.windows_an_item * l.model.config.context) as u64;
            let rate = frames as f64 / started.0.elapsed().as_secs_f64().max(1e-9);
            o.progress(state.step, t.steps, &format!("loss {loss:.3}, {rate:.0} frames/s"));

            let stopping = stops > 0.0;
            if last || stop_early || stopping || state.step.is_multiple_of(t.checkpoint_every) {
                self.save(l, objective, best, state)?;
            }
            if stop_early || last {
                return Ok(());
            }
            if stopping {
                return Err(Error::Interrupted);
            }
            if let Some(next) = next {
                feed.recycle(std::mem::replace(&mut batch, next));
            }
        }
        Ok(())
    }

    fn hyper(&self, lr: f64) -> Hyper {
        let t = self.settings;
        Hyper {
            lr,
            beta1: t.beta1,
            beta2: t.beta2,
            weight_decay: t.weight_decay,
            clip: t.clip,
            freeze_encoder: t.freeze_encoder,
        }
    }

    fn evaluate(
        &self,
        l: &mut Learner,
        pass: &Pass,
        objective: &mut dyn Objective,
        slot: usize,
        held_out: &[Batch],
        state: &mut Checkpoint,
    ) -> Result<()> {
        for batch in held_out {
            let input = if self.settings.freeze_encoder {
                pass.upload_embeddings(l.b.as_mut(), &batch.embeddings);
                Input::Embeddings
            } else {
                pass.upload_frames(l.b.as_mut(), slot, batch);
                l.b.wait_uploads();
                batch.frames_in(slot)
            };
            objective.measure(l, pass, input, batch)?;
        }
        for (name, value) in objective.measured() {
            state.metrics.push(MetricRow { step: state.step, name: format!("held_out/{name}"), value });
        }
        Ok(())
    }

    /// Updates early stopping's memory by the newest held-out loss; true where it is time to stop.
    fn judge(&self, l: &mut Learner, best: &mut Option<Best>, state: &Checkpoint) -> bool {
        if self.settings.patience == 0 {
            return false;
        }
        let Some(row) = state.metrics.iter().rev().find(|r| r.name == "held_out/loss") else { return false };
        match best {
            Some(best) if row.value >= best.loss => best.stale += 1,
            _ => {
                let mut weights = vec![0.0; l.model.layout.len()];
                l.b.download(l.model.weights, &mut weights);
                *best = Some(Best { step: row.step, loss: row.value, stale: 0, weights });
            }
        }
        best.as_ref().is_some_and(|b| b.exhausted(self.settings))
    }

    fn save(
        &self,
        l: &mut Learner,
        objective: &dyn Objective,
        best: &Option<Best>,
        state: &mut Checkpoint,
    ) -> Result<()> {
        if !self.settings.ranks.leads() {
            return Ok(());
        }
        l.save_into(state);
        state.numbers.insert("objective".to_owned(), objective.state());
        if let Some(best) = best {
            state.numbers.insert("best".to_owned(), vec![best.step as f64, best.loss, best.stale as f64]);
            state.arrays.insert("best".to_owned(), best.weights.clone());
        }
        state.write(&self.checkpoint_path(), &l.model.layout)
    }
}

impl Best {
    fn exhausted(&self, t: &Training) -> bool {
        t.patience > 0 && self.stale >= t.patience
    }

    fn restore(checkpoint: &Checkpoint) -> Option<Self> {
        let [step, loss, stale] = checkpoint.numbers.get("best")?[..] else { return None };
        let weights = checkpoint.arrays.get("best")?.clone();
        Some(Self { step: step as u64, loss, stale: stale as u64, weights })
    }
}
