//! The ring of origins (or trackers): which members own a digest, and which of those to ask.

use crate::{Digest, hrw};

/// A set of members and the rule that assigns each digest some of them.
///
/// Every process that knows the same members names the same owners: the order is uber/kraken's
/// rendezvous hash over the member's label (`host:port`, exactly as configured or resolved). Health
/// is not kept here but asked for, so that membership and health change independently. The list of
/// hosts bounds the number of members; it comes from configuration or DNS, not from peers.
#[derive(Debug, Clone)]
pub struct Ring {
    members: Vec<String>,
    replicas_max: usize,
}

impl Ring {
    /// A ring without members that assigns each digest `replicas_max` of them, at least one.
    pub fn new(replicas_max: usize) -> Self {
        Self { members: Vec::new(), replicas_max: replicas_max.max(1) }
    }

    /// Replaces the members; true if that changed anything.
    pub fn set_members<L: Into<String>>(&mut self, members: impl IntoIterator<Item = L>) -> bool {
        let mut members: Vec<String> = members.into_iter().map(Into::into).collect();
        members.sort_unstable();
        members.dedup();
        let changed = members != self.members;
        self.members = members;
        changed
    }

    /// The members in the order of their labels.
    pub fn members(&self) -> &[String] {
        &self.members
    }

    /// Whether `label` is a member.
    pub fn contains(&self, label: &str) -> bool {
        self.members.binary_search_by(|member| member.as_str().cmp(label)).is_ok()
    }

    /// The members that own `digest`, healthy or not, the best first.
    pub fn owners(&self, digest: &Digest) -> Vec<&str> {
        let mut owners = hrw::order(&digest.shard_id(), &self.members);
        owners.truncate(self.replicas_max);
        owners
    }

    /// The members to ask for `digest`, the best first: its healthy owners; without one, the first
    /// healthy member after them; without any healthy member, the best owner all the same.
    ///
    /// It is empty only if there are no members.
    pub fn locations(&self, digest: &Digest, is_healthy: impl Fn(&str) -> bool) -> Vec<&str> {
        let order = hrw::order(&digest.shard_id(), &self.members);
        let (owners, others) = order.split_at(self.replicas_max.min(order.len()));
        let healthy: Vec<&str> =
            owners.iter().copied().filter(|member| is_healthy(member)).collect();
        if !healthy.is_empty() {
            return healthy;
        }
        let next = others.iter().find(|member| is_healthy(member));
        next.or_else(|| owners.first()).copied().into_iter().collect()
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self::new(REPLICAS_MAX_DEFAULT)
    }
}

/// Owners of each digest unless configured, as in uber/kraken.
pub const REPLICAS_MAX_DEFAULT: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const O1: &str = "origin1:15002";
    const O2: &str = "origin2:15002";
    const O3: &str = "origin3:15002";

    fn ring(replicas_max: usize) -> Ring {
        let mut ring = Ring::new(replicas_max);
        assert!(ring.set_members([O3, O1, O2, O1]));
        ring
    }

    /// A digest of the shard `abcd`, whose order is origins 3, 1, 2.
    fn digest() -> Digest {
        format!("sha256:abcd{}", "0".repeat(60)).parse().expect("a digest")
    }

    #[test]
    fn the_healthy_owners_are_asked_in_order() {
        let ring = ring(2);
        assert_eq!(ring.owners(&digest()), [O3, O1]);
        assert_eq!(ring.locations(&digest(), |_| true), [O3, O1]);
        assert_eq!(ring.locations(&digest(), |label| label != O3), [O1]);
    }

    #[test]
    fn without_a_healthy_owner_the_next_healthy_member_is_asked() {
        assert_eq!(ring(2).locations(&digest(), |label| label == O2), [O2]);
        assert_eq!(ring(1).locations(&digest(), |label| label != O3), [O1]);
    }

    #[test]
    fn without_any_healthy_member_the_best_owner_is_asked() {
        assert_eq!(ring(2).locations(&digest(), |_| false), [O3]);
    }

    #[test]
    fn only_an_empty_ring_has_no_locations() {
        assert!(Ring::default().locations(&digest(), |_| true).is_empty());
        assert_eq!(ring(0).locations(&digest(), |_| true), [O3]);
        assert_eq!(ring(9).locations(&digest(), |_| true), [O3, O1, O2]);
    }

    #[test]
    fn membership_changes_are_told() {
        let mut ring = ring(3);
        assert!(!ring.set_members([O1, O2, O3]));
        assert!(ring.contains(O2));
        assert!(ring.set_members([O1, O3]));
        assert!(!ring.contains(O2));
        assert_eq!(ring.members(), [O1, O3]);
    }

    #[test]
    fn a_member_that_leaves_moves_only_its_own_digests() {
        let (all, mut fewer) = (ring(1), ring(1));
        fewer.set_members([O1, O2]);
        for shard in 0..=u16::MAX {
            let digest: Digest =
                format!("sha256:{shard:04x}{}", "0".repeat(60)).parse().expect("a digest");
            let (before, after) = (all.owners(&digest), fewer.owners(&digest));
            assert!(before == after || before == [O3], "{digest}: {before:?}, then {after:?}");
        }
    }
}
