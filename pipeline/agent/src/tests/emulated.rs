//! A whole training step of `tiny` on the CUDA backend, beside the CPU backend: its kernels on the emulated device, or on a GPU.
//!
//! The CPU computes in f32, the device keeps every activation and every activation's gradient in bf16: each store is off by up to 2^-8 of
//! the value, uniformly, which is 2^-8 / sqrt(3) in the root of the mean square. A gradient has passed about [`STORES`] of them, each
//! carrying the errors of those before on at about its own size. Errors are of either sign, so they add up as their squares do.

use playhouse_kernels::device::Device;
use playhouse_kernels::{Backend, emulator};

use super::golden::{batch, deterministic, hashes};
use super::toys::Bench;
use crate::compute::Compute;
use crate::config::{Head, ModelConfig};
use crate::decoder::Decoder;
use crate::layout::Layout;
use crate::learner::Hyper;
use crate::model::{Input, Model};
use crate::reward::Preference;
use crate::settings::Training;
use crate::train::Objective;
use crate::{feed::Batch, learner::Learner, model::Pass};

/// Stores in bf16 one after another between the pixels and the gradient of the stem: a block leaves 6 on the way up and 6 on the way down,
/// a layer 8 and 8, with their entries and ends; 3 blocks and 2 layers. Weights are rounded as well, in 20 products either way.
const STORES: f64 = 2.0 * (3.0 * 6.0 + 2.0 * 8.0 + 10.0) + 2.0 * 20.0;

/// What a norm may be off by, relative.
fn tolerance() -> f64 {
    STORES.sqrt() / (256.0 * 3f64.sqrt())
}

/// `tiny` over fewer timesteps, so that emulation takes seconds.
fn config() -> ModelConfig {
    ModelConfig { context: 6, ..ModelConfig::preset("tiny").unwrap() }
}

#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn play_on_emulated_cuda_agrees_with_the_cpu() {
    play(emulator::backend());
}

#[test]
#[ignore = "needs a GPU"]
fn play_on_a_gpu_agrees_with_the_cpu() {
    play(gpu());
}

/// Two lanes play beyond the length of the context, so that one hop is among the steps.
fn play(b: Box<dyn Backend>) {
    let config = super::toys::small_config();
    let layout = Layout::new(&config, Head::Policy);
    let weights = deterministic(&layout);
    let (lanes, steps) = (2, config.context + 2);
    let frames: Vec<u8> =
        hashes("frames").take(steps * lanes * config.frame_bytes()).map(|h| (h >> 56) as u8).collect();
    let logits = |mut b: Box<dyn Backend>| {
        let model = Model::plan(b.as_mut(), &config, Head::Policy);
        let mut decoder = Decoder::plan(b.as_mut(), &config, lanes);
        b.upload(model.weights, &weights);
        decoder.start(lanes);
        let mut logits = vec![0.0; steps * lanes * config.logits()];
        let frames = frames.chunks_exact(lanes * config.frame_bytes());
        for (frames, logits) in frames.zip(logits.chunks_exact_mut(lanes * config.logits())) {
            decoder.step(b.as_mut(), &model, frames, logits);
        }
        logits
    };
    let (ours, cpu) = (logits(b), logits(Compute::cpu(2).backend().unwrap()));
    for (step, (ours, cpu)) in
        ours.chunks_exact(lanes * config.logits()).zip(cpu.chunks_exact(lanes * config.logits())).enumerate()
    {
        let off = apart(ours, cpu);
        println!("step {step}: logits off by {:.2} % of their norm", 100.0 * off);
        assert!(off < tolerance(), "step {step}: logits off by {off} of their norm, tolerance {}", tolerance());
    }
}

fn gpu() -> Box<dyn Backend> {
    Compute { device: Device::Cuda, ..Compute::cpu(2) }.backend().unwrap()
}

/// |a - b| / |b|, after both are found finite.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    assert!(a.iter().chain(b).all(|x| x.is_finite()));
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b))) / norm(&mut b.iter().map(|b| f64::from(*b)))
}

fn agree(layout: &Layout, ours: &[f32], cpu: &[f32]) {
    for p in layout.parameters() {
        let off = apart(&ours[p.range()], &cpu[p.range()]);
        println!("{:<28} off by {:.2} % of its norm", p.name, 100.0 * off);
        assert!(off < tolerance(), "{}: off by {off} of its norm, tolerance {}", p.name, tolerance());
    }
}

#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn a_training_step_on_emulated_cuda_agrees_with_the_cpu() {
    training_step(emulator::backend());
}

/// What a GPU does of a product in one go: what follows is not rounded in between, and so no worse.
#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn a_training_step_whose_products_are_fused_agrees_with_the_cpu() {
    let (b, fused) = emulator::fusing();
    training_step(b);
    // GELU stands between two products in each layer, and in each block whose bottleneck is not one operator: that of 16 channels.
    let pairs = 1 + config().layers;
    let [forward, backward] = [0, 1].map(|pass: usize| fused[pass].load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(backward, 2 * pairs, "in two steps");
    assert!(forward > 2 * pairs, "{forward} products were fused in two forward passes, those before GELU among them");
}

#[test]
#[ignore = "needs a GPU"]
fn a_training_step_on_a_gpu_agrees_with_the_cpu() {
    training_step(gpu());
}

fn training_step(b: Box<dyn Backend>) {
    let config = config();
    let layout = Layout::new(&config, Head::Policy);
    let weights = deterministic(&layout);
    let mut cpu = Bench::new(&config, &weights, batch(&config, 2));
    let mut cuda = Bench::on(b, &config, &weights, batch(&config, 2));
    let mut losses = [Vec::new(), Vec::new()];
    for step in 0..2 {
        for (bench, losses) in [&mut cpu, &mut cuda].into_iter().zip(&mut losses) {
            losses.push(bench.loss());
        }
        if step == 0 {
            agree(&layout, &cuda.l.gradients(), &cpu.l.gradients());
        }
        let norm = |bench: &mut Bench| {
            let clip = 1.0;
            let (lr, beta1, beta2, weight_decay) = (1e-3, 0.9, 0.95, 0.01);
            bench.l.optimise(Hyper { lr, beta1, beta2, weight_decay, clip, freeze_encoder: false });
            bench.l.gradient_norm().unwrap()
        };
        let (ours, theirs) = (norm(&mut cuda), norm(&mut cpu));
        assert!((ours - theirs).abs() < tolerance() * theirs, "step {step}: norm {ours}, on the CPU {theirs}");
    }
    let [cpu, cuda] = losses;
    println!("losses {cuda:?}, on the CPU {cpu:?}");
    for (ours, theirs) in cuda.iter().zip(&cpu) {
        assert!((ours - theirs).abs() < tolerance() * theirs, "losses {cuda:?}, on the CPU {cpu:?}");
    }
    // The step did something.
    assert!(cpu[1] < cpu[0] * (1.0 - 2.0 * tolerance()), "losses on the CPU {cpu:?}");
}

/// Graphs of whole steps, launched again with other frames, another learning rate and another number of the step.
#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn replayed_steps_leave_the_bits_of_steps_queued_piece_by_piece() {
    let config = super::toys::small_config();
    let weights = deterministic(&Layout::new(&config, Head::Policy));
    let train = |graphs| {
        let (b, replayed) = emulator::with_graphs(graphs);
        let mut bench = Bench::on(b, &config, &weights, batch(&config, 2));
        let losses: Vec<u64> = (0..4u8)
            .map(|step| {
                bench.batch.pixels.rotate_left(1);
                bench.pass.upload_pixels(bench.l.b.as_mut(), 0, &bench.batch.pixels);
                bench.l.b.wait_uploads();
                let loss = bench.loss();
                let lr = 1e-3 * f64::from(step + 1);
                let (beta1, beta2, weight_decay, clip) = (0.9, 0.95, 0.01, 1.0);
                bench.l.optimise(Hyper { lr, beta1, beta2, weight_decay, clip, freeze_encoder: false });
                loss.to_bits()
            })
            .collect();
        let mut trained = vec![0.0; weights.len()];
        bench.l.b.download(bench.l.model.weights, &mut trained);
        let bits: Vec<u32> = trained.iter().map(|w| w.to_bits()).collect();
        (losses, bits, replayed.load(std::sync::atomic::Ordering::Relaxed))
    };
    let (losses, weights, replayed) = train(true);
    let (queued_losses, queued_weights, none) = train(false);
    assert!(replayed > 0 && none == 0, "{replayed} and {none} graphs were replayed");
    assert_eq!(losses, queued_losses);
    assert!(weights == queued_weights);
    assert!(losses.windows(2).all(|pair| pair[0] != pair[1]), "the batches differ");
}

#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn a_reward_step_on_emulated_cuda_agrees_with_the_cpu() {
    reward_step(emulator::backend());
}

#[test]
#[ignore = "needs a GPU"]
fn a_reward_step_on_a_gpu_agrees_with_the_cpu() {
    reward_step(gpu());
}

fn reward_step(b: Box<dyn Backend>) {
    let config = super::toys::small_config();
    let layout = Layout::new(&config, Head::Reward);
    let weights = deterministic(&layout);
    let settings = Training { batch: 1, centering: 0.1, label_noise: 0.1, ..Training::default() };
    let batch = Batch { labels: vec![1.0], ..batch(&config, 2) };
    let step = |b| {
        let mut l = Learner::plan(b, &config, Head::Reward);
        let pass = Pass::plan(l.b.as_mut(), &config, 2, true);
        let mut objective = Preference::plan(&mut l, &settings);
        l.b.upload(l.model.weights, &weights);
        pass.upload_pixels(l.b.as_mut(), 0, &batch.pixels);
        l.b.wait_uploads();
        l.zero_gradients();
        objective.launch(&mut l, &pass, Input::Pixels(0), &batch).unwrap();
        (objective.finish(&mut l, &batch).unwrap(), l.gradients())
    };
    let ((loss, gradients), (cpu_loss, cpu)) = (step(b), step(Compute::cpu(2).backend().unwrap()));
    assert!((loss - cpu_loss).abs() < tolerance() * cpu_loss.max(1.0), "loss {loss}, on the CPU {cpu_loss}");
    agree(&layout, &gradients, &cpu);
}
