//! The parameters as the model's code sees them: a tree of handles instead of a list of names.
//!
//! The same tree is made over the weights and over the gradients, so that `weights.stem.w` and `gradients.stem.w` always belong together.

use playhouse_kernels::Tensor;

use crate::config::{Head, ModelConfig};
use crate::layout::Layout;

/// A matrix and its bias: `w [K, N]`, `b [N]`.
#[derive(Clone, Copy)]
pub(crate) struct Linear {
    pub w: Tensor,
    pub b: Tensor,
    pub k: usize,
    pub n: usize,
}

/// Gain and bias of a layer norm, `[C]` each.
#[derive(Clone, Copy)]
pub(crate) struct Norm {
    pub g: Tensor,
    pub b: Tensor,
}

/// One ConvNeXt block of C channels.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    /// `w [49, C]`, `b [C]`.
    pub depthwise: Depthwise,
    pub norm: Norm,
    pub expand: Linear,
    pub contract: Linear,
    /// Layer scale, `[C]`.
    pub scale: Tensor,
}

/// A depthwise 7x7 convolution: `w [49, C]`, `b [C]`.
#[derive(Clone, Copy)]
pub(crate) struct Depthwise {
    pub w: Tensor,
    pub b: Tensor,
}

/// One encoder stage.
#[derive(Clone)]
pub(crate) struct Stage {
    /// Layer norm and 2x2/2 convolution; the first stage has none.
    pub down: Option<(Norm, Linear)>,
    pub blocks: Vec<Block>,
}

/// One transformer layer.
#[derive(Clone, Copy)]
pub(crate) struct Layer {
    pub attention_norm: Norm,
    pub qkv: Linear,
    pub out: Linear,
    pub ffn_norm: Norm,
    pub expand: Linear,
    pub contract: Linear,
}

/// Every parameter of a model, over one tensor of the layout's length.
#[derive(Clone)]
pub(crate) struct View {
    pub stem: Linear,
    pub stem_norm: Norm,
    pub stages: Vec<Stage>,
    pub out_norm: Norm,
    pub out: Linear,
    /// `[T, d]`.
    pub position: Tensor,
    pub layers: Vec<Layer>,
    pub norm: Norm,
    pub head: Linear,
}

impl View {
    /// Looks every parameter up once.
    pub fn new(config: &ModelConfig, head: Head, layout: &Layout, base: Tensor) -> Self {
        let tensor = |name: String| {
            let parameter = layout.get(&name);
            base.slice(parameter.start, parameter.len())
        };
        let linear = |name: &str| {
            let shape = &layout.get(&format!("{name}.w")).shape;
            Linear { w: tensor(format!("{name}.w")), b: tensor(format!("{name}.b")), k: shape[0], n: shape[1] }
        };
        let norm = |name: &str| Norm { g: tensor(format!("{name}.g")), b: tensor(format!("{name}.b")) };
        let block = |at: String| Block {
            depthwise: Depthwise { w: tensor(format!("{at}.depthwise.w")), b: tensor(format!("{at}.depthwise.b")) },
            norm: norm(&format!("{at}.norm")),
            expand: linear(&format!("{at}.expand")),
            contract: linear(&format!("{at}.contract")),
            scale: tensor(format!("{at}.scale")),
        };
        let stage = |(stage, &depth): (usize, &usize)| Stage {
            down: (stage > 0)
                .then(|| (norm(&format!("encoder.{stage}.down.norm")), linear(&format!("encoder.{stage}.down")))),
            blocks: (0..depth).map(|b| block(format!("encoder.{stage}.{b}"))).collect(),
        };
        let layer = |layer: usize| {
            let at = |part: &str| format!("layers.{layer}.{part}");
            Layer {
                attention_norm: norm(&at("attention.norm")),
                qkv: linear(&at("attention.qkv")),
                out: linear(&at("attention.out")),
                ffn_norm: norm(&at("ffn.norm")),
                expand: linear(&at("ffn.expand")),
                contract: linear(&at("ffn.contract")),
            }
        };
        Self {
            stem: linear("encoder.stem"),
            stem_norm: norm("encoder.stem.norm"),
            stages: config.depths.iter().enumerate().map(stage).collect(),
            out_norm: norm("encoder.out.norm"),
            out: linear("encoder.out"),
            position: tensor("position".to_owned()),
            layers: (0..config.layers).map(layer).collect(),
            norm: norm("norm"),
            head: linear(match head {
                Head::Policy => "head.policy",
                Head::Reward => "head.reward",
            }),
        }
    }
}
