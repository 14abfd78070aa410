//! What training reads: windows of play, and pairs of them.

use crate::config::{Component, ModelConfig, SOURCE_FRAME};
use crate::error::{Error, Result};
use crate::packed;

/// A batch of B windows of T = 32 timesteps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowBatch {
    /// Frames, `[B, T, S, S, 3]` with S = the source's [`frame_size`](WindowSource::frame_size). Of a source that was asked to
    /// [pack](WindowSource::pack) and does: its windows' [`PackedFrames`](crate::PackedFrames), joined.
    pub frames: Vec<u8>,
    /// Actions as buckets, `[B, T, components]`; action t was taken after seeing frame t.
    pub actions: Vec<u8>,
    /// Loss weight of each timestep, `[B, T]`. Zero marks padding, which stands at a window's end.
    pub weights: Vec<f32>,
}

impl WindowBatch {
    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.actions.clear();
        self.weights.clear();
    }
}

/// Windows of play, addressed by index.
pub trait WindowSource: Send {
    /// How many windows there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Side of the square frames it delivers: 128, or the model's own size where the source keeps frames shrunk.
    fn frame_size(&self) -> usize {
        SOURCE_FRAME
    }

    /// Asks for frames as they are stored, for a device that unpacks them itself, where they are stored as that takes them: in the codec
    /// `fast` and at the size that is delivered; or for pixels again. Whether batches are packed from here on.
    fn pack(&mut self, _wanted: bool) -> bool {
        false
    }

    /// Replaces `out` by the windows at `indices`, in that order. The same index always gives the same window.
    fn load(&mut self, indices: &[usize], out: &mut WindowBatch) -> Result<()>;
}

/// Pairs of windows with a preference.
pub trait PairSource: Send {
    /// How many pairs there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Side of the square frames it delivers, as for [`WindowSource::frame_size`].
    fn frame_size(&self) -> usize {
        SOURCE_FRAME
    }

    /// Replaces `chosen` and `rejected` by the two sides of the pairs at `indices`.
    fn load(&mut self, indices: &[usize], chosen: &mut WindowBatch, rejected: &mut WindowBatch) -> Result<()>;

    /// Probability that the chosen side of pair `index` is the better one: 1 for a plain preference, 0.5 for a tie.
    fn label(&self, index: usize) -> f32;
}

/// Checks a loaded batch against the model: lengths, action ranges, weights. Names the first thing that is wrong.
pub(crate) fn check_batch(
    batch: &WindowBatch,
    windows: usize,
    frame_size: usize,
    packed: bool,
    config: &ModelConfig,
) -> Result<()> {
    let positions = windows * config.context;
    let heads = config.actions.len();
    let frames = if packed {
        packed::check(&batch.frames, positions, config)?;
        batch.frames.len()
    } else {
        positions * frame_size * frame_size * 3
    };
    let lengths = [
        ("frames", batch.frames.len(), frames),
        ("actions", batch.actions.len(), positions * heads),
        ("weights", batch.weights.len(), positions),
    ];
    for (what, found, wanted) in lengths {
        if found != wanted {
            return Err(Error::Input(format!(
                "a window source returned {found} {what} for {windows} windows of {} steps at {frame_size}x{frame_size}; {wanted} were expected",
                config.context
            )));
        }
    }
    for (position, action) in batch.actions.chunks_exact(heads).enumerate() {
        for (&bucket, component) in action.iter().zip(&config.actions) {
            if usize::from(bucket) >= component.values {
                let Component { name, values } = component;
                return Err(Error::Input(format!(
                    "action component {name} of step {} in window {} of the batch is {bucket}, but has {values} values",
                    position % config.context,
                    position / config.context
                )));
            }
        }
    }
    if let Some(position) = batch.weights.iter().position(|w| !w.is_finite() || *w < 0.0) {
        return Err(Error::Input(format!(
            "the weight of step {} in window {} of the batch is {}, but must be finite and not negative",
            position % config.context,
            position / config.context,
            batch.weights[position]
        )));
    }
    Ok(())
}

/// The frame size a source delivers must be the model's or 128.
pub(crate) fn check_frame_size(delivered: usize, config: &ModelConfig) -> Result<()> {
    if delivered == SOURCE_FRAME || delivered == config.frame_size {
        return Ok(());
    }
    Err(Error::Input(format!(
        "the source delivers frames of {delivered}x{delivered}, but model \"{}\" takes {SOURCE_FRAME} or {}",
        config.name, config.frame_size
    )))
}

/// Index of the last timestep with weight in each window; a window without any is an error.
pub(crate) fn last_positions(weights: &[f32], context: usize) -> Result<Vec<usize>> {
    weights
        .chunks_exact(context)
        .enumerate()
        .map(|(window, weights)| {
            weights
                .iter()
                .rposition(|&w| w > 0.0)
                .ok_or_else(|| Error::Input(format!("window {window} of the batch has no step with a positive weight")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(config: &ModelConfig) -> WindowBatch {
        WindowBatch { frames: vec![0; 32 * config.frame_bytes()], actions: vec![0; 32 * 16], weights: vec![1.0; 32] }
    }

    #[test]
    fn faults_are_named() {
        let config = ModelConfig::preset("tiny").unwrap();
        check_batch(&batch(&config), 1, 64, false, &config).unwrap();
        let mut bad = batch(&config);
        bad.actions[3 * 16 + 12] = 11;
        let text = check_batch(&bad, 1, 64, false, &config).unwrap_err().to_string();
        assert!(text.contains("component left_x of step 3") && text.contains("is 11"), "{text}");
        let mut bad = batch(&config);
        bad.weights[5] = f32::NAN;
        assert!(check_batch(&bad, 1, 64, false, &config).unwrap_err().to_string().contains("step 5"));
        let mut bad = batch(&config);
        bad.frames.pop();
        assert!(check_batch(&bad, 1, 64, false, &config).unwrap_err().to_string().contains("frames"));
        assert!(check_batch(&bad, 1, 64, true, &config).unwrap_err().to_string().contains("packed frames"));
    }

    #[test]
    fn the_last_position_skips_padding() {
        assert_eq!(last_positions(&[1.0, 1.0, 0.0, 0.0, 0.5, 0.0, 2.0, 0.0], 4).unwrap(), [1, 2]);
        assert!(last_positions(&[0.0; 4], 4).is_err());
    }
}
