//! Launches of `cuda/attention.cu`, `cuda/attention_any.cu` and `cuda/attention_decode.cu`.

use super::{Launch, Pointer, launch};
use crate::Attention;

/// The kernels of a head size for T <= 32: forward, backward.
fn instance(d: Attention) -> Option<(&'static str, &'static str)> {
    match d.head_size {
        32 if d.t <= 32 => Some(("attention_forward_32", "attention_backward_32")),
        64 if d.t <= 32 => Some(("attention_forward_64", "attention_backward_64")),
        128 if d.t <= 32 => Some(("attention_forward_128", "attention_backward_128")),
        _ => None,
    }
}

/// f32 elements of `scratch`: P and dS of the shapes that have no instance.
pub fn scratch(d: Attention) -> usize {
    if instance(d).is_some() { 0 } else { 2 * d.b * d.heads * d.t * d.t }
}

/// y[B,T,NH*HS] of qkv[B,T,3,NH,HS].
pub fn forward(qkv: Pointer, y: Pointer, scratch: Pointer, d: Attention) -> Vec<Launch> {
    let pairs = d.b * d.heads;
    vec![match instance(d) {
        Some((kernel, _)) => launch!(kernel, [pairs, 1, 1], qkv, y, d.t, d.heads),
        None => launch!("attention_forward_any", [pairs * d.t, 1, 1], qkv, y, scratch, d.t, d.heads, d.head_size),
    }]
}

/// dqkv[B,T,3,NH,HS] = , from dy[B,T,NH*HS].
pub fn backward(dy: Pointer, qkv: Pointer, dqkv: Pointer, scratch: Pointer, d: Attention) -> Vec<Launch> {
    let pairs = d.b * d.heads;
    if let Some((_, kernel)) = instance(d) {
        return vec![launch!(kernel, [pairs, 1, 1], dy, qkv, dqkv, d.t, d.heads)];
    }
    let (probs, ds) = (scratch, scratch + 4 * (pairs * d.t * d.t) as u64);
    ["attention_backward_any_queries", "attention_backward_any_keys"]
        .map(|kernel| launch!(kernel, [pairs * d.t, 1, 1], dy, qkv, dqkv, probs, ds, d.t, d.heads, d.head_size))
        .to_vec()
}

/// f32 elements of `scores` for `decode`.
pub fn decode_scratch(d: Attention) -> usize {
    d.b * d.heads * d.t
}

/// y[B,NH*HS] of one new timestep's qkv[B,3,NH,HS] and cache[B,2,T,NH,HS], which takes the new keys and values; `positions` is the
/// device's i32 [B], each below T.
pub fn decode(
    qkv: Pointer,
    cache: Pointer,
    y: Pointer,
    scores: Pointer,
    positions: Pointer,
    d: Attention,
) -> Vec<Launch> {
    let blocks = d.b * d.heads;
    vec![launch!("attention_decode", [blocks, 1, 1], qkv, cache, y, scores, positions, d.t, d.heads, d.head_size)]
}
