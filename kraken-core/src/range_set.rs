//! A set of byte ranges: what of a blob is on disk and may be read.

use std::collections::BTreeMap;
use std::ops::Range;

/// Disjoint, non-adjacent ranges of bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RangeSet(BTreeMap<u64, u64>);

impl RangeSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a range, joining what it touches.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&from, &to)) = self.0.range(..=end).next_back() {
            if to < start {
                break;
            }
            start = start.min(from);
            end = end.max(to);
            self.0.remove(&from);
        }
        self.0.insert(start, end);
    }

    /// Removes a range.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((&from, &to)) = self.0.range(..range.end).next_back() {
            if to <= range.start {
                break;
            }
            self.0.remove(&from);
            if from < range.start {
                self.0.insert(from, range.start);
            }
            if to > range.end {
                self.0.insert(range.end, to);
            }
        }
    }

    /// Whether every byte of the range is in the set; true of the empty range.
    pub fn contains(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.end_of_run(range.start) >= range.end
    }

    /// Where the run of bytes that begins at `start` ends; `start` itself when it is not in the
    /// set.
    pub fn end_of_run(&self, start: u64) -> u64 {
        match self.0.range(..=start).next_back() {
            Some((_, &end)) if end > start => end,
            _ => start,
        }
    }

    /// How many bytes of `range` are not in the set.
    pub fn missing(&self, range: &Range<u64>) -> u64 {
        let before_end = self.0.range(..range.end).rev();
        let held: u64 = before_end
            .take_while(|(_, end)| **end > range.start)
            .map(|(start, end)| (*end).min(range.end) - (*start).max(range.start))
            .sum();
        range.end.saturating_sub(range.start).saturating_sub(held)
    }

    /// Whether a byte of `range`, or one beside it, is in the set.
    pub fn touches(&self, range: &Range<u64>) -> bool {
        self.0.range(..=range.end).next_back().is_some_and(|(_, &end)| end >= range.start)
    }

    /// The first bytes below [`end`](Self::end) that are not in the set.
    pub fn first_gap(&self) -> Option<Range<u64>> {
        let start = self.end_of_run(0);
        self.0.range(start..).next().map(|(&next, _)| start..next)
    }

    /// Where the last byte ends; 0 where there is none.
    pub fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, &end)| end)
    }

    /// How many ranges there are.
    pub fn parts(&self) -> usize {
        self.0.len()
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().map(|(&start, &end)| start..end)
    }

    /// How many bytes are in the set.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// Whether there is nothing in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set_of_bytes(
            ops in prop::collection::vec((0u64..64, 0u64..20, any::<bool>()), 0..60),
        ) {
            let mut set = RangeSet::new();
            let mut model = [false; 100];
            for (start, len, add) in ops {
                if add { set.insert(start..start + len) } else { set.remove(start..start + len) }
                model[start as usize..(start + len) as usize].fill(add);
                prop_assert_eq!(set.len(), model.iter().filter(|b| **b).count() as u64);
                let end = model.iter().rposition(|b| *b).map_or(0, |last| last + 1);
                prop_assert_eq!(set.end(), end as u64);
                let gap = model[..end].iter().position(|b| !b);
                let gap_end = gap.map(|gap| gap + model[gap..].iter().position(|b| *b).unwrap());
                let gap = gap.zip(gap_end).map(|(gap, end)| gap as u64..end as u64);
                prop_assert_eq!(set.first_gap(), gap);
                let ranges: Vec<_> = set.iter().collect();
                prop_assert_eq!(set.parts(), ranges.len());
                for pair in ranges.windows(2) {
                    prop_assert!(pair[0].end < pair[1].start);
                }
                for at in 0..90u64 {
                    let run = model[at as usize..].iter().take_while(|b| **b).count() as u64;
                    prop_assert_eq!(set.end_of_run(at), at + run);
                    let part = &model[at as usize..at as usize + 7];
                    let missing = part.iter().filter(|b| !**b).count() as u64;
                    prop_assert_eq!(set.missing(&(at..at + 7)), missing);
                    let near = &model[at.saturating_sub(1) as usize..at as usize + 8];
                    prop_assert_eq!(set.touches(&(at..at + 7)), near.contains(&true));
                }
            }
        }
    }
}
