//! How many pieces go out at once: few, for each to be there soon, and as many as are all there
//! soon; one more while they leave the uplink idle, because their receivers are slow or get from
//! others too.
//!
//! The uplink's rate is not known. It shows in what goes out while somebody always waits for a
//! slot: the most that was seen lately is what it can do, and much less than that is room. Now and
//! then one slot less is tried, for a look; and by a node that fetches nothing one slot more, for
//! an uplink that a few receivers cannot fill. Whoever fetches has neighbours that would wait for
//! the pieces.

use std::time::Duration;

use kraken_core::Time;

use super::config::SwarmConfig;

/// The number of slots, and what it follows.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// How many are there soon at the rate of the uplink.
    soon: usize,
    /// More than those.
    extra: usize,
    /// When was last told, and what, how many bytes have gone out since the start.
    told: Option<(Time, u64)>,
    /// Whether a slot was free since then.
    was_free: bool,
    /// Most bytes a second that went out lately.
    peak: f64,
    trial: Option<Trial>,
    /// When the next trial may begin.
    try_at: Time,
    /// Which way the last one went.
    tried_more: bool,
}

/// One slot more, or one less, until the next look.
#[derive(Debug, Clone, Copy)]
struct Trial {
    more: bool,
    /// Bytes a second before it.
    before: f64,
}

impl Slots {
    /// How many there are.
    pub(super) fn count(&self, config: &SwarmConfig) -> usize {
        let least = config.upload_pieces_at_once;
        (least.max(self.soon) + self.extra).min(config.upload_pieces_max.max(least))
    }

    /// Nobody waits for a slot.
    pub(super) fn note_free(&mut self) {
        self.was_free = true;
    }

    /// So many bytes have gone out since the start, in pieces of up to `piece_len`; `fetches` says
    /// whether this node fetches anything.
    pub(super) fn on_progress(
        &mut self,
        now: Time,
        bytes: u64,
        piece_len: u64,
        fetches: bool,
        config: &SwarmConfig,
    ) {
        let (since, before) = *self.told.get_or_insert((now, bytes));
        let took = now.since(since);
        if took < LOOK_MIN {
            return;
        }
        self.told = Some((now, bytes));
        let was_free = std::mem::take(&mut self.was_free);
        if was_free || took > LOOK_MAX {
            self.end_trial(false, now);
            return;
        }
        let rate = bytes.saturating_sub(before) as f64 / took.as_secs_f64();
        let may_grow = self.count(config) < config.upload_pieces_max;
        if let Some(Trial { more, before }) = self.trial {
            let others = self.count(config).saturating_sub(usize::from(more)) as f64;
            let least = if more { 1.0 + WORTH / others } else { FULL };
            self.end_trial(rate >= before * least, now);
        } else if rate < self.peak * ROOM {
            self.extra += usize::from(may_grow);
        } else if now >= self.try_at {
            let more = may_grow && !fetches && !(self.tried_more && self.extra > 0);
            if more || self.extra > 0 {
                self.begin_trial(Trial { more, before: rate });
            }
        }
        self.peak = rate.max(self.peak * PEAK_KEPT);
        self.soon = (self.peak * SOON.as_secs_f64() / piece_len as f64) as usize;
    }

    fn begin_trial(&mut self, trial: Trial) {
        self.extra = if trial.more { self.extra + 1 } else { self.extra - 1 };
        self.tried_more = trial.more;
        self.trial = Some(trial);
    }

    /// What was tried stays, or goes back to what it was.
    fn end_trial(&mut self, stays: bool, now: Time) {
        let Some(Trial { more, .. }) = self.trial.take() else { return };
        if stays {
            // And may be followed by another of its kind at once.
            self.tried_more = !more;
        } else {
            self.extra = if more { self.extra - 1 } else { self.extra + 1 };
            self.try_at = now + TRY_EVERY;
        }
    }
}

/// Pieces that go out at once are all there within this time, if that makes them more than the
/// least: receivers that get from others too leave no gap then. The slowest of 200 hosts at
/// 300 MB/s came 4 % sooner for it.
const SOON: Duration = Duration::from_millis(100);

/// Looks at shorter times say little: a piece takes a tenth of a second and more where the uplink
/// has to be shared out.
const LOOK_MIN: Duration = Duration::from_millis(200);

/// After a longer pause it was this node that did not get to look, or nothing to send.
const LOOK_MAX: Duration = Duration::from_millis(800);

/// Less than this share of the most that was seen leaves room for one piece more.
const ROOM: f64 = 0.7;

/// A slot is given back when this share goes out without it.
const FULL: f64 = 0.95;

/// A slot that was tried stays if it adds this share of what the others carry each.
const WORTH: f64 = 0.5;

/// What is left of the most that was seen by the next look: half after some half a minute.
const PEAK_KEPT: f64 = 0.995;

/// How long after a trial in vain the next one comes: an eighth of the time at most.
const TRY_EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    /// The slots of a node, and what it has sent.
    struct Link {
        slots: Slots,
        config: SwarmConfig,
        now: Time,
        sent: u64,
        fetches: bool,
    }

    impl Link {
        fn new(fetches: bool) -> Self {
            let config = SwarmConfig::default();
            Self { slots: Slots::default(), config, now: Time::from_millis(1), sent: 0, fetches }
        }

        fn count(&self) -> usize {
            self.slots.count(&self.config)
        }

        /// The numbers of slots over so many looks, with an uplink of so many bytes a second and
        /// receivers that take `each` at the most.
        fn carry(&mut self, uplink: u64, each: u64, looks: usize) -> Vec<usize> {
            let step = |_| {
                let rate = uplink.min(each * self.count() as u64);
                self.now += Duration::from_millis(250);
                self.sent += rate / 4;
                let Self { now, sent, fetches, .. } = *self;
                self.slots.on_progress(now, sent, 4 << 20, fetches, &self.config);
                self.count()
            };
            (0..looks).map(step).collect()
        }
    }

    #[test]
    fn an_uplink_that_is_full_keeps_its_few_slots() {
        for fetches in [false, true] {
            let mut link = Link::new(fetches);
            let counts = link.carry(40 << 20, 40 << 20, 100);
            assert!(counts.iter().all(|count| (4..=5).contains(count)), "{counts:?}");
            let tried = counts.iter().filter(|count| **count == 5).count();
            assert_eq!(tried > 0, !fetches, "only who fetches nothing tries more");
            assert!(tried <= 100 / 8 + 1, "{tried} of 100 looks");
        }
    }

    #[test]
    fn slow_receivers_get_company_until_the_uplink_is_full_and_lose_it_again() {
        let mut link = Link::new(true);
        link.carry(40 << 20, 40 << 20, 4);
        link.carry(40 << 20, 4 << 20, 40);
        assert!((6..=10).contains(&link.count()), "{}", link.count());
        link.carry(40 << 20, 1 << 20, 12);
        assert_eq!(link.count(), link.config.upload_pieces_max);
        link.carry(40 << 20, 40 << 20, 30);
        assert_eq!(link.count(), link.config.upload_pieces_at_once);
    }

    #[test]
    fn a_fast_uplink_sends_as_many_as_are_there_soon() {
        let mut link = Link::new(true);
        link.carry(300 << 20, 300 << 20, 2);
        assert_eq!(link.count(), 7);
        link.carry(300 << 20, 300 << 20, 20);
        assert_eq!(link.count(), 7);
    }

    #[test]
    fn a_seed_finds_out_that_its_uplink_can_do_more() {
        let mut link = Link::new(false);
        link.carry(1 << 30, 100 << 20, 150);
        assert!(link.count() >= 9, "{}", link.count());
    }

    #[test]
    fn what_goes_out_says_nothing_while_nobody_waits_or_nobody_looks() {
        let mut link = Link::new(true);
        link.carry(40 << 20, 40 << 20, 4);
        for _ in 0..20 {
            link.slots.note_free();
            link.carry(1 << 20, 40 << 20, 1);
        }
        assert_eq!(link.count(), 4);
        for _ in 0..20 {
            link.now += Duration::from_secs(2);
            link.carry(1 << 20, 40 << 20, 1);
        }
        assert_eq!(link.count(), 4);
    }

    #[test]
    fn a_fixed_number_stays() {
        let mut link = Link::new(false);
        link.config.upload_pieces_max = 2;
        link.carry(40 << 20, 40 << 20, 4);
        link.carry(40 << 20, 1 << 20, 40);
        assert_eq!(link.count(), 4);
    }
}
