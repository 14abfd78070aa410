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
