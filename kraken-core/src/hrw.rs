//! Weighted rendezvous hashing, bit for bit that of uber/kraken (`lib/hrw/rendezvous.go`).

use std::cmp::Ordering;

/// The weight uber/kraken gives every node of its rings.
pub const WEIGHT: f64 = 100.0;

/// The score of a node for a key: the higher, the better the node owns it.
pub fn score(key: &[u8], label: &str, weight: f64) -> f64 {
    const MASK_53: u64 = (1 << 53) - 1;
    let mut bytes = Vec::with_capacity(key.len() + label.len());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(label.as_bytes());
    let mut hash = murmur3_64(&bytes);
    let mut value = hash & MASK_53;
    while value == 0 {
        hash = murmur3_64(&hash.to_be_bytes());
        value = hash & MASK_53;
    }
    -weight / (value as f64 / (1u64 << 53) as f64).ln()
}

/// The labels ordered by score, best first; equal scores by label.
pub fn order<'a, L: AsRef<str>>(key: &[u8], labels: &'a [L]) -> Vec<&'a str> {
    let mut scored: Vec<(f64, &str)> =
        labels.iter().map(|label| (score(key, label.as_ref(), WEIGHT), label.as_ref())).collect();
    scored.sort_by(|a, b| {
        b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal).then_with(|| a.1.cmp(b.1))
    });
    scored.into_iter().map(|(_, label)| label).collect()
}

/// The first 64 bits of MurmurHash3 x64 128, seed 0 (Go's `spaolacci/murmur3.New64`).
pub fn murmur3_64(bytes: &[u8]) -> u64 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let (mut h1, mut h2) = (0u64, 0u64);
    let (blocks, tail) = bytes.as_chunks::<16>();
    for block in blocks {
        let whole = u128::from_le_bytes(*block);
        h1 ^= mix1(whole as u64);
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix2((whole >> 64) as u64);
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let mut last = [0; 16];
    last[..tail.len()].copy_from_slice(tail);
    let last = u128::from_le_bytes(last);
    // A tail of zeros mixes to zero, so no case by length is needed.
    h2 ^= mix2((last >> 64) as u64);
    h1 ^= mix1(last as u64);
    h1 ^= bytes.len() as u64;
    h2 ^= bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finalize(h1);
    h2 = finalize(h2);
    h1.wrapping_add(h2)
}

fn finalize(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_the_go_ring() {
        let nodes = ["origin1:15002", "origin2:15002", "origin3:15002"];
        let cases: [(&[u8], [usize; 3], [f64; 3]); 4] = [
            (&[0, 0], [3, 1, 2], [317.087_288_700_370_6, 85.811, 33.55]),
            (&[0xab, 0xcd], [3, 1, 2], [2228.047, 133.94, 80.09]),
            (&[0xff, 0xff], [2, 3, 1], [104.573, 74.09, 62.56]),
            (&[0xbe, 0xef], [3, 1, 2], [143.544, 110.749, 70.706]),
        ];
        for (key, expected, scores) in cases {
            let expected = expected.map(|n| nodes[n - 1]);
            assert_eq!(order(key, &nodes), expected, "{key:?}");
            for (node, wanted) in expected.into_iter().zip(scores) {
                let got = score(key, node, WEIGHT);
                assert!((got - wanted).abs() < 0.01, "{key:?} {node}: {got}, not {wanted}");
            }
        }
        assert_eq!(score(&[0, 0], nodes[2], WEIGHT), 317.087_288_700_370_6);
    }
}
