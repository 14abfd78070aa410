//! Where every parameter lies: named tensors in one contiguous range.
//!
//! ```text
//!        decayed (matrices)                plain (biases, norms, scales, positions)
//! | encoder ........ | trunk ........ | encoder ........ | trunk ........ |
//! 0                  a                b                  c                len
//! ```
//!
//! One range means that weights, gradients and both AdamW moments are four tensors, that the gradient norm is one operator, and that the
//! optimiser needs two calls (with and without weight decay). The trunk is everything after the encoder; with a frozen encoder the
//! optimiser takes `a..b` and `c..len`. Every tensor starts at a multiple of [`ALIGN`] elements, so that a device may use wide loads;
//! the gaps hold zeros for ever.

use std::collections::HashMap;
use std::ops::Range;

use crate::config::{Head, ModelConfig};
use crate::rng;

/// Elements to whose multiples tensors are aligned: 64 bytes of f32.
const ALIGN: usize = 16;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Init {
    /// Normal with this standard deviation, cut off at three of them.
    Normal(f64),
    /// One value everywhere.
    Constant(f32),
}

/// One named parameter.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    /// Dotted path, such as `encoder.1.0.expand.w`.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// First element in the range.
    pub start: usize,
    pub init: Init,
    /// Whether weight decay applies.
    pub decayed: bool,
    /// Whether it belongs to the encoder.
    pub encoder: bool,
}

impl Parameter {
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.len()
    }
}

/// Every parameter of a model, with its place.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    parameters: Vec<Parameter>,
    by_name: HashMap<String, usize>,
    /// The borders a, b, c, len of the drawing above.
    borders: [usize; 4],
}

impl Layout {
    /// The layout of `config` with `head` on top.
    pub fn new(config: &ModelConfig, head: Head) -> Self {
        let mut list = List::default();
        list.encoder(config);
        list.trunk(config, head);
        list.place()
    }

    /// All parameters, in the order of their places.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// A parameter that the model's code knows to exist.
    pub fn get(&self, name: &str) -> &Parameter {
        &self.parameters[self.by_name[name]]
    }

    /// The parameter of that name, where there is one.
    pub fn find(&self, name: &str) -> Option<&Parameter> {
        self.by_name.get(name).map(|&i| &self.parameters[i])
    }

    /// Elements of the whole range, gaps included.
    pub fn len(&self) -> usize {
        self.borders[3]
    }

    /// Number of parameters without the gaps.
    pub fn count(&self) -> usize {
        self.parameters.iter().map(Parameter::len).sum()
    }

    /// The ranges to optimise, each with whether weight decay applies.
    pub fn trainable(&self, freeze_encoder: bool) -> [(Range<usize>, bool); 2] {
        let [a, b, c, len] = self.borders;
        if freeze_encoder { [(a..b, true), (c..len, false)] } else { [(0..b, true), (b..len, false)] }
    }

    /// Where the trunk's parameters are.
    pub fn trunk(&self) -> [Range<usize>; 2] {
        let [a, b, c, len] = self.borders;
        [a..b, c..len]
    }

    /// Where the encoder's parameters are.
    pub fn encoder(&self) -> [Range<usize>; 2] {
        let [a, b, c, _] = self.borders;
        [0..a, b..c]
    }

    /// Initial values: each parameter from its own generator, so that a model with another head starts with the same encoder.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        for parameter in &self.parameters {
            let slot = &mut values[parameter.range()];
            match parameter.init {
                Init::Constant(value) => slot.fill(value),
                Init::Normal(std) => {
                    let path: Vec<u64> = parameter.name.bytes().map(u64::from).collect();
                    let mut rng = rng::at(seed, &path);
                    slot.fill_with(|| (rng::normal(&mut rng).clamp(-3.0, 3.0) * std) as f32);
                }
            }
        }
        values
    }
}

/// The parameters in the order they are used, before they have places.
#[derive(Default)]
struct List {
    parameters: Vec<Parameter>,
    in_encoder: bool,
}

impl List {
    fn add(&mut self, name: String, shape: &[usize], init: Init, decayed: bool) {
        self.parameters.push(Parameter {
            name,
            shape: shape.to_vec(),
            start: 0,
            init,
            decayed,
            encoder: self.in_encoder,
        });
    }

    fn linear(&mut self, name: &str, k: usize, n: usize) {
        self.linear_std(name, k, n, 0.02);
    }

    fn linear_std(&mut self, name: &str, k: usize, n: usize, std: f64) {
        self.add(format!("{name}.w"), &[k, n], Init::Normal(std), true);
        self.add(format!("{name}.b"), &[n], Init::Constant(0.0), false);
    }

    fn norm(&mut self, name: &str, c: usize) {
        self.add(format!("{name}.g"), &[c], Init::Constant(1.0), false);
        self.add(format!("{name}.b"), &[c], Init::Constant(0.0), false);
    }

    fn encoder(&mut self, config: &ModelConfig) {
        self.in_encoder = true;
        self.linear_std("encoder.stem", 48, config.dims[0], fan_in(48));
        self.norm("encoder.stem.norm", config.dims[0]);
        for (stage, (&c, &depth)) in config.dims.iter().zip(&config.depths).enumerate() {
            if stage > 0 {
                let before = config.dims[stage - 1];
                self.norm(&format!("encoder.{stage}.down.norm"), before);
                self.linear_std(&format!("encoder.{stage}.down"), 4 * before, c, fan_in(4 * before));
            }
            for block in 0..depth {
                let at = format!("encoder.{stage}.{block}");
                self.add(format!("{at}.depthwise.w"), &[49, c], Init::Normal(fan_in(49)), true);
                self.add(format!("{at}.depthwise.b"), &[c], Init::Constant(0.0), false);
                self.norm(&format!("{at}.norm"), c);
                self.linear_std(&format!("{at}.expand"), c, 4 * c, fan_in(c));
                self.linear_std(&format!("{at}.contract"), 4 * c, c, fan_in(4 * c));
                self.add(format!("{at}.scale"), &[c], Init::Constant(0.1), false);
            }
        }
        let last = config.dims[config.dims.len() - 1];
        self.norm("encoder.out.norm", last);
        self.linear_std("encoder.out", config.read_out(), config.width, fan_in(config.read_out()));
        self.in_encoder = false;
    }

    fn trunk(&mut self, config: &ModelConfig, head: Head) {
        let d = config.width;
        // GPT-2: projections onto the residual stream start smaller, so that its variance does not grow with depth.
        let onto_residual = 0.02 / (2.0 * config.layers as f64).sqrt();
        self.add("position".to_owned(), &[config.context, d], Init::Normal(0.02), false);
        for layer in 0..config.layers {
            let at = format!("layers.{layer}");
            self.norm(&format!("{at}.attention.norm"), d);
            self.linear(&format!("{at}.attention.qkv"), d, 3 * d);
            self.linear_std(&format!("{at}.attention.out"), d, d, onto_residual);
            self.norm(&format!("{at}.ffn.norm"), d);
            self.linear(&format!("{at}.ffn.expand"), d, config.ffn);
            self.linear_std(&format!("{at}.ffn.contract"), config.ffn, d, onto_residual);
        }
        self.norm("norm", d);
        let name = match head {
            Head::Policy => "head.policy",
            Head::Reward => "head.reward",
        };
        self.linear(name, d, head.width(config));
    }

    fn place(mut self) -> Layout {
        // A stable sort keeps the order of use within each of the four groups.
        self.parameters.sort_by_key(|p| (!p.decayed, !p.encoder));
        let (mut end, mut borders) = (0, [0; 4]);
        for parameter in &mut self.parameters {
            parameter.start = end;
            end = (end + parameter.len()).next_multiple_of(ALIGN);
            let group = usize::from(!parameter.decayed) * 2 + usize::from(!parameter.encoder);
            borders[group..].fill(end);
        }
        let by_name = self.parameters.iter().enumerate().map(|(i, p)| (p.name.clone(), i)).collect();
        Layout { parameters: self.parameters, by_name, borders }
    }
}

/// Standard deviation that keeps the variance of a sum over `n` inputs of variance one. The encoder starts with it: at 0.02 its narrow
/// layers shrink the picture's variance by two orders of magnitude before the first norm sees it.
fn fan_in(n: usize) -> f64 {
    1.0 / (n as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(preset: &str, head: Head) -> Layout {
        Layout::new(&ModelConfig::preset(preset).unwrap(), head)
    }

    #[test]
    fn presets_have_their_sizes() {
        assert_eq!(layout("paper", Head::Policy).count(), 102_760_868);
        assert_eq!(layout("small", Head::Policy).count(), 4_968_892);
        assert_eq!(layout("tiny", Head::Policy).count(), 601_748);
    }

    #[test]
    fn parameters_are_aligned_disjoint_and_grouped() {
        for head in [Head::Policy, Head::Reward] {
            let layout = layout("tiny", head);
            let mut end = 0;
            for p in layout.parameters() {
                assert!(p.start >= end && p.start % ALIGN == 0, "{}", p.name);
                end = p.range().end;
            }
            assert!(layout.len() >= end);
            let [(decayed, yes), (plain, no)] = layout.trainable(false);
            assert!(yes && !no && decayed.start == 0 && decayed.end == plain.start && plain.end == layout.len());
            for (range, decays) in layout.trainable(true) {
                for p in layout.parameters().iter().filter(|p| p.decayed == decays) {
                    assert_eq!(range.contains(&p.start), !p.encoder, "{}", p.name);
                }
            }
        }
    }

    #[test]
    fn only_matrices_decay() {
        for p in layout("small", Head::Policy).parameters() {
            assert_eq!(p.decayed, p.name.ends_with(".w"), "{}", p.name);
        }
    }

    #[test]
    fn the_encoder_starts_alike_under_either_head() {
        let (policy, reward) = (layout("tiny", Head::Policy), layout("tiny", Head::Reward));
        let (a, b) = (policy.initial(5), reward.initial(5));
        for p in policy.parameters().iter().filter(|p| p.encoder) {
            assert_eq!(a[p.range()], b[reward.get(&p.name).range()], "{}", p.name);
        }
        assert_ne!(a, policy.initial(6));
        let std = {
            let w = &a[policy.get("layers.0.ffn.expand.w").range()];
            (w.iter().map(|x| f64::from(x * x)).sum::<f64>() / w.len() as f64).sqrt()
        };
        assert!((std - 0.02).abs() < 1e-3, "{std}");
    }
}
