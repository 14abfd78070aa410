//! The shape of a model, and the three presets.
//!
//! | preset | frame | encoder dims (blocks) | readout | d | layers | heads | FFN | for |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | `tiny` | 64 | 16/32/64 (1,1,1) | flatten | 128 | 2 | 4 | 512 | two CPU cores, minutes |
//! | `small` | 128 | 24/48/96 (1,1,2) | flatten | 256 | 4 | 4 | 1024 | two CPU cores, overnight |
//! | `paper` | 128 | 32/64/128/256 (2,2,2,2) | mean | 1024 | 8 | 8 | 4096 | arXiv 2406.04208, 102.8 M parameters |

use std::path::Path;

use playhouse_schemas::ActionSpace;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::ModelFile;
use crate::layout::Layout;

/// Side in pixels of the square frames that environments and datasets deliver.
pub const SOURCE_FRAME: usize = 128;

/// Edge of the stem's patches in pixels.
pub(crate) const STEM_PATCH: usize = 4;

/// The shape of an agent: a ConvNeXt encoder of single frames under a causal transformer over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Name shown to people; it does not enter the computation.
    pub name: String,
    /// Side of the square frame the encoder sees. Frames of 128 are averaged down to it, so it is 128, 64 or 32.
    pub frame_size: usize,
    /// Channels of each encoder stage; every stage after the first halves the resolution.
    pub dims: Vec<usize>,
    /// Blocks of each encoder stage.
    pub depths: Vec<usize>,
    /// How the last feature map becomes one embedding.
    pub readout: Readout,
    /// Width of the embedding and of the transformer (d).
    pub width: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads (NH); each has `width / heads` channels (HS).
    pub heads: usize,
    /// Hidden width of the transformer's feed-forward layers.
    pub ffn: usize,
    /// Timesteps of a window (H, T).
    pub context: usize,
    /// The action components, in the action space's order. One categorical head each.
    pub actions: Vec<Component>,
}

/// How the encoder's last feature map `[P,C]` becomes one embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Readout {
    /// The mean over P, as ConvNeXt classifies: where a thing is in the picture must have been written into channels before.
    Mean,
    /// All of it, P x C values: a shallow encoder that steers by what it sees needs to know where things are.
    Flatten,
}

/// One action component as the policy sees it: a categorical.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Name in the action space, for metrics.
    pub name: String,
    /// Number of values.
    pub values: usize,
}

impl ModelConfig {
    /// Names accepted by [`ModelConfig::preset`].
    pub const PRESETS: [&'static str; 3] = ["tiny", "small", "paper"];

    /// A preset by name, with heads for the `gamepad` action space.
    pub fn preset(name: &str) -> Result<Self> {
        let actions: Vec<Component> = ActionSpace::gamepad()
            .components
            .iter()
            .map(|c| Component { name: c.name.clone(), values: usize::from(c.cardinality) })
            .collect();
        let config = |frame_size, dims: &[usize], depths: &[usize], readout, width, layers, heads, ffn| Self {
            name: name.to_owned(),
            frame_size,
            dims: dims.to_vec(),
            depths: depths.to_vec(),
            readout,
            width,
            layers,
            heads,
            ffn,
            context: 32,
            actions,
        };
        Ok(match name {
            "tiny" => config(64, &[16, 32, 64], &[1, 1, 1], Readout::Flatten, 128, 2, 4, 512),
            "small" => config(128, &[24, 48, 96], &[1, 1, 2], Readout::Flatten, 256, 4, 4, 1024),
            "paper" => config(128, &[32, 64, 128, 256], &[2, 2, 2, 2], Readout::Mean, 1024, 8, 8, 4096),
            _ => {
                return Err(Error::Settings(format!(
                    "there is no model preset \"{name}\"; choose one of {}",
                    Self::PRESETS.join(", ")
                )));
            }
        })
    }

    /// The shape of the model in a file.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(ModelFile::read(path)?.config)
    }

    /// Checks that the shape can be built; every public entry point calls this first.
    pub fn validate(&self) -> Result<()> {
        let fail = |text: String| Err(Error::Settings(format!("model \"{}\": {text}", self.name)));
        if ![SOURCE_FRAME, SOURCE_FRAME / 2, SOURCE_FRAME / 4].contains(&self.frame_size) {
            return fail(format!("frame_size is {}, but must be 128, 64 or 32", self.frame_size));
        }
        if self.dims.is_empty() || self.dims.len() != self.depths.len() {
            return fail(format!("dims has {} stages and depths {}", self.dims.len(), self.depths.len()));
        }
        if (self.frame_size / STEM_PATCH) >> (self.dims.len() - 1) == 0 {
            return fail(format!("{} stages are too many for frames of {}", self.dims.len(), self.frame_size));
        }
        let sizes = [self.width, self.layers, self.heads, self.ffn];
        if self.dims.iter().chain(&sizes).any(|&size| size == 0) {
            return fail("dims, width, layers, heads and ffn must be positive".to_owned());
        }
        if !self.width.is_multiple_of(self.heads) {
            return fail(format!("width {} is not a multiple of heads {}", self.width, self.heads));
        }
        if self.context < 2 || !self.context.is_multiple_of(2) {
            return fail(format!("context is {}, but must be even and at least 2", self.context));
        }
        if self.actions.is_empty() || self.actions.iter().any(|c| !(2..=256).contains(&c.values)) {
            return fail("every action component needs 2 to 256 values".to_owned());
        }
        Ok(())
    }

    /// Number of parameters with `head` on top.
    pub fn parameters(&self, head: Head) -> usize {
        Layout::new(self, head).count()
    }

    /// Bytes of one frame as the encoder sees it: `frame_size` squared, RGB.
    pub fn frame_bytes(&self) -> usize {
        self.frame_size * self.frame_size * 3
    }

    /// Width of the policy head: the components' values, one after another.
    pub fn logits(&self) -> usize {
        self.actions.iter().map(|c| c.values).sum()
    }

    /// Values of each component: the sizes of the policy's heads.
    pub fn cardinalities(&self) -> Vec<usize> {
        self.actions.iter().map(|c| c.values).collect()
    }

    /// Channels of one attention head (HS).
    pub fn head_size(&self) -> usize {
        self.width / self.heads
    }

    /// Side of stage `stage`'s feature map.
    pub(crate) fn side(&self, stage: usize) -> usize {
        (self.frame_size / STEM_PATCH) >> stage
    }

    /// Values of a frame that the projection to an embedding reads.
    pub(crate) fn read_out(&self) -> usize {
        let last = self.dims.len() - 1;
        match self.readout {
            Readout::Mean => self.dims[last],
            Readout::Flatten => self.side(last) * self.side(last) * self.dims[last],
        }
    }

    /// How many positions are dropped when a rollout's context is full: half of it.
    pub fn hop(&self) -> usize {
        self.context / 2
    }
}

/// What sits on the transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// Logits of every action component at every timestep.
    Policy,
    /// One scalar, read at the last real timestep of a window.
    Reward,
}

impl Head {
    /// Outputs a timestep.
    pub fn width(self, config: &ModelConfig) -> usize {
        match self {
            Self::Policy => config.logits(),
            Self::Reward => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_unknown_names_are_listed() {
        for name in ModelConfig::PRESETS {
            ModelConfig::preset(name).unwrap().validate().unwrap();
        }
        let message = ModelConfig::preset("large").unwrap_err().to_string();
        assert!(message.contains("large") && message.contains("tiny, small, paper"), "{message}");
    }

    #[test]
    fn impossible_shapes_are_refused() {
        let good = ModelConfig::preset("tiny").unwrap();
        for bad in [
            ModelConfig { frame_size: 100, ..good.clone() },
            ModelConfig { depths: vec![1, 1], ..good.clone() },
            ModelConfig { heads: 3, ..good.clone() },
            ModelConfig { context: 31, ..good.clone() },
            ModelConfig { dims: vec![8; 7], depths: vec![1; 7], ..good.clone() },
            ModelConfig { actions: vec![], ..good.clone() },
        ] {
            assert!(matches!(bad.validate(), Err(Error::Settings(_))), "{bad:?}");
        }
    }
}
