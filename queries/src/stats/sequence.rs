//! Whether an episode's rows are exactly t = 0, 1, .. num_steps - 1.

/// What was seen of one episode's `t`, row by row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sequence {
    /// Rows so far.
    pub(super) rows: u64,
    /// Values of `t` that were jumped over.
    pub(super) skipped: u64,
    /// Rows whose `t` is that of the row before.
    pub(super) repeated: u64,
    /// Rows whose `t` is below that of the row before.
    pub(super) backward: u64,
    /// The `t` expected and found at the first row out of step.
    pub(super) first: Option<(i64, i64)>,
    /// The greatest `t` so far, plus one.
    next: i64,
    /// The row before; -1 before the first.
    last: Option<i64>,
}

impl Sequence {
    pub(super) fn push(&mut self, t: i64) {
        self.rows += 1;
        let expected = self.last.map_or(0, |last| last + 1);
        if t > expected {
            self.skipped += (t - expected.max(self.next)).max(0) as u64;
        } else if t == expected - 1 && self.last.is_some() {
            self.repeated += 1;
        } else if t < expected {
            self.backward += 1;
        }
        if t != expected {
            self.first = self.first.or(Some((expected, t)));
        }
        self.next = self.next.max(t + 1);
        self.last = Some(t);
    }

    /// The same as [`Sequence::push`] of `steps` values of `t` in step from the one expected.
    pub(super) fn extend(&mut self, steps: u64) {
        let last = self.last.map_or(0, |last| last + 1) + steps as i64 - 1;
        self.rows += steps;
        self.next = self.next.max(last + 1);
        self.last = Some(last);
    }

    /// The `t` expected next.
    pub(super) fn expected(&self) -> i64 {
        self.last.map_or(0, |last| last + 1)
    }

    /// How far the last step lies before (negative) or after the episode's end.
    pub(super) fn surplus(&self, num_steps: u64) -> i64 {
        self.next - num_steps as i64
    }

    /// Values of `t` of an episode of `num_steps` that no row has.
    pub(super) fn missing(&self, num_steps: u64) -> u64 {
        self.skipped + (-self.surplus(num_steps)).max(0) as u64
    }

    /// Rows too many: repeated ones, and those after the episode's end.
    pub(super) fn extra(&self, num_steps: u64) -> u64 {
        self.repeated + self.surplus(num_steps).max(0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[i64]) -> Sequence {
        let mut sequence = Sequence::default();
        times.iter().for_each(|&t| sequence.push(t));
        sequence
    }

    #[test]
    fn every_way_out_of_step_is_told_apart() {
        let whole = of(&[0, 1, 2, 3]);
        assert_eq!((whole.first, whole.surplus(4), whole.missing(4), whole.extra(4)), (None, 0, 0, 0));
        assert_eq!((whole.missing(6), whole.extra(3)), (2, 1));
        let gap = of(&[0, 1, 4, 5]);
        assert_eq!((gap.skipped, gap.first, gap.surplus(6)), (2, Some((2, 4)), 0));
        let late = of(&[2, 3]);
        assert_eq!((late.skipped, late.first), (2, Some((0, 2))));
        let twice = of(&[0, 1, 1, 2]);
        assert_eq!((twice.repeated, twice.skipped, twice.first, twice.surplus(3)), (1, 0, Some((2, 1)), 0));
        let back = of(&[0, 1, 2, 0, 1, 2]);
        assert_eq!((back.backward, back.skipped, back.surplus(3)), (1, 0, 0));
        assert_eq!(of(&[-1, 0]).backward, 1);
    }

    #[test]
    fn many_steps_at_once_are_the_same() {
        let mut sequence = Sequence::default();
        sequence.extend(3);
        sequence.push(3);
        assert_eq!(sequence, of(&[0, 1, 2, 3]));
    }
}
