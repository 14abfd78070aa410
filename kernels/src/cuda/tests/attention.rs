use super::{Store::*, schedules, sums};
use crate::Attention;
use crate::cuda::attention;
use crate::reference::attention as oracle;

fn case(b: usize, t: usize, heads: usize, head_size: usize) {
    let d = Attention { b, t, heads, head_size };
    schedules(&format!("attention B{b} T{t} NH{heads} HS{head_size}"), |lab| {
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
    });
}

#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn attention_on_tensor_cores() {
    for (b, t, heads, head_size) in
        [(2, 32, 2, 32), (1, 32, 2, 64), (1, 32, 2, 128), (2, 1, 1, 32), (1, 17, 3, 64), (1, 31, 1, 128)]
    {
        case(b, t, heads, head_size);
    }
}

#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn attention_of_any_shape() {
    for (b, t, heads, head_size) in [(2, 5, 2, 3), (1, 33, 1, 32), (1, 32, 1, 48), (1, 1, 2, 129), (1, 140, 1, 2)] {
        case(b, t, heads, head_size);
    }
}

/// Each lane at a position of its own: its last row of plain attention over what its cache holds.
#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn attention_of_one_new_timestep() {
    for (t, heads, head_size, positions) in [(32, 2, 32, vec![0, 31, 7]), (5, 3, 3, vec![4, 0]), (40, 1, 129, vec![39])]
    {
        let (b, d) = (positions.len(), Attention { b: positions.len(), t, heads, head_size });
        let width = d.width();
        schedules(&format!("attention_decode T{t} NH{heads} HS{head_size}"), |lab| {
            let (qkv, qkv64) = lab.input("qkv", b * 3 * width, Bf16);
            let (cache, mut cache64) = lab.input("cache", b * 2 * t * width, Bf16);
            let y = lab.output("y", b * width, Bf16);
            let scores = lab.output("scores", attention::decode_scratch(d), F32);
            let bytes: Vec<u8> = positions.iter().flat_map(|p: &u32| p.to_le_bytes()).collect();
            let at = lab.device.alloc("positions", bytes.len());
            lab.device.write(at, &bytes);
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
        });
    }
}
