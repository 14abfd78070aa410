//! Episodes that play: all frames on one JPEG sheet, the actions beside it, and a drawn gamepad.

use std::fmt::Write;

use anyhow::{Context, Result};
use playhouse_schemas::{Codec, Dataset, EpisodeRow, FrameSpec, Window, gamepad::COMPONENTS};

use super::page::{Text, base64, data_uri};
use crate::env::SOURCE;
use crate::sources::{CONTEXT, open_replay};

/// Frames side by side on the sheet.
const COLUMNS: usize = 32;
/// A longer episode shows its beginning only: three minutes at 10 Hz, a sheet that every browser decodes.
pub const LIMIT: usize = 1_800;

/// An episode, or its beginning, as pixels and actions.
pub struct Clip {
    hz: f32,
    size: usize,
    /// The sheet as a JPEG file.
    sheet: Vec<u8>,
    /// T x 16 buckets.
    actions: Vec<u8>,
}

impl Clip {
    /// The first `limit` steps of an episode; frames are rendered again where the dataset has none.
    ///
    /// # Errors
    /// The episode has neither frames nor what is needed to render them again, or cannot be read.
    pub fn load(dataset: &Dataset, row: &EpisodeRow, limit: usize) -> Result<Self> {
        let id = row.episode_id;
        let steps = (row.num_steps as usize).min(limit.min(LIMIT));
        let (size, frames, actions) = match &dataset.spec().frames {
            Some(spec) => {
                anyhow::ensure!(
                    spec.width == spec.height,
                    "frames are {}x{}: only squares play",
                    spec.width,
                    spec.height
                );
                let (frames, actions) = stored(dataset, id, steps)?;
                (usize::from(spec.width), frames, actions)
            }
            None => {
                let context =
                    || format!("episode {id} has no stored frames, and comes from `{}`, not `{SOURCE}`", row.source);
                let replay = open_replay(dataset, row).with_context(context)?;
                let mut frames = vec![0; steps * playhouse_arena::FRAME_BYTES];
                replay.render(0, &mut frames)?;
                (128, frames, replay.actions[..steps * COMPONENTS].to_vec())
            }
        };
        Ok(Clip { hz: row.hz, size, sheet: sheet(size, &frames)?, actions })
    }

    fn frames(&self) -> usize {
        self.actions.len() / COMPONENTS
    }

    /// The player: canvas, controls, gamepad.
    pub fn html(&self) -> String {
        let frames = self.frames();
        format!(
            "<div class=\"player\" tabindex=\"0\" data-frames=\"{frames}\" data-columns=\"{COLUMNS}\" data-size=\"{size}\" \
             data-hz=\"{hz}\" data-actions=\"{actions}\">\
             <img alt=\"\" hidden src=\"{sheet}\"><canvas width=\"{size}\" height=\"{size}\"></canvas>\
             <div class=\"bar\"><input type=\"range\" min=\"0\" max=\"{last}\" value=\"0\" aria-label=\"Step\"><output></output></div>\
             <div class=\"bar\"><button class=\"play\">Play</button>\
             <button class=\"back\" title=\"One step back\" aria-label=\"One step back\">&#8249;</button>\
             <button class=\"next\" title=\"One step on\" aria-label=\"One step on\">&#8250;</button>\
             <select aria-label=\"Speed\"><option value=\"0.5\">0.5&#215;</option><option value=\"1\" selected>1&#215;</option>\
             <option value=\"2\">2&#215;</option><option value=\"4\">4&#215;</option></select></div>\
             {gamepad}</div>\n",
            size = self.size,
            hz = self.hz,
            actions = base64(&self.actions),
            sheet = data_uri("image/jpeg", &self.sheet),
            last = frames.saturating_sub(1),
            gamepad = gamepad(),
        )
    }
}

fn stored(dataset: &Dataset, episode_id: i64, steps: usize) -> Result<(Vec<u8>, Vec<u8>)> {
    let reader = dataset.reader()?;
    let (mut frames, mut actions) = (Vec::new(), Vec::new());
    let (mut some_frames, mut some_actions) = (Vec::new(), Vec::new());
    for start in (0..steps).step_by(CONTEXT) {
        let length = CONTEXT.min(steps - start) as u32;
        let window = Window { episode_id, t_start: start as u32, length, weight: 1.0 };
        reader.read(&window, &mut some_actions, &mut some_frames)?;
        frames.extend_from_slice(&some_frames);
        actions.extend_from_slice(&some_actions);
    }
    Ok((frames, actions))
}

/// Lays frames of `size` x `size` out in rows of [`COLUMNS`] and encodes the whole as a JPEG.
fn sheet(size: usize, frames: &[u8]) -> Result<Vec<u8>> {
    let line = size * 3;
    let count = frames.len() / (size * line);
    let columns = COLUMNS.min(count.max(1));
    let rows = count.div_ceil(COLUMNS).max(1);
    // A sheet narrower than a full row keeps the same places: the player divides by COLUMNS.
    let mut rgb = vec![0u8; rows * size * columns * line];
    for (i, frame) in frames.chunks_exact(size * line).enumerate() {
        let (column, row) = (i % COLUMNS, i / COLUMNS);
        for (y, pixels) in frame.chunks_exact(line).enumerate() {
            let at = ((row * size + y) * columns + column) * line;
            rgb[at..at + line].copy_from_slice(pixels);
        }
    }
    let spec = FrameSpec {
        width: u16::try_from(columns * size).context("the sheet is too wide")?,
        height: u16::try_from(rows * size).context("the sheet is too high")?,
        codec: Codec::Jpeg { quality: 82 },
        resize: None,
    };
    Ok(spec.encode(&rgb)?)
}

/// A gamepad as SVG; the script lights its parts by `data-part` and moves the dots by `data-stick`.
fn gamepad() -> String {
    let mut svg = String::from("<svg class=\"pad\" viewBox=\"0 0 320 104\" role=\"img\" aria-label=\"Gamepad\">");
    let rounded = [
        ("lt", 20.0, 4.0, "LT"),
        ("lb", 66.0, 4.0, "LB"),
        ("rb", 218.0, 4.0, "RB"),
        ("rt", 264.0, 4.0, "RT"),
        ("up", 141.0, 34.0, "\u{25b4}"),
        ("down", 141.0, 72.0, "\u{25be}"),
        ("l3", 118.0, 53.0, "L3"),
        ("r3", 164.0, 53.0, "R3"),
    ];
    for (name, x, y, label) in rounded {
        let _ = write!(
            svg,
            "<rect class=\"part\" data-part=\"{name}\" x=\"{x}\" y=\"{y}\" width=\"38\" height=\"15\" rx=\"5\"/>\
             <text data-part=\"{name}\" x=\"{}\" y=\"{}\">{}</text>",
            x + 19.0,
            y + 10.8,
            Text(label)
        );
    }
    for (name, x, y, label) in
        [("a", 288.0, 88.0, "A"), ("b", 304.0, 70.0, "B"), ("x", 272.0, 70.0, "X"), ("y", 288.0, 52.0, "Y")]
    {
        let _ = write!(
            svg,
            "<circle class=\"part\" data-part=\"{name}\" cx=\"{x}\" cy=\"{y}\" r=\"9\"/>\
             <text data-part=\"{name}\" x=\"{x}\" y=\"{}\">{label}</text>",
            y + 3.2
        );
    }
    for (name, x) in [("left", 62.0), ("right", 232.0)] {
        let y = 66.0;
        let _ = write!(
            svg,
            "<circle class=\"ring\" cx=\"{x}\" cy=\"{y}\" r=\"25\"/>\
             <path class=\"cross\" d=\"M{} {y}h50M{x} {}v50\"/><circle class=\"dot\" data-stick=\"{name}\" cx=\"{x}\" cy=\"{y}\" r=\"6\"/>",
            x - 25.0,
            y - 25.0
        );
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_land_in_reading_order() {
        // 33 one-coloured frames of 8 x 8: the last one begins the second row.
        let frames: Vec<u8> = (0..33u8).flat_map(|i| [i * 7; 192]).collect();
        let jpeg = sheet(8, &frames).unwrap();
        let spec = FrameSpec { width: 256, height: 16, codec: Codec::Jpeg { quality: 82 }, resize: None };
        let mut rgb = vec![0; spec.bytes()];
        spec.decode_into(&jpeg, &mut rgb).unwrap();
        let at = |x: usize, y: usize| i32::from(rgb[(y * 256 + x) * 3]);
        assert!((at(8 * 31 + 4, 4) - 217).abs() < 4);
        assert!((at(4, 12) - 224).abs() < 4);
    }

    #[test]
    fn every_component_has_a_place_on_the_gamepad() {
        let svg = gamepad();
        for part in ["a", "b", "x", "y", "lb", "rb", "lt", "rt", "up", "down", "l3", "r3"] {
            assert_eq!(svg.matches(&format!("data-part=\"{part}\"")).count(), 2, "{part}");
        }
        assert_eq!(svg.matches("data-stick").count(), 2);
    }
}
