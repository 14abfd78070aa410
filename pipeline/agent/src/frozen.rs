//! Embeddings instead of frames, where the encoder does not learn: every frame is encoded once.

use std::collections::HashMap;

use playhouse_kernels::Backend;

use crate::error::Result;
use crate::feed::{Batch, Loader, ahead};
use crate::model::Pass;
use crate::report::Observer;
use crate::view::View;
use crate::{Error, ModelConfig};

/// Items (windows or pairs) held in memory as embeddings.
///
/// A window is always encoded alone: then its embeddings are the same bits whenever and beside whatever it is encoded, and a run that
/// was interrupted can make them again.
pub(crate) struct Embedded {
    items: usize,
    /// Windows an item: 1 or 2.
    windows: usize,
    slot_of: HashMap<usize, usize>,
    slots: Vec<Batch>,
}

impl Embedded {
    /// Encodes every item named in `plan`, in the order of first use.
    pub fn make(
        loader: &mut dyn Loader,
        plan: impl Iterator<Item = Vec<usize>>,
        b: &mut dyn Backend,
        w: &View,
        pass: &Pass,
        config: &ModelConfig,
        o: &mut dyn Observer,
    ) -> Result<Self> {
        let mut slot_of = HashMap::new();
        let mut order = Vec::new();
        for index in plan.flatten() {
            slot_of.entry(index).or_insert_with(|| {
                order.push(index);
                order.len() - 1
            });
        }
        let items = loader.items();
        let total = order.len() as u64;
        let mut slots = Vec::with_capacity(order.len());
        ahead(loader, order.into_iter().map(|i| vec![i]), |feed| {
            for done in 0..total {
                if o.stop() {
                    return Err(Error::Interrupted);
                }
                let mut batch = feed.next()?;
                let (pixels, each) = (std::mem::take(&mut batch.pixels), config.context * config.frame_bytes());
                batch.embeddings.resize(batch.windows * config.context * config.width, 0.0);
                for (pixels, out) in
                    pixels.chunks_exact(each).zip(batch.embeddings.chunks_exact_mut(config.context * config.width))
                {
                    pass.upload_pixels(b, 0, pixels);
                    b.wait_uploads();
                    let embeddings = pass.encode(b, w, 0, 1);
                    b.download(embeddings, out);
                }
                slots.push(batch);
                o.progress(done + 1, total, "encoding frames once");
            }
            Ok(())
        })?;
        let windows = slots.first().map_or(1, |s| s.windows);
        Ok(Self { items, windows, slot_of, slots })
    }
}

impl Loader for Embedded {
    fn items(&self) -> usize {
        self.items
    }

    fn load(&mut self, indices: &[usize], out: &mut Batch) -> Result<()> {
        let mut batch = Batch { windows: indices.len() * self.windows, ..Batch::default() };
        for index in indices {
            let slot = self.slot_of.get(index).map(|&slot| &self.slots[slot]);
            let item = slot.ok_or_else(|| Error::Input(format!("window {index} was not planned for")))?;
            batch.embeddings.extend_from_slice(&item.embeddings);
            batch.actions.extend_from_slice(&item.actions);
            batch.weights.extend_from_slice(&item.weights);
            batch.labels.extend_from_slice(&item.labels);
        }
        *out = batch;
        Ok(())
    }
}
