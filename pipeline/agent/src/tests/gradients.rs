//! Every gradient by name against finite differences.
//!
//! Of each parameter tensor the loss is differentiated along the gradient itself: the slope there must be the gradient's norm. An error in
//! any entry shows, because the slope of a wrong gradient g along itself is <true, g> / |g|, which is |g| only where g is right.

use super::golden::{batch, deterministic};
use super::toys::{Bench, small_config};
use crate::config::Head;
use crate::layout::Layout;
use crate::model::{Input, Pass, backend};
use crate::reward::Preference;
use crate::settings::Training;
use crate::train::Objective;
use crate::{feed::Batch, learner::Learner};

/// Compares slopes; `loss_at` gives the loss at weights.
fn check(layout: &Layout, weights: &[f32], gradients: &[f32], mut loss_at: impl FnMut(&[f32]) -> f64) {
    for p in layout.parameters() {
        let g = &gradients[p.range()];
        assert!(g.iter().all(|x| x.is_finite()), "the gradient of {} is not finite", p.name);
        let norm = g.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-7, "the gradient of {} vanishes: {norm}", p.name);
        // A step that moves the loss by about 2e-3 (the loss is exact to about 1e-6), but no weight by more than 0.05.
        let largest = g.iter().fold(0.0f64, |m, &x| m.max(f64::from(x).abs()));
        let h = (2e-3 / norm).min(0.05 * norm / largest);
        let mut moved = weights.to_vec();
        let mut at = |sign: f64| {
            for (slot, (&w, &g)) in moved[p.range()].iter_mut().zip(weights[p.range()].iter().zip(g)) {
                *slot = (f64::from(w) + sign * h * f64::from(g) / norm) as f32;
            }
            loss_at(&moved)
        };
        let slope = (at(1.0) - at(-1.0)) / (2.0 * h);
        let tolerance = 0.01 * norm + 2e-6 / h;
        assert!((slope - norm).abs() < tolerance, "{}: slope {slope}, gradient norm {norm}, step {h}", p.name);
    }
}

#[test]
fn policy_gradients_are_slopes() {
    let config = small_config();
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

#[test]
fn reward_gradients_are_slopes() {
    let config = small_config();
    let layout = Layout::new(&config, Head::Reward);
    let weights = deterministic(&layout);
    let settings = Training { batch: 2, centering: 0.1, label_noise: 0.1, ..Training::default() };
    let mut l = Learner::plan(backend(2), &config, Head::Reward);
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
    let mut l = Learner::plan(backend(2), &config, Head::Policy);
    again.pass = Pass::plan_keeping(l.b.as_mut(), &config, 5, true, 32);
    again.objective = crate::imitate::Imitation::plan(&mut l, 5);
    l.b.upload(l.model.weights, &weights);
    again.pass.upload_pixels(l.b.as_mut(), 0, &again.batch.pixels);
    l.b.wait_uploads();
    again.l = l;
    assert_eq!(kept.loss(), again.loss());
    assert_eq!(kept.l.gradients(), again.l.gradients());
}
