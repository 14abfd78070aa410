//! The operators as launches, products and copies on a [`Driver`].

mod fused;

use super::memory::{Memory, store};
use super::queue::{Queue, Work};
use super::{Driver, Fused, Launch, Operand, Pointer, Product, Store};
use super::{
    adamw, attention, bf16, bottleneck, bradley_terry, depthwise, elementary, frames, layer_norm, linear, planes,
    policy_loss, stem,
};
use crate::{
    AdamW, Attention, Backend, Bytes, Capacity, Epilogue, FusedBottleneck, Gemm, Kind, Plane, Ranks, RanksError, Stem,
    Tensor,
};

/// Images at once on a GPU: a batch of 8,192 frames is eight rounds of launches, of which even the last stage's have 16,384 rows. The
/// activations of so many frames of the paper's model are 1.3 GB, and REINFORCE holds them three times. Not measured yet.
const IMAGES: usize = 1024;

/// A device as a [`Backend`].
pub struct Cuda<D> {
    driver: D,
    memory: Memory,
    queue: Queue,
    /// Whether the device sums over ranks.
    joined: bool,
}

impl<D: Driver> Cuda<D> {
    pub fn new(driver: D) -> Self {
        Cuda { driver, memory: Memory::default(), queue: Queue::default(), joined: false }
    }

    /// What is below the operators, with everything queued that they put off.
    pub fn driver(&mut self) -> &mut D {
        self.flush();
        &mut self.driver
    }

    fn flush(&mut self) {
        self.queue.flush(&mut self.driver);
    }

    /// Addresses of tensors, which are to be stored so and to have these lengths.
    #[track_caller]
    fn tensors<const N: usize>(
        &mut self,
        operator: &str,
        wanted: Store,
        tensors: [(&str, Tensor, usize); N],
    ) -> [Pointer; N] {
        self.memory.run(&mut self.driver);
        tensors.map(|(name, tensor, len)| {
            assert!(tensor.len() == len, "{operator}: {name} has {} elements, its shape {len}", tensor.len());
            let kind = tensor.kind();
            assert!(store(kind) == wanted, "{operator}: {name} is a {kind:?}, where {wanted:?} is needed");
            self.memory.at(tensor)
        })
    }

    /// Addresses of bf16 tensors.
    #[track_caller]
    fn half<const N: usize>(&mut self, operator: &str, tensors: [(&str, Tensor, usize); N]) -> [Pointer; N] {
        self.tensors(operator, Store::Bf16, tensors)
    }

    /// Addresses of f32 tensors.
    #[track_caller]
    fn exact<const N: usize>(&mut self, operator: &str, tensors: [(&str, Tensor, usize); N]) -> [Pointer; N] {
        self.tensors(operator, Store::F32, tensors)
    }

    #[track_caller]
    fn bytes(&mut self, operator: &str, name: &str, bytes: Bytes, len: usize) -> Pointer {
        assert!(bytes.len() == len, "{operator}: {name} has {} bytes, its shape {len}", bytes.len());
        self.memory.run(&mut self.driver);
        self.memory.bytes(bytes)
    }

    /// Scratch memory of so many f32.
    fn scratch(&mut self, len: usize) -> Pointer {
        self.memory.scratch(&mut self.driver, len * Store::F32.size())
    }

    /// Memory that will hold these numbers.
    fn numbers<const B: usize>(&mut self, numbers: impl Iterator<Item = [u8; B]>) -> Pointer {
        let bytes: Vec<u8> = numbers.flatten().collect();
        self.queue.numbers(&mut self.driver, &bytes)
    }

    fn run(&mut self, launches: Vec<Launch>) {
        // A grid without blocks is an error to CUDA, and nothing to do for us.
        let some = launches.into_iter().filter(|launch| launch.grid.iter().all(|n| *n > 0));
        some.for_each(|launch| self.queue.push(Work::Launch(launch)));
    }
}

impl<D: Driver> Backend for Cuda<D> {
    fn name(&self) -> String {
        self.driver.name()
    }
    fn capacity(&self) -> Capacity {
        // Half of what is free is kept activations; weights, moments, frames and what is in flight share the rest.
        let of_gpu = |free: usize| Capacity { images: IMAGES, kept: free / 2 / Store::Bf16.size(), unpacks: true };
        self.driver.free_memory().map_or(Capacity { unpacks: true, ..Capacity::PROCESSOR }, of_gpu)
    }

    fn alloc(&mut self, len: usize, kind: Kind) -> Tensor {
        self.memory.alloc(len, kind)
    }
    fn alloc_bytes(&mut self, len: usize) -> Bytes {
        self.memory.alloc_bytes(len)
    }
    fn upload(&mut self, dst: Tensor, src: &[f32]) {
        assert_eq!(dst.len(), src.len(), "upload: lengths of the tensor and of the source");
        self.memory.take(&mut self.driver);
        self.flush();
        match store(dst.kind()) {
            Store::Bf16 => self.driver.write(self.memory.at(dst), &bf16::encode(src)),
            Store::F32 => {
                let bytes: Vec<u8> = src.iter().flat_map(|x| x.to_le_bytes()).collect();
                self.driver.write(self.memory.at(dst), &bytes);
            }
        }
        if dst.kind() == Kind::Weight {
            self.driver.write(self.memory.half(dst), &bf16::encode(src));
        }
    }
    fn download(&mut self, src: Tensor, dst: &mut [f32]) {
        assert_eq!(src.len(), dst.len(), "download: lengths of the tensor and of the destination");
        self.memory.take(&mut self.driver);
        self.flush();
        let store = store(src.kind());
        let mut bytes = vec![0; src.len() * store.size()];
        self.driver.read(self.memory.at(src), &mut bytes);
        match store {
            Store::Bf16 => dst.iter_mut().zip(bf16::decode(&bytes)).for_each(|(to, x)| *to = x),
            Store::F32 => {
                let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                dst.iter_mut().zip(values).for_each(|(to, x)| *to = x);
            }
        }
    }
    fn upload_bytes(&mut self, dst: Bytes, src: &[u8]) {
        assert_eq!(dst.len(), src.len(), "upload_bytes: lengths of the tensor and of the source");
        self.memory.take(&mut self.driver);
        self.flush();
        self.driver.upload(self.memory.bytes(dst), src);
    }
    fn submit(&mut self) {
        self.flush();
    }
    fn wait_uploads(&mut self) {
        self.flush();
        self.driver.wait_uploads();
    }
    fn synchronize(&mut self) {
        self.flush();
        self.driver.synchronize();
    }

    fn join(&mut self, ranks: &Ranks) -> Result<(), RanksError> {
        self.joined = ranks.launched();
        if self.joined { self.driver.join(ranks) } else { Ok(()) }
    }
    fn reduce(&mut self, x: Tensor) -> Result<(), RanksError> {
        let len = x.len();
        let [at] = self.exact("reduce", [("x", x, len)]);
        if self.joined {
            self.queue.push(Work::Reduce { at, len });
        }
        Ok(())
    }
    fn wait_reduced(&mut self) {
        if self.joined {
            self.queue.push(Work::AwaitReduced);
        }
    }

    fn fill(&mut self, x: Tensor, value: f32) {
        let (n, store) = (x.len(), store(x.kind()));
        let [at] = self.tensors("fill", store, [("x", x, n)]);
        self.run(elementary::fill(at, value, n, store));
        if x.kind() == Kind::Weight {
            let half = self.memory.half(x);
            self.run(elementary::fill(half, value, n, Store::Bf16));
        }
    }
    fn copy(&mut self, src: Tensor, dst: Tensor) {
        let (n, store) = (dst.len(), store(dst.kind()));
        let [from, to] = self.tensors("copy", store, [("src", src, n), ("dst", dst, n)]);
        self.queue.push(Work::Copy { from, to, bytes: n * store.size() });
        if dst.kind() == Kind::Weight {
            let half = self.memory.half(dst);
            self.run(elementary::round(to, half, n));
        }
    }
    fn add_scaled(&mut self, src: Tensor, dst: Tensor, alpha: f32) {
        let (n, store) = (dst.len(), store(dst.kind()));
        let [from, to] = self.tensors("add_scaled", store, [("src", src, n), ("dst", dst, n)]);
        self.run(elementary::add_scaled(from, to, alpha, n, store));
        if dst.kind() == Kind::Weight {
            let half = self.memory.half(dst);
            self.run(elementary::round(to, half, n));
        }
    }

    fn frames_decode(&mut self, packed: Bytes, pixels: Bytes, n: usize, size: usize) {
        let (name, bytes) = ("frames_decode", packed.len());
        assert!(size.is_multiple_of(4), "{name}: image side {size} is not a multiple of 4");
        assert!(bytes.is_multiple_of(4) && bytes >= (4 * n).max(8), "{name}: {bytes} bytes for {n} packed images");
        let pixels = self.bytes(name, "pixels", pixels, n * size * size * 3);
        let packed = self.bytes(name, "packed", packed, bytes);
        self.run(frames::decode(packed, pixels, n, size, bytes));
    }
    fn stem_forward(&mut self, pixels: Bytes, w: Tensor, b: Tensor, y: Tensor, d: Stem) {
        let (name, c) = ("stem_forward", d.channels);
        let pixels = self.bytes(name, "pixels", pixels, d.n * d.size * d.size * 3);
        let [w, b] = self.exact(name, [("w", w, 48 * c), ("b", b, c)]);
        let [y] = self.half(name, [("y", y, d.rows() * c)]);
        self.run(stem::forward(pixels, w, b, y, d));
    }
    fn stem_backward(&mut self, dy: Tensor, pixels: Bytes, dw: Tensor, db: Tensor, d: Stem) {
        let (name, c) = ("stem_backward", d.channels);
        let pixels = self.bytes(name, "pixels", pixels, d.n * d.size * d.size * 3);
        let [dy] = self.half(name, [("dy", dy, d.rows() * c)]);
        let [dw, db] = self.exact(name, [("dw", dw, 48 * c), ("db", db, c)]);
        let parts = self.scratch(stem::parts(d));
        self.run(stem::backward(dy, pixels, dw, db, parts, d));
    }
    fn depthwise_forward(&mut self, x: Tensor, w: Tensor, b: Tensor, y: Tensor, d: Plane) {
        let (name, len) = ("depthwise_forward", d.elements());
        let [x, y] = self.half(name, [("x", x, len), ("y", y, len)]);
        let [w, b] = self.exact(name, [("w", w, 49 * d.c), ("b", b, d.c)]);
        self.run(depthwise::forward(x, w, b, y, d));
    }
    fn depthwise_backward(
        &mut self,
        dy: Tensor,
        x: Tensor,
        w: Tensor,
        dx: Tensor,
        dw: Tensor,
        db: Tensor,
        d: Plane,
        accumulate: bool,
    ) {
        let (name, len) = ("depthwise_backward", d.elements());
        let [dy, x, dx] = self.half(name, [("dy", dy, len), ("x", x, len), ("dx", dx, len)]);
        let [w, dw, db] = self.exact(name, [("w", w, 49 * d.c), ("dw", dw, 49 * d.c), ("db", db, d.c)]);
        let parts = self.scratch(depthwise::parts(d));
        self.run(depthwise::backward(dy, x, w, dx, dw, db, parts, d, accumulate));
    }
    fn norm_patches2_forward(
        &mut self,
        x: Tensor,
        g: Tensor,
        b: Tensor,
        y: Tensor,
        mean: Tensor,
        rstd: Tensor,
        d: Plane,
    ) {
        let name = "norm_patches2_forward";
        d.check_even(name);
        self.norm_forward(name, x, g, b, y, mean, rstd, d.rows(), d.c, d.w);
    }
    fn norm_patches2_backward(
        &mut self,
        dy: Tensor,
        x: Tensor,
        g: Tensor,
        mean: Tensor,
        rstd: Tensor,
        dx: Tensor,
        dg: Tensor,
        db: Tensor,
        d: Plane,
    ) {
        let name = "norm_patches2_backward";
        d.check_even(name);
        self.norm_backward(name, dy, x, g, mean, rstd, dx, dg, db, d.rows(), d.c, d.w, false);
    }
    fn mean_pool_forward(&mut self, x: Tensor, y: Tensor, n: usize, p: usize, c: usize) {
        let [x, y] = self.half("mean_pool_forward", [("x", x, n * p * c), ("y", y, n * c)]);
        self.run(planes::mean_pool_forward(x, y, n, p, c));
    }
    fn mean_pool_backward(&mut self, dy: Tensor, dx: Tensor, n: usize, p: usize, c: usize) {
        let [dy, dx] = self.half("mean_pool_backward", [("dy", dy, n * c), ("dx", dx, n * p * c)]);
        self.run(planes::mean_pool_backward(dy, dx, n, p, c));
    }

    fn linear_forward(&mut self, x: Tensor, w: Tensor, b: Tensor, y: Tensor, d: Gemm, e: Epilogue) {
        let (name, Gemm { m, k, n }) = ("linear_forward", d);
        let [x] = self.half(name, [("x", x, m * k)]);
        let [_, bias] = self.exact(name, [("w", w, k * n), ("b", b, n)]);
        let store = store(y.kind());
        let [y] = self.tensors(name, store, [("y", y, m * n)]);
        let (left, right) = (plain(x), plain(self.memory.half(w)));
        let product = |out, store| Product { left, right, out, store, accumulate: false, m, k, n };
        if store == Store::F32 {
            assert!(e == Epilogue::None, "{name}: {e:?} of a result in f32");
            self.queue.push(Work::Product(product(y, store), None));
            self.run(linear::bias_exact(y, bias, m, n));
            return;
        }
        let len = m * n;
        let (out, epilogue) = match e {
            Epilogue::None => (y, linear::Epilogue::Bias),
            Epilogue::Gelu { pre } => {
                let [pre] = self.half(name, [("pre", pre, len)]);
                (y, linear::Epilogue::Gelu { pre })
            }
            Epilogue::Residual { skip } => {
                let [skip] = self.half(name, [("skip", skip, len)]);
                (y, linear::Epilogue::Residual { skip })
            }
            Epilogue::ScaledResidual { pre, .. } => {
                let [pre] = self.half(name, [("pre", pre, len)]);
                (pre, linear::Epilogue::Bias)
            }
        };
        let fused = Fused::Forward { bias: self.memory.half(b), epilogue };
        if self.driver.fuses(&product(out, store), fused) {
            self.queue.push(Work::Product(product(out, store), Some(fused)));
        } else {
            let z = self.memory.scratch(&mut self.driver, len * store.size());
            self.queue.push(Work::Product(product(z, store), None));
            self.run(linear::epilogue(z, bias, out, epilogue, m, n));
        }
        if let Epilogue::ScaledResidual { skip, scale, .. } = e {
            let [skip] = self.half(name, [("skip", skip, len)]);
            let [scale] = self.exact(name, [("scale", scale, n)]);
            self.run(linear::scale(out, skip, scale, y, m, n));
        }
    }
    fn linear_backward(
        &mut self,
        dy: Tensor,
        x: Tensor,
        w: Tensor,
        dx: Option<Tensor>,
        before: Option<Tensor>,
        dw: Tensor,
        db: Tensor,
        d: Gemm,
    ) {
        let (name, Gemm { m, k, n }) = ("linear_backward", d);
        assert!(dx.is_some() || before.is_none(), "{name}: `before` without dx, whose gradient it changes");
        let from = store(dy.kind());
        let [given] = self.tensors(name, from, [("dy", dy, m * n)]);
        let [x] = self.half(name, [("x", x, m * k)]);
        let [_, dw, db] = self.exact(name, [("w", w, k * n), ("dw", dw, k * n), ("db", db, n)]);
        // Partial sums, and behind them the gradient in bf16 where it is given in f32.
        let parts_bytes = linear::parts(m, n) * Store::F32.size();
        let parts = self.memory.scratch(&mut self.driver, parts_bytes + m * n * Store::Bf16.size());
        let dy = match from {
            Store::Bf16 => given,
            Store::F32 => parts + parts_bytes as u64,
        };
        if from == Store::F32 {
            self.run(elementary::round(given, dy, m * n));
        }
        if let Some(dx) = dx {
            let [out] = self.half(name, [("dx", dx, m * k)]);
            let right = transposed(self.memory.half(w));
            let store = Store::Bf16;
            let product = Product { left: plain(dy), right, out, store, accumulate: false, m, k: n, n: k };
            let pre = before.map(|before| self.half(name, [("before", before, m * k)])[0]);
            let fused = pre.map(|pre| Fused::GeluBackward { pre }).filter(|f| self.driver.fuses(&product, *f));
            self.queue.push(Work::Product(product, fused));
            if let (Some(pre), None) = (pre, fused) {
                self.run(linear::gelu_backward(out, pre, m * k));
            }
        }
        let product = Product {
            left: transposed(x),
            right: plain(dy),
            out: dw,
            store: Store::F32,
            accumulate: true,
            m: k,
            k: m,
            n,
        };
        self.queue.push(Work::Product(product, None));
        self.run(linear::bias_backward(dy, db, parts, m, n));
    }
    fn layer_scale_backward(
        &mut self,
        dy: Tensor,
        pre: Tensor,
        scale: Tensor,
        dpre: Tensor,
        dscale: Tensor,
        rows: usize,
        cols: usize,
    ) {
        let (name, len) = ("layer_scale_backward", rows * cols);
        let [dy, pre, dpre] = self.half(name, [("dy", dy, len), ("pre", pre, len), ("dpre", dpre, len)]);
        let [scale, dscale] = self.exact(name, [("scale", scale, cols), ("dscale", dscale, cols)]);
        let parts = self.scratch(linear::parts(rows, cols));
        self.run(linear::layer_scale_backward(dy, pre, scale, dpre, dscale, parts, rows, cols));
    }
    fn layer_norm_forward(
        &mut self,
        x: Tensor,
        g: Tensor,
        b: Tensor,
        y: Tensor,
        mean: Tensor,
        rstd: Tensor,
        rows: usize,
        cols: usize,
    ) {
        self.norm_forward("layer_norm_forward", x, g, b, y, mean, rstd, rows, cols, 0);
    }
    fn layer_norm_backward(
        &mut self,
        dy: Tensor,
        x: Tensor,
        g: Tensor,
        mean: Tensor,
        rstd: Tensor,
        dx: Tensor,
        dg: Tensor,
        db: Tensor,
        rows: usize,
        cols: usize,
        accumulate: bool,
    ) {
        self.norm_backward("layer_norm_backward", dy, x, g, mean, rstd, dx, dg, db, rows, cols, 0, accumulate);
    }

    fn bottleneck(&mut self, channels: usize) -> Option<&mut dyn FusedBottleneck> {
        if bottleneck::fits(channels) { Some(self) } else { None }
    }

    fn add_position_forward(&mut self, x: Tensor, pos: Tensor, b: usize, t: usize, c: usize) {
        let [x] = self.half("add_position_forward", [("x", x, b * t * c)]);
        let [pos] = self.exact("add_position_forward", [("pos", pos, t * c)]);
        self.run(planes::position_forward(x, pos, b, t, c));
    }
    fn add_position_backward(&mut self, dx: Tensor, dpos: Tensor, b: usize, t: usize, c: usize) {
        let [dx] = self.half("add_position_backward", [("dx", dx, b * t * c)]);
        let [dpos] = self.exact("add_position_backward", [("dpos", dpos, t * c)]);
        self.run(planes::position_backward(dx, dpos, b, t, c));
    }
    /// Keeps nothing in `probs`: the backward pass computes them again.
    fn attention_forward(&mut self, qkv: Tensor, y: Tensor, _probs: Tensor, d: Attention) {
        let len = d.b * d.t * d.width();
        let [qkv, y] = self.half("attention_forward", [("qkv", qkv, 3 * len), ("y", y, len)]);
        let scratch = self.scratch(attention::scratch(d));
        self.run(attention::forward(qkv, y, scratch, d));
    }
    fn attention_backward(&mut self, dy: Tensor, qkv: Tensor, _probs: Tensor, dqkv: Tensor, d: Attention) {
        let len = d.b * d.t * d.width();
        let tensors = [("dy", dy, len), ("qkv", qkv, 3 * len), ("dqkv", dqkv, 3 * len)];
        let [dy, qkv, dqkv] = self.half("attention_backward", tensors);
        let scratch = self.scratch(attention::scratch(d));
        self.run(attention::backward(dy, qkv, dqkv, scratch, d));
    }
    fn attention_decode(&mut self, qkv: Tensor, cache: Tensor, y: Tensor, positions: &[u32], d: Attention) {
        let (name, width) = ("attention_decode", d.width());
        assert_eq!(positions.len(), d.b, "{name}: one position a lane");
        for (lane, position) in positions.iter().enumerate() {
            assert!((*position as usize) < d.t, "{name}: position {position} of lane {lane}, capacity {}", d.t);
        }
        let tensors = [("qkv", qkv, d.b * 3 * width), ("cache", cache, d.b * 2 * d.t * width), ("y", y, d.b * width)];
        let [qkv, cache, y] = self.half(name, tensors);
        let scores = self.scratch(attention::decode_scratch(d));
        let positions = self.numbers(positions.iter().map(|p| p.to_le_bytes()));
        self.run(attention::decode(qkv, cache, y, scores, positions, d));
    }

    fn policy_loss(
        &mut self,
        logits: Tensor,
        reference: Option<Tensor>,
        actions: Bytes,
        weight: Tensor,
        kl_weight: Option<Tensor>,
        dlogits: Tensor,
        nll: Tensor,
        kl: Tensor,
        entropy: Tensor,
        heads: &[usize],
    ) {
        let (name, n, width) = ("policy_loss", weight.len(), heads.iter().sum::<usize>());
        assert!(kl_weight.is_none() || reference.is_some(), "{name}: kl_weight without a reference");
        let actions = self.bytes(name, "actions", actions, n * heads.len());
        let [logits, dlogits] = self.half(name, [("logits", logits, n * width), ("dlogits", dlogits, n * width)]);
        let outputs = [("weight", weight, n), ("nll", nll, n), ("kl", kl, n), ("entropy", entropy, n)];
        let [weight, nll, kl, entropy] = self.exact(name, outputs);
        let reference = reference.map(|r| self.half(name, [("reference", r, n * width)])[0]);
        let kl_weight = kl_weight.map(|w| self.exact(name, [("kl_weight", w, n)])[0]);
        let starts = self.numbers(policy_loss::starts(heads).into_iter().map(i32::to_le_bytes));
        self.run(policy_loss::policy_loss(
            logits,
            reference,
            actions,
            weight,
            kl_weight,
            starts,
            dlogits,
            nll,
            kl,
            entropy,
            n,
            heads.len(),
        ));
    }
    fn bradley_terry(&mut self, scores: Tensor, label: Tensor, centering: f32, dscores: Tensor, loss: Tensor) {
        let pairs = label.len();
        let tensors = [
            ("scores", scores, 2 * pairs),
            ("label", label, pairs),
            ("dscores", dscores, 2 * pairs),
            ("loss", loss, pairs),
        ];
        let [scores, label, dscores, loss] = self.exact("bradley_terry", tensors);
        self.run(bradley_terry::bradley_terry(scores, label, centering, dscores, loss, pairs));
    }

    fn grad_norm(&mut self, g: Tensor, out: Tensor) {
        let n = g.len();
        let [g, out] = self.exact("grad_norm", [("g", g, n), ("out", out, 1)]);
        let parts = self.scratch(adamw::parts(n));
        self.run(adamw::grad_norm(g, parts, out, n));
    }
    fn adamw(&mut self, p: Tensor, g: Tensor, m: Tensor, v: Tensor, norm: Tensor, d: AdamW) {
        assert!(d.step > 0, "adamw: the first step is 1");
        let n = p.len();
        let half = self.memory.half(p);
        let tensors = [("p", p, n), ("g", g, n), ("m", m, n), ("v", v, n), ("norm", norm, 1)];
        let [p, g, m, v, norm] = self.exact("adamw", tensors);
        let step = self.numbers(adamw::step(d).into_iter().map(f32::to_le_bytes));
        self.run(adamw::adamw(p, g, m, v, half, norm, step, d, n));
    }
}

/// Layer norms, which differ in where rows of y and dy lie.
#[expect(clippy::too_many_arguments, reason = "the operators' own")]
impl<D: Driver> Cuda<D> {
    fn norm_forward(
        &mut self,
        name: &str,
        x: Tensor,
        g: Tensor,
        b: Tensor,
        y: Tensor,
        mean: Tensor,
        rstd: Tensor,
        rows: usize,
        cols: usize,
        width: usize,
    ) {
        let len = rows * cols;
        let [x, y] = self.half(name, [("x", x, len), ("y", y, len)]);
        let vectors = [("g", g, cols), ("b", b, cols), ("mean", mean, rows), ("rstd", rstd, rows)];
        let [g, b, mean, rstd] = self.exact(name, vectors);
        self.run(layer_norm::forward(x, g, b, y, mean, rstd, rows, cols, width));
    }
    fn norm_backward(
        &mut self,
        name: &str,
        dy: Tensor,
        x: Tensor,
        g: Tensor,
        mean: Tensor,
        rstd: Tensor,
        dx: Tensor,
        dg: Tensor,
        db: Tensor,
        rows: usize,
        cols: usize,
        width: usize,
        accumulate: bool,
    ) {
        let len = rows * cols;
        let [dy, x, dx] = self.half(name, [("dy", dy, len), ("x", x, len), ("dx", dx, len)]);
        let vectors = [("g", g, cols), ("mean", mean, rows), ("rstd", rstd, rows), ("dg", dg, cols), ("db", db, cols)];
        let [g, mean, rstd, dg, db] = self.exact(name, vectors);
        let parts = self.scratch(layer_norm::parts(rows, cols));
        self.run(layer_norm::backward(dy, x, g, mean, rstd, dx, dg, db, parts, rows, cols, width, accumulate));
    }
}

fn plain(at: Pointer) -> Operand {
    Operand { at, transposed: false }
}

fn transposed(at: Pointer) -> Operand {
    Operand { at, transposed: true }
}
