//! Fair shares of blobs that are nowhere at first but at origins.
//!
//! Whoever has all of a blob that has left the origins gets no more of it than leaves them at that
//! moment; what leaves them is had by all who wait for it at once. The origins' uplinks together
//! are shared max-min fairly among the blobs that somebody waits for, and a host's downlink, less
//! what comes to it so, among its other downloads. Hosts' uplinks are never in the way. Bytes flow
//! in steps that are short beside the downloads.

use super::{Wanted, Wish};
use crate::stop::Stop;

/// A download under way.
#[derive(Debug, Clone, Copy)]
struct Active {
    wish: usize,
    have: f64,
}

/// How many seconds each download takes; `fair`, what they take where blobs are everywhere. `None`
/// once it is stopped.
pub(super) fn times(wanted: &Wanted, fair: &[f64], stop: &Stop) -> Option<Vec<f64>> {
    let Wanted { downlinks, lens, wishes, .. } = wanted;
    let mut seconds = vec![0.0; wishes.len()];
    let mut later: Vec<usize> = (0..wishes.len()).collect();
    later.sort_by(|a, b| wishes[*b].from_secs.total_cmp(&wishes[*a].from_secs));
    let step_secs = step_secs(wanted, fair);
    let mut sent = vec![0.0; lens.len()];
    let mut active: Vec<Active> = Vec::new();
    let mut now = 0.0_f64;
    while !stop.is_asked() {
        if active.is_empty() {
            let Some(next) = later.last() else { return Some(seconds) };
            now = now.max(wishes[*next].from_secs);
        }
        while let Some(wish) = later.pop_if(|wish| wishes[*wish].from_secs <= now) {
            active.push(Active { wish, have: 0.0 });
        }
        let rates = rates(wanted, &sent, &active);
        for (blob, rate) in rates.blobs.iter().enumerate() {
            sent[blob] = lens[blob].min(sent[blob] + rate * step_secs);
        }
        for (it, rate) in active.iter_mut().zip(&rates.downloads) {
            it.have = sent[wishes[it.wish].blob].min(it.have + rate * step_secs);
        }
        now += step_secs;
        active.retain(|it| {
            let Wish { host, blob, from_secs } = wishes[it.wish];
            let there = it.have >= lens[blob] * (1.0 - 1e-9);
            if there {
                seconds[it.wish] = (now - from_secs).max(lens[blob] / downlinks[host]);
            }
            !there
        });
    }
    None
}

/// A step that makes no difference to the mean download, unless there were too many of them then.
fn step_secs(wanted: &Wanted, fair: &[f64]) -> f64 {
    let last_wish = wanted.wishes.iter().map(|wish| wish.from_secs).fold(0.0, f64::max);
    let longest = fair.iter().copied().fold(0.0, f64::max);
    let span = last_wish + longest + wanted.lens.iter().sum::<f64>() / wanted.origins;
    let mean = fair.iter().sum::<f64>() / fair.len() as f64;
    (mean / STEPS_PER_DOWNLOAD).max(span / STEPS_MAX)
}

/// Bytes a second at one moment.
#[derive(Debug)]
struct Rates {
    /// At which each blob leaves the origins.
    blobs: Vec<f64>,
    /// Of the downloads under way, in their order.
    downloads: Vec<f64>,
}

fn rates(wanted: &Wanted, sent: &[f64], active: &[Active]) -> Rates {
    let Wanted { downlinks, origins, lens, wishes, .. } = wanted;
    let of = |it: &Active| wishes[it.wish];
    let waits = |it: &Active| {
        let blob = of(it).blob;
        sent[blob] < lens[blob] && it.have >= sent[blob]
    };
    let mut counts = vec![0_u32; downlinks.len()];
    for it in active {
        counts[of(it).host] += 1;
    }
    let part = |host: usize| downlinks[host] / f64::from(counts[host]);
    // As much of each blob as the fastest of those who wait for it could take.
    let mut blobs = vec![0.0_f64; lens.len()];
    for it in active.iter().filter(|it| waits(it)) {
        let Wish { host, blob, .. } = of(it);
        blobs[blob] = blobs[blob].max(part(host));
    }
    let level = level(*origins, &blobs);
    // What is left of each downlink by those who wait, and for how many.
    let mut left: Vec<(f64, u32)> = downlinks.iter().copied().zip(counts.iter().copied()).collect();
    for it in active.iter().filter(|it| waits(it)) {
        let host = of(it).host;
        left[host].0 -= part(host).min(level);
        left[host].1 -= 1;
    }
    let rate = |it: &Active| {
        let host = of(it).host;
        match waits(it) {
            true => part(host).min(level),
            false => left[host].0 / f64::from(left[host].1),
        }
    };
    let downloads = active.iter().map(rate).collect();
    Rates { downloads, blobs: blobs.iter().map(|most| most.min(level)).collect() }
}

/// What everybody gets of `room` at the most when nobody wants more than this.
fn level(room: f64, wanted: &[f64]) -> f64 {
    let mut wanted: Vec<f64> = wanted.iter().copied().filter(|wanted| *wanted > 0.0).collect();
    wanted.sort_by(f64::total_cmp);
    let (mut room, mut rising) = (room, wanted.len() as f64);
    for most in wanted {
        if most * rising >= room {
            return room / rising;
        }
        room -= most;
        rising -= 1.0;
    }
    f64::INFINITY
}

/// Steps that the mean download takes.
const STEPS_PER_DOWNLOAD: f64 = 1000.0;

/// About as many steps as a scenario takes at the most.
const STEPS_MAX: f64 = 100_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(downlinks: &[f64], origins: f64, lens: &[f64], wishes: &[Wish], expected: &[f64]) {
        let (downlinks, lens) = (downlinks.to_vec(), lens.to_vec());
        let wanted =
            Wanted { downlinks, origins, lens, wishes: wishes.to_vec(), ..Wanted::default() };
        let seconds = times(&wanted, &[10.0], &Stop::default()).unwrap();
        let close = seconds.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.05);
        assert!(close && seconds.len() == expected.len(), "{seconds:?}, not {expected:?}");
    }

    fn wish(host: usize, blob: usize, from_secs: f64) -> Wish {
        Wish { host, blob, from_secs }
    }

    #[test]
    fn what_leaves_the_origins_is_had_by_all_who_wait_for_it() {
        let wishes = [wish(0, 0, 0.0), wish(1, 0, 0.0)];
        check(&[10.0, 10.0], 5.0, &[100.0], &wishes, &[20.0, 20.0]);
        // Half of it has left when the second one comes, which has the rest with the first.
        let wishes = [wish(0, 0, 0.0), wish(1, 0, 10.0)];
        check(&[10.0, 10.0], 5.0, &[100.0], &wishes, &[20.0, 10.0]);
        // All of it has left: only the downlink matters.
        let wishes = [wish(0, 0, 0.0), wish(1, 0, 100.0)];
        check(&[10.0, 10.0], 5.0, &[100.0], &wishes, &[20.0, 10.0]);
    }

    #[test]
    fn blobs_share_the_origins_and_leave_what_they_cannot_take() {
        let wishes = [wish(0, 0, 0.0), wish(1, 1, 0.0)];
        check(&[10.0, 10.0], 10.0, &[100.0, 50.0], &wishes, &[15.0, 10.0]);
        // The second's downlink takes 2 of 10; the first has the other 8.
        check(&[10.0, 2.0], 10.0, &[80.0, 20.0], &wishes, &[10.0, 10.0]);
        // One that waits for an origin leaves its downlink to the other, which need not.
        let wishes = [wish(1, 0, 0.0), wish(0, 0, 50.0), wish(0, 1, 50.0)];
        check(&[10.0, 10.0], 2.0, &[80.0, 20.0], &wishes, &[40.0, 10.0, 10.0]);
    }
}
