//! Losses, the optimiser, and the elementary operators.

use super::{Lab, everywhere};
use crate::{AdamW, Backend, reference};

const GAMEPAD: [usize; 16] = [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 11, 11, 11, 11];

fn policy(lab: &mut Lab, n: usize, heads: &[usize], with_reference: bool, spread: f64) {
    let width: usize = heads.iter().sum();
    let spread_input = |lab: &mut Lab, len| {
        let (tensor, values) = lab.input(len);
        let wide: Vec<f32> = values.iter().map(|x| (x * spread) as f32).collect();
        lab.cpu.upload(tensor, &wide);
        (tensor, wide.into_iter().map(f64::from).collect::<Vec<f64>>())
    };
    let (logits, lv) = spread_input(lab, n * width);
    let (reference, rv) = spread_input(lab, n * width);
    let (weight, wv) = lab.input(n);
    let (beta, kv) = lab.input(n);
    let (actions, av) = lab.bytes(n * heads.len(), |i| heads[i % heads.len()] as u8 - 1);
    let dlogits = lab.output(n * width);
    let [nll, kl, entropy] = std::array::from_fn(|_| lab.output(n));
    let (r, b) = (with_reference.then_some(reference), with_reference.then_some(beta));
    lab.cpu.policy_loss(logits, r, actions, weight, b, dlogits, nll, kl, entropy, heads);
    let (r, b) = (with_reference.then_some(rv.as_slice()), with_reference.then_some(kv.as_slice()));
    let want = reference::policy_loss::policy_loss(&lv, r, &av, &wv, b, heads);
    let n = (width as f64 * spread * spread) as usize + 16;
    lab.expect("dlogits", dlogits, &want.dlogits, n);
    lab.expect("nll", nll, &want.nll, n);
    lab.expect("kl", kl, &want.kl, n);
    lab.expect("entropy", entropy, &want.entropy, n);
}

#[test]
fn policy_loss_matches_the_oracle() {
    for (n, heads) in [(1, &GAMEPAD[..]), (40, &GAMEPAD), (7, &[3]), (33, &[1, 20, 2])] {
        for with_reference in [false, true] {
            everywhere(|lab| policy(lab, n, heads, with_reference, 1.0));
            everywhere(|lab| policy(lab, n, heads, with_reference, 30.0));
        }
    }
}

#[test]
fn bradley_terry_matches_the_oracle() {
    for pairs in [1, 5, 64] {
        everywhere(|lab| {
            let (scores, sv) = lab.input(2 * pairs);
            let wide: Vec<f32> = sv.iter().map(|x| (x * 50.0) as f32).collect();
            lab.cpu.upload(scores, &wide);
            let sv: Vec<f64> = wide.iter().map(|x| f64::from(*x)).collect();
            let (label, _) = lab.input(pairs);
            let labels: Vec<f32> = (0..pairs).map(|i| [1.0, 0.5, 0.0][i % 3]).collect();
            lab.cpu.upload(label, &labels);
            let lv: Vec<f64> = labels.iter().map(|x| f64::from(*x)).collect();
            let (dscores, loss) = (lab.output(2 * pairs), lab.output(pairs));
            lab.cpu.bradley_terry(scores, label, 0.01, dscores, loss);
            let centering = f64::from(0.01f32);
            let (rl, rs) = reference::bradley_terry::bradley_terry(&sv, &lv, centering);
            lab.expect("loss", loss, &rl, 4);
            lab.expect("dscores", dscores, &rs, 4);
        });
    }
}

#[test]
fn the_optimiser_matches_the_oracle() {
    for len in [1, 31, 40_000] {
        everywhere(|lab| {
            let (p, mut pv) = lab.input(len);
            let (g, gv) = lab.input(len);
            let (m, mut mv) = lab.input(len);
            let (v, vv) = lab.input(len);
            let squares: Vec<f32> = vv.iter().map(|x| (x * x) as f32).collect();
            lab.cpu.upload(v, &squares);
            let mut vv: Vec<f64> = squares.iter().map(|x| f64::from(*x)).collect();
            let norm = lab.output(1);
            lab.cpu.grad_norm(g, norm);
            let rn = reference::adamw::grad_norm(&gv);
            lab.expect("norm", norm, &[rn], len);
            for (step, clip) in [(1, 1.0), (2, f32::INFINITY), (1000, 0.1)] {
                let d = AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, clip, step };
                lab.cpu.adamw(p, g, m, v, norm, d);
                reference::adamw::adamw(&mut pv, &gv, &mut mv, &mut vv, rn, d);
            }
            lab.expect("m", m, &mv, 16);
            lab.expect("v", v, &vv, 16);
            lab.expect("p", p, &pv, 64);
        });
    }
}

#[test]
fn a_broken_gradient_reaches_the_weights() {
    // Training looks for non-finite weights; clipping must not hide what made them.
    let mut lab = Lab::new(crate::cpu::Level::available()[0], 1);
    let [p, g, m, v] = std::array::from_fn(|_| lab.input(4).0);
    let norm = lab.output(1);
    lab.cpu.upload(g, &[1.0, f32::NAN, 1.0, 1.0]);
    lab.cpu.grad_norm(g, norm);
    let d = AdamW { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.0, clip: 1.0, step: 1 };
    lab.cpu.adamw(p, g, m, v, norm, d);
    let mut out = [0.0; 4];
    lab.cpu.download(p, &mut out);
    assert!(out.iter().all(|x| x.is_nan()), "{out:?}");
}

#[test]
fn elementary_operators_match_the_oracle() {
    for len in [1, 17, 20_000] {
        everywhere(|lab| {
            let (x, xv) = lab.input(len);
            let (y, yv) = lab.input(len);
            let (copied, filled) = (lab.output(len), lab.output(len));
            lab.cpu.copy(x, copied);
            lab.cpu.fill(filled, 2.5);
            lab.cpu.add_scaled(x, y, -0.25);
            lab.expect("copied", copied, &xv, 0);
            lab.expect("filled", filled, &vec![2.5; len], 0);
            let want: Vec<f64> = xv.iter().zip(&yv).map(|(x, y)| y - 0.25 * x).collect();
            lab.expect("added", y, &want, 1);
        });
    }
}
