//! The picture while it is being drawn.

use crate::simd::{Isa, Lanes, WIDTH, kernel};

/// Width and height, pixels.
pub const SIDE: usize = 128;
/// Groups of 16 pixels in a row.
pub const GROUPS: usize = SIDE / WIDTH;

/// Sixteen neighbouring pixels.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Group<T>(pub [T; WIDTH]);

/// Colour and nearness of every pixel, in groups, rows from the top.
pub struct Frame {
    /// `0xAABBGGRR`; alpha is not used.
    pub colour: [Group<u32>; SIDE * GROUPS],
    /// 1 / depth of what was drawn; 0 where nothing is.
    pub near: [Group<f32>; SIDE * GROUPS],
}

impl Frame {
    pub fn new() -> Self {
        Self { colour: [Group([0; WIDTH]); SIDE * GROUPS], near: [Group([0.0; WIDTH]); SIDE * GROUPS] }
    }

    /// Forgets what was drawn. Colours may stay: the backdrop covers whatever no object does.
    pub fn clear(&mut self) {
        self.near.fill(Group([0.0; WIDTH]));
    }

    /// Writes the colours as bytes, three a pixel.
    pub fn write_rgb(&self, isa: Isa, out: &mut [u8]) {
        write(isa, self, out);
    }
}

kernel! {
    /// Packs every group.
    fn write(frame: &Frame, out: &mut [u8]) = write_lanes;
}

#[inline(always)]
fn write_lanes<L: Lanes>(l: L, frame: &Frame, out: &mut [u8]) {
    for (group, bytes) in frame.colour.iter().zip(out.as_chunks_mut().0) {
        l.store_rgb(l.load_int(&group.0), bytes);
    }
}
