//! The policy's loss and the optimiser.

use super::{Case, case, sums};
use crate::AdamW;
use crate::cuda::{Store::*, adamw, bradley_terry, policy_loss as policy};
use crate::reference::{adamw as optimiser, bradley_terry as preference, policy_loss as oracle};
use rand::RngExt;

pub(super) fn cases() -> Vec<Case> {
    let gamepad = [[2; 12].as_slice(), &[11; 4]].concat();
    let shapes = [(9, gamepad), (1, vec![1]), (5, vec![3, 40, 7]), (3, vec![2; 70])];
    let policy = shapes.into_iter().flat_map(|(tokens, heads)| {
        [false, true].map(|with_reference| policy_loss(tokens, heads.clone(), with_reference))
    });
    let optimiser = [(1, 1.0), (255, 0.1), (257, f32::INFINITY), (5000, 1.0)].map(|(n, clip)| optimiser_step(n, clip));
    let preference = [(1, 0.0), (130, 0.01)].map(|(pairs, centering)| preference_loss(pairs, centering));
    policy.chain(optimiser).chain(preference).collect()
}

fn policy_loss(tokens: usize, heads: Vec<usize>, with_reference: bool) -> Case {
    let against = if with_reference { ", with a reference" } else { "" };
    case(format!("policy_loss {tokens} tokens, {} components{against}", heads.len()), move |lab| {
        let width: usize = heads.iter().sum();
        // Logits up to +-20: one token may be quite sure.
        let wide: Vec<f32> = (0..tokens * width).map(|_| lab.rng.random_range(-20.0..20.0)).collect();
        let (logits, logits64) = lab.given("logits", &wide, Bf16);
        let (other, other64) = lab.input("reference", tokens * width, Bf16);
        let (weight, weight64) = lab.input("weight", tokens, F32);
        let (beta, beta64) = lab.input("kl_weight", tokens, F32);
        let values: Vec<u8> =
            (0..tokens * heads.len()).map(|i| lab.rng.random_range(0..heads[i % heads.len()]) as u8).collect();
        let actions = lab.bytes("actions", &values);
        let starts: Vec<u8> = policy::starts(&heads).iter().flat_map(|i| i.to_le_bytes()).collect();
        let starts = lab.bytes("starts", &starts);
        let dlogits = lab.output("dlogits", tokens * width, Bf16);
        let [nll, kl, entropy] = ["nll", "kl", "entropy"].map(|name| lab.output(name, tokens, F32));
        let r64 = with_reference.then_some(other64.as_slice());
        let b64 = with_reference.then_some(beta64.as_slice());
        lab.run(&policy::policy_loss(
            logits.at,
            with_reference.then_some(other.at),
            actions,
            weight.at,
            with_reference.then_some(beta.at),
            starts,
            dlogits.at,
            nll.at,
            kl.at,
            entropy.at,
            tokens,
            heads.len(),
        ));
        let want = oracle::policy_loss(&logits64, r64, &values, &weight64, b64, &heads);
        // Logarithms of up to 40 are subtracted: their f32 roundings are 40 times those of 1.
        lab.expect(&dlogits, &want.dlogits, sums(1600));
        lab.expect(&nll, &want.nll, sums(width));
        lab.expect(&kl, &want.kl, sums(width));
        lab.expect(&entropy, &want.entropy, sums(1600));
    })
}

fn optimiser_step(n: usize, clip: f32) -> Case {
    case(format!("adamw {n}"), move |lab| {
        let d = AdamW { lr: 0.01, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, clip, step: 3 };
        let ((p, mut p64), (g, g64)) = (lab.input("p", n, F32), lab.input("g", n, F32));
        let (m, mut m64) = lab.input("m", n, F32);
        let squares: Vec<f32> = (0..n).map(|_| lab.rng.random_range(0.01..1.0)).collect();
        let (v, mut v64) = lab.given("v", &squares, F32);
        let (step, _) = lab.given("step", &adamw::step(d), F32);
        let parts = lab.output("parts", adamw::parts(n), F32);
        let norm = lab.output("norm", 1, F32);
        let half = lab.output("half", n, Bf16);
        lab.run(&adamw::grad_norm(g.at, parts.at, norm.at, n));
        let norm64 = optimiser::grad_norm(&g64);
        lab.expect(&norm, &[norm64], sums(n));
        lab.run(&adamw::adamw(p.at, g.at, m.at, v.at, half.at, norm.at, step.at, d, n));
        optimiser::adamw(&mut p64, &g64, &mut m64, &mut v64, norm64, d);
        lab.expect(&p, &p64, sums(n));
        lab.expect(&m, &m64, sums(n));
        lab.expect(&v, &v64, sums(n));
        lab.expect(&half, &p64, sums(n));
    })
}

fn preference_loss(pairs: usize, centering: f32) -> Case {
    case(format!("bradley_terry {pairs}"), move |lab| {
        // Up to +-60: e^120 is beyond f32.
        let wide: Vec<f32> = (0..2 * pairs).map(|_| lab.rng.random_range(-60.0..60.0)).collect();
        let (scores, scores64) = lab.given("scores", &wide, F32);
        let shares: Vec<f32> = (0..pairs).map(|_| lab.rng.random_range(0.0..1.0)).collect();
        let (label, label64) = lab.given("label", &shares, F32);
        let (dscores, loss) = (lab.output("dscores", 2 * pairs, F32), lab.output("loss", pairs, F32));
        lab.run(&bradley_terry::bradley_terry(scores.at, label.at, centering, dscores.at, loss.at, pairs));
        let (want_loss, want) = preference::bradley_terry(&scores64, &label64, f64::from(centering));
        lab.expect(&loss, &want_loss, sums(4));
        lab.expect(&dscores, &want, sums(4));
    })
}
