//! Small models, sources and worlds in which something can be learnt in seconds.

use playhouse_kernels::Backend;

use crate::compute::Compute;
use crate::config::{Component, Head, ModelConfig, Readout, SOURCE_FRAME};
use crate::environment::{Environment, EpisodeStart};
use crate::error::{Error, Result};
use crate::feed::Batch;
use crate::imitate::Imitation;
use crate::learner::Learner;
use crate::model::{Input, Pass};
use crate::report::Observer;
use crate::rng;
use crate::source::{PairSource, WindowBatch, WindowSource};
use crate::train::Objective;

/// Two stages, two layers, three action components; everything small.
pub fn small_config() -> ModelConfig {
    let component = |name: &str, values| Component { name: name.to_owned(), values };
    ModelConfig {
        name: "toy".to_owned(),
        frame_size: 32,
        dims: vec![8, 16],
        depths: vec![1, 1],
        readout: Readout::Flatten,
        width: 16,
        layers: 2,
        heads: 2,
        ffn: 32,
        context: 8,
        actions: vec![component("a", 2), component("b", 2), component("stick", 5)],
    }
}

/// A learner with the policy's objective and one batch uploaded.
pub struct Bench {
    pub l: Learner,
    pub pass: Pass,
    pub objective: Imitation,
    pub batch: Batch,
}

impl Bench {
    pub fn new(config: &ModelConfig, weights: &[f32], batch: Batch) -> Self {
        Self::on(Compute::cpu(2).backend().unwrap(), config, weights, batch)
    }

    pub fn on(b: Box<dyn Backend>, config: &ModelConfig, weights: &[f32], batch: Batch) -> Self {
        let mut l = Learner::plan(b, config, Head::Policy);
        let pass = Pass::plan(l.b.as_mut(), config, batch.windows, true);
        let objective = Imitation::plan(&mut l, batch.windows, &playhouse_kernels::Ranks::default());
        l.b.upload(l.model.weights, weights);
        pass.upload_pixels(l.b.as_mut(), 0, &batch.pixels);
        l.b.wait_uploads();
        Self { l, pass, objective, batch }
    }

    /// Forward and backward; the loss. Gradients are in the learner.
    pub fn loss(&mut self) -> f64 {
        self.l.zero_gradients();
        self.objective.launch(&mut self.l, &self.pass, Input::Pixels(0), &self.batch).unwrap();
        self.objective.finish(&mut self.l, &self.batch).unwrap()
    }
}

/// Windows of flat grey frames whose brightness tells the action of the same timestep.
pub struct Greys {
    config: ModelConfig,
    windows: usize,
    seed: u64,
    /// Fails after this many loads, like a machine that loses power.
    pub fuse: Option<usize>,
}

impl Greys {
    pub fn new(config: &ModelConfig, windows: usize, seed: u64) -> Self {
        Self { config: config.clone(), windows, seed, fuse: None }
    }
}

/// Brightness of `level` 0..5 and the action it asks for.
pub fn grey(level: usize) -> (u8, [u8; 3]) {
    ((25 + level * 50) as u8, [(level % 2) as u8, u8::from(level > 2), level as u8])
}

impl WindowSource for Greys {
    fn len(&self) -> usize {
        self.windows
    }

    fn load(&mut self, indices: &[usize], out: &mut WindowBatch) -> Result<()> {
        if let Some(fuse) = &mut self.fuse {
            *fuse = fuse.checked_sub(1).ok_or_else(|| Error::outside("the power went out"))?;
        }
        out.clear();
        for &index in indices {
            let mut rng = rng::at(self.seed, &[index as u64]);
            let length = self.config.context - rng::below(&mut rng, 3);
            for t in 0..self.config.context {
                let (brightness, action) = grey(rng::below(&mut rng, 5));
                out.frames.extend(std::iter::repeat_n(brightness, SOURCE_FRAME * SOURCE_FRAME * 3));
                out.actions.extend(action);
                out.weights.push(if t < length { 1.0 } else { 0.0 });
            }
        }
        Ok(())
    }
}

/// Pairs of [`Greys`] windows: the one whose last real frame is brighter was chosen.
pub struct BrighterLast(pub Greys);

impl PairSource for BrighterLast {
    fn len(&self) -> usize {
        self.0.windows / 2
    }

    fn load(&mut self, indices: &[usize], chosen: &mut WindowBatch, rejected: &mut WindowBatch) -> Result<()> {
        let (t, heads, bytes) = (self.0.config.context, 3, SOURCE_FRAME * SOURCE_FRAME * 3);
        chosen.clear();
        rejected.clear();
        for index in indices {
            let (mut a, mut b) = (WindowBatch::default(), WindowBatch::default());
            self.0.load(&[2 * index], &mut a)?;
            self.0.load(&[2 * index + 1], &mut b)?;
            let last = |w: &WindowBatch| w.actions[w.weights.iter().rposition(|w| *w > 0.0).unwrap() * heads + 2];
            if last(&a) == last(&b) {
                // No preference: make one.
                let end = b.weights.iter().rposition(|w| *w > 0.0).unwrap();
                let (brightness, action) = grey((usize::from(last(&a)) + 1) % 5);
                b.frames[end * bytes..(end + 1) * bytes].fill(brightness);
                b.actions[end * heads..(end + 1) * heads].copy_from_slice(&action);
            }
            let (better, worse) = if last(&a) > last(&b) { (a, b) } else { (b, a) };
            for (out, w) in [(&mut *chosen, better), (&mut *rejected, worse)] {
                assert_eq!(w.weights.len(), t);
                out.frames.extend(w.frames);
                out.actions.extend(w.actions);
                out.weights.extend(w.weights);
            }
        }
        Ok(())
    }

    fn label(&self, _index: usize) -> f32 {
        1.0
    }
}

/// A world whose frame shows how often component `a` was pressed, and which lasts a while that its seed decides.
pub struct Button {
    state: u64,
    t: usize,
    length: usize,
    pressed: usize,
    /// Fails after this many steps.
    pub fuse: Option<usize>,
}

impl Button {
    pub fn boxed() -> Box<dyn Environment> {
        Box::new(Self { state: 0, t: 0, length: 1, pressed: 0, fuse: None })
    }

    pub fn boxes(count: usize) -> Vec<Box<dyn Environment>> {
        (0..count).map(|_| Self::boxed()).collect()
    }
}

impl Environment for Button {
    fn reset(&mut self, start: &EpisodeStart) -> Result<()> {
        self.state = start.seed;
        (self.t, self.pressed) = (0, 0);
        self.length = 3 + (start.seed % 23) as usize;
        Ok(())
    }

    fn observe(&mut self, rgb: &mut [u8]) {
        assert_eq!(rgb.len(), SOURCE_FRAME * SOURCE_FRAME * 3);
        for (y, row) in rgb.chunks_exact_mut(SOURCE_FRAME * 3).enumerate() {
            row.fill((self.state >> (8 * (y / 32))) as u8);
        }
    }

    fn step(&mut self, action: &[u8]) -> Result<bool> {
        if let Some(fuse) = &mut self.fuse {
            *fuse = fuse.checked_sub(1).ok_or_else(|| Error::outside("the power went out"))?;
        }
        self.pressed += usize::from(action[0]);
        self.t += 1;
        self.state = rng::mix(self.state, &[u64::from(action[0]), u64::from(action[2])]);
        Ok(self.t == self.length)
    }

    fn label(&self) -> Option<String> {
        Some(if 2 * self.pressed > self.t { "mostly" } else { "rarely" }.to_owned())
    }
}

/// Asks to stop after some progress reports.
pub struct StopAfter(pub u64);

impl Observer for StopAfter {
    fn progress(&mut self, _done: u64, _total: u64, _message: &str) {
        self.0 = self.0.saturating_sub(1);
    }

    fn stop(&self) -> bool {
        self.0 == 0
    }
}
