//! Every gradient by name against finite differences.
//!
//! Of each parameter tensor, the loss L is taken some way up and down a direction v, and what it changes by must be what the gradient g
//! says, 2h<g, v>. There are three directions of unit length: g's own, which shows an error of its size best, and two of signs that a hash
//! draws, which show an error anywhere. g's own alone would not do: a gradient of which a part is wrongly zero has its own norm for slope.
//!
//! The tolerance is what is known of the two errors, and no more:
//!
//! ```text
//! rounding    each L is computed in f32 and off by up to ROUNDING, the difference of two by twice that
//! curvature   L(w + hv) - L(w - hv) = 2h<g, v> + c h^3 + O(h^5), and half the same over 2h is 2h<g, v> + 4 c h^3 + O(h^5): the two
//!             differ by three times the error, which leaves room for O(h^5)
//! ```
//!
//! The step makes the change large beside the rounding and small beside 1. That a gradient of which either half were zero would be out of
//! tolerance is tested as well.

use super::golden::{batch, deterministic, hashes};
use super::toys::{Bench, small_config};
use crate::compute::Compute;
use crate::config::{Head, ModelConfig, Readout};
use crate::layout::Layout;
use crate::model::{Input, Pass};
use crate::reward::Preference;
use crate::settings::Training;
use crate::train::Objective;
use crate::{feed::Batch, learner::Learner};

/// Error of a loss. It is of order 1, and behind it lie some hundred operations in a row, each of which rounds by up to 2^-24 either way:
/// together about ten such, and fewer in a mean over rows. This is sixteen.
const ROUNDING: f64 = 16.0 / (1 << 24) as f64;

/// Compares slopes; `loss_at` gives the loss at weights.
fn check(layout: &Layout, weights: &[f32], gradients: &[f32], mut loss_at: impl FnMut(&[f32]) -> f64) {
    for p in layout.parameters() {
        let g: Vec<f64> = gradients[p.range()].iter().map(|&x| f64::from(x)).collect();
        assert!(g.iter().all(|x| x.is_finite()), "the gradient of {} is not finite", p.name);
        let norm = g.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!(norm > 1e-7, "the gradient of {} vanishes: {norm}", p.name);

        // What the loss changes by between `h` down and `h` up along `v`, and what each half of the gradient says of it.
        let mut change = |v: &[f64], h: f64| {
            let [up, down] = [h, -h].map(|h| {
                let mut moved = weights.to_vec();
                for (w, v) in moved[p.range()].iter_mut().zip(v) {
                    *w = (f64::from(*w) + h * v) as f32;
                }
                moved
            });
            // Weights are f32: the way that was really gone is what counts.
            let ways = p.range().map(|i| f64::from(up[i]) - f64::from(down[i]));
            let terms: Vec<f64> = g.iter().zip(ways).map(|(g, way)| g * way).collect();
            let halves = terms.split_at(g.len() / 2);
            (loss_at(&up) - loss_at(&down), [halves.0.iter().sum::<f64>(), halves.1.iter().sum()])
        };
        let root = (g.len() as f64).sqrt();
        let along = g.iter().map(|x| x / norm).collect::<Vec<_>>();
        let signs = ["?", "??"].map(|more| -> Vec<f64> {
            let bits = hashes(&format!("{}{more}", p.name)).map(|h| h >> 63);
            bits.take(g.len()).map(|bit| (2.0 * bit as f64 - 1.0) / root).collect()
        });
        let mut seen = [g.len() < 2; 2];
        for (i, v) in [&along, &signs[0], &signs[1]].into_iter().enumerate() {
            // A step that should move the loss by about 2e-3, but no weight by more than 0.01.
            let slope = if i == 0 { norm } else { norm / root };
            let largest = v.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            let h = (2e-3 / slope).min(0.01 / largest);
            let (changed, halves) = change(v, h);
            let tolerance = 2.0 * ROUNDING + (change(v, 2.0 * h).0 / 2.0 - changed).abs();
            let said = halves[0] + halves[1];
            assert!(
                (changed - said).abs() < tolerance,
                "{} along {i}: the loss changes by {changed}, the gradient says {said} +- {tolerance}",
                p.name
            );
            // A gradient whose other half is zero would say this.
            for (seen, half) in seen.iter_mut().zip(halves) {
                *seen |= i > 0 && (changed - half).abs() > tolerance;
            }
        }
        assert_eq!(seen, [true; 2], "half of the gradient of {} could be zero, and nobody would know", p.name);
    }
}

#[test]
fn policy_gradients_are_slopes() {
    for readout in [Readout::Mean, Readout::Flatten] {
        let config = ModelConfig { readout, ..small_config() };
        let layout = Layout::new(&config, Head::Policy);
        let weights = deterministic(&layout);
        let mut bench = Bench::new(&config, &weights, batch(&config, 3));
        bench.loss();
        let gradients = bench.l.gradients();
        check(&layout, &weights, &gradients, |weights| {
            bench.l.b.upload(bench.l.model.weights, weights);
            bench.loss()
        });
    }
}

#[test]
fn reward_gradients_are_slopes() {
    let config = small_config();
    let layout = Layout::new(&config, Head::Reward);
    let weights = deterministic(&layout);
    let settings = Training { batch: 2, centering: 0.1, label_noise: 0.1, ..Training::default() };
    let mut l = Learner::plan(Compute::cpu(2).backend().unwrap(), &config, Head::Reward);
    let pass = Pass::plan(l.b.as_mut(), &config, 4, true);
    let mut objective = Preference::plan(&mut l, &settings);
    let batch = Batch { labels: vec![1.0, 0.0], ..batch(&config, 4) };
    pass.upload_pixels(l.b.as_mut(), 0, &batch.pixels);
    l.b.wait_uploads();
    let mut loss_at = |l: &mut Learner, weights: &[f32]| {
        l.b.upload(l.model.weights, weights);
        l.zero_gradients();
        objective.launch(l, &pass, Input::Pixels(0), &batch).unwrap();
        objective.finish(l, &batch).unwrap()
    };
    loss_at(&mut l, &weights);
    let gradients = l.gradients();
    check(&layout, &weights, &gradients, |weights| loss_at(&mut l, weights));
}

#[test]
fn recomputed_activations_give_the_same_gradients() {
    // 5 windows of 8 frames are more than one chunk of 32: kept once, and once computed again.
    let config = small_config();
    let weights = deterministic(&Layout::new(&config, Head::Policy));
    let mut kept = Bench::new(&config, &weights, batch(&config, 5));
    let mut again = Bench::new(&config, &weights, batch(&config, 5));
    let mut l = Learner::plan(Compute::cpu(2).backend().unwrap(), &config, Head::Policy);
    again.pass = Pass::plan_keeping(l.b.as_mut(), &config, 5, true, 32);
    again.objective = crate::imitate::Imitation::plan(&mut l, 5, &playhouse_kernels::Ranks::default());
    l.b.upload(l.model.weights, &weights);
    again.pass.upload_pixels(l.b.as_mut(), 0, &again.batch.pixels);
    l.b.wait_uploads();
    again.l = l;
    assert_eq!(kept.loss(), again.loss());
    assert_eq!(kept.l.gradients(), again.l.gradients());
}
