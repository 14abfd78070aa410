//! One training step of the `tiny` model, operator by operator: forward, backward, AdamW. It is the work of a step
//! without a model around it: every operator the agent calls, at its shape, in its order, on memory of its size.

use playhouse_kernels::{AdamW, Attention, Backend, Bytes, Cpu, Epilogue, Gemm, Kind, Plane, Stem, Tensor};

const SEQUENCES: usize = 8;
const TIME: usize = 32;
/// Frames of a step.
pub const FRAMES: usize = SEQUENCES * TIME;
const SIZE: usize = 64;
const WIDTH: usize = 128;
const HIDDEN: usize = 512;
const LOGITS: usize = 68;
const HEADS: [usize; 16] = [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 11, 11, 11, 11];

/// A weight and its gradient.
#[derive(Clone, Copy)]
struct Param(Tensor, Tensor);

struct Linear {
    w: Param,
    b: Param,
    d: Gemm,
}

/// A layer norm with its input, its output and their gradients.
struct Norm {
    g: Param,
    b: Param,
    mean: Tensor,
    rstd: Tensor,
    y: Tensor,
    dy: Tensor,
    rows: usize,
    cols: usize,
}

/// linear + GELU + linear, the tail of both kinds of block.
struct Mlp {
    up: Linear,
    down: Linear,
    pre: Tensor,
    hidden: Tensor,
    dpre: Tensor,
}

struct Stage {
    d: Plane,
    /// Norm as patches, product: absent in the first stage.
    down: Option<(Norm, Linear)>,
    taps: Param,
    bias: Param,
    x: Tensor,
    dx: Tensor,
    conv: Tensor,
    dconv: Tensor,
    norm: Norm,
    mlp: Mlp,
    scale: Param,
    scaled: Tensor,
    dscaled: Tensor,
}

struct Block {
    norm1: Norm,
    qkv: Linear,
    packed: Tensor,
    dpacked: Tensor,
    probs: Tensor,
    attended: Tensor,
    dattended: Tensor,
    out: Linear,
    norm2: Norm,
    mlp: Mlp,
}

/// The step.
pub struct Step {
    pub cpu: Cpu,
    pixels: Bytes,
    actions: Bytes,
    stem: Linear,
    stem_norm: Norm,
    stem_out: Tensor,
    stem_dout: Tensor,
    stages: Vec<Stage>,
    pooled: Tensor,
    dpooled: Tensor,
    pool_norm: Norm,
    project: Linear,
    stream: Tensor,
    dstream: Tensor,
    positions: Param,
    blocks: Vec<Block>,
    last: Norm,
    head: Linear,
    logits: Tensor,
    dlogits: Tensor,
    token: [Tensor; 4],
    weights: Tensor,
    gradients: Tensor,
    moments: [Tensor; 2],
    norm: Tensor,
    steps: u64,
}

/// Hands out memory: parameters from one range, so that AdamW is one call.
struct Plan {
    cpu: Cpu,
    weights: Tensor,
    gradients: Tensor,
    used: usize,
}

impl Plan {
    fn param(&mut self, len: usize, value: f32) -> Param {
        let (w, g) = (self.weights.slice(self.used, len), self.gradients.slice(self.used, len));
        self.used += len;
        let values: Vec<f32> = (0..len).map(|i| value + (i * 37 % 101) as f32 / 2020.0 - 0.025).collect();
        self.cpu.upload(w, &values);
        Param(w, g)
    }
    fn tensor(&mut self, len: usize) -> Tensor {
        self.cpu.alloc(len, Kind::Activation)
    }
    fn linear(&mut self, m: usize, k: usize, n: usize) -> Linear {
        Linear { w: self.param(k * n, 0.0), b: self.param(n, 0.0), d: Gemm { m, k, n } }
    }
    fn norm(&mut self, rows: usize, cols: usize) -> Norm {
        Norm {
            g: self.param(cols, 1.0),
            b: self.param(cols, 0.0),
            mean: self.tensor(rows),
            rstd: self.tensor(rows),
            y: self.tensor(rows * cols),
            dy: self.tensor(rows * cols),
            rows,
            cols,
        }
    }
    fn mlp(&mut self, rows: usize, cols: usize) -> Mlp {
        Mlp {
            up: self.linear(rows, cols, 4 * cols),
            down: self.linear(rows, 4 * cols, cols),
            pre: self.tensor(rows * 4 * cols),
            hidden: self.tensor(rows * 4 * cols),
            dpre: self.tensor(rows * 4 * cols),
        }
    }
    fn stage(&mut self, before: Option<Plane>, d: Plane) -> Stage {
        let (rows, len) = (d.rows(), d.elements());
        Stage {
            down: before.map(|p| (self.norm(p.rows(), p.c), self.linear(rows, 4 * p.c, d.c))),
            taps: self.param(49 * d.c, 0.0),
            bias: self.param(d.c, 0.0),
            x: self.tensor(len),
            dx: self.tensor(len),
            conv: self.tensor(len),
            dconv: self.tensor(len),
            norm: self.norm(rows, d.c),
            mlp: self.mlp(rows, d.c),
            scale: self.param(d.c, 0.1),
            scaled: self.tensor(len),
            dscaled: self.tensor(len),
            d,
        }
    }
    fn block(&mut self) -> Block {
        Block {
            norm1: self.norm(FRAMES, WIDTH),
            qkv: self.linear(FRAMES, WIDTH, 3 * WIDTH),
            packed: self.tensor(FRAMES * 3 * WIDTH),
            dpacked: self.tensor(FRAMES * 3 * WIDTH),
            probs: self.tensor(SEQUENCES * 4 * TIME * TIME),
            attended: self.tensor(FRAMES * WIDTH),
            dattended: self.tensor(FRAMES * WIDTH),
            out: self.linear(FRAMES, WIDTH, WIDTH),
            norm2: self.norm(FRAMES, WIDTH),
            mlp: Mlp {
                up: self.linear(FRAMES, WIDTH, HIDDEN),
                down: self.linear(FRAMES, HIDDEN, WIDTH),
                pre: self.tensor(FRAMES * HIDDEN),
                hidden: self.tensor(FRAMES * HIDDEN),
                dpre: self.tensor(FRAMES * HIDDEN),
            },
        }
    }
}

const ATTENTION: Attention = Attention { b: SEQUENCES, t: TIME, heads: 4, head_size: 32 };

fn linear(cpu: &mut Cpu, l: &Linear, x: Tensor, y: Tensor, e: Epilogue) {
    cpu.linear_forward(x, l.w.0, l.b.0, y, l.d, e);
}

fn linear_back(cpu: &mut Cpu, l: &Linear, dy: Tensor, x: Tensor, dx: Tensor) {
    cpu.linear_backward(dy, x, l.w.0, Some(dx), None, l.w.1, l.b.1, l.d);
}

/// From the gradient of a feed-forward layer's output to that of its input x.
fn mlp_back(cpu: &mut Cpu, mlp: &Mlp, dy: Tensor, x: Tensor, dx: Tensor) {
    let Linear { w, b, d } = mlp.down;
    cpu.linear_backward(dy, mlp.hidden, w.0, Some(mlp.dpre), Some(mlp.pre), w.1, b.1, d);
    linear_back(cpu, &mlp.up, mlp.dpre, x, dx);
}

fn norm(cpu: &mut Cpu, n: &Norm, x: Tensor) {
    cpu.layer_norm_forward(x, n.g.0, n.b.0, n.y, n.mean, n.rstd, n.rows, n.cols);
}

fn norm_back(cpu: &mut Cpu, n: &Norm, x: Tensor, dx: Tensor, add: bool) {
    cpu.layer_norm_backward(n.dy, x, n.g.0, n.mean, n.rstd, dx, n.g.1, n.b.1, n.rows, n.cols, add);
}

impl Step {
    /// Plans the memory.
    pub fn new(threads: usize) -> Step {
        let mut cpu = Cpu::new(threads);
        let params = 480_000;
        let [weights, gradients, m, v] =
            [Kind::Weight, Kind::Gradient, Kind::Moment, Kind::Moment].map(|k| cpu.alloc(params, k));
        let mut plan = Plan { cpu, weights, gradients, used: 0 };
        let planes = [(16, 16), (8, 32), (4, 64)].map(|(side, c)| Plane { n: FRAMES, h: side, w: side, c });
        let rows = FRAMES * 256;
        let stem = plan.linear(rows, 48, 16);
        let stem_norm = plan.norm(rows, 16);
        let (stem_out, stem_dout) = (plan.tensor(rows * 16), plan.tensor(rows * 16));
        let stages = vec![
            plan.stage(None, planes[0]),
            plan.stage(Some(planes[0]), planes[1]),
            plan.stage(Some(planes[1]), planes[2]),
        ];
        let (pooled, dpooled) = (plan.tensor(FRAMES * 64), plan.tensor(FRAMES * 64));
        let pool_norm = plan.norm(FRAMES, 64);
        let project = plan.linear(FRAMES, 64, WIDTH);
        let (stream, dstream) = (plan.tensor(FRAMES * WIDTH), plan.tensor(FRAMES * WIDTH));
        let positions = plan.param(TIME * WIDTH, 0.0);
        let blocks = vec![plan.block(), plan.block()];
        let last = plan.norm(FRAMES, WIDTH);
        let head = plan.linear(FRAMES, WIDTH, LOGITS);
        let (logits, dlogits) = (plan.tensor(FRAMES * LOGITS), plan.tensor(FRAMES * LOGITS));
        let token = std::array::from_fn(|_| plan.tensor(FRAMES));
        let norm = plan.tensor(1);
        let mut cpu = plan.cpu;
        let pixels = cpu.alloc_bytes(FRAMES * SIZE * SIZE * 3);
        let noise: Vec<u8> = (0..pixels.len()).map(|i| ((i * 2_654_435_761) >> 7) as u8).collect();
        cpu.upload_bytes(pixels, &noise);
        let actions = cpu.alloc_bytes(FRAMES * HEADS.len());
        cpu.upload(token[0], &[1.0 / FRAMES as f32; FRAMES]);
        Step {
            cpu,
            pixels,
            actions,
            stem,
            stem_norm,
            stem_out,
            stem_dout,
            stages,
            pooled,
            dpooled,
            pool_norm,
            project,
            stream,
            dstream,
            positions,
            blocks,
            last,
            head,
            logits,
            dlogits,
            token,
            weights,
            gradients,
            moments: [m, v],
            norm,
            steps: 0,
        }
    }

    /// One step.
    pub fn run(&mut self) {
        self.forward();
        self.cpu.fill(self.gradients, 0.0);
        self.backward();
        self.steps += 1;
        self.cpu.grad_norm(self.gradients, self.norm);
        let d = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.01, clip: 1.0, step: self.steps };
        self.cpu.adamw(self.weights, self.gradients, self.moments[0], self.moments[1], self.norm, d);
    }

    /// Mean negative log-likelihood of the last step.
    pub fn loss(&mut self) -> f32 {
        let mut nll = [0.0; FRAMES];
        self.cpu.download(self.token[1], &mut nll);
        nll.iter().sum::<f32>() / FRAMES as f32
    }

    fn forward(&mut self) {
        let cpu = &mut self.cpu;
        let stem = Stem { n: FRAMES, size: SIZE, channels: 16 };
        cpu.stem_forward(self.pixels, self.stem.w.0, self.stem.b.0, self.stem_out, stem);
        norm(cpu, &self.stem_norm, self.stem_out);
        let mut x = self.stem_norm.y;
        for (i, s) in self.stages.iter().enumerate() {
            if let Some((n, l)) = &s.down {
                cpu.norm_patches2_forward(x, n.g.0, n.b.0, n.y, n.mean, n.rstd, self.stages[i - 1].d);
                linear(cpu, l, n.y, s.x, Epilogue::None);
            } else {
                cpu.copy(x, s.x);
            }
            cpu.depthwise_forward(s.x, s.taps.0, s.bias.0, s.conv, s.d);
            norm(cpu, &s.norm, s.conv);
            linear(cpu, &s.mlp.up, s.norm.y, s.mlp.hidden, Epilogue::Gelu { pre: s.mlp.pre });
            let e = Epilogue::ScaledResidual { skip: s.x, scale: s.scale.0, pre: s.scaled };
            linear(cpu, &s.mlp.down, s.mlp.hidden, s.x, e);
            x = s.x;
        }
        cpu.mean_pool_forward(x, self.pooled, FRAMES, 16, 64);
        norm(cpu, &self.pool_norm, self.pooled);
        linear(cpu, &self.project, self.pool_norm.y, self.stream, Epilogue::None);
        cpu.add_position_forward(self.stream, self.positions.0, SEQUENCES, TIME, WIDTH);
        for b in &self.blocks {
            norm(cpu, &b.norm1, self.stream);
            linear(cpu, &b.qkv, b.norm1.y, b.packed, Epilogue::None);
            cpu.attention_forward(b.packed, b.attended, b.probs, ATTENTION);
            linear(cpu, &b.out, b.attended, self.stream, Epilogue::Residual { skip: self.stream });
            norm(cpu, &b.norm2, self.stream);
            linear(cpu, &b.mlp.up, b.norm2.y, b.mlp.hidden, Epilogue::Gelu { pre: b.mlp.pre });
            linear(cpu, &b.mlp.down, b.mlp.hidden, self.stream, Epilogue::Residual { skip: self.stream });
        }
        norm(cpu, &self.last, self.stream);
        linear(cpu, &self.head, self.last.y, self.logits, Epilogue::None);
        let [weight, nll, kl, entropy] = self.token;
        cpu.policy_loss(self.logits, None, self.actions, weight, None, self.dlogits, nll, kl, entropy, &HEADS);
    }

    /// The saved inputs of norms are overwritten by the residual stream here, which a model would keep apart: the
    /// work is the same, the gradients are not meant to be right.
    fn backward(&mut self) {
        let cpu = &mut self.cpu;
        linear_back(cpu, &self.head, self.dlogits, self.last.y, self.last.dy);
        norm_back(cpu, &self.last, self.stream, self.dstream, false);
        for b in self.blocks.iter().rev() {
            mlp_back(cpu, &b.mlp, self.dstream, b.norm2.y, b.norm2.dy);
            norm_back(cpu, &b.norm2, self.stream, self.dstream, true);
            linear_back(cpu, &b.out, self.dstream, b.attended, b.dattended);
            cpu.attention_backward(b.dattended, b.packed, b.probs, b.dpacked, ATTENTION);
            linear_back(cpu, &b.qkv, b.dpacked, b.norm1.y, b.norm1.dy);
            norm_back(cpu, &b.norm1, self.stream, self.dstream, true);
        }
        cpu.add_position_backward(self.dstream, self.positions.1, SEQUENCES, TIME, WIDTH);
        linear_back(cpu, &self.project, self.dstream, self.pool_norm.y, self.pool_norm.dy);
        norm_back(cpu, &self.pool_norm, self.pooled, self.dpooled, false);
        cpu.mean_pool_backward(self.dpooled, self.stages[2].dx, FRAMES, 16, 64);
        for i in (0..3).rev() {
            let s = &self.stages[i];
            let (rows, c) = (s.norm.rows, s.d.c);
            cpu.layer_scale_backward(s.dx, s.scaled, s.scale.0, s.dscaled, s.scale.1, rows, c);
            mlp_back(cpu, &s.mlp, s.dscaled, s.norm.y, s.norm.dy);
            norm_back(cpu, &s.norm, s.conv, s.dconv, false);
            cpu.depthwise_backward(s.dconv, s.x, s.taps.0, s.dx, s.taps.1, s.bias.1, s.d, true);
            if let Some((n, l)) = &s.down {
                let Stage { d, x, dx, .. } = self.stages[i - 1];
                linear_back(cpu, l, s.dx, n.y, n.dy);
                cpu.norm_patches2_backward(n.dy, x, n.g.0, n.mean, n.rstd, dx, n.g.1, n.b.1, d);
            }
        }
        cpu.copy(self.stages[0].dx, self.stem_norm.dy);
        norm_back(cpu, &self.stem_norm, self.stem_out, self.stem_dout, false);
        let stem = Stem { n: FRAMES, size: SIZE, channels: 16 };
        cpu.stem_backward(self.stem_dout, self.pixels, self.stem.w.1, self.stem.b.1, stem);
    }
}
