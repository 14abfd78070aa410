//! Frames that the device unpacks: the pixels are those that `schemas` packed, and training on them leaves the bits of training on
//! pixels.

use std::path::Path;
use std::sync::atomic::Ordering;

use playhouse_kernels::{Backend, Kind, Stem, emulator};
use playhouse_schemas::{Codec, FrameSpec};

use super::golden::hashes;
use super::toys::small_config;
use crate::compute::Compute;
use crate::imitate::imitate_on;
use crate::{Error, ModelConfig, PackedFrames, Report, Result, Training, WindowBatch, WindowSource, evaluate_loss};

fn spec(side: usize) -> FrameSpec {
    FrameSpec { width: side as u16, height: side as u16, codec: Codec::Fast, resize: None }
}

/// A picture with slopes, flat areas and noise of any depth, so that every width of a difference is met.
fn picture(side: usize, name: &str) -> Vec<u8> {
    let noise = hashes(name).take(side * side * 3).enumerate();
    noise
        .map(|(i, hash)| {
            let (x, y) = (i / 3 % side, i / 3 / side);
            let depth = (x / 8 + y / 4) % 10;
            if depth == 9 { 77 } else { ((x * 3 + y * 5) as u8).wrapping_add((hash % (1 << depth)) as u8) }
        })
        .collect()
}

fn joined(frames: impl IntoIterator<Item = PackedFrames>) -> Vec<u8> {
    let mut out = Vec::new();
    PackedFrames::join(&frames.into_iter().collect::<Vec<_>>(), &mut out);
    out
}

/// The pixels that a device makes of packed frames, as its stem sees them: with one weight for each channel, an output is a pixel.
fn unpacked(mut b: Box<dyn Backend>, packed: &[u8], n: usize, size: usize) -> Vec<u8> {
    let d = Stem { n, size, channels: 48 };
    let (from, pixels) = (b.alloc_bytes(packed.len()), b.alloc_bytes(n * size * size * 3));
    let (w, bias) = (b.alloc(48 * 48, Kind::Weight), b.alloc(48, Kind::Weight));
    let y = b.alloc(d.rows() * 48, Kind::Activation);
    b.upload_bytes(from, packed);
    b.wait_uploads();
    b.upload(w, &(0..48 * 48).map(|i| if i % 49 == 0 { 1.0 } else { 0.0 }).collect::<Vec<_>>());
    b.frames_decode(from, pixels, n, size);
    b.stem_forward(pixels, w, bias, y, d);
    let mut seen = vec![0.0; y.len()];
    b.download(y, &mut seen);
    let mut out = vec![0; n * size * size * 3];
    let side = size / 4;
    for (patch, values) in seen.chunks_exact(48).enumerate() {
        let (image, py, px) = (patch / (side * side), patch / side % side, patch % side);
        for (i, value) in values.iter().enumerate() {
            let (y, x) = (py * 4 + i / 12, px * 4 + i / 3 % 4);
            out[((image * size + y) * size + x) * 3 + i % 3] = ((value + 1.0) * 127.5).round() as u8;
        }
    }
    out
}

fn what_is_packed_comes_out(device: impl Fn() -> Box<dyn Backend>) {
    for size in [4, 20, 32, 64, 128] {
        let random = hashes("random").take(size * size * 3).map(|hash| hash as u8).collect();
        let pictures = [picture(size, "one"), vec![200; size * size * 3], random, vec![0; size * size * 3]];
        let mut frames = PackedFrames::default();
        for picture in &pictures[..3] {
            let image = spec(size).encode(picture).unwrap();
            spec(size).verify_packed(&image).unwrap();
            frames.push(&image);
        }
        frames.push_black();
        let got = unpacked(device(), &joined([frames]), 4, size);
        let wrong = got.iter().zip(pictures.concat()).position(|(got, want)| *got != want);
        assert_eq!(wrong, None, "{size}x{size}");
    }
}

#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn what_is_packed_comes_out_of_emulated_cuda() {
    what_is_packed_comes_out(emulator::backend);
}

#[test]
fn what_is_packed_comes_out_of_the_cpu() {
    what_is_packed_comes_out(|| Compute::cpu(2).backend().unwrap());
}

#[test]
#[ignore = "needs a GPU"]
fn what_is_packed_comes_out_of_a_gpu() {
    let device = playhouse_kernels::device::Device::Cuda;
    what_is_packed_comes_out(|| Compute { device, ..Compute::cpu(2) }.backend().unwrap());
}

/// Windows of pictures at the model's size, the last steps of each being padding.
struct Pictures {
    config: ModelConfig,
    name: &'static str,
    /// Whether it packs when it is asked to.
    packs: bool,
    asked: usize,
    packed: bool,
}

impl Pictures {
    fn new(config: &ModelConfig, name: &'static str, packs: bool) -> Self {
        Self { config: config.clone(), name, packs, asked: 0, packed: false }
    }
}

impl WindowSource for Pictures {
    fn len(&self) -> usize {
        6
    }
    fn frame_size(&self) -> usize {
        self.config.frame_size
    }
    fn pack(&mut self, wanted: bool) -> bool {
        self.asked += usize::from(wanted);
        self.packed = self.packs && wanted;
        self.packed
    }
    fn load(&mut self, indices: &[usize], out: &mut WindowBatch) -> Result<()> {
        out.clear();
        let (side, context) = (self.config.frame_size, self.config.context);
        let mut windows = vec![PackedFrames::default(); indices.len()];
        for (index, window) in indices.iter().zip(&mut windows) {
            for t in 0..context {
                let real = t < context - index % 3;
                let pixels = picture(side, &format!("{} {index} {t}", self.name));
                match (self.packed, real) {
                    (true, true) => window.push(&spec(side).encode(&pixels).map_err(Error::outside)?),
                    (true, false) => window.push_black(),
                    (false, true) => out.frames.extend(pixels),
                    (false, false) => out.frames.resize(out.frames.len() + side * side * 3, 0),
                }
                let action = hashes(&format!("action {index} {t}")).zip(&self.config.actions);
                out.actions.extend(action.map(|(hash, component)| (hash % component.values as u64) as u8));
                out.weights.push(if real { 1.0 } else { 0.0 });
            }
        }
        if self.packed {
            PackedFrames::join(&windows, &mut out.frames);
        }
        Ok(())
    }
}

/// A run with held-out windows, whose batches are not all of one size; what it reports, and the bytes of its model.
fn run(b: Box<dyn Backend>, sources: &mut [Pictures; 2], settings: &Training, dir: &Path) -> (Report, Vec<u8>) {
    let [train, held_out] = sources;
    let config = train.config.clone();
    let report = imitate_on(b, &config, None, train, Some(held_out), settings, dir, &mut ()).unwrap();
    let model = std::fs::read(&report.model).unwrap();
    (report, model)
}

#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn training_on_packed_frames_leaves_the_bits_of_training_on_pixels() {
    let config = ModelConfig { context: 4, ..small_config() };
    let plain = Training { steps: 5, batch: 2, eval_every: 2, eval_windows: 3, warmup: 1, ..Training::default() };
    let (shifted, frozen) =
        (Training { shift: 2, ..plain.clone() }, Training { freeze_encoder: true, ..plain.clone() });
    for settings in [plain, shifted, frozen] {
        let train = |packs| {
            let dir = tempfile::tempdir().unwrap();
            let (b, replayed) = emulator::with_graphs(true);
            let mut sources = ["train", "held out"].map(|name| Pictures::new(&config, name, packs));
            let (report, model) = run(b, &mut sources, &settings, dir.path());
            let packed = sources.each_ref().map(|source| source.packed);
            // Whoever reads a source after that gets what its device takes.
            let held_out = evaluate_loss(&report.model, &mut sources[1], Compute::cpu(1), &mut ()).unwrap();
            (report.metrics, model, held_out, packed, replayed.load(Ordering::Relaxed))
        };
        let (metrics, model, held_out, packed, replayed) = train(true);
        let (plain_metrics, plain_model, plain_held_out, none, plain_replayed) = train(false);
        // What is shifted, or encoded once, has to be pixels here.
        let wanted = [!settings.freeze_encoder && settings.shift == 0, !settings.freeze_encoder];
        assert_eq!((packed, none), (wanted, [false, false]));
        assert!(metrics.iter().filter(|row| row.name == "train/loss").count() == 5);
        assert_eq!(metrics, plain_metrics, "packed {packed:?}");
        assert!(model == plain_model, "packed {packed:?}");
        assert_eq!(held_out, plain_held_out);
        // Steps come again as before: what differs between them is in memory.
        assert!(replayed == plain_replayed && replayed > 0, "{replayed} and {plain_replayed} graphs");
    }
}

#[test]
fn a_processor_never_asks_for_packed_frames() {
    let config = ModelConfig { context: 4, ..small_config() };
    let settings = Training { steps: 2, batch: 2, eval_windows: 2, ..Training::default() };
    let dir = tempfile::tempdir().unwrap();
    let mut sources = ["train", "held out"].map(|name| Pictures::new(&config, name, true));
    run(Compute::cpu(1).backend().unwrap(), &mut sources, &settings, dir.path());
    assert_eq!(sources.map(|source| source.asked), [0, 0]);
}
