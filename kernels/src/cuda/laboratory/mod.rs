//! The laboratory: every kernel at every class of shape against its f64 oracle, on the emulated device or on a GPU.
//!
//! ```text
//! Case    a name, and what to do in a Lab            one file an operator: attention.rs, depthwise.rs, ..
//! Lab     random inputs, launches, expectations      this file
//! Bench   memory and launches of one device          emulator.rs: with a schedule; device/bench.rs: a GPU
//! ```
//!
//! Tests run the cases on the emulated device under several schedules (`cuda/tests`); the program `kernels/laboratory` runs them where
//! a GPU is. What is expected is computed in f64 from the inputs as they are stored, and the tolerance is counted, not tuned.

mod attention;
mod bottleneck;
mod depthwise;
mod frames;
mod layer_norm;
mod layers;
mod losses;
mod product;
mod stem;
pub mod timing;
pub mod usage;

pub use super::device::bench::{Ceilings, Clock, GpuBench};

use super::linear::Epilogue;
use super::{Fused, Launch, Pointer, Product, Store, bf16};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::collections::BTreeSet;

/// Half a unit in the last place of bf16, relative to the value: what one rounding may change.
const BF16: f64 = 1.0 / 256.0;

/// What a case needs of a device.
pub trait Bench {
    /// Memory whose every value is NaN; `name` is for messages.
    fn alloc(&mut self, name: &str, bytes: usize) -> Pointer;
    /// Host to device.
    fn write(&mut self, to: Pointer, bytes: &[u8]);
    /// Device to host, after all launches.
    fn read(&mut self, from: Pointer, bytes: usize) -> Vec<u8>;
    /// Runs a kernel.
    ///
    /// # Errors
    /// What the device found wrong with it.
    fn launch(&mut self, launch: &Launch) -> Result<(), String>;
    /// Runs a matrix product; false, and nothing is done, if the device does not fuse it with what follows.
    ///
    /// # Errors
    /// What the device found wrong with it.
    fn multiply(&mut self, product: &Product, fused: Option<Fused>) -> Result<bool, String>;
}

/// One shape of one operator.
pub struct Case {
    /// The operator and its sizes.
    pub name: String,
    run: Box<dyn Fn(&mut Lab<'_>)>,
}

fn case(name: String, run: impl Fn(&mut Lab<'_>) + 'static) -> Case {
    Case { name, run: Box::new(run) }
}

/// What came of one case on one device.
pub struct Outcome {
    /// One entry a tensor that was looked at.
    pub checked: Vec<Checked>,
    /// A launch that the device refused; nothing after it was run.
    pub refused: Option<String>,
}

/// A tensor beside what the oracle says it is.
pub struct Checked {
    /// Its name in the operator.
    pub tensor: String,
    /// Its values.
    pub values: Vec<f32>,
    /// The kernels that ran since the tensor before it was looked at.
    pub kernels: BTreeSet<&'static str>,
    /// How far it is off, or the first value that is wrong.
    pub result: Result<Off, String>,
}

/// What a tensor is off by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Off {
    /// The largest error, relative to the largest value of the tensor.
    pub largest: f64,
    /// The largest share of its tolerance that an element has used.
    pub used: f64,
}

/// Every case.
pub fn cases() -> Vec<Case> {
    let groups = [
        attention::cases(),
        bottleneck::cases(),
        depthwise::cases(),
        frames::cases(),
        layer_norm::cases(),
        layers::cases(),
        losses::cases(),
        product::cases(),
        stem::cases(),
    ];
    groups.into_iter().flatten().collect()
}

impl Case {
    /// Runs the case on a device, with the same inputs each time.
    pub fn run(&self, bench: &mut dyn Bench) -> Outcome {
        let mut lab = Lab::new(bench);
        (self.run)(&mut lab);
        Outcome { checked: lab.checked, refused: lab.refused }
    }
}

/// A tensor on the device.
#[derive(Clone)]
pub(super) struct Tensor {
    name: String,
    pub(super) at: Pointer,
    len: usize,
    store: Store,
}

/// What an output may be off by.
#[derive(Clone, Copy)]
pub(super) struct Allowed {
    /// Terms of the longest f32 sum.
    sum: usize,
    /// bf16 roundings of intermediate values that are as large as the largest value of the tensor.
    roundings: f64,
}

/// Sums of n terms in f32, and the rounding of the result to what it is stored in.
pub(super) fn sums(n: usize) -> Allowed {
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

/// Finiteness first, on both sides; then every element within its tolerance.
fn compare(name: &str, got: &[f32], want: &[f64], store: Store, allowed: Allowed) -> Result<Off, String> {
    if got.len() != want.len() {
        return Err(format!("{name}: {} values, the oracle has {}", got.len(), want.len()));
    }
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        if !got.is_finite() || !want.is_finite() {
            return Err(format!("{name}[{i}] = {got}, the oracle says {want}: not finite"));
        }
    }
    let largest = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let mut off = Off { largest: 0.0, used: 0.0 };
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let tolerance = allowed.tolerance(*want, largest, store);
        let error = (f64::from(*got) - want).abs();
        if error > tolerance {
            return Err(format!(
                "{name}[{i}] = {got}, the oracle says {want}, off by {error:e}, tolerance {tolerance:e}"
            ));
        }
        off.largest = off.largest.max(error / largest.max(f64::MIN_POSITIVE));
        off.used = off.used.max(error / tolerance);
    }
    Ok(off)
}

/// One device, random inputs, and what came out.
pub(super) struct Lab<'a> {
    bench: &'a mut dyn Bench,
    rng: Pcg64,
    /// What ran since a tensor was last looked at, or made those that are being looked at.
    kernels: BTreeSet<&'static str>,
    looked: bool,
    pub(super) checked: Vec<Checked>,
    pub(super) refused: Option<String>,
}

impl<'a> Lab<'a> {
    pub(super) fn new(bench: &'a mut dyn Bench) -> Self {
        let (kernels, checked) = (BTreeSet::new(), Vec::new());
        Lab { bench, rng: Pcg64::seed_from_u64(7), kernels, looked: false, checked, refused: None }
    }

    /// Bytes on the device.
    fn bytes(&mut self, name: &str, values: &[u8]) -> Pointer {
        let at = self.bench.alloc(name, values.len());
        self.bench.write(at, values);
        at
    }

    /// A tensor of NaN, to be overwritten.
    pub(super) fn output(&mut self, name: &str, len: usize, store: Store) -> Tensor {
        Tensor { name: name.to_owned(), at: self.bench.alloc(name, len * store.size()), len, store }
    }

    /// A tensor with these values, rounded to what it is stored in, and the same values in f64.
    pub(super) fn given(&mut self, name: &str, values: &[f32], store: Store) -> (Tensor, Vec<f64>) {
        let bytes: Vec<u8> = match store {
            Store::Bf16 => bf16::encode(values),
            Store::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        let at = self.bytes(name, &bytes);
        let exact = decode(&bytes, store).into_iter().map(f64::from).collect();
        (Tensor { name: name.to_owned(), at, len: values.len(), store }, exact)
    }

    /// A tensor of uniform values in -1..1.
    pub(super) fn input(&mut self, name: &str, len: usize, store: Store) -> (Tensor, Vec<f64>) {
        let values: Vec<f32> = (0..len).map(|_| self.rng.random_range(-1.0..1.0)).collect();
        self.given(name, &values, store)
    }

    pub(super) fn read(&mut self, tensor: &Tensor) -> Vec<f32> {
        decode(&self.bench.read(tensor.at, tensor.len * tensor.store.size()), tensor.store)
    }

    /// Runs launches, unless one was refused.
    pub(super) fn run(&mut self, launches: &[Launch]) {
        for launch in launches {
            if self.refused.is_some() {
                return;
            }
            self.runs(launch.kernel);
            self.refused = self.bench.launch(launch).err();
        }
    }

    /// Runs a product; whether the device has it.
    fn multiply(&mut self, product: &Product, fused: Option<Fused>) -> bool {
        if self.refused.is_some() {
            return false;
        }
        match self.bench.multiply(product, fused) {
            Ok(done) => {
                if done {
                    self.runs(product_name(fused));
                }
                done
            }
            Err(error) => {
                self.refused = Some(error);
                false
            }
        }
    }

    fn runs(&mut self, kernel: &'static str) {
        if std::mem::take(&mut self.looked) {
            self.kernels.clear();
        }
        self.kernels.insert(kernel);
    }

    /// Checks a tensor against the oracle's values.
    pub(super) fn expect(&mut self, tensor: &Tensor, want: &[f64], allowed: Allowed) {
        if self.refused.is_some() {
            return;
        }
        self.looked = true;
        let values = self.read(tensor);
        let result = compare(&tensor.name, &values, want, tensor.store, allowed);
        let kernels = self.kernels.clone();
        self.checked.push(Checked { tensor: tensor.name.clone(), values, kernels, result });
    }

    /// Checks bytes against the oracle's, which must be the same.
    fn expect_bytes(&mut self, name: &str, at: Pointer, want: &[u8]) {
        if self.refused.is_some() {
            return;
        }
        self.looked = true;
        let got = self.bench.read(at, want.len());
        let wrong = got.iter().zip(want).position(|(got, want)| got != want);
        let result = match wrong {
            Some(i) => Err(format!("{name}[{i}] = {}, the oracle says {}", got[i], want[i])),
            None => Ok(Off { largest: 0.0, used: 0.0 }),
        };
        let (values, kernels) = (got.into_iter().map(f32::from).collect(), self.kernels.clone());
        self.checked.push(Checked { tensor: name.to_owned(), values, kernels, result });
    }
}

/// A matrix product beside the kernels, each with what is fused on its own.
fn product_name(fused: Option<Fused>) -> &'static str {
    match fused {
        None => "matrix product",
        Some(Fused::Forward { epilogue: Epilogue::Bias, .. }) => "matrix product, bias",
        Some(Fused::Forward { epilogue: Epilogue::Gelu { .. }, .. }) => "matrix product, gelu",
        Some(Fused::Forward { epilogue: Epilogue::Residual { .. }, .. }) => "matrix product, residual",
        Some(Fused::GeluBackward { .. }) => "matrix product, gelu_backward",
    }
}

fn decode(bytes: &[u8], store: Store) -> Vec<f32> {
    match store {
        Store::Bf16 => bf16::decode(bytes).collect(),
        Store::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
    }
}

/// a + b, elementwise: gradients accumulate.
fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn no_two_cases_have_one_name() {
        let names: BTreeSet<String> = cases().into_iter().map(|case| case.name).collect();
        assert_eq!(names.len(), cases().len());
    }
}
