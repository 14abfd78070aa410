//! A set of episode ids.

use std::ops::RangeInclusive;

/// Ids as ranges without gaps: the ids of ten thousand hours are a few of them.
#[derive(Default)]
pub(crate) struct IdSet {
    /// Ascending, none touching another's ids.
    ranges: Vec<RangeInclusive<i64>>,
}

impl IdSet {
    pub(crate) fn contains(&self, id: i64) -> bool {
        let after = self.ranges.partition_point(|range| *range.start() <= id);
        after > 0 && self.ranges[after - 1].contains(&id)
    }
}

impl FromIterator<i64> for IdSet {
    fn from_iter<I: IntoIterator<Item = i64>>(ids: I) -> Self {
        let mut ranges: Vec<RangeInclusive<i64>> = Vec::new();
        for id in ids {
            match ranges.last_mut() {
                Some(last) if last.end().checked_add(1) == Some(id) => *last = *last.start()..=id,
                _ => ranges.push(id..=id),
            }
        }
        ranges.sort_unstable_by_key(|range| *range.start());
        // Ids that a damaged dataset stores twice.
        ranges.dedup_by(|next, kept| {
            let overlaps = next.start() <= kept.end();
            if overlaps {
                *kept = *kept.start()..=*kept.end().max(next.end());
            }
            overlaps
        });
        Self { ranges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let ids = [5, 6, 7, 100, 2, 3, i64::MAX, 6, 7, 8];
        let set: IdSet = ids.into_iter().collect();
        for id in (0..200).chain([i64::MAX - 1, i64::MAX]) {
            assert_eq!(set.contains(id), ids.contains(&id), "{id}");
        }
        assert_eq!(set.ranges, [2..=3, 5..=8, 100..=100, i64::MAX..=i64::MAX]);
        assert!(!IdSet::default().contains(0));
    }
}
