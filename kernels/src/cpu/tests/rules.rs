//! The checker itself, and what the backend refuses.

use super::{Level, compare};
use crate::{Backend, Bytes, Cpu, Epilogue, Gemm, Kind, Tensor};

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
