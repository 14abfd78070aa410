//! Every kernel on the emulated device against its f64 oracle, under several schedules, which must give the same bits.
//!
//! Here is the laboratory; the cases are in the modules, one an operator. `faults` proves that the emulator sees what it
//! must see; `compile` (ignored, for want of NVRTC) compiles every kernel for real architectures.

mod attention;
mod compile;
mod depthwise;
mod faults;
mod layer_norm;
mod layers;
mod losses;
mod stem;

use super::emulator::Device;
use super::{Launch, Pointer, Store};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Half a unit in the last place of bf16, relative to the value: what one rounding may change.
const BF16: f64 = 1.0 / 256.0;

/// The nearest bf16, ties to even.
fn round(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

/// A tensor on the device.
#[derive(Clone)]
struct Tensor {
    name: String,
    at: Pointer,
    len: usize,
    store: Store,
}

/// What an output may be off by.
#[derive(Clone, Copy)]
struct Allowed {
    /// Terms of the longest f32 sum.
    sum: usize,
    /// bf16 roundings of intermediate values that are as large as the largest value of the tensor.
    roundings: f64,
}

/// Sums of n terms in f32, and the rounding of the result to what it is stored in.
fn sums(n: usize) -> Allowed {
    Allowed { sum: n, roundings: 0.0 }
}

impl Allowed {
    fn after(self, roundings: f64) -> Allowed {
        Allowed { roundings, ..self }
    }

    /// A sum of n f32 terms is off by about eps * sqrt(n) of its largest partial sum; 4 roundings around it; a factor of 4 for
    /// the tail. Relative to the largest value of the tensor, or to 1. Then the roundings to bf16.
    fn tolerance(self, want: f64, largest: f64, store: Store) -> f64 {
        let f32_part = 4.0 * f64::from(f32::EPSILON) * ((self.sum as f64).sqrt() + 4.0) * largest.max(1.0);
        let last = if store == Store::Bf16 { want.abs() } else { 0.0 };
        f32_part + BF16 * (last + self.roundings * largest)
    }
}

/// Finiteness first, on both sides; then every element within its tolerance. Returns the largest share of it that was used.
fn compare(name: &str, got: &[f32], want: &[f64], store: Store, allowed: Allowed) -> Result<f64, String> {
    if got.len() != want.len() {
        return Err(format!("{name}: {} values, the oracle has {}", got.len(), want.len()));
    }
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        if !got.is_finite() || !want.is_finite() {
            return Err(format!("{name}[{i}] = {got}, the oracle says {want}: not finite"));
        }
    }
    let largest = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let mut used = 0.0f64;
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let tolerance = allowed.tolerance(*want, largest, store);
        let error = (f64::from(*got) - want).abs();
        if error > tolerance {
            return Err(format!(
                "{name}[{i}] = {got}, the oracle says {want}, off by {error:e}, tolerance {tolerance:e}"
            ));
        }
        used = used.max(error / tolerance);
    }
    Ok(used)
}

/// One device, one schedule, random inputs, remembered outputs.
struct Lab {
    device: Device,
    seed: u64,
    rng: Pcg64,
    outputs: Vec<(String, Vec<f32>)>,
    used: Vec<(String, f64)>,
}

impl Lab {
    fn new(seed: u64) -> Lab {
        Lab { device: Device::start(), seed, rng: Pcg64::seed_from_u64(7), outputs: Vec::new(), used: Vec::new() }
    }

    fn tensor(&mut self, name: &str, len: usize, store: Store) -> Tensor {
        let bytes = len * if store == Store::Bf16 { 2 } else { 4 };
        Tensor { name: name.to_owned(), at: self.device.alloc(name, bytes), len, store }
    }

    /// A tensor of NaN, to be overwritten.
    fn output(&mut self, name: &str, len: usize, store: Store) -> Tensor {
        self.tensor(name, len, store)
    }

    /// A tensor with these values, rounded to what it is stored in, and the same values in f64.
    fn given(&mut self, name: &str, values: &[f32], store: Store) -> (Tensor, Vec<f64>) {
        let tensor = self.tensor(name, values.len(), store);
        let values: Vec<f32> = values.iter().map(|x| if store == Store::Bf16 { round(*x) } else { *x }).collect();
        let bytes: Vec<u8> = match store {
            Store::Bf16 => values.iter().flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes()).collect(),
            Store::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        self.device.write(tensor.at, &bytes);
        (tensor, values.into_iter().map(f64::from).collect())
    }

    /// A tensor of uniform values in -1..1.
    fn input(&mut self, name: &str, len: usize, store: Store) -> (Tensor, Vec<f64>) {
        let values: Vec<f32> = (0..len).map(|_| self.rng.random_range(-1.0..1.0)).collect();
        self.given(name, &values, store)
    }

    fn read(&mut self, tensor: &Tensor) -> Vec<f32> {
        match tensor.store {
            Store::Bf16 => {
                let bytes = self.device.read(tensor.at, tensor.len * 2);
                bytes
                    .chunks_exact(2)
                    .map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16))
                    .collect()
            }
            Store::F32 => {
                let bytes = self.device.read(tensor.at, tensor.len * 4);
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
        }
    }

    #[track_caller]
    fn run(&mut self, launches: &[Launch]) {
        for launch in launches {
            if let Err(error) = self.device.launch(launch, self.seed) {
                panic!("{error} (schedule {})", self.seed);
            }
        }
    }

    /// Checks a tensor against the oracle's values.
    #[track_caller]
    fn expect(&mut self, tensor: &Tensor, want: &[f64], allowed: Allowed) {
        let got = self.read(tensor);
        match compare(&tensor.name, &got, want, tensor.store, allowed) {
            Ok(used) => self.used.push((tensor.name.clone(), used)),
            Err(message) => panic!("{message} (schedule {})", self.seed),
        }
        self.outputs.push((tensor.name.clone(), got));
    }
}

/// Runs a case in order, in reverse order and in a drawn order: right each time, and bit for bit the same.
#[track_caller]
fn schedules(case_name: &str, case: impl Fn(&mut Lab)) {
    let run = |seed| {
        let mut lab = Lab::new(seed);
        case(&mut lab);
        lab
    };
    let one = run(0);
    for (name, used) in &one.used {
        println!("{case_name}: {name} off by {:.0} % of its tolerance", used * 100.0);
    }
    for seed in [1, 2] {
        for ((name, one), (_, other)) in one.outputs.iter().zip(run(seed).outputs) {
            let differs = one.iter().zip(&other).position(|(a, b)| a.to_bits() != b.to_bits());
            assert_eq!(differs, None, "{case_name}: {name}: first difference between schedules 0 and {seed}");
        }
    }
}

/// a + b, elementwise: gradients accumulate.
fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

#[test]
fn the_checker_refuses_what_it_must() {
    let check = |got: &[f32], want: &[f64], store| compare("x", got, want, store, sums(1));
    assert!(check(&[1.0, 2.0], &[1.0, 2.0], Store::F32).is_ok());
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert!(check(&[1.0, bad], &[1.0, 2.0], Store::Bf16).unwrap_err().contains("not finite"));
        assert!(check(&[bad], &[f64::from(bad)], Store::Bf16).is_err());
    }
    assert!(check(&[1.0], &[1.0, 2.0], Store::F32).is_err());
    // A whole unit in bf16's last place is too much, half of one is not.
    assert!(check(&[1.0 + 1.0 / 128.0], &[1.0], Store::Bf16).is_err());
    assert!(check(&[1.0 + 1.0 / 256.0], &[1.0], Store::Bf16).is_ok());
    assert!(check(&[1.0 + 1.0 / 256.0], &[1.0], Store::F32).is_err());
}
