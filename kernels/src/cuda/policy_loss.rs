//! Launch of `cuda/policy_loss.cu`.

use super::{Launch, Pointer, launch};

/// The i32 values of `starts`: where each component's logits begin, and their number at the end.
pub fn starts(heads: &[usize]) -> Vec<i32> {
    let mut at = 0;
    let mut starts = vec![0];
    for cardinality in heads {
        at += i32::try_from(*cardinality).unwrap_or_else(|_| panic!("a component of {cardinality} values"));
        starts.push(at);
    }
    starts
}

/// A null pointer.
const NONE: Pointer = 0;

/// dlogits, nll, kl, entropy of `tokens` tokens; `reference` is the reference's logits.
#[expect(clippy::too_many_arguments, reason = "the operator's own")]
pub fn policy_loss(
    logits: Pointer,
    reference: Option<Pointer>,
    actions: Pointer,
    weight: Pointer,
    kl_weight: Option<Pointer>,
    starts: Pointer,
    dlogits: Pointer,
    nll: Pointer,
    kl: Pointer,
    entropy: Pointer,
    tokens: usize,
    heads: usize,
) -> Vec<Launch> {
    let (reference, kl_weight) = (reference.unwrap_or(NONE), kl_weight.unwrap_or(NONE));
    vec![launch!(
        "policy_loss",
        [tokens.div_ceil(4), 1, 1],
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
        tokens,
        heads
    )]
}
