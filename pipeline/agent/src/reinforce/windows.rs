//! Cutting trajectories into the windows whose contexts are those of the rollout.
//!
//! ```text
//! trajectory  0 ............... 31 | 32 ...... 47 | 48 ...... 63 | 64 ..
//! window 0    [ loss on all 32     ]
//! window 1            [ 16 seen    | loss on 16   ]
//! window 2                         [ 16 seen      | loss on 16   ]
//! ```
//!
//! Neighbouring windows share frames, and a frame is encoded once: a *segment* is a run of windows of one trajectory with the frames it
//! needs, and segments are packed into batches of a bounded number of windows.

use std::ops::Range;

/// Windows `windows` of trajectory `trajectory`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub trajectory: usize,
    pub windows: Range<usize>,
}

/// How many windows cover `steps` timesteps.
pub(crate) fn count(steps: usize, context: usize) -> usize {
    let hop = context / 2;
    1 + steps.saturating_sub(context).div_ceil(hop)
}

/// The timesteps that window `window` sees.
pub(crate) fn seen(window: usize, steps: usize, context: usize) -> Range<usize> {
    let start = window * (context / 2);
    start..steps.min(start + context)
}

/// The timesteps that window `window` has its loss on.
pub(crate) fn learnt(window: usize, steps: usize, context: usize) -> Range<usize> {
    let seen = seen(window, steps, context);
    let skip = if window == 0 { 0 } else { context / 2 };
    seen.start + skip..seen.end
}

impl Segment {
    /// The frames it needs.
    pub fn frames(&self, steps: usize, context: usize) -> Range<usize> {
        seen(self.windows.start, steps, context).start..seen(self.windows.end - 1, steps, context).end
    }
}

/// Packs all windows of the trajectories (`(index, steps)` each) into batches of at most `capacity` windows.
pub(crate) fn pack(
    trajectories: impl Iterator<Item = (usize, usize)>,
    context: usize,
    capacity: usize,
) -> Vec<Vec<Segment>> {
    let mut batches = Vec::new();
    let (mut batch, mut room) = (Vec::new(), capacity);
    for (trajectory, steps) in trajectories.filter(|(_, steps)| *steps > 0) {
        let (mut first, end) = (0, count(steps, context));
        while first < end {
            let last = end.min(first + room);
            batch.push(Segment { trajectory, windows: first..last });
            room -= last - first;
            first = last;
            if room == 0 {
                batches.push(std::mem::take(&mut batch));
                room = capacity;
            }
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_timestep_is_learnt_once_in_the_rollouts_context() {
        for steps in [1, 31, 32, 33, 48, 49, 64, 100] {
            let learnt: Vec<usize> = (0..count(steps, 32)).flat_map(|w| learnt(w, steps, 32)).collect();
            assert_eq!(learnt, (0..steps).collect::<Vec<_>>());
            for w in 0..count(steps, 32) {
                for t in super::learnt(w, steps, 32) {
                    // The rollout drops 16 whenever 32 are full.
                    let context_start = if t < 32 { 0 } else { (t - 16) / 16 * 16 };
                    assert_eq!(seen(w, steps, 32).start, context_start, "step {t} of {steps}");
                }
            }
        }
    }

    #[test]
    fn packing_covers_all_windows_within_the_bound() {
        let steps = [100, 20, 300, 0, 33];
        let batches = pack(steps.iter().copied().enumerate(), 32, 4);
        let mut seen = Vec::new();
        for batch in &batches {
            assert!(batch.iter().map(|s| s.windows.len()).sum::<usize>() <= 4);
            seen.extend(batch.iter().flat_map(|s| s.windows.clone().map(|w| (s.trajectory, w))));
        }
        let all: Vec<_> = [0, 1, 2, 4].iter().flat_map(|&i| (0..count(steps[i], 32)).map(move |w| (i, w))).collect();
        assert_eq!(seen, all);
        assert_eq!(Segment { trajectory: 0, windows: 1..3 }.frames(55, 32), 16..55);
    }
}
