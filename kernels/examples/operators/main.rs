//! Prints GFLOP/s of the operators at the `tiny` model's shapes (256 frames of 64x64), on one thread and on all.
//!
//!     cargo run -p playhouse-kernels --example operators [operator]
//!
//! Each figure is the best of three runs of at least 20 ms: CPU time on one thread, wall time on all.
//! Floating-point operations are counted as the field does: 2 M N K of a product, 2 x 49 of a depthwise output,
//! padding included.

mod step;

use playhouse_kernels::{Attention, Backend, Cpu, Epilogue, Gemm, Kind, Plane, Tensor};
use std::time::Instant;

/// Seconds this thread has run on a core, where the system tells: what others do on the machine is not in it.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<f64>().ok()? * 1e-9)
}

/// Seconds of the best of three runs; `cpu_time` where the caller's thread does all the work.
fn best(cpu_time: bool, mut f: impl FnMut()) -> f64 {
    let started = Instant::now();
    let now = || cpu_seconds().filter(|_| cpu_time).unwrap_or_else(|| started.elapsed().as_secs_f64());
    let mut run = |repeats: usize| {
        let before = now();
        (0..repeats).for_each(|_| f());
        now() - before
    };
    // CPU time may advance by whole ticks of the scheduler: runs last several.
    let mut repeats = 1;
    while run(repeats) < 0.01 {
        repeats *= 2;
    }
    (0..3).map(|_| run(2 * repeats) / (2 * repeats) as f64).fold(f64::INFINITY, f64::min)
}

fn tensor(cpu: &mut Cpu, len: usize) -> Tensor {
    let tensor = cpu.alloc(len, Kind::Activation);
    let values: Vec<f32> = (0..len).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect();
    cpu.upload(tensor, &values);
    tensor
}

fn line(name: &str, flops: f64, seconds: f64) {
    println!("  {name:44} {:8.1} us {:8.1} GFLOP/s", seconds * 1e6, flops / seconds / 1e9);
}

fn products(threads: usize) {
    for (m, k, n) in [
        (65_536, 16, 64),
        (65_536, 64, 16),
        (16_384, 64, 32),
        (16_384, 32, 128),
        (16_384, 128, 32),
        (4096, 64, 256),
        (4096, 256, 64),
        (256, 128, 384),
        (256, 128, 512),
        (256, 512, 128),
        (256, 128, 68),
        (64, 128, 512),
        (16, 128, 512),
    ] {
        let mut cpu = Cpu::new(threads);
        let d = Gemm { m, k, n };
        let [x, w, b, y, pre] = [m * k, k * n, n, m * n, m * n].map(|len| tensor(&mut cpu, len));
        let [dx, before, dw, db] = [m * k, m * k, k * n, n].map(|len| tensor(&mut cpu, len));
        let flops = 2.0 * (m * k * n) as f64;
        let plain = best(threads == 1, || cpu.linear_forward(x, w, b, y, d, Epilogue::None));
        let gelu = best(threads == 1, || cpu.linear_forward(x, w, b, y, d, Epilogue::Gelu { pre }));
        let back = best(threads == 1, || cpu.linear_backward(y, x, w, Some(dx), None, dw, db, d));
        let slope = best(threads == 1, || cpu.linear_backward(y, x, w, Some(dx), Some(before), dw, db, d));
        line(&format!("linear {m}x{k}x{n}"), flops, plain);
        line(&format!("linear {m}x{k}x{n} + GELU"), flops, gelu);
        line(&format!("linear {m}x{k}x{n} backward"), 2.0 * flops, back);
        line(&format!("linear {m}x{k}x{n} backward + GELU"), 2.0 * flops, slope);
    }
}

fn depthwise(threads: usize) {
    for (n, h, w, c) in [(256, 16, 16, 16), (256, 8, 8, 32), (256, 4, 4, 64)] {
        let mut cpu = Cpu::new(threads);
        let d = Plane { n, h, w, c };
        let [x, y, dx] = [d.elements(); 3].map(|len| tensor(&mut cpu, len));
        let [wt, b, dw, db] = [49 * c, c, 49 * c, c].map(|len| tensor(&mut cpu, len));
        let flops = (2 * 49 * d.elements()) as f64;
        let forward = best(threads == 1, || cpu.depthwise_forward(x, wt, b, y, d));
        let backward = best(threads == 1, || cpu.depthwise_backward(y, x, wt, dx, dw, db, d, false));
        line(&format!("depthwise {n}x{h}x{w}x{c} forward"), flops, forward);
        line(&format!("depthwise {n}x{h}x{w}x{c} backward (data, weights)"), 2.0 * flops, backward);
    }
}

fn attention(threads: usize) {
    for (b, heads, head_size) in [(8, 4, 32), (8, 8, 128)] {
        let mut cpu = Cpu::new(threads);
        let d = Attention { b, t: 32, heads, head_size };
        let (rows, width) = (b * d.t, d.width());
        let [qkv, dqkv] = [3 * rows * width; 2].map(|len| tensor(&mut cpu, len));
        let [y, probs] = [rows * width, b * heads * d.t * d.t].map(|len| tensor(&mut cpu, len));
        let flops = (4 * b * heads * d.t * d.t * head_size) as f64;
        let forward = best(threads == 1, || cpu.attention_forward(qkv, y, probs, d));
        let backward = best(threads == 1, || cpu.attention_backward(y, qkv, probs, dqkv, d));
        line(&format!("attention {b}x32, {heads} heads of {head_size}, forward"), flops, forward);
        line(&format!("attention {b}x32, {heads} heads of {head_size}, backward"), 2.0 * flops, backward);
    }
    for lanes in [16, 64] {
        let mut cpu = Cpu::new(threads);
        let d = Attention { b: lanes, t: 32, heads: 4, head_size: 32 };
        let width = d.width();
        let [qkv, cache, y] =
            [3 * lanes * width, 2 * lanes * d.t * width, lanes * width].map(|len| tensor(&mut cpu, len));
        let positions = vec![31; lanes];
        let seconds = best(threads == 1, || cpu.attention_decode(qkv, cache, y, &positions, d));
        line(&format!("attention decode, {lanes} lanes at timestep 31"), (4 * lanes * 32 * width) as f64, seconds);
    }
}

fn rest(threads: usize) {
    for (rows, cols) in [(65_536, 16), (256, 128)] {
        let mut cpu = Cpu::new(threads);
        let [x, y, dx] = [rows * cols; 3].map(|len| tensor(&mut cpu, len));
        let [g, b, dg, db] = [cols; 4].map(|len| tensor(&mut cpu, len));
        let [mean, rstd] = [rows; 2].map(|len| tensor(&mut cpu, len));
        let elements = (rows * cols) as f64;
        let forward = best(threads == 1, || cpu.layer_norm_forward(x, g, b, y, mean, rstd, rows, cols));
        let backward =
            best(threads == 1, || cpu.layer_norm_backward(y, x, g, mean, rstd, dx, dg, db, rows, cols, false));
        line(&format!("layer norm {rows}x{cols} forward, 8 an element"), 8.0 * elements, forward);
        line(&format!("layer norm {rows}x{cols} backward, 14 an element"), 14.0 * elements, backward);
    }
}

/// The whole step of the model.
fn step(threads: usize) {
    let mut step = step::Step::new(threads);
    let seconds = best(threads == 1, || step.run());
    assert!(step.loss().is_finite(), "the step's loss is not finite");
    let per = if threads == 1 { "core-second" } else { "second" };
    println!(
        "  the tiny model's step, {} frames: {:.1} ms, {:.0} frames per {per}",
        step::FRAMES,
        seconds * 1e3,
        step::FRAMES as f64 / seconds
    );
}

/// Prints the figures of some operators for a number of threads.
type Group = fn(usize);

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    let groups: [(&str, Group); 5] =
        [("step", step), ("linear", products), ("depthwise", depthwise), ("attention", attention), ("rest", rest)];
    for threads in [1, 0] {
        println!("{}", Cpu::new(threads).name());
        for (_, group) in groups.iter().filter(|(name, _)| name.contains(&only)) {
            group(threads);
        }
    }
}
