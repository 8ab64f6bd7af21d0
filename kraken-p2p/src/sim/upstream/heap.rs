//! The order in which Go's `container/heap` yields what was pushed one by one: which of equals
//! comes first decides what every agent of uber/kraken asks for first.

/// Numbers by priority, the lowest first.
#[derive(Debug, Default)]
pub(super) struct Heap {
    /// The priority, moved up so that none is negative, in the upper half of each entry.
    entries: Vec<u64>,
}

impl Heap {
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn push(&mut self, value: u32, priority: i32) {
        let key = (i64::from(priority) - i64::from(i32::MIN)) as u64;
        self.entries.push(key << 32 | u64::from(value));
        let mut at = self.entries.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.less(at, parent) {
                break;
            }
            self.entries.swap(at, parent);
            at = parent;
        }
    }

    pub(super) fn pop(&mut self) -> Option<u32> {
        let last = self.entries.len().checked_sub(1)?;
        self.entries.swap(0, last);
        let popped = self.entries.pop();
        let mut at = 0;
        loop {
            let mut child = 2 * at + 1;
            if child >= last {
                break;
            }
            if child + 1 < last && self.less(child + 1, child) {
                child += 1;
            }
            if !self.less(child, at) {
                break;
            }
            self.entries.swap(at, child);
            at = child;
        }
        popped.map(|entry| entry as u32)
    }

    /// Of priorities alone: equals are equal.
    fn less(&self, one: usize, other: usize) -> bool {
        self.entries[one] >> 32 < self.entries[other] >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(priorities: &[i32]) -> Vec<u32> {
        let mut heap = Heap::default();
        for (value, priority) in priorities.iter().enumerate() {
            heap.push(value as u32, *priority);
        }
        std::iter::from_fn(|| heap.pop()).collect()
    }

    /// What Go yields for the same pushes.
    #[test]
    fn ties_come_in_the_order_of_go() {
        assert_eq!(order(&[0; 10]), [0, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(
            order(&[3, 1, 2, 1, 3, 2, 1, 1, 2, 3, 1, 2]),
            [1, 3, 7, 10, 6, 11, 2, 8, 5, 0, 4, 9]
        );
        assert_eq!(
            order(&[2, 2, 2, 1, 1, 1, 0, 0, 0, 1, 1, 1, 2, 2, 2, -1, 0]),
            [15, 16, 6, 7, 8, 4, 9, 10, 3, 11, 5, 14, 0, 2, 13, 1, 12]
        );
        let priorities = [
            1, 0, 3, 2, 0, 0, 2, 0, 0, 0, 2, 2, 3, 2, 3, 1, 1, 1, 3, 3, 2, 1, 0, 3, 1, 0, 0, 3, 2,
            2, 3, 1, 2, 2, 2, 2, 3, 3, 1, 2,
        ];
        assert_eq!(
            order(&priorities),
            [
                1, 4, 7, 8, 9, 22, 5, 25, 26, 15, 31, 16, 17, 38, 0, 21, 24, 28, 3, 33, 35, 39, 20,
                10, 32, 11, 29, 13, 34, 6, 36, 19, 37, 23, 12, 18, 30, 27, 2, 14
            ]
        );
        let many = order(&[0; 384]);
        let sum = (1..).zip(&many).fold(0, |sum, (at, v)| (sum * 31 + v * at) % 1_000_003);
        assert_eq!(sum, 830_336);
    }
}
