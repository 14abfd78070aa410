//! Windows seen from a little aside: every frame of a window moved by the same few pixels, edges repeated.
//!
//! A small network remembers a few hundred demonstrations by their pixels. A picture that is never twice the same has to be looked at (random
//! shifts as in arXiv 2004.13649). All frames of a window move together, so that motion stays what it was.

use crate::ModelConfig;
use crate::error::Result;
use crate::feed::{Batch, Loader};
use crate::rng;

/// A loader whose frames are shifted. It must be asked for the batches of consecutive steps.
pub(crate) struct Shifted<'a> {
    inner: &'a mut dyn Loader,
    /// Side of a frame, and bytes of a window's frames.
    side: usize,
    window: usize,
    /// At most so many pixels, each way.
    reach: usize,
    seed: u64,
    /// Of the next batch.
    step: u64,
    /// Place in the whole batch of the first item that is loaded.
    first: usize,
}

impl<'a> Shifted<'a> {
    /// Shifts what `inner` loads for step `step` and those after it, by up to `reach` pixels. A batch's items are those from place `first`
    /// of the whole batch on.
    pub fn new(
        inner: &'a mut dyn Loader,
        config: &ModelConfig,
        reach: usize,
        seed: u64,
        step: u64,
        first: usize,
    ) -> Self {
        let window = config.context * config.frame_bytes();
        Self { inner, side: config.frame_size, window, reach, seed, step, first }
    }
}

impl Loader for Shifted<'_> {
    fn items(&self) -> usize {
        self.inner.items()
    }

    fn load(&mut self, indices: &[usize], out: &mut Batch) -> Result<()> {
        self.inner.load(indices, out)?;
        let frame = self.side * self.side * 3;
        let mut whole = vec![0; frame];
        let first = self.first * out.windows / indices.len().max(1);
        for (place, window) in (first..).zip(out.pixels.chunks_exact_mut(self.window)) {
            let mut rng = rng::at(self.seed, &[3, self.step, place as u64]);
            let mut draw = || rng::below(&mut rng, 2 * self.reach + 1) as isize - self.reach as isize;
            let by = (draw(), draw());
            if by != (0, 0) {
                for frame in window.chunks_exact_mut(frame) {
                    whole.copy_from_slice(frame);
                    shift(&whole, frame, self.side, by);
                }
            }
        }
        self.step += 1;
        Ok(())
    }
}

/// `to[y, x] = from[y + dy, x + dx]`, both `[side, side, 3]`; beyond the edge is what is at the edge. `by` is (dy, dx).
fn shift(from: &[u8], to: &mut [u8], side: usize, (dy, dx): (isize, isize)) {
    let row = side * 3;
    let reach = dx.unsigned_abs().min(side - 1);
    let inner = row - 3 * reach;
    for (y, to) in to.chunks_exact_mut(row).enumerate() {
        let y = y.saturating_add_signed(dy).min(side - 1);
        let from = &from[y * row..][..row];
        if dx >= 0 {
            to[..inner].copy_from_slice(&from[3 * reach..]);
            to[inner..].chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&from[row - 3..]));
        } else {
            to[3 * reach..].copy_from_slice(&from[..inner]);
            to[..3 * reach].chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&from[..3]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_move_and_edges_repeat() {
        let side = 4;
        let from: Vec<u8> = (0..side * side).flat_map(|i| [i as u8, 100 + i as u8, 200]).collect();
        let pixel = |frame: &[u8], y: usize, x: usize| <[u8; 3]>::try_from(&frame[(y * side + x) * 3..][..3]).unwrap();
        for dy in -5..=5isize {
            for dx in -5..=5isize {
                let mut to = vec![0; from.len()];
                shift(&from, &mut to, side, (dy, dx));
                for y in 0..side {
                    for x in 0..side {
                        let inside = |at: usize, by: isize| (at as isize + by).clamp(0, side as isize - 1) as usize;
                        assert_eq!(pixel(&to, y, x), pixel(&from, inside(y, dy), inside(x, dx)), "{dy} {dx}: {y} {x}");
                    }
                }
            }
        }
    }

    /// Frames in which every pixel says where it is.
    struct Ramps(ModelConfig);

    impl Loader for Ramps {
        fn items(&self) -> usize {
            9
        }
        fn load(&mut self, indices: &[usize], out: &mut Batch) -> Result<()> {
            let side = self.0.frame_size;
            let frame: Vec<u8> = (0..side * side).flat_map(|i| [(i % side) as u8, (i / side) as u8, 0]).collect();
            out.pixels = frame.repeat(indices.len() * self.0.context);
            out.windows = indices.len();
            Ok(())
        }
    }

    #[test]
    fn a_window_moves_as_one_and_a_step_always_alike() {
        let config = ModelConfig::preset("tiny").unwrap();
        let load = |step| {
            let (mut inner, mut batch) = (Ramps(config.clone()), Batch::default());
            Shifted::new(&mut inner, &config, 3, 7, step, 0).load(&[0; 40], &mut batch).unwrap();
            batch.pixels
        };
        let pixels = load(5);
        let centre = (32 * 64 + 32) * 3;
        let shifts: Vec<[u8; 2]> = pixels
            .chunks_exact(config.context * config.frame_bytes())
            .map(|window| {
                let mut frames = window.chunks_exact(config.frame_bytes());
                let first = frames.next().unwrap();
                assert!(frames.all(|frame| frame == first));
                [first[centre], first[centre + 1]]
            })
            .collect();
        assert!(shifts.iter().flatten().all(|at| (29..=35).contains(at)), "{shifts:?}");
        for axis in 0..2 {
            let seen: std::collections::BTreeSet<u8> = shifts.iter().map(|at| at[axis]).collect();
            assert_eq!(seen.len(), 7, "{shifts:?}");
        }
        assert_eq!(load(5), pixels);
        assert_ne!(load(6), pixels);
        // The second batch of a run is the first of one that goes on there.
        let (mut inner, mut batch) = (Ramps(config.clone()), Batch::default());
        let mut shifted = Shifted::new(&mut inner, &config, 3, 7, 4, 0);
        (0..2).for_each(|_| shifted.load(&[0; 40], &mut batch).unwrap());
        assert_eq!(batch.pixels, pixels);
        // And a rank's part is what it is in the whole.
        let (mut inner, mut part) = (Ramps(config.clone()), Batch::default());
        Shifted::new(&mut inner, &config, 3, 7, 5, 25).load(&[0; 15], &mut part).unwrap();
        assert_eq!(part.pixels, pixels[25 * config.context * config.frame_bytes()..]);
    }
}
