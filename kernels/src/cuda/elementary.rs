//! Launches of `cuda/elementary.cu`.

use super::{Launch, Pointer, Store, launch};

const THREADS: usize = 256;

/// x[n] = value.
pub fn fill(x: Pointer, value: f32, n: usize, store: Store) -> Vec<Launch> {
    let kernel = match store {
        Store::Bf16 => "fill_bf16",
        Store::F32 => "fill",
    };
    vec![launch!(kernel, [n.div_ceil(THREADS), 1, 1], x, value, n)]
}

/// dst[n] += alpha src[n].
pub fn add_scaled(src: Pointer, dst: Pointer, alpha: f32, n: usize, store: Store) -> Vec<Launch> {
    let kernel = match store {
        Store::Bf16 => "add_scaled_bf16",
        Store::F32 => "add_scaled",
    };
    vec![launch!(kernel, [n.div_ceil(THREADS), 1, 1], src, dst, alpha, n)]
}

/// dst[n] = src[n], from f32 to bf16.
pub fn round(src: Pointer, dst: Pointer, n: usize) -> Vec<Launch> {
    vec![launch!("round_to_bf16", [n.div_ceil(THREADS), 1, 1], src, dst, n)]
}
