//! The checker itself, and what the backend refuses.

use super::{Lab, Level, compare};
use crate::{Attention, Backend, Bytes, Cpu, Epilogue, Gemm, Kind, Plane, Tensor};

#[test]
fn a_planted_nan_fails_the_checker() {
    let want = [1.0, 2.0];
    assert!(compare("x", &[1.0, 2.0], &want, 1).is_ok());
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = compare("x", &[1.0, bad], &want, 1).unwrap_err();
        assert!(error.contains("x[1]") && error.contains("not finite"), "{error}");
    }
    // A non-finite oracle is a fault too, whatever the operator says.
    assert!(compare("x", &[f32::NAN], &[f64::NAN], 1).is_err());
    assert!(compare("x", &[1.0, 2.0 + 1e-4], &want, 1).is_err());
    assert!(compare("x", &[1.0], &want, 1).is_err());
}

#[test]
fn nan_goes_through_operators() {
    for level in Level::available() {
        let mut cpu = Cpu::with_level(level, 1);
        let one = |cpu: &mut Cpu, value: f32| {
            let tensor = cpu.alloc(16, Kind::Activation);
            cpu.upload(tensor, &[value; 16]);
            tensor
        };
        let (x, w) = (one(&mut cpu, f32::NAN), cpu.alloc(256, Kind::Weight));
        let (b, y, pre) = (one(&mut cpu, 0.0), one(&mut cpu, 0.0), one(&mut cpu, 0.0));
        let d = Gemm { m: 1, k: 16, n: 16 };
        cpu.linear_forward(x, w, b, y, d, Epilogue::Gelu { pre });
        let mut out = [0.0; 16];
        cpu.download(y, &mut out);
        assert!(out.iter().all(|x| x.is_nan()), "{}: {out:?}", level.name());
    }
}

/// Random values with NaN at one place.
fn planted(lab: &mut Lab, len: usize, at: usize) -> Tensor {
    let (tensor, _) = lab.input(len);
    lab.cpu.upload(tensor.slice(at, 1), &[f32::NAN]);
    tensor
}

fn read(lab: &mut Lab, tensor: Tensor) -> Vec<f32> {
    let mut values = vec![0.0; tensor.len()];
    lab.cpu.download(tensor, &mut values);
    values
}

/// Asserts that exactly the elements which `reached` names are NaN.
#[track_caller]
fn expect_nan(lab: &mut Lab, name: &str, tensor: Tensor, reached: impl Fn(usize) -> bool) {
    for (i, value) in read(lab, tensor).into_iter().enumerate() {
        assert_eq!(value.is_nan(), reached(i), "{name}[{i}] = {value} at {}", lab.cpu.name());
    }
}

#[test]
fn nan_goes_through_attention() {
    let d = Attention { b: 2, t: 4, heads: 2, head_size: 8 };
    let width = d.width();
    // Sequence 1, timestep 1, head 0: the first element of q, of k, of v.
    for (part, name) in ["q", "k", "v"].into_iter().enumerate() {
        let at = (d.t + 1) * 3 * width + part * width;
        // A query spoils its own timestep, a key or value all that look at it; a value its own column.
        let reached = move |lane: usize, t: usize, column: usize| {
            let times = if part == 0 { t == 1 } else { t >= 1 };
            lane == 1 && times && if part == 2 { column == 0 } else { column < d.head_size }
        };
        for level in Level::available() {
            let mut lab = Lab::new(level, 1);
            let qkv = planted(&mut lab, d.b * d.t * 3 * width, at);
            let y = lab.output(d.b * d.t * width);
            let probs = lab.output(d.b * d.heads * d.t * d.t);
            let step = lab.output(d.b * 3 * width);
            let decoded = lab.output(d.b * width);
            let cache = lab.cpu.alloc(d.b * 2 * d.t * width, Kind::Activation);
            lab.cpu.attention_forward(qkv, y, probs, d);
            let row = |i: usize| (i / width / d.t, i / width % d.t, i % width);
            for (i, value) in read(&mut lab, y).into_iter().enumerate() {
                let (lane, t, column) = row(i);
                assert!(value.is_nan() || !reached(lane, t, column), "{name}: y[{i}] = {value}");
                // Within the sequence a masked probability, which is 0, may carry NaN to earlier timesteps.
                assert!(value.is_finite() || lane == 1, "{name}: y[{i}] = {value}");
            }
            for t in 0..d.t {
                for lane in 0..d.b {
                    let from = qkv.slice((lane * d.t + t) * 3 * width, 3 * width);
                    lab.cpu.copy(from, step.slice(lane * 3 * width, 3 * width));
                }
                lab.cpu.attention_decode(step, cache, decoded, &[t as u32; 2], d);
                expect_nan(&mut lab, name, decoded, |i| reached(i / width, t, i % width));
            }
        }
    }
}

#[test]
fn nan_goes_through_layer_norm_and_depthwise() {
    for level in Level::available() {
        let mut lab = Lab::new(level, 1);
        let (rows, cols) = (3, 20);
        let x = planted(&mut lab, rows * cols, cols + 7);
        let dy = planted(&mut lab, rows * cols, 2 * cols);
        let (g, b) = (lab.input(cols).0, lab.input(cols).0);
        let (y, dx) = (lab.output(rows * cols), lab.output(rows * cols));
        let (mean, rstd) = (lab.output(rows), lab.output(rows));
        let (dg, db) = (lab.input(cols).0, lab.input(cols).0);
        lab.cpu.layer_norm_forward(x, g, b, y, mean, rstd, rows, cols);
        lab.cpu.layer_norm_backward(dy, x, g, mean, rstd, dx, dg, db, rows, cols, false);
        expect_nan(&mut lab, "y", y, |i| i / cols == 1);
        expect_nan(&mut lab, "dx", dx, |i| i / cols >= 1);
        expect_nan(&mut lab, "dg", dg, |_| true);
        expect_nan(&mut lab, "db", db, |i| i == 0);

        let mut lab = Lab::new(level, 1);
        let d = Plane { n: 1, h: 12, w: 10, c: 5 };
        let (at, channel) = ((4, 5), 2);
        let place = (at.0 * d.w + at.1) * d.c + channel;
        let x = planted(&mut lab, d.elements(), place);
        let (clean, dy) = (lab.input(d.elements()).0, planted(&mut lab, d.elements(), place));
        let (w, b) = (lab.input(49 * d.c).0, lab.input(d.c).0);
        let (y, dx) = (lab.output(d.elements()), lab.output(d.elements()));
        let (dw, db) = (lab.input(49 * d.c).0, lab.input(d.c).0);
        lab.cpu.depthwise_forward(x, w, b, y, d);
        lab.cpu.depthwise_backward(dy, clean, w, dx, dw, db, d, false);
        let near = |i: usize| {
            let (row, column) = (i / d.c / d.w, i / d.c % d.w);
            i % d.c == channel && row.abs_diff(at.0) <= 3 && column.abs_diff(at.1) <= 3
        };
        expect_nan(&mut lab, "y", y, near);
        expect_nan(&mut lab, "dx", dx, near);
        expect_nan(&mut lab, "dw", dw, |i| i % d.c == channel);
        expect_nan(&mut lab, "db", db, |i| i == channel);
    }
}

#[test]
fn nan_goes_through_losses() {
    for level in Level::available() {
        let mut lab = Lab::new(level, 1);
        let heads = [2, 11];
        let logits = planted(&mut lab, 3 * 13, 13 + 5);
        let (weight, dlogits) = (lab.input(3).0, lab.output(3 * 13));
        let [nll, kl, entropy] = std::array::from_fn(|_| lab.output(3));
        let (actions, _) = lab.bytes(6, |_| 1);
        lab.cpu.policy_loss(logits, None, actions, weight, None, dlogits, nll, kl, entropy, &heads);
        expect_nan(&mut lab, "nll", nll, |i| i == 1);
        expect_nan(&mut lab, "entropy", entropy, |i| i == 1);
        expect_nan(&mut lab, "dlogits", dlogits, |i| (13 + 2..2 * 13).contains(&i));

        let mut lab = Lab::new(level, 1);
        let scores = planted(&mut lab, 6, 3);
        let label = lab.input(3).0;
        lab.cpu.upload(label, &[1.0, 0.0, 0.5]);
        let (dscores, loss) = (lab.output(6), lab.output(3));
        lab.cpu.bradley_terry(scores, label, 0.01, dscores, loss);
        expect_nan(&mut lab, "loss", loss, |i| i == 1);
        expect_nan(&mut lab, "dscores", dscores, |i| i / 2 == 1);
    }
}

fn tensors<const N: usize>(len: usize) -> (Cpu, [Tensor; N]) {
    let mut cpu = Cpu::new(1);
    let tensors = std::array::from_fn(|_| cpu.alloc(len, Kind::Activation));
    (cpu, tensors)
}

#[test]
#[should_panic(expected = "copy: output 0 (elements 5..15) overlaps another argument (elements 0..10)")]
fn an_overlap_is_refused() {
    let (mut cpu, [x]) = tensors(32);
    cpu.copy(x.slice(0, 10), x.slice(5, 10));
}

#[test]
fn neighbours_are_not_an_overlap() {
    let (mut cpu, [x]) = tensors(32);
    cpu.upload(x, &std::array::from_fn::<f32, 32, _>(|i| i as f32));
    cpu.copy(x.slice(0, 10), x.slice(10, 10));
    let mut out = [0.0; 2];
    cpu.download(x.slice(18, 2), &mut out);
    assert_eq!(out, [8.0, 9.0]);
}

#[test]
#[should_panic(expected = "after the first operator")]
fn memory_is_static_once_an_operator_ran() {
    let (mut cpu, [x]) = tensors(8);
    cpu.fill(x, 1.0);
    cpu.alloc(8, Kind::Scratch);
}

#[test]
fn transfers_may_be_mixed_with_planning() {
    let (mut cpu, [x]) = tensors(20);
    cpu.upload(x, &[3.0; 20]);
    let y = cpu.alloc(1000, Kind::Weight);
    let (mut a, mut b) = ([0.0; 20], [1.0; 1000]);
    cpu.download(x, &mut a);
    cpu.download(y, &mut b);
    assert_eq!(a, [3.0; 20]);
    assert_eq!(b, [0.0; 1000]);
}

#[test]
#[should_panic(expected = "linear_forward: w has 8 elements, its shape 16")]
fn a_wrong_length_is_refused() {
    let (mut cpu, [x, w, b, y]) = tensors(8);
    cpu.linear_forward(x, w, b, y, Gemm { m: 1, k: 8, n: 2 }, Epilogue::None);
}

#[test]
#[should_panic(expected = "norm_patches2_forward: 3x4 is not even")]
fn half_a_patch_is_refused() {
    let (mut cpu, [x, y]) = tensors(12);
    let [mean, rstd] = std::array::from_fn(|_| cpu.alloc(12, Kind::Scratch));
    let [g, b] = std::array::from_fn(|_| cpu.alloc(1, Kind::Weight));
    cpu.norm_patches2_forward(x, g, b, y, mean, rstd, Plane { n: 1, h: 3, w: 4, c: 1 });
}

#[test]
#[should_panic(expected = "slice 4..4+5 of a tensor of 8 elements")]
fn a_slice_stays_inside() {
    let (_, [x]) = tensors(8);
    x.slice(4, 5);
}

#[test]
#[should_panic(expected = "policy_loss: action 3 of token 1, component 0 of 3")]
fn an_illegal_action_is_refused() {
    let (mut cpu, [logits, dlogits]) = tensors(6);
    let [w, nll, kl, entropy] = std::array::from_fn(|_| cpu.alloc(2, Kind::Scratch));
    let actions: Bytes = cpu.alloc_bytes(2);
    cpu.upload_bytes(actions, &[0, 3]);
    cpu.policy_loss(logits, None, actions, w, None, dlogits, nll, kl, entropy, &[3]);
}
