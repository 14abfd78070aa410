//! The whole `tiny` model against numbers that JAX computed in float64: tests/golden/make_golden.py says how.
//!
//! Tolerances: f32 rounds at 6e-8; sums of some thousand terms with cancellation lose about three digits, so gradients agree to 1e-4 of
//! their norm. Losses after AdamW steps diverge slowly, because the first steps are close to sign(gradient): 1e-3.

use playhouse_kernels::Kind;

use super::toys::Bench;
use crate::config::{Head, ModelConfig};
use crate::feed::Batch;
use crate::layout::{Layout, Parameter};
use crate::learner::Hyper;
use crate::model::Input;

/// SplitMix64 of (FNV-1a of the name) + index.
pub fn hashes(name: &str) -> impl Iterator<Item = u64> + use<> {
    let start =
        name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (1u64..).map(move |i| {
        let x = start.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    })
}

/// The weight at each place of a parameter, from [-1, 1) in steps of 2^-23.
fn value(p: &Parameter, unit: f64) -> f32 {
    let value = match p.name.rsplit('.').next().unwrap() {
        "g" => 1.0 + 0.25 * unit,
        "scale" => 0.125 + 0.0625 * unit,
        "w" => unit * (1.5 / (p.shape[0] as f64).sqrt()),
        _ => 0.125 * unit,
    };
    value as f32
}

pub fn deterministic(layout: &Layout) -> Vec<f32> {
    let mut values = vec![0.0; layout.len()];
    for p in layout.parameters() {
        for (slot, h) in values[p.range()].iter_mut().zip(hashes(&p.name)) {
            *slot = value(p, (h >> 40) as f64 / f64::from(1 << 23) - 1.0);
        }
    }
    values
}

/// Frames and actions of hashes; in the last window the last five timesteps are padding.
pub fn batch(config: &ModelConfig, windows: usize) -> Batch {
    let rows = windows * config.context;
    let cardinalities = config.cardinalities();
    Batch {
        windows,
        pixels: hashes("pixels").take(rows * config.frame_bytes()).map(|h| (h >> 56) as u8).collect(),
        actions: hashes("actions")
            .take(rows * cardinalities.len())
            .enumerate()
            .map(|(i, h)| ((h >> 8) % cardinalities[i % cardinalities.len()] as u64) as u8)
            .collect(),
        weights: (0..rows).map(|i| if i + 5 < rows { 1.0 } else { 0.0 }).collect(),
        ..Batch::default()
    }
}

fn golden() -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn close(what: &str, ours: f64, theirs: f64, scale: f64, tolerance: f64) {
    assert!(ours.is_finite(), "{what} is {ours}");
    assert!((ours - theirs).abs() <= tolerance * scale, "{what}: {ours}, but JAX has {theirs}");
}

#[test]
fn loss_and_every_gradient_agree_with_jax() {
    let golden = golden();
    let config = ModelConfig::preset("tiny").unwrap();
    let layout = Layout::new(&config, Head::Policy);
    assert_eq!(golden["parameters"].as_u64(), Some(layout.count() as u64));
    let mut bench = Bench::new(&config, &deterministic(&layout), batch(&config, 2));
    let loss = bench.loss();
    let expected = golden["loss"].as_f64().unwrap();
    close("the loss", loss, expected, expected, 1e-5);
    let gradients = bench.l.gradients();
    for p in layout.parameters() {
        let expected = &golden["gradients"][&p.name];
        let ours = &gradients[p.range()];
        let norm = ours.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let theirs = expected["norm"].as_f64().unwrap();
        close(&format!("norm of {}", p.name), norm, theirs, theirs, 1e-4);
        for entry in expected["entries"].as_array().unwrap() {
            let (i, theirs_i) = (entry[0].as_u64().unwrap() as usize, entry[1].as_f64().unwrap());
            // An entry may be far below its tensor's norm; what rounding leaves is relative to the typical entry.
            let scale = theirs_i.abs() + theirs / (ours.len() as f64).sqrt();
            close(&format!("{}[{i}]", p.name), f64::from(ours[i]), theirs_i, scale, 1e-3);
        }
    }
}

/// Of the last real timestep of the padded window: a softmax does not see an offset of a component's logits, and so the loss
/// and its gradients do not.
#[test]
fn logits_agree_with_jax() {
    let golden = golden();
    let config = ModelConfig::preset("tiny").unwrap();
    let weights = deterministic(&Layout::new(&config, Head::Policy));
    let Bench { mut l, pass, .. } = Bench::new(&config, &weights, batch(&config, 2));
    let (rows, width) = (2 * config.context, config.logits());
    let logits = l.b.alloc(rows * width, Kind::Activation);
    let hidden = pass.forward(l.b.as_mut(), &l.model.w, Input::Pixels(0), 2);
    l.model.head_forward(l.b.as_mut(), hidden, logits, rows);
    let mut ours = vec![0.0; width];
    l.b.download(logits.slice((config.context + 26) * width, width), &mut ours);
    let theirs: Vec<f64> = golden["logits"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert_eq!(theirs.len(), width);
    let scale = theirs.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    for (i, (ours, theirs)) in ours.into_iter().zip(theirs).enumerate() {
        close(&format!("logit {i}"), f64::from(ours), theirs, scale, 1e-4);
    }
}

#[test]
fn losses_of_adamw_steps_agree_with_jax() {
    let golden = golden();
    let config = ModelConfig::preset("tiny").unwrap();
    let weights = deterministic(&Layout::new(&config, Head::Policy));
    let mut bench = Bench::new(&config, &weights, batch(&config, 2));
    let series =
        |name: &str| -> Vec<f64> { golden[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect() };
    for (step, (loss, norm)) in series("losses").into_iter().zip(series("gradient_norms")).enumerate() {
        close(&format!("loss {step}"), bench.loss(), loss, loss, 1e-3);
        bench.l.optimise(Hyper {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.95,
            weight_decay: 0.01,
            clip: 1.0,
            freeze_encoder: false,
        });
        close(&format!("gradient norm {step}"), bench.l.gradient_norm().unwrap(), norm, norm, 1e-2);
    }
}
