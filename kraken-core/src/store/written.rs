//! Which bytes of a file have been written.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of bytes, as ranges that neither overlap nor touch.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The end of each range, by its start.
    ranges: BTreeMap<u64, u64>,
    covered: u64,
}

impl Written {
    /// How many bytes are in it.
    pub(super) fn covered(&self) -> u64 {
        self.covered
    }

    /// Where the last byte ends.
    pub(super) fn end(&self) -> u64 {
        self.ranges.last_key_value().map_or(0, |(_, end)| *end)
    }

    /// How many ranges there are.
    pub(super) fn parts(&self) -> usize {
        self.ranges.len()
    }

    /// The first bytes below its end that are not in it.
    pub(super) fn hole(&self) -> Option<Range<u64>> {
        let mut ranges = self.ranges.iter();
        let (start, end) = ranges.next()?;
        if *start > 0 {
            return Some(0..*start);
        }
        ranges.next().map(|(start, _)| *end..*start)
    }

    /// How many bytes of `range` are not in it.
    pub(super) fn missing(&self, range: &Range<u64>) -> u64 {
        let before_end = self.ranges.range(..range.end).rev();
        let held: u64 = before_end
            .take_while(|(_, end)| **end > range.start)
            .map(|(start, end)| (*end).min(range.end) - (*start).max(range.start))
            .sum();
        range.end.saturating_sub(range.start).saturating_sub(held)
    }

    /// Whether a byte of `range`, or one beside it, is in it.
    pub(super) fn touches(&self, range: &Range<u64>) -> bool {
        self.last_touched(range).is_some()
    }

    /// Takes `range` in.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut whole = range;
        while let Some((start, end)) = self.last_touched(&whole) {
            self.ranges.remove(&start);
            self.covered -= end - start;
            whole = whole.start.min(start)..whole.end.max(end);
        }
        self.covered += whole.end - whole.start;
        self.ranges.insert(whole.start, whole.end);
    }

    fn last_touched(&self, range: &Range<u64>) -> Option<(u64, u64)> {
        let (start, end) = self.ranges.range(..=range.end).next_back()?;
        (*end >= range.start).then_some((*start, *end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_bytes(ranges in proptest::collection::vec((0..40_u64, 0..9_u64), 0..24)) {
            let (mut written, mut bytes) = (Written::default(), BTreeSet::new());
            for (start, len) in ranges {
                let range = start..start + len;
                let new = range.clone().filter(|byte| !bytes.contains(byte)).count();
                prop_assert_eq!(written.missing(&range), new as u64);
                let near = (start.saturating_sub(1)..start + len + 1).any(|b| bytes.contains(&b));
                prop_assert_eq!(written.touches(&range), near);
                bytes.extend(range.clone());
                written.insert(range);
                let end = bytes.last().map_or(0, |last| last + 1);
                prop_assert_eq!((written.covered(), written.end()), (bytes.len() as u64, end));
                let is_start = |byte: &&u64| **byte == 0 || !bytes.contains(&(**byte - 1));
                prop_assert_eq!(written.parts(), bytes.iter().filter(is_start).count());
                let first = (0..end).find(|byte| !bytes.contains(byte));
                let after = |first| (first..end).find(|byte| bytes.contains(byte)).unwrap_or(end);
                prop_assert_eq!(written.hole(), first.map(|first| first..after(first)));
            }
        }
    }
}
