//! What is timed: every operator of a training step at the sizes of the agent, through the backend.
//!
//! A [`Work`] knows the bytes that it has to move at least, each tensor once, and its multiplications and additions. Against the
//! ceilings of the card (a copy, a large matrix product) they say how far a kernel is from the best there can be.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::frames;
use crate::{AdamW, Attention, Backend, Bottleneck, Bytes, Epilogue, FusedBottleneck, Gemm, Kind, Plane, Stem, Tensor};

/// The agent's sizes.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Sequences of a batch.
    pub sequences: usize,
    /// Timesteps of a sequence.
    pub context: usize,
    /// Side of a frame in pixels.
    pub frame: usize,
    /// Channels of the encoder's stages.
    pub dims: Vec<usize>,
    /// Width of the transformer.
    pub width: usize,
    /// Its heads.
    pub heads: usize,
    /// Inner width of its feed-forward layers.
    pub ffn: usize,
    /// Parameters of the whole model.
    pub parameters: usize,
    /// Lanes of a rollout.
    pub lanes: usize,
}

impl Sizes {
    /// The paper's agent (103 M parameters) at its batch: 256 sequences of 32 frames of 128x128.
    pub fn paper() -> Self {
        Self {
            sequences: 256,
            context: 32,
            frame: 128,
            dims: vec![32, 64, 128, 256],
            width: 1024,
            heads: 8,
            ffn: 4096,
            parameters: 102_760_000,
            lanes: 16,
        }
    }
}

/// Values of each component of the gamepad.
const HEADS: [usize; 16] = [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 11, 11, 11, 11];
const LOGITS: usize = 68;

/// One operator at one size.
pub struct Work {
    /// The operator and its size.
    pub name: String,
    /// What it has to read and write, each once.
    pub bytes: f64,
    /// Its multiplications and additions.
    pub flops: f64,
    run: Queue,
}

type Queue = Box<dyn Fn(&mut dyn Backend)>;

impl Work {
    /// Queues it.
    pub fn run(&self, backend: &mut dyn Backend) {
        (self.run)(backend);
    }
}

/// Memory that every work takes its tensors from: what they hold does not matter, as long as it is ordinary numbers.
#[derive(Clone, Copy)]
struct Pool {
    activations: [Tensor; 4],
    weight: Tensor,
    bias: Tensor,
    gradient: Tensor,
    bias_gradient: Tensor,
    moments: [Tensor; 2],
    rows: [Tensor; 4],
    pixels: Bytes,
    packed: Bytes,
    actions: Bytes,
}

/// The works of a training step, with their memory planned on `backend` and filled.
pub fn works(backend: &mut dyn Backend, sizes: &Sizes) -> Vec<Work> {
    let frames = sizes.sequences * sizes.context;
    let planes: Vec<Plane> = sizes
        .dims
        .iter()
        .enumerate()
        .map(|(stage, c)| {
            let side = sizes.frame >> (2 + stage);
            Plane { n: frames, h: side, w: side, c: *c }
        })
        .collect();
    let widest = planes.iter().map(|d| 4 * d.elements()).max().unwrap_or(0);
    let widest = widest.max(frames * sizes.ffn).max(3 * frames * sizes.width);
    let rows = planes.iter().map(|d| d.rows()).max().unwrap_or(0);
    let channels = sizes.dims.iter().copied().max().unwrap_or(0);
    let columns = sizes.ffn.max(3 * sizes.width).max(8 * channels);
    let parameters = sizes.parameters.max(sizes.width * columns).max(8 * channels * channels);
    // Codes whose groups have 2.8 bytes on average: 20 kB for a frame of 128x128, as human play has.
    let packed = frames::packed(&mut Pcg64::seed_from_u64(7), frames, sizes.frame, |rng| rng.random_range(0..=4));
    let mut planned = |len, kind| backend.alloc(len, kind);
    let pool = Pool {
        activations: std::array::from_fn(|_| planned(widest, Kind::Activation)),
        weight: planned(parameters, Kind::Weight),
        bias: planned(columns, Kind::Weight),
        gradient: planned(parameters, Kind::Gradient),
        bias_gradient: planned(columns, Kind::Gradient),
        moments: std::array::from_fn(|_| planned(parameters, Kind::Moment)),
        rows: std::array::from_fn(|_| planned(rows, Kind::Scratch)),
        pixels: backend.alloc_bytes(frames * sizes.frame * sizes.frame * 3),
        packed: backend.alloc_bytes(packed.len()),
        actions: backend.alloc_bytes(frames * HEADS.len()),
    };
    fill(backend, &pool, &packed);

    let mut works = vec![];
    unpack(&mut works, pool, frames, sizes.frame);
    stem(&mut works, pool, Stem { n: frames, size: sizes.frame, channels: sizes.dims[0] });
    for (stage, d) in planes.iter().enumerate() {
        convolution(&mut works, pool, *d);
        let (rows, c) = (d.rows(), d.c);
        norm(&mut works, pool, rows, c);
        linear(&mut works, pool, Gemm { m: rows, k: c, n: 4 * c }, After::Gelu);
        linear(&mut works, pool, Gemm { m: rows, k: 4 * c, n: c }, After::Scale);
        // Beside its parts, of which it is to be faster than their sum.
        if backend.bottleneck(c).is_some() {
            inverted_bottleneck(&mut works, pool, rows, c);
        }
        if stage + 1 < planes.len() {
            norm_patches(&mut works, pool, *d);
        }
    }
    norm(&mut works, pool, frames, sizes.width);
    linear(&mut works, pool, Gemm { m: frames, k: sizes.width, n: 3 * sizes.width }, After::Nothing);
    let head_size = sizes.width / sizes.heads;
    attention(&mut works, pool, Attention { b: sizes.sequences, t: sizes.context, heads: sizes.heads, head_size });
    linear(&mut works, pool, Gemm { m: frames, k: sizes.width, n: sizes.width }, After::Residual);
    linear(&mut works, pool, Gemm { m: frames, k: sizes.width, n: sizes.ffn }, After::Gelu);
    linear(&mut works, pool, Gemm { m: frames, k: sizes.ffn, n: sizes.width }, After::Residual);
    policy(&mut works, pool, frames);
    optimiser(&mut works, pool, sizes.parameters);
    decode(&mut works, pool, Attention { b: sizes.lanes, t: sizes.context, heads: sizes.heads, head_size });
    works
}

/// Uniform values in -1..1, the same few million again and again; second moments are positive.
fn fill(backend: &mut dyn Backend, pool: &Pool, packed: &[u8]) {
    const CHUNK: usize = 1 << 22;
    let mut values = uniform(CHUNK);
    let mut write = |tensor: Tensor, values: &[f32]| {
        for start in (0..tensor.len()).step_by(CHUNK) {
            let len = CHUNK.min(tensor.len() - start);
            backend.upload(tensor.slice(start, len), &values[..len]);
        }
    };
    pool.activations.iter().for_each(|tensor| write(*tensor, &values));
    for tensor in [pool.weight, pool.bias, pool.gradient, pool.bias_gradient, pool.moments[0]] {
        write(tensor, &values);
    }
    values.iter_mut().for_each(|x| *x = x.abs() + 0.01);
    write(pool.moments[1], &values);
    pool.rows.iter().for_each(|tensor| write(*tensor, &values));
    backend.upload_bytes(pool.pixels, &(0..pool.pixels.len()).map(|i| (i * 7 % 256) as u8).collect::<Vec<u8>>());
    backend.upload_bytes(pool.packed, packed);
    backend.upload_bytes(pool.actions, &vec![1; pool.actions.len()]);
    backend.wait_uploads();
}

/// Values in -1..1.
pub fn uniform(len: usize) -> Vec<f32> {
    let mut rng = Pcg64::seed_from_u64(7);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn work(name: String, bytes: usize, flops: usize, run: impl Fn(&mut dyn Backend) + 'static) -> Work {
    Work { name, bytes: bytes as f64, flops: flops as f64, run: Box::new(run) }
}

fn unpack(works: &mut Vec<Work>, pool: Pool, n: usize, size: usize) {
    let bytes = pool.packed.len() + pool.pixels.len();
    works.push(work(format!("frames_decode {n}x{size}x{size}x3"), bytes, 0, move |backend| {
        backend.frames_decode(pool.packed, pool.pixels, n, size);
    }));
}

fn stem(works: &mut Vec<Work>, pool: Pool, d: Stem) {
    let (len, c, pixels) = (d.rows() * d.channels, d.channels, d.n * d.size * d.size * 3);
    let (y, w, b) = (pool.activations[0].slice(0, len), pool.weight.slice(0, 48 * c), pool.bias.slice(0, c));
    let (dw, db) = (pool.gradient.slice(0, 48 * c), pool.bias_gradient.slice(0, c));
    let (size, bytes, flops) = (format!("{}x{0}x3 to {c}", d.size), pixels + 2 * len, 2 * 48 * len);
    works.push(work(format!("stem_forward {size}"), bytes, flops, move |backend| {
        backend.stem_forward(pool.pixels, w, b, y, d);
    }));
    works.push(work(format!("stem_backward {size}"), bytes, flops, move |backend| {
        backend.stem_backward(y, pool.pixels, dw, db, d);
    }));
}

fn convolution(works: &mut Vec<Work>, pool: Pool, d: Plane) {
    let (len, c) = (d.elements(), d.c);
    let [x, y, dx, _] = pool.activations.map(|tensor| tensor.slice(0, len));
    let (w, b) = (pool.weight.slice(0, 49 * c), pool.bias.slice(0, c));
    let (dw, db) = (pool.gradient.slice(0, 49 * c), pool.bias_gradient.slice(0, c));
    let size = format!("{}x{}x{c}", d.h, d.w);
    works.push(work(format!("depthwise_forward {size}"), 4 * len, 2 * 49 * len, move |backend| {
        backend.depthwise_forward(x, w, b, y, d);
    }));
    // Added to the residual stream: dx is read as well.
    works.push(work(format!("depthwise_backward {size}"), 8 * len, 4 * 49 * len, move |backend| {
        backend.depthwise_backward(y, x, w, dx, dw, db, d, true);
    }));
}

fn norm(works: &mut Vec<Work>, pool: Pool, rows: usize, cols: usize) {
    let len = rows * cols;
    let [x, y, dx, _] = pool.activations.map(|tensor| tensor.slice(0, len));
    let [mean, rstd, ..] = pool.rows.map(|tensor| tensor.slice(0, rows));
    let (g, b) = (pool.weight.slice(0, cols), pool.bias.slice(0, cols));
    let (dg, db) = (pool.gradient.slice(0, cols), pool.bias_gradient.slice(0, cols));
    works.push(work(format!("layer_norm_forward {rows}x{cols}"), 4 * len, 8 * len, move |backend| {
        backend.layer_norm_forward(x, g, b, y, mean, rstd, rows, cols);
    }));
    works.push(work(format!("layer_norm_backward {rows}x{cols}"), 6 * len, 16 * len, move |backend| {
        backend.layer_norm_backward(y, x, g, mean, rstd, dx, dg, db, rows, cols, false);
    }));
}

fn norm_patches(works: &mut Vec<Work>, pool: Pool, d: Plane) {
    let (len, c) = (d.elements(), d.c);
    let [x, y, dx, _] = pool.activations.map(|tensor| tensor.slice(0, len));
    let [mean, rstd, ..] = pool.rows.map(|tensor| tensor.slice(0, d.rows()));
    let (g, b) = (pool.weight.slice(0, c), pool.bias.slice(0, c));
    let (dg, db) = (pool.gradient.slice(0, c), pool.bias_gradient.slice(0, c));
    let size = format!("{}x{}x{c}", d.h, d.w);
    works.push(work(format!("norm_patches2_forward {size}"), 4 * len, 8 * len, move |backend| {
        backend.norm_patches2_forward(x, g, b, y, mean, rstd, d);
    }));
    works.push(work(format!("norm_patches2_backward {size}"), 6 * len, 16 * len, move |backend| {
        backend.norm_patches2_backward(y, x, g, mean, rstd, dx, dg, db, d);
    }));
}

/// What follows a linear layer.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Nothing,
    Gelu,
    Residual,
    Scale,
}

fn linear(works: &mut Vec<Work>, pool: Pool, d: Gemm, after: After) {
    let Gemm { m, k, n } = d;
    let [x, y, pre, skip] = pool.activations;
    let (x, y, pre, skip) = (x.slice(0, m * k), y.slice(0, m * n), pre.slice(0, m * n), skip.slice(0, m * n));
    let (w, b) = (pool.weight.slice(0, k * n), pool.bias.slice(0, n));
    let (dw, db) = (pool.gradient.slice(0, k * n), pool.bias_gradient.slice(0, n));
    let (scale, dscale) = (pool.weight.slice(0, n), pool.gradient.slice(0, n));
    let (epilogue, name, others) = match after {
        After::Nothing => (Epilogue::None, "linear", 1),
        After::Gelu => (Epilogue::Gelu { pre }, "linear_gelu", 2),
        After::Residual => (Epilogue::Residual { skip }, "linear_residual", 2),
        After::Scale => (Epilogue::ScaledResidual { skip, scale, pre }, "linear_scaled_residual", 3),
    };
    let (flops, matrices) = (2 * m * k * n, 2 * (m * k + k * n));
    works.push(work(format!("{name}_forward {m}x{k}x{n}"), matrices + 2 * others * m * n, flops, move |backend| {
        backend.linear_forward(x, w, b, y, d, epilogue);
    }));
    // dy, and x twice: read for dw, written as dx.
    let bytes = matrices + 2 * m * n + 2 * m * k + 4 * k * n;
    // A layer that contracts reads what GELU gave, and its backward pass goes on to what went in.
    let (dx, before) = (pool.activations[2].slice(0, m * k), pool.activations[3].slice(0, m * k));
    let (name, before, bytes) = if k > n {
        ("linear_backward_gelu", Some(before), bytes + 2 * m * k)
    } else {
        ("linear_backward", None, bytes)
    };
    works.push(work(format!("{name} {m}x{k}x{n}"), bytes, 2 * flops, move |backend| {
        backend.linear_backward(y, x, w, Some(dx), before, dw, db, d);
    }));
    if after == After::Scale {
        works.push(work(format!("layer_scale_backward {m}x{n}"), 6 * m * n, 3 * m * n, move |backend| {
            backend.layer_scale_backward(y, pre, scale, skip, dscale, m, n);
        }));
    }
}

fn inverted_bottleneck(works: &mut Vec<Work>, pool: Pool, rows: usize, c: usize) {
    let len = rows * c;
    let [x, skip, y, _] = pool.activations.map(|tensor| tensor.slice(0, len));
    // Matrices one after another, vectors likewise.
    let parameters = |matrices: Tensor, vectors: Tensor| Bottleneck {
        gain: vectors.slice(0, c),
        shift: vectors.slice(c, c),
        expand_w: matrices.slice(0, 4 * c * c),
        expand_b: vectors.slice(4 * c, 4 * c),
        contract_w: matrices.slice(4 * c * c, 4 * c * c),
        contract_b: vectors.slice(2 * c, c),
        scale: vectors.slice(3 * c, c),
    };
    let (w, g) = (parameters(pool.weight, pool.bias), parameters(pool.gradient, pool.bias_gradient));
    let (size, product) = (format!("{rows}x{c}"), 8 * len * c);
    let fused = move |backend: &mut dyn Backend, run: &dyn Fn(&mut dyn FusedBottleneck)| {
        run(backend.bottleneck(c).unwrap_or_else(|| unreachable!("it was there when the works were listed")));
    };
    works.push(work(format!("bottleneck_forward {size}"), 6 * len, 2 * product, move |backend| {
        fused(backend, &|device| device.bottleneck_forward(x, skip, &w, y, rows));
    }));
    // The first product once more, and two for each of two.
    works.push(work(format!("bottleneck_backward {size}"), 6 * len, 5 * product, move |backend| {
        fused(backend, &|device| device.bottleneck_backward(skip, x, &w, y, &g, rows));
    }));
}

fn attention(works: &mut Vec<Work>, pool: Pool, d: Attention) {
    let len = d.b * d.t * d.width();
    let [qkv, y, dqkv, probs] = pool.activations;
    let (qkv, y, dqkv) = (qkv.slice(0, 3 * len), y.slice(0, len), dqkv.slice(0, 3 * len));
    // What is above the diagonal is multiplied by zero, and counted.
    let (size, product) = (format!("{}x{}x{}x{}", d.b, d.t, d.heads, d.head_size), 2 * len * d.t);
    let probs = probs.slice(0, d.b * d.heads * d.t * d.t);
    works.push(work(format!("attention_forward {size}"), 8 * len, 2 * product, move |backend| {
        backend.attention_forward(qkv, y, probs, d);
    }));
    works.push(work(format!("attention_backward {size}"), 14 * len, 5 * product, move |backend| {
        backend.attention_backward(y, qkv, probs, dqkv, d);
    }));
}

fn decode(works: &mut Vec<Work>, pool: Pool, d: Attention) {
    let (len, positions) = (d.b * d.width(), vec![d.t as u32 - 1; d.b]);
    let [qkv, cache, y, _] = pool.activations;
    let (qkv, cache, y) = (qkv.slice(0, 3 * len), cache.slice(0, 2 * d.t * len), y.slice(0, len));
    let size = format!("{}x{}x{}x{}", d.b, d.t, d.heads, d.head_size);
    works.push(work(format!("attention_decode {size}"), 4 * d.t * len, 4 * d.t * len, move |backend| {
        backend.attention_decode(qkv, cache, y, &positions, d);
    }));
}

fn policy(works: &mut Vec<Work>, pool: Pool, tokens: usize) {
    let [logits, dlogits, ..] = pool.activations.map(|tensor| tensor.slice(0, tokens * LOGITS));
    let [weight, nll, kl, entropy] = pool.rows.map(|tensor| tensor.slice(0, tokens));
    let bytes = 4 * tokens * LOGITS + tokens * HEADS.len() + 16 * tokens;
    works.push(work(format!("policy_loss {tokens}x{LOGITS}"), bytes, 10 * tokens * LOGITS, move |backend| {
        backend.policy_loss(logits, None, pool.actions, weight, None, dlogits, nll, kl, entropy, &HEADS);
    }));
}

fn optimiser(works: &mut Vec<Work>, pool: Pool, n: usize) {
    let (p, g) = (pool.weight.slice(0, n), pool.gradient.slice(0, n));
    let [m, v] = pool.moments.map(|tensor| tensor.slice(0, n));
    let norm = pool.rows[0].slice(0, 1);
    works.push(work(format!("grad_norm {n}"), 4 * n, 2 * n, move |backend| backend.grad_norm(g, norm)));
    let d = AdamW { lr: 1e-4, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.01, clip: 1.0, step: 100 };
    // Parameter and both moments in and out, the gradient in, the bf16 copy out.
    works.push(work(format!("adamw {n}"), 30 * n, 12 * n, move |backend| backend.adamw(p, g, m, v, norm, d)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use crate::cuda::emulator;

    /// The same operators at sizes of a toy: all of them are legal calls, on either backend.
    fn every_work_runs(mut backend: Box<dyn Backend>) -> usize {
        let sizes = Sizes {
            sequences: 2,
            context: 2,
            frame: 16,
            dims: vec![8, 32],
            width: 32,
            heads: 1,
            ffn: 64,
            parameters: 1000,
            lanes: 2,
        };
        let works = works(backend.as_mut(), &sizes);
        assert!(works.len() > 30);
        for work in &works {
            assert!(work.bytes > 0.0, "{}", work.name);
            work.run(backend.as_mut());
        }
        backend.synchronize();
        works.iter().filter(|work| work.name.starts_with("bottleneck")).count()
    }

    #[test]
    fn every_work_runs_on_the_cpu() {
        assert_eq!(every_work_runs(Box::new(Cpu::new(1))), 0);
    }

    #[test]
    #[cfg_attr(not(cxx), ignore = "no C++ compiler")]
    fn every_work_runs_on_the_emulated_device() {
        assert_eq!(every_work_runs(emulator::backend()), 2);
    }
}
