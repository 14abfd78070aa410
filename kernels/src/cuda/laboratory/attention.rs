use super::{Case, case, sums};
use crate::Attention;
use crate::cuda::{Store::*, attention};
use crate::reference::attention as oracle;

/// On tensor cores, then of any shape.
const SHAPES: [(usize, usize, usize, usize); 11] = [
    (2, 32, 2, 32),
    (1, 32, 2, 64),
    (1, 32, 2, 128),
    (2, 1, 1, 32),
    (1, 17, 3, 64),
    (1, 31, 1, 128),
    (2, 5, 2, 3),
    (1, 33, 1, 32),
    (1, 32, 1, 48),
    (1, 1, 2, 129),
    (1, 140, 1, 2),
];

pub(super) fn cases() -> Vec<Case> {
    let whole = SHAPES.into_iter().map(|(b, t, heads, head_size)| sequences(Attention { b, t, heads, head_size }));
    let one = |(t, heads, head_size, at): (usize, usize, usize, &'static [u32])| {
        new_timestep(Attention { b: at.len(), t, heads, head_size }, at)
    };
    let decode: [(usize, usize, usize, &[u32]); 3] =
        [(32, 2, 32, &[0, 31, 7]), (5, 3, 3, &[4, 0]), (40, 1, 129, &[39])];
    whole.chain(decode.map(one)).collect()
}

fn sequences(d: Attention) -> Case {
    let Attention { b, t, heads, head_size } = d;
    case(format!("attention B{b} T{t} NH{heads} HS{head_size}"), move |lab| {
        let len = b * t * d.width();
        let (qkv, qkv64) = lab.input("qkv", 3 * len, Bf16);
        let y = lab.output("y", len, Bf16);
        let scratch = lab.output("scratch", attention::scratch(d), F32);
        lab.run(&attention::forward(qkv.at, y.at, scratch.at, d));
        let (want, probs) = oracle::forward(&qkv64, d);
        // P is rounded before it meets V.
        lab.expect(&y, &want, sums(head_size + t).after(1.0));

        let (dy, dy64) = lab.input("dy", len, Bf16);
        let dqkv = lab.output("dqkv", 3 * len, Bf16);
        lab.run(&attention::backward(dy.at, qkv.at, dqkv.at, scratch.at, d));
        // P and dS are rounded before they meet dO, K and Q: each sums up to T such errors, of either sign.
        lab.expect(&dqkv, &oracle::backward(&dy64, &qkv64, &probs, d), sums(head_size + t).after(2.0));
    })
}

/// Each lane at a position of its own: its last row of plain attention over what its cache holds.
fn new_timestep(d: Attention, positions: &'static [u32]) -> Case {
    let Attention { b, t, heads, head_size } = d;
    let width = d.width();
    case(format!("attention_decode B{b} T{t} NH{heads} HS{head_size}"), move |lab| {
        let (qkv, qkv64) = lab.input("qkv", b * 3 * width, Bf16);
        let (cache, mut cache64) = lab.input("cache", b * 2 * t * width, Bf16);
        let y = lab.output("y", b * width, Bf16);
        let scores = lab.output("scores", attention::decode_scratch(d), F32);
        let bytes: Vec<u8> = positions.iter().flat_map(|p| p.to_le_bytes()).collect();
        let at = lab.bytes("positions", &bytes);
        lab.run(&attention::decode(qkv.at, cache.at, y.at, scores.at, at, d));
        let mut want = Vec::new();
        for (lane, position) in positions.iter().map(|p| *p as usize).enumerate() {
            let (own, cache) = (&qkv64[lane * 3 * width..][..3 * width], &mut cache64[lane * 2 * t * width..]);
            cache[position * width..][..width].copy_from_slice(&own[width..2 * width]);
            cache[(t + position) * width..][..width].copy_from_slice(&own[2 * width..]);
            // As a packed sequence of which only the last query counts.
            let row = |j: usize| {
                let (key, value) = (&cache[j * width..][..width], &cache[(t + j) * width..][..width]);
                [&own[..width], key, value].concat()
            };
            let packed: Vec<f64> = (0..=position).flat_map(row).collect();
            let (all, _) = oracle::forward(&packed, Attention { b: 1, t: position + 1, ..d });
            want.extend_from_slice(&all[position * width..]);
        }
        lab.expect(&y, &want, sums(head_size + t));
        lab.expect(&cache, &cache64, sums(0));
    })
}
