//! Randomness from a seed: what is drawn can be drawn again.

use std::time::Duration;

/// SplitMix64 (Vigna): small, seeded, good enough to break ties and pick peers; never for secrets.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; zero when `bound` is.
    pub const fn below(&mut self, bound: usize) -> usize {
        ((self.next() as u128 * bound as u128) >> 64) as usize
    }

    /// A number in `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A duration between 75 % and 125 % of `mean`, so that many nodes do not act in step.
    pub fn jitter(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(0.75 + 0.5 * self.fraction())
    }

    /// Brings `items` into random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }

    /// `count` distinct numbers below `bound`, in random order and in O(`count`) memory; all of
    /// them when there are no more than that (Floyd's algorithm).
    pub fn distinct_below(&mut self, bound: usize, count: usize) -> Vec<usize> {
        let count = count.min(bound);
        let mut picked = Vec::with_capacity(count);
        for top in bound - count..bound {
            let candidate = self.below(top + 1);
            match picked.binary_search(&candidate) {
                // `top` is above all that was picked.
                Ok(_) => picked.push(top),
                Err(place) => picked.insert(place, candidate),
            }
        }
        self.shuffle(&mut picked);
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_are_distinct_and_fair() {
        let mut rng = Rng::new(1);
        let mut hits = [0u32; 10];
        for _ in 0..10_000 {
            let picked = rng.distinct_below(10, 3);
            let mut sorted = picked.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!((picked.len(), sorted.len()), (3, 3));
            for place in picked {
                hits[place] += 1;
            }
        }
        assert!(hits.iter().all(|hits| (2700..3300).contains(hits)), "{hits:?}");
        assert_eq!(rng.distinct_below(0, 5), Vec::<usize>::new());
        assert_eq!(rng.distinct_below(5, 0), Vec::<usize>::new());
        let mut all = rng.distinct_below(4, 9);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
    }
}
