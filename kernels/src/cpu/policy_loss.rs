//! Cross-entropy over all components at once, with the exact KL to a reference, forward and backward in one pass.
//!
//! Of one component with probabilities p (reference r) and action a:
//! d CE / dx_k = p_k - [k = a];  d KL / dx_k = p_k (ln p_k - ln r_k - KL).

use super::memory::NONE;
use super::pool::Split;
use super::simd::{Level, simd};
use super::{Cpu, check, check_bytes};
use crate::{Bytes, Tensor};

/// Tokens of a task.
const TOKENS: usize = 16;

simd! {
    /// e = exp(x - max x); returns ln sum exp x and the sum of e.
    fn exponentials(s: S, x: &[f32], e: &mut [f32]) -> (f32, f32) {
        assert_eq!(x.len(), e.len());
        let mut max = f32::NEG_INFINITY;
        for x in x {
            max = if *x > max { *x } else { max };
        }
        for c in (0..x.len()).step_by(S::LANES) {
            let n = (x.len() - c).min(S::LANES);
            // SAFETY: `n` keeps both accesses inside the slices, which have one length.
            unsafe {
                let v = s.sub(s.load_first(x.as_ptr().wrapping_add(c), n), s.splat(max));
                s.store_first(e.as_mut_ptr().wrapping_add(c), n, s.exp(v));
            }
        }
        let sum = e.iter().sum::<f32>();
        (max + sum.ln(), sum)
    }
}

/// What one token gets.
struct Token<'a> {
    logits: &'a [f32],
    /// Empty: no reference.
    reference: &'a [f32],
    actions: &'a [u8],
    weight: f32,
    kl_weight: f32,
}

/// Writes dlogits; returns (nll, kl, entropy).
fn token(level: Level, t: &Token<'_>, heads: &[usize], dlogits: &mut [f32]) -> (f32, f32, f32) {
    let (mut nll, mut kl, mut entropy) = (0.0, 0.0, 0.0);
    let mut at = 0;
    for (h, &k) in heads.iter().enumerate() {
        let x = &t.logits[at..at + k];
        let d = &mut dlogits[at..at + k];
        let action = usize::from(t.actions[h]);
        let (mut component_kl, mut component_entropy) = (0.0, 0.0);
        if t.reference.is_empty() {
            let (lse, sum) = exponentials(level, x, d);
            for (d, x) in d.iter_mut().zip(x) {
                let p = *d / sum;
                component_entropy -= p * (x - lse);
                *d = t.weight * p;
            }
            nll += lse - x[action];
        } else {
            let r = &t.reference[at..at + k];
            let (reference_lse, _) = exponentials(level, r, d);
            let (lse, sum) = exponentials(level, x, d);
            for ((d, x), r) in d.iter().zip(x).zip(r) {
                let p = *d / sum;
                component_kl += p * ((x - lse) - (r - reference_lse));
                component_entropy -= p * (x - lse);
            }
            for ((d, x), r) in d.iter_mut().zip(x).zip(r) {
                let p = *d / sum;
                let ratio = (x - lse) - (r - reference_lse);
                *d = t.weight * p + t.kl_weight * p * (ratio - component_kl);
            }
            nll += lse - x[action];
        }
        d[action] -= t.weight;
        kl += component_kl;
        entropy += component_entropy;
        at += k;
    }
    (nll, kl, entropy)
}

#[expect(clippy::too_many_arguments, reason = "the operator's own")]
pub fn policy_loss(
    cpu: &mut Cpu,
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
    let (n, width) = (weight.len(), heads.iter().sum::<usize>());
    let name = "policy_loss";
    check(
        name,
        &[
            ("logits", logits, n * width),
            ("reference", reference.unwrap_or(logits), n * width),
            ("kl_weight", kl_weight.unwrap_or(weight), n),
            ("dlogits", dlogits, n * width),
            ("nll", nll, n),
            ("kl", kl, n),
            ("entropy", entropy, n),
        ],
    );
    check_bytes(name, "actions", actions, n * heads.len());
    assert!(kl_weight.is_none() || reference.is_some(), "{name}: kl_weight without a reference");
    let level = cpu.level;
    let inputs = [logits, reference.unwrap_or(NONE), weight, kl_weight.unwrap_or(NONE)];
    let (actions, [logits, reference, weight, kl_weight], [dlogits, nll, kl, entropy]) =
        cpu.memory.views(name, actions, inputs, [dlogits, nll, kl, entropy]);
    for (i, action) in actions.iter().enumerate() {
        let (token, h) = (i / heads.len(), i % heads.len());
        assert!(
            usize::from(*action) < heads[h],
            "{name}: action {action} of token {token}, component {h} of {}",
            heads[h]
        );
    }
    let outputs = [Split(dlogits, TOKENS * width), Split(nll, TOKENS), Split(kl, TOKENS), Split(entropy, TOKENS)];
    cpu.pool.run(n.div_ceil(TOKENS), 32 * n * width, outputs, |i, [dlogits, nll, kl, entropy]| {
        for (j, d) in dlogits.chunks_exact_mut(width).enumerate() {
            let row = i * TOKENS + j;
            let t = Token {
                logits: &logits[row * width..][..width],
                reference: if reference.is_empty() { reference } else { &reference[row * width..][..width] },
                actions: &actions[row * heads.len()..][..heads.len()],
                weight: weight[row],
                kl_weight: kl_weight.get(row).copied().unwrap_or(0.0),
            };
            (nll[j], kl[j], entropy[j]) = token(level, &t, heads, d);
        }
    });
}
