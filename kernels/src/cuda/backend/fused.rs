//! The inverted bottleneck as one operator.

use super::Cuda;
use crate::cuda::{Driver, bottleneck};
use crate::{Bottleneck, FusedBottleneck, Tensor};

impl<D: Driver> FusedBottleneck for Cuda<D> {
    fn bottleneck_forward(&mut self, x: Tensor, skip: Tensor, w: &Bottleneck, y: Tensor, rows: usize) {
        let (name, c) = ("bottleneck_forward", w.gain.len());
        let [x, skip, y] = self.half(name, [("x", x, rows * c), ("skip", skip, rows * c), ("y", y, rows * c)]);
        let w = self.bottleneck_weights(name, w);
        self.run(bottleneck::forward(x, skip, w, y, rows, c, bottleneck::forward_blocks(rows, c)));
    }
    fn bottleneck_backward(&mut self, dy: Tensor, x: Tensor, w: &Bottleneck, dx: Tensor, g: &Bottleneck, rows: usize) {
        let (name, c) = ("bottleneck_backward", w.gain.len());
        let [dy, x, dx] = self.half(name, [("dy", dy, rows * c), ("x", x, rows * c), ("dx", dx, rows * c)]);
        let (w, g) = (self.bottleneck_weights(name, w), self.bottleneck_parameters(name, g));
        let blocks = bottleneck::backward_blocks(rows, c);
        let parts = self.scratch(bottleneck::parts(c, blocks));
        self.run(bottleneck::backward(dy, x, w, dx, g, parts, rows, c, blocks));
    }
}

impl<D: Driver> Cuda<D> {
    #[track_caller]
    fn bottleneck_parameters(&mut self, name: &str, p: &Bottleneck) -> bottleneck::Parameters {
        let c = p.gain.len();
        let tensors = [
            ("gain", p.gain, c),
            ("shift", p.shift, c),
            ("expand_w", p.expand_w, 4 * c * c),
            ("expand_b", p.expand_b, 4 * c),
            ("contract_w", p.contract_w, 4 * c * c),
            ("contract_b", p.contract_b, c),
            ("scale", p.scale, c),
        ];
        let [g, b, w1, b1, w2, b2, scale] = self.exact(name, tensors);
        bottleneck::Parameters { g, b, w1, b1, w2, b2, scale }
    }

    /// With the bf16 copies of the matrices.
    #[track_caller]
    fn bottleneck_weights(&mut self, name: &str, w: &Bottleneck) -> bottleneck::Parameters {
        let exact = self.bottleneck_parameters(name, w);
        bottleneck::Parameters { w1: self.memory.half(w.expand_w), w2: self.memory.half(w.contract_w), ..exact }
    }
}
