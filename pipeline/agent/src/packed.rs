//! Frames still packed, for a device that unpacks them itself.
//!
//! ```text
//! PackedFrames   of one window: images of the codec `fast`, each padded to 16 bytes, and where each begins and ends
//! join           of all windows of a batch: u32 at[B,T], then the images, as `Backend::frames_decode` takes them
//! ```

use std::ops::Range;

use playhouse_schemas::{Codec, FrameSpec};
use rayon::prelude::*;

use crate::config::ModelConfig;
use crate::error::{Error, Result};

/// Images begin at multiples of so many bytes, and are counted in them.
const UNIT: usize = 16;

/// Images of the codec `fast`, in order. Whoever adds one has verified it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackedFrames {
    bytes: Vec<u8>,
    /// Empty for a black frame.
    images: Vec<Range<usize>>,
}

impl PackedFrames {
    /// Adds an image.
    pub fn push(&mut self, image: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(image);
        self.bytes.resize(self.bytes.len().next_multiple_of(UNIT), 0);
        self.images.push(start..self.bytes.len());
    }

    /// Adds a black frame, which takes no bytes.
    pub fn push_black(&mut self) {
        self.images.push(self.bytes.len()..self.bytes.len());
    }

    /// Adds frames of another.
    pub fn extend(&mut self, other: &PackedFrames, frames: Range<usize>) {
        for image in &other.images[frames] {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&other.bytes[image.clone()]);
            self.images.push(start..self.bytes.len());
        }
    }

    /// Forgets all frames, and keeps their memory for others.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.images.clear();
    }

    /// Gives back memory that no frame needs: of those that are kept.
    pub fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
        self.images.shrink_to_fit();
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Bytes of all images.
    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that they take.
    pub fn held(&self) -> usize {
        self.bytes.capacity() + self.images.capacity() * size_of::<Range<usize>>()
    }

    /// Replaces `out` by the frames of all parts, as a batch has them.
    pub fn join(parts: &[PackedFrames], out: &mut Vec<u8>) {
        let frames: usize = parts.iter().map(PackedFrames::len).sum();
        let table = table_bytes(frames);
        let length = table + parts.iter().map(PackedFrames::bytes).sum::<usize>();
        out.resize(length, 0);
        let (places, mut rest) = out.split_at_mut(table);
        let mut places = places.as_chunks_mut().0.iter_mut();
        let (mut start, mut copies) = (table, Vec::with_capacity(parts.len()));
        for part in parts {
            for (image, place) in part.images.iter().zip(&mut places) {
                let unit = if image.is_empty() { 0 } else { (start + image.start) / UNIT };
                *place = (unit as u32).to_le_bytes();
            }
            let (own, others) = rest.split_at_mut(part.bytes());
            copies.push((own, &part.bytes));
            (rest, start) = (others, start + part.bytes());
        }
        places.for_each(|place| *place = [0; 4]);
        copies.into_par_iter().for_each(|(to, from)| to.copy_from_slice(from));
    }
}

fn table_bytes(frames: usize) -> usize {
    (frames * 4).next_multiple_of(UNIT)
}

/// Bytes of the largest batch of so many frames.
pub(crate) fn largest(config: &ModelConfig, frames: usize) -> usize {
    let side = config.frame_size as u16;
    let spec = FrameSpec { width: side, height: side, codec: Codec::Fast, resize: None };
    table_bytes(frames) + frames * spec.largest_packed().next_multiple_of(UNIT)
}

/// Checks that a batch has a table of so many frames, and all it tells of.
pub(crate) fn check(packed: &[u8], frames: usize, config: &ModelConfig) -> Result<()> {
    let (table, most) = (table_bytes(frames), largest(config, frames));
    if packed.len() < table || packed.len() > most || !packed.len().is_multiple_of(UNIT) {
        let found = packed.len();
        return Err(Error::Input(format!(
            "a window source returned {found} bytes of {frames} packed frames; {table} to {most} were expected"
        )));
    }
    let places = packed.as_chunks().0[..frames].iter().map(|place| u32::from_le_bytes(*place) as usize * UNIT);
    for (position, at) in places.enumerate().filter(|(_, at)| *at > 0) {
        if at < table || at >= packed.len() {
            return Err(Error::Input(format!(
                "packed frame {} in window {} of the batch begins at byte {at} of {}",
                position % config.context,
                position / config.context,
                packed.len()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_frames_lie_where_the_table_says() {
        let mut first = PackedFrames::default();
        first.push(&[1; 20]);
        first.push_black();
        first.push(&[2; 16]);
        let mut second = PackedFrames::default();
        second.extend(&first, 1..3);
        second.push(&[3; 5]);
        // What the batch was before does not matter.
        let mut out = vec![9; 500];
        PackedFrames::join(&[first, second], &mut out);
        let table: Vec<u32> = out.as_chunks().0[..6].iter().map(|b| u32::from_le_bytes(*b)).collect();
        assert_eq!(table, [2, 0, 4, 0, 5, 6]);
        assert_eq!(out[24..32], [0; 8]);
        let images = [[1; 16].as_slice(), &[1; 4], &[0; 12], &[2; 16], &[2; 16], &[3; 5], &[0; 11]].concat();
        assert_eq!(out[32..], images);
    }

    #[test]
    fn a_table_that_leads_outside_is_refused() {
        let config = ModelConfig::preset("tiny").unwrap();
        let mut frames = PackedFrames::default();
        (0..32).for_each(|_| frames.push(&[7; 40]));
        let mut good = Vec::new();
        PackedFrames::join(&[frames], &mut good);
        check(&good, 32, &config).unwrap();
        for (frame, unit, wrong) in [(3, 7u32, "begins at byte 112 of 1664"), (4, 104, "begins at byte 1664 of 1664")] {
            let mut bad = good.clone();
            bad[frame * 4..][..4].copy_from_slice(&unit.to_le_bytes());
            let error = check(&bad, 32, &config).unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains(&format!("frame {frame} in window 0")), "{error}");
        }
        for bad in [&good[..100], &good[..good.len() - 1], &good.repeat(400)] {
            assert!(check(bad, 32, &config).unwrap_err().to_string().contains("bytes of 32 packed frames"));
        }
    }
}
