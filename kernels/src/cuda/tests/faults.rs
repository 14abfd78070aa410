//! The emulator's own test: kernels with one fault each (cuda/emulator/faults.cu), and what it says of them.

use crate::cuda::emulator::{Device, Scheduled};
use crate::cuda::laboratory::{Lab, sums};
use crate::cuda::{Launch, Store, launch};
use crate::reference::linear;

const SOURCE: &str = include_str!("../../../cuda/emulator/faults.cu");

/// "faults.cu:17", the line that ends in the comment `// fault: NAME`.
fn line_of(name: &str) -> String {
    let comment = format!("// fault: {name}");
    let line = SOURCE.lines().position(|line| line.ends_with(&comment));
    format!("faults.cu:{}", line.unwrap_or_else(|| panic!("no line says {comment}")) + 1)
}

/// Launches a kernel over x[256] and y[64] in `blocks` blocks and returns what is said of it.
fn outcome(kernel: &'static str, blocks: usize, seed: u64) -> Result<Vec<f32>, String> {
    let mut bench = Scheduled { device: Device::start(), seed };
    let mut lab = Lab::new(&mut bench);
    let (x, _) = lab.given("x", &std::array::from_fn::<f32, 256, _>(|i| i as f32), Store::F32);
    let y = lab.output("y", 64, Store::F32);
    let mut call: Launch = launch!(kernel, [blocks, 1, 1], x.at, y.at);
    if kernel == "off_by_one" {
        call.arguments.push(64usize.into());
    }
    lab.run(&[call]);
    match lab.refused.take() {
        Some(error) => Err(error),
        None => Ok(lab.read(&y)),
    }
}

/// Under every schedule the kernel is refused, with all of `parts` in the message.
#[track_caller]
fn refused(kernel: &'static str, blocks: usize, parts: &[&str]) {
    for seed in 0..3 {
        let message = outcome(kernel, blocks, seed).expect_err(kernel);
        for part in parts {
            assert!(message.contains(part), "{message}\n  does not say: {part}");
        }
        assert!(message.starts_with(&format!("{kernel}: block (")), "{message}");
    }
}

#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn a_kernel_without_a_fault_runs() {
    for seed in 0..3 {
        let want: Vec<f32> = (0..64).map(|i| 63.0 - i as f32).collect();
        assert_eq!(outcome("reverse", 1, seed).unwrap(), want);
    }
}

#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn missing_barriers() {
    let tile = "shared array `tile`";
    refused("missing_barrier", 1, &["thread ", &line_of("missing_barrier"), tile, "which nobody has written"]);
    refused("missing_second_barrier", 1, &["race: ", &line_of("missing_second_barrier"), tile, "no barrier between"]);
    refused("missing_warp_barrier", 1, &["race: ", &line_of("missing_warp_barrier"), tile, "no barrier between"]);
    refused("copy_not_waited_for", 1, &[&line_of("copy_not_waited_for"), tile, "which nobody has written"]);
    refused("blocks_collide", 2, &["race: ", &line_of("blocks_collide"), "`y`", "another block's thread"]);
}

#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn divergent_barriers() {
    refused("divergent_barrier", 1, &["thread ", "divergent barrier: other threads of the block wait at faults.cu:"]);
    let place = line_of("barrier_not_for_all");
    let deadlock = format!("deadlock: threads 0..62 wait for a block barrier at {place}; thread 63 has ended");
    refused("barrier_not_for_all", 1, &[&deadlock]);
    let place = line_of("divergent_shuffle");
    refused(
        "divergent_shuffle",
        1,
        &["deadlock: ", &format!("threads 8..31 wait for a shuffle at {place}"), "thread 7 has ended"],
    );
}

#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn indices_out_of_bounds() {
    let message = "writes 4 bytes at byte 256 of shared array `tile` (faults.cu:";
    refused("shared_overrun", 1, &["thread 63, ", &line_of("shared_overrun"), message, "which has 256"]);
    let message = "writes 4 bytes at byte 256 of `y`, which has 256";
    refused("off_by_one", 2, &["block (1, 0, 0), thread 0, ", &line_of("off_by_one"), message]);
    let message = "reads 4 bytes at byte -4 of `x`, which has 1024";
    refused("before_the_start", 1, &["thread 0, ", &line_of("before_the_start"), message]);
    refused("shared_unwritten", 1, &["thread 58, ", &line_of("shared_unwritten"), "which nobody has written"]);
    refused("misaligned", 1, &[&line_of("misaligned"), "not a multiple of 16 bytes"]);
    refused("wild_pointer", 1, &["thread 3", "wild access at "]);
}

#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn launches_that_do_not_fit_are_refused() {
    let mut device = Device::start();
    let x = device.alloc("x", 4);
    let error = |device: &mut Device, launch: Launch| device.launch(&launch, 0).unwrap_err();
    assert_eq!(error(&mut device, launch!("nobody", [1, 1, 1], x)), "no kernel is called nobody");
    assert_eq!(error(&mut device, launch!("reverse", [1, 1, 1], x)), "reverse: 1 arguments, it takes 2");
    let wrong = error(&mut device, launch!("reverse", [1, 1, 1], x, 1.0));
    assert_eq!(wrong, "reverse: argument 1 is of kind f, it takes p");
    assert_eq!(error(&mut device, launch!("reverse", [0, 1, 1], x, x)), "reverse: a grid that CUDA refuses");
}

#[test]
#[cfg_attr(not(cxx), ignore = "no C++ compiler")]
fn tensor_core_fragments_are_where_the_manual_says() {
    for transposed in [false, true] {
        let mut bench = Scheduled { device: Device::start(), seed: 2 };
        let mut lab = Lab::new(&mut bench);
        let (a, a64) = lab.input("a", 256, Store::Bf16);
        let (b, b64) = lab.input("b", 128, Store::Bf16);
        let c = lab.output("c", 128, Store::F32);
        lab.run(&[launch!("product", [1, 1, 1], a.at, b.at, c.at, transposed)]);
        let want = linear::forward(&a64, &b64, &[0.0; 8], crate::Gemm { m: 16, k: 16, n: 8 });
        lab.expect(&c, &want, sums(16));
        assert_eq!(lab.refused, None);
        lab.checked[0].result.as_ref().unwrap();
    }
}
