//! Every operator against its f64 oracle, at every SIMD level; then with 1, 2 and 3 threads, bit for bit.
//!
//! Here is the laboratory: random inputs, outputs filled with NaN before the operator runs (what it forgets to write
//! shows), and the comparison. The cases are in the modules: `encoder` (stem, depthwise, patches, pooling), `layers`
//! (linear, GELU, layer scale, norms), `transformer` (positions, attention), `losses` (losses, optimiser, elementary),
//! `rules` (what must be refused).

mod encoder;
mod layers;
mod losses;
mod rules;
mod transformer;

use super::{Cpu, Level};
use crate::{Backend, Bytes, Kind, Tensor};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// The tolerance, once: a sum of n f32 terms, added one after another, is off by about eps * sqrt(n) of its largest
/// partial sum when roundings are independent; 4 roundings before and after it; a factor of 4 for the tail of the
/// distribution over all elements. Relative to the largest value of the tensor, or to 1.
fn tolerance(n: usize, want: &[f64]) -> f64 {
    let largest = want.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    4.0 * f64::from(f32::EPSILON) * ((n as f64).sqrt() + 4.0) * largest
}

/// Finiteness first, on both sides; then every element within the tolerance for reductions of length n.
fn compare(name: &str, got: &[f32], want: &[f64], n: usize) -> Result<(), String> {
    if got.len() != want.len() {
        return Err(format!("{name}: {} values, the oracle has {}", got.len(), want.len()));
    }
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        if !got.is_finite() || !want.is_finite() {
            return Err(format!("{name}[{i}] = {got}, the oracle says {want}: not finite"));
        }
    }
    let tolerance = tolerance(n, want);
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        if (f64::from(*got) - want).abs() > tolerance {
            return Err(format!("{name}[{i}] = {got}, the oracle says {want}, tolerance {tolerance:e}"));
        }
    }
    Ok(())
}

/// One backend with random inputs and remembered outputs.
struct Lab {
    cpu: Cpu,
    rng: Pcg64,
    outputs: Vec<(String, Vec<f32>)>,
}

impl Lab {
    fn new(level: Level, threads: usize) -> Lab {
        let mut cpu = Cpu::with_level(level, threads);
        cpu.pool.share_from = 0;
        Lab { cpu, rng: Pcg64::seed_from_u64(7), outputs: Vec::new() }
    }

    /// A tensor of uniform values in -1..1, and the same values in f64.
    fn input(&mut self, len: usize) -> (Tensor, Vec<f64>) {
        let values: Vec<f32> = (0..len).map(|_| self.rng.random_range(-1.0..1.0)).collect();
        let tensor = self.cpu.alloc(len, Kind::Activation);
        self.cpu.upload(tensor, &values);
        (tensor, values.into_iter().map(f64::from).collect())
    }

    /// A tensor of NaN, to be overwritten.
    fn output(&mut self, len: usize) -> Tensor {
        let tensor = self.cpu.alloc(len, Kind::Activation);
        self.cpu.upload(tensor, &vec![f32::NAN; len]);
        tensor
    }

    /// Uniform bytes below `end`.
    fn bytes(&mut self, len: usize, end: impl Fn(usize) -> u8) -> (Bytes, Vec<u8>) {
        let values: Vec<u8> = (0..len).map(|i| self.rng.random_range(0..=end(i))).collect();
        let bytes = self.cpu.alloc_bytes(len);
        self.cpu.upload_bytes(bytes, &values);
        (bytes, values)
    }

    /// Checks a tensor against the oracle's values, which sum n terms.
    #[track_caller]
    fn expect(&mut self, name: &str, tensor: Tensor, want: &[f64], n: usize) {
        let mut got = vec![0.0; tensor.len()];
        self.cpu.download(tensor, &mut got);
        if let Err(message) = compare(name, &got, want, n) {
            panic!("{} at {}", message, self.cpu.name());
        }
        self.outputs.push((name.to_owned(), got));
    }
}

/// Runs a case at every level, then at the best level with 2 and 3 threads: same bits as with 1.
#[track_caller]
fn everywhere(case: impl Fn(&mut Lab)) {
    let levels = Level::available();
    let run = |level: Level, threads: usize| {
        let mut lab = Lab::new(level, threads);
        case(&mut lab);
        lab.outputs
    };
    let alone: Vec<_> = levels.iter().map(|level| run(*level, 1)).collect();
    for threads in [2, 3] {
        for ((name, one), (_, many)) in alone[0].iter().zip(run(levels[0], threads)) {
            let differs = one.iter().zip(&many).position(|(a, b)| a.to_bits() != b.to_bits());
            assert_eq!(differs, None, "{name}: first difference between 1 and {threads} threads");
        }
    }
}

/// a + b, elementwise: gradients accumulate.
fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}
