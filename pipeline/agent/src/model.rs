//! A model on a device, and passes over windows through it.

use std::path::Path;

use playhouse_kernels::{Backend, Bytes, Epilogue, Kind, Tensor};

use crate::config::{Head, ModelConfig};
use crate::encoder::{self, EncoderActs, EncoderScratch, gemm};
use crate::error::{Error, Result};
use crate::feed::Batch;
use crate::files::ModelFile;
use crate::layout::Layout;
use crate::packed;
use crate::transformer::{self, TransformerActs, TransformerScratch};
use crate::view::View;

/// Weights on a device.
#[derive(Clone)]
pub(crate) struct Model {
    pub config: ModelConfig,
    pub head: Head,
    pub layout: Layout,
    pub weights: Tensor,
    pub w: View,
}

impl Model {
    /// Plans the weights; they are zero until uploaded.
    pub fn plan(b: &mut dyn Backend, config: &ModelConfig, head: Head) -> Self {
        let layout = Layout::new(config, head);
        let weights = b.alloc(layout.len(), Kind::Weight);
        let w = View::new(config, head, &layout, weights);
        Self { config: config.clone(), head, layout, weights, w }
    }

    /// Plans and uploads a model read from a file.
    pub fn from_file(b: &mut dyn Backend, file: &ModelFile) -> Self {
        let model = Self::plan(b, &file.config, file.head);
        b.upload(model.weights, &file.values);
        model
    }

    /// Fetches the weights.
    pub fn to_file(&self, b: &mut dyn Backend) -> ModelFile {
        let mut values = vec![0.0; self.layout.len()];
        b.download(self.weights, &mut values);
        ModelFile { config: self.config.clone(), head: self.head, layout: self.layout.clone(), values }
    }

    /// The head over `rows` hidden states `[rows,d]`.
    pub fn head_forward(&self, b: &mut dyn Backend, hidden: Tensor, y: Tensor, rows: usize) {
        b.linear_forward(hidden, self.w.head.w, self.w.head.b, y, gemm(rows, self.w.head), Epilogue::None);
    }
}

/// Reads a model file and checks which head it has.
pub(crate) fn read_model(path: &Path, head: Head) -> Result<ModelFile> {
    let file = ModelFile::read(path)?;
    if file.head == head {
        return Ok(file);
    }
    let (is, wanted) = match head {
        Head::Policy => ("a reward model", "a policy"),
        Head::Reward => ("a policy", "a reward model"),
    };
    Err(Error::Input(format!("{} is {is}, but {wanted} is needed here", path.display())))
}

/// Writes the policy that training from `seed` begins with, so that another program can begin with the same.
///
/// # Errors
/// The shape cannot be built, or the file cannot be written.
pub fn write_initial(config: &ModelConfig, seed: u64, path: &Path) -> Result<()> {
    config.validate()?;
    let layout = Layout::new(config, Head::Policy);
    let values = layout.initial(seed);
    ModelFile { config: config.clone(), head: Head::Policy, layout, values }.write(path)
}

/// Initial weights for `layout`: drawn from `seed`, then overwritten by whatever `init` has under the same name. A head of another kind
/// stays as drawn; a body of another shape is an error.
pub(crate) fn initial_values(
    config: &ModelConfig,
    layout: &Layout,
    seed: u64,
    init: Option<&Path>,
) -> Result<Vec<f32>> {
    let mut values = layout.initial(seed);
    let Some(path) = init else { return Ok(values) };
    let file = ModelFile::read(path)?;
    let named = ModelConfig { name: config.name.clone(), ..file.config.clone() };
    if named != *config {
        return Err(Error::Settings(format!(
            "{} holds a model of another shape ({:?}) than \"{}\" ({config:?})",
            path.display(),
            file.config,
            config.name
        )));
    }
    for parameter in layout.parameters() {
        if let Some(source) = file.layout.find(&parameter.name) {
            values[parameter.range()].copy_from_slice(&file.values[source.range()]);
        }
    }
    Ok(values)
}

/// Where a pass takes its embeddings from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Encode the frames uploaded into this slot.
    Pixels(usize),
    /// Unpack the frames uploaded into this slot, then encode them.
    Packed(usize),
    /// They were uploaded with [`Pass::upload_embeddings`].
    Embeddings,
}

impl Input {
    /// The slot with the frames, if there are any.
    fn slot(self) -> Option<usize> {
        match self {
            Input::Pixels(slot) | Input::Packed(slot) => Some(slot),
            Input::Embeddings => None,
        }
    }
}

/// Memory for passes over up to `windows` windows. Two slots of pixels, so that one is filled while the other is computed on.
pub(crate) struct Pass {
    config: ModelConfig,
    windows: usize,
    slots: [Bytes; 2],
    /// Packed frames, which are unpacked into the pixels of the same slot.
    packed: Option<[Bytes; 2]>,
    embeddings: Tensor,
    encoder: EncoderActs,
    trunk: TransformerActs,
    backward: Option<Backward>,
}

struct Backward {
    encoder: EncoderScratch,
    trunk: TransformerScratch,
    d_hidden: Tensor,
    d_embeddings: Tensor,
}

impl Pass {
    /// Plans memory; `train` also for backward. A batch with more activations than the device keeps is encoded twice, which costs a third
    /// more arithmetic: on a processor, of more than 1,213 frames of `tiny` or 79 of `paper`.
    pub fn plan(b: &mut dyn Backend, config: &ModelConfig, windows: usize, train: bool) -> Self {
        let kept = if train { b.capacity().kept / EncoderActs::frame_elements(b, config) } else { 0 };
        Self::plan_keeping(b, config, windows, train, kept)
    }

    /// As [`Pass::plan`], with the encoder's activations kept for batches of up to `kept` frames.
    pub fn plan_keeping(b: &mut dyn Backend, config: &ModelConfig, windows: usize, train: bool, kept: usize) -> Self {
        let rows = windows * config.context;
        let chunk = b.capacity().images.min(rows);
        let backward = train.then(|| Backward {
            encoder: EncoderScratch::plan(b, config, chunk),
            trunk: TransformerScratch::plan(b, config, rows),
            d_hidden: b.alloc(rows * config.width, Kind::Activation),
            d_embeddings: b.alloc(rows * config.width, Kind::Activation),
        });
        Self {
            config: config.clone(),
            windows,
            slots: [b.alloc_bytes(rows * config.frame_bytes()), b.alloc_bytes(rows * config.frame_bytes())],
            packed: None,
            embeddings: b.alloc(rows * config.width, Kind::Activation),
            // More frames than are kept go through a buffer of one chunk.
            encoder: EncoderActs::plan(b, config, if rows <= kept { rows } else { chunk }),
            trunk: TransformerActs::plan(b, config, windows, config.context),
            backward,
        }
    }

    /// Plans memory for packed frames: as much as they can take.
    pub fn plan_packed(&mut self, b: &mut dyn Backend) {
        let bytes = packed::largest(&self.config, self.windows * self.config.context);
        self.packed = Some([b.alloc_bytes(bytes), b.alloc_bytes(bytes)]);
    }

    /// Windows it was planned for.
    pub fn capacity(&self) -> usize {
        self.windows
    }

    /// Starts the transfer of frames `[B,T,S,S,3]` into a slot.
    pub fn upload_pixels(&self, b: &mut dyn Backend, slot: usize, pixels: &[u8]) {
        b.upload_bytes(self.slots[slot].slice(0, pixels.len()), pixels);
    }

    /// Starts the transfer of a batch's frames into a slot, as they are.
    pub fn upload_frames(&self, b: &mut dyn Backend, slot: usize, batch: &Batch) {
        if batch.packed {
            b.upload_bytes(self.packed(slot).slice(0, batch.pixels.len()), &batch.pixels);
        } else {
            self.upload_pixels(b, slot, &batch.pixels);
        }
    }

    fn packed(&self, slot: usize) -> Bytes {
        self.packed.map_or_else(|| unreachable!("this pass was planned for pixels"), |slots| slots[slot])
    }

    /// Unpacks the frames of `windows` windows.
    fn unpack(&self, b: &mut dyn Backend, slot: usize, windows: usize) {
        let (frames, size) = (windows * self.config.context, self.config.frame_size);
        let pixels = self.slots[slot].slice(0, frames * self.config.frame_bytes());
        // The whole slot, whatever is used of it: a step that differs in no argument is a graph that came before.
        b.frames_decode(self.packed(slot), pixels, frames, size);
    }

    /// Uploads embeddings `[B,T,d]`.
    pub fn upload_embeddings(&self, b: &mut dyn Backend, embeddings: &[f32]) {
        b.upload(self.embeddings.slice(0, embeddings.len()), embeddings);
    }

    /// Encodes the frames of `windows` windows: embeddings `[B,T,d]`.
    pub fn encode(&self, b: &mut dyn Backend, w: &View, slot: usize, windows: usize) -> Tensor {
        let embeddings = self.embeddings.slice(0, windows * self.config.context * self.config.width);
        encoder::forward(b, &self.config, w, &self.encoder, self.slots[slot], embeddings);
        embeddings
    }

    /// Hidden states `[B,T,d]` of `windows` windows.
    pub fn forward(&self, b: &mut dyn Backend, w: &View, input: Input, windows: usize) -> Tensor {
        if let Input::Packed(slot) = input {
            self.unpack(b, slot, windows);
        }
        if let Some(slot) = input.slot() {
            self.encode(b, w, slot, windows);
        }
        let trunk = self.trunk.first(windows);
        b.copy(self.embeddings.slice(0, trunk.x.len()), trunk.x);
        transformer::forward(b, &self.config, w, &trunk);
        trunk.hidden()
    }

    /// Where the gradient of the hidden states goes before [`Pass::backward`], `[B,T,d]`.
    pub fn d_hidden(&self, windows: usize) -> Tensor {
        self.planned().d_hidden.slice(0, windows * self.config.context * self.config.width)
    }

    /// Adds the gradients of all parameters between the encoder and the head.
    pub fn backward_trunk(&self, b: &mut dyn Backend, w: &View, g: &View, windows: usize) {
        let backward = self.planned();
        let trunk = self.trunk.first(windows);
        let d_embeddings = backward.d_embeddings.slice(0, trunk.x.len());
        transformer::backward(b, &self.config, w, g, &trunk, &backward.trunk, self.d_hidden(windows), d_embeddings);
    }

    /// Then those of the encoder, where there are pixels.
    pub fn backward_encoder(&self, b: &mut dyn Backend, w: &View, g: &View, input: Input, windows: usize) {
        let backward = self.planned();
        let d_embeddings = backward.d_embeddings.slice(0, windows * self.config.context * self.config.width);
        if let Some(slot) = input.slot() {
            let (acts, scratch, embeddings) = (&self.encoder, &backward.encoder, self.embeddings);
            let kept = windows * self.config.context <= acts.capacity();
            encoder::backward(b, &self.config, w, g, acts, scratch, self.slots[slot], embeddings, d_embeddings, kept);
        }
    }

    fn planned(&self) -> &Backward {
        self.backward.as_ref().unwrap_or_else(|| unreachable!("this pass was planned for inference"))
    }
}
