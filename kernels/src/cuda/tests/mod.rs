//! Every case of the laboratory on the emulated device, under several schedules, which must give the same bits.
//!
//! `faults` proves that the emulator sees what it must see; `compile` (ignored, for want of NVRTC) compiles every kernel for real
//! architectures.

mod compile;
mod faults;
mod queue;

use super::emulator::{Device, Scheduled};
use super::laboratory::{Bench, Case, Outcome, cases};
use super::{Fused, Launch, Product};

/// Runs a case in order, in reverse order and in a drawn order: right each time, and bit for bit the same.
fn schedules(case: &Case) -> Outcome {
    let run = |seed| {
        let outcome = case.run(&mut Scheduled { device: Device::start(), seed });
        if let Some(error) = &outcome.refused {
            panic!("{}: {error} (schedule {seed})", case.name);
        }
        for checked in &outcome.checked {
            if let Err(error) = &checked.result {
                panic!("{}: {error} (schedule {seed})", case.name);
            }
        }
        outcome
    };
    let one = run(0);
    for seed in [1, 2] {
        let again = run(seed);
        assert_eq!(one.checked.len(), again.checked.len(), "{}: tensors looked at", case.name);
        for (one, other) in one.checked.iter().zip(again.checked) {
            let differs = one.values.iter().zip(&other.values).position(|(a, b)| a.to_bits() != b.to_bits());
            let (case, tensor) = (&case.name, &one.tensor);
            assert_eq!(differs, None, "{case}: {tensor}: first difference between schedules 0 and {seed}");
        }
    }
    one
}

/// The cases of one operator, by the first word of their names.
#[track_caller]
fn check(operators: &[&str]) {
    let mut checked = 0;
    for case in cases() {
        if case.name.split(' ').next().is_some_and(|word| operators.contains(&word)) {
            checked += schedules(&case).checked.len();
        }
    }
    assert!(checked > 0, "no case is called {operators:?}");
}

macro_rules! operators {
    ($($test:ident: $operators:expr;)+) => {
        $(
            #[test]
            #[cfg_attr(not(cxx), ignore = "no C++ compiler")]
            fn $test() {
                check(&$operators);
            }
        )+

        #[test]
        fn every_case_is_in_a_test() {
            let tested: Vec<&str> = [$(&$operators[..]),+].concat();
            for case in cases() {
                let operator = case.name.split(' ').next();
                assert!(operator.is_some_and(|word| tested.contains(&word)), "{}", case.name);
            }
        }
    };
}

operators! {
    attention: ["attention"];
    attention_of_one_new_timestep: ["attention_decode"];
    bottleneck_forward_and_backward: ["bottleneck"];
    depthwise_forward_and_backward: ["depthwise"];
    layer_norm_forward_and_backward: ["layer_norm"];
    layer_norm_as_patches: ["norm_patches2"];
    what_surrounds_matrix_products: ["linear"];
    pooling_and_positions: ["planes"];
    elementary_operators: ["elementary"];
    packed_frames: ["frames"];
    policy_loss_forward_and_backward: ["policy_loss"];
    adamw_and_the_global_norm: ["adamw"];
    bradley_terry_forward_and_backward: ["bradley_terry"];
    matrix_products: ["product"];
    stem_forward_and_backward: ["stem"];
}

/// A kernel that no case runs is a kernel that nobody has checked. (Those of an instance are written by macros, and not looked for.)
#[test]
fn every_kernel_is_in_a_case() {
    /// Runs nothing.
    struct Names(u64, Vec<&'static str>);
    impl Bench for Names {
        fn alloc(&mut self, _: &str, bytes: usize) -> u64 {
            self.0 += bytes as u64;
            self.0
        }
        fn write(&mut self, _: u64, _: &[u8]) {}
        fn read(&mut self, _: u64, bytes: usize) -> Vec<u8> {
            vec![0; bytes]
        }
        fn launch(&mut self, launch: &Launch) -> Result<(), String> {
            self.1.push(launch.kernel);
            Ok(())
        }
        fn multiply(&mut self, _: &Product, _: Option<Fused>) -> Result<bool, String> {
            Ok(true)
        }
    }
    let mut names = Names(0, Vec::new());
    cases().iter().for_each(|case| drop(case.run(&mut names)));
    for (file, text) in super::device::compile::SOURCES {
        for entry in text.split("\nREGISTER(").skip(1) {
            let kernel = entry.split([',', ')']).next().unwrap();
            assert!(names.1.contains(&kernel), "{file}: no case runs {kernel}");
        }
    }
}
