//! From a source to batches ready for the device, one step ahead of the computation.
//!
//! ```text
//! background thread:   load(step 1)   load(step 2)   load(step 3) ...     decode, check, shrink frames
//!                               \              \              \
//! training thread:               step 1         step 2         step 3
//! ```
//!
//! What a step sees depends on its indices alone, so neither the thread nor its speed can change a result.

use std::sync::mpsc;
use std::thread;

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::frames::shrink;
use crate::model::Input;
use crate::source::{PairSource, WindowBatch, WindowSource, check_batch, check_frame_size};

/// A batch as the device takes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// B.
    pub windows: usize,
    /// Frames at the model's size, `[B,T,S,S,3]`, or packed; empty where `embeddings` is not.
    pub pixels: Vec<u8>,
    /// Whether `pixels` are still packed.
    pub packed: bool,
    /// Embeddings of frames under a frozen encoder, `[B,T,d]`.
    pub embeddings: Vec<f32>,
    /// `[B,T,components]`.
    pub actions: Vec<u8>,
    /// `[B,T]`.
    pub weights: Vec<f32>,
    /// Pairs only: P(chosen is better), `[B/2]`. Window 2i is chosen and 2i + 1 rejected.
    pub labels: Vec<f32>,
}

impl Batch {
    /// The frames as a pass's input, once they are in this slot.
    pub fn frames_in(&self, slot: usize) -> Input {
        if self.packed { Input::Packed(slot) } else { Input::Pixels(slot) }
    }

    fn clear(&mut self) {
        self.windows = 0;
        self.pixels.clear();
        self.packed = false;
        self.embeddings.clear();
        self.actions.clear();
        self.weights.clear();
        self.labels.clear();
    }
}

/// Something that fills batches by index.
pub(crate) trait Loader: Send {
    /// Number of items (windows or pairs).
    fn items(&self) -> usize;
    /// Replaces `out` by the items at `indices`.
    fn load(&mut self, indices: &[usize], out: &mut Batch) -> Result<()>;
}

/// Loads from a [`WindowSource`].
pub(crate) struct Windows<'a> {
    source: &'a mut dyn WindowSource,
    config: ModelConfig,
    scratch: WindowBatch,
    packed: bool,
}

impl<'a> Windows<'a> {
    pub fn new(source: &'a mut dyn WindowSource, config: &ModelConfig, what: &str) -> Result<Self> {
        check_frame_size(source.frame_size(), config)?;
        not_empty(source.is_empty(), what)?;
        // Whoever had it before may have asked for packed frames.
        source.pack(false);
        Ok(Self { source, config: config.clone(), scratch: WindowBatch::default(), packed: false })
    }

    /// Whether batches are packed from here on: the source can, and delivers the model's size.
    pub fn pack(&mut self) -> bool {
        self.packed = self.source.frame_size() == self.config.frame_size && self.source.pack(true);
        self.packed
    }
}

impl Loader for Windows<'_> {
    fn items(&self) -> usize {
        self.source.len()
    }

    fn load(&mut self, indices: &[usize], out: &mut Batch) -> Result<()> {
        let size = self.source.frame_size();
        let as_is = size == self.config.frame_size;
        if as_is {
            // The source fills the batch's own memory.
            std::mem::swap(&mut self.scratch.frames, &mut out.pixels);
        }
        out.clear();
        self.source.load(indices, &mut self.scratch)?;
        check_batch(&self.scratch, indices.len(), size, self.packed, &self.config)?;
        if as_is {
            std::mem::swap(&mut self.scratch.frames, &mut out.pixels);
            out.windows = indices.len();
            out.packed = self.packed;
            out.actions.extend_from_slice(&self.scratch.actions);
            out.weights.extend_from_slice(&self.scratch.weights);
        } else {
            append(&self.scratch, 0..indices.len(), size, &self.config, out);
        }
        Ok(())
    }
}

/// Loads from a [`PairSource`], the two sides of a pair next to each other.
pub(crate) struct Pairs<'a> {
    source: &'a mut dyn PairSource,
    config: ModelConfig,
    chosen: WindowBatch,
    rejected: WindowBatch,
}

impl<'a> Pairs<'a> {
    pub fn new(source: &'a mut dyn PairSource, config: &ModelConfig, what: &str) -> Result<Self> {
        check_frame_size(source.frame_size(), config)?;
        not_empty(source.is_empty(), what)?;
        let (chosen, rejected) = (WindowBatch::default(), WindowBatch::default());
        Ok(Self { source, config: config.clone(), chosen, rejected })
    }
}

impl Loader for Pairs<'_> {
    fn items(&self) -> usize {
        self.source.len()
    }

    fn load(&mut self, indices: &[usize], out: &mut Batch) -> Result<()> {
        out.clear();
        self.source.load(indices, &mut self.chosen, &mut self.rejected)?;
        let size = self.source.frame_size();
        check_batch(&self.chosen, indices.len(), size, false, &self.config)?;
        check_batch(&self.rejected, indices.len(), size, false, &self.config)?;
        for (i, &index) in indices.iter().enumerate() {
            append(&self.chosen, i..i + 1, size, &self.config, out);
            append(&self.rejected, i..i + 1, size, &self.config, out);
            let label = self.source.label(index);
            if !(0.0..=1.0).contains(&label) {
                return Err(Error::Input(format!(
                    "the label of pair {index} is {label}, but must lie between 0 and 1"
                )));
            }
            out.labels.push(label);
        }
        Ok(())
    }
}

fn not_empty(empty: bool, what: &str) -> Result<()> {
    if !empty {
        return Ok(());
    }
    Err(Error::Input(format!("there are no {what}: the query that selects them returned no rows")))
}

/// Appends windows `range` of `from`, frames shrunk to the model's size.
fn append(from: &WindowBatch, range: std::ops::Range<usize>, size: usize, config: &ModelConfig, out: &mut Batch) {
    let (t, heads, bytes) = (config.context, config.actions.len(), size * size * 3);
    out.windows += range.len();
    let rows = range.start * t..range.end * t;
    let start = out.pixels.len();
    out.pixels.resize(start + rows.len() * config.frame_bytes(), 0);
    let frames = from.frames[rows.start * bytes..rows.end * bytes].chunks_exact(bytes);
    for (src, dst) in frames.zip(out.pixels[start..].chunks_exact_mut(config.frame_bytes())) {
        shrink(src, size, dst, config.frame_size);
    }
    out.actions.extend_from_slice(&from.actions[rows.start * heads..rows.end * heads]);
    out.weights.extend_from_slice(&from.weights[rows]);
}

/// Batches on their way from the background thread.
pub(crate) struct Feed {
    ready: mpsc::Receiver<Result<Batch>>,
    used: mpsc::Sender<Batch>,
}

impl Feed {
    /// The next batch of the plan. Panics of the loading thread surface as an error here and as the panic itself at the end of the scope.
    pub fn next(&mut self) -> Result<Batch> {
        self.ready
            .recv()
            .unwrap_or_else(|_| Err(Error::Input("the loading thread ended before its plan did".to_owned())))
    }

    /// Gives a batch's memory back.
    pub fn recycle(&mut self, batch: Batch) {
        // The thread may already be done with its plan; then the memory is freed here.
        let _ = self.used.send(batch);
    }
}

/// Runs `body` while a background thread loads the batches of `plan`, at most two ahead.
pub(crate) fn ahead<R>(
    loader: &mut dyn Loader,
    plan: impl Iterator<Item = Vec<usize>> + Send,
    body: impl FnOnce(&mut Feed) -> Result<R>,
) -> Result<R> {
    let (ready_in, ready) = mpsc::sync_channel(1);
    let (used, used_out) = mpsc::channel::<Batch>();
    thread::scope(|scope| {
        scope.spawn(move || {
            for indices in plan {
                let mut batch = used_out.try_recv().unwrap_or_default();
                let result = loader.load(&indices, &mut batch).map(|()| batch);
                let failed = result.is_err();
                // The receiver is gone when the body returned early.
                if ready_in.send(result).is_err() || failed {
                    return;
                }
            }
        });
        body(&mut Feed { ready, used })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(usize);

    impl Loader for Counting {
        fn items(&self) -> usize {
            self.0
        }
        fn load(&mut self, indices: &[usize], out: &mut Batch) -> Result<()> {
            out.clear();
            if indices.contains(&99) {
                return Err(Error::Input("ninety-nine".to_owned()));
            }
            out.weights.extend(indices.iter().map(|&i| i as f32));
            Ok(())
        }
    }

    #[test]
    fn batches_arrive_in_order_and_errors_in_place() {
        let plan = [vec![1, 2], vec![3], vec![99], vec![4]];
        let seen = ahead(&mut Counting(0), plan.into_iter(), |feed| {
            let a = feed.next()?;
            let weights = a.weights.clone();
            feed.recycle(a);
            assert_eq!(weights, [1.0, 2.0]);
            assert_eq!(feed.next()?.weights, [3.0]);
            feed.next()
        });
        assert!(seen.unwrap_err().to_string().contains("ninety-nine"));
    }

    #[test]
    fn leaving_early_does_not_hang() {
        let plan = (0..1000).map(|i| vec![i % 50]);
        ahead(&mut Counting(0), plan, |feed| feed.next().map(|_| ())).unwrap();
    }
}
