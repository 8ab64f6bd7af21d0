//! What is going to happen, in the order of time.

use std::cmp::Ordering;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};

use kraken_core::Error;

use super::world::Nanos;
use crate::swarm::{Announced, CloseReason, ConnId};
use crate::tracker::AnnounceRequest;
use crate::wire::{Handshake, Message};

/// Something that happens. Hosts, copies and ends are places in the world's tables.
#[derive(Debug)]
pub(super) enum Event {
    /// A host's process starts.
    Join { host: u32 },
    /// A host begins to want a blob.
    Want { copy: u32 },
    /// A host's timer, unless it has another by now.
    Timer { host: u32 },
    /// What becomes of a host.
    Fate { host: u32 },
    /// The slice on a host's uplink has left it.
    SliceLeft { host: u32 },
    /// A flow of a host's uplink may go on.
    UplinkWake { host: u32 },
    /// A slice sent by `end` has crossed a link between zones; so many of its piece are to come. It
    /// took so many nanoseconds to leave that link.
    Crossed { end: u32, index: u32, len: u32, left: u32, took: u32 },
    /// The receiving `end` has got bytes of a piece.
    Progress { end: u32, index: u32, bytes: u32 },
    /// The receiving `end` has got the last byte of a piece.
    Piece { end: u32, index: u32 },
    /// A message comes to an end; most take the lane.
    Message { end: u32, message: Box<Message> },
    /// The other side of an end is gone.
    Closed { end: u32 },
    /// A connection breaks; one of its ends.
    Break { end: u32 },
    /// The sending `end` has been blocked for a while, unless it could go on.
    Stalled { end: u32 },
    /// A handshake comes.
    Arrive(Box<Arrival>),
    /// The dialing `end` has the answer.
    Dialed { end: u32, reply: Box<Handshake> },
    /// A dial has failed.
    DialFailed(Box<DialFailed>),
    /// A tracker is done with an announce.
    Announce(Box<Announcing>),
    /// A tracker's answer comes.
    Announced(Box<Answer>),
    /// A blob is verified.
    Committed { copy: u32, life: u32 },
    /// A blob is thrown away.
    Discarded { copy: u32, life: u32 },
}

/// A handshake on its way.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) from: u32,
    pub(super) life: u32,
    pub(super) conn: ConnId,
    /// The copy of the one who dials.
    pub(super) copy: u32,
    pub(super) to: u32,
    pub(super) handshake: Box<Handshake>,
}

/// Bad news for one who dials.
#[derive(Debug)]
pub(super) struct DialFailed {
    pub(super) host: u32,
    pub(super) life: u32,
    pub(super) conn: ConnId,
    pub(super) reason: CloseReason,
}

/// An announce that a tracker works on.
#[derive(Debug)]
pub(super) struct Announcing {
    pub(super) copy: u32,
    pub(super) life: u32,
    pub(super) request: AnnounceRequest,
}

/// A tracker's answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) copy: u32,
    pub(super) life: u32,
    pub(super) result: Result<Announced, Error>,
}

/// What happens next.
#[derive(Debug)]
pub(super) enum Next {
    Event(Event),
    Message { end: u32, message: Message },
}

/// The events to come. Of those of one moment the one that was put in first comes first.
///
/// Most of them are messages that take the same time to get there, so they come in the order in
/// which they were sent: they stand in a lane of their own, and need no sorting. The others lie in
/// a calendar: a page for each short span of the time to come, sorted when its time has come, and a
/// heap for what is farther ahead.
#[derive(Debug)]
pub(super) struct Queue {
    /// The page that is open, the next event last.
    today: Vec<Entry>,
    /// The next pages, each in the place of its number, modulo how many there are.
    pages: Vec<Vec<Entry>>,
    /// The number of the open page, counted from time zero.
    open: u64,
    /// How many entries lie in the pages.
    in_pages: usize,
    later: BinaryHeap<Entry>,
    lane: VecDeque<(Nanos, u64, u32, Message)>,
    seq: u64,
}

#[derive(Debug)]
struct Entry {
    at: Nanos,
    seq: u64,
    event: Event,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            today: Vec::new(),
            pages: std::iter::repeat_with(Vec::new).take(PAGES).collect(),
            open: 0,
            in_pages: 0,
            later: BinaryHeap::new(),
            lane: VecDeque::new(),
            seq: 0,
        }
    }

    pub(super) fn push(&mut self, at: Nanos, event: Event) {
        self.seq += 1;
        let entry = Entry { at, seq: self.seq, event };
        let page = at / PAGE;
        if page <= self.open {
            // Greater entries come sooner, and the soonest lies last.
            let place = self.today.partition_point(|other| *other < entry);
            self.today.insert(place, entry);
        } else if page - self.open < PAGES as u64 {
            self.pages[(page % PAGES as u64) as usize].push(entry);
            self.in_pages += 1;
        } else {
            self.later.push(entry);
        }
    }

    /// A message; quickest when none before it comes later.
    pub(super) fn push_message(&mut self, at: Nanos, usual: Nanos, end: u32, message: Message) {
        if at == usual && self.lane.back().is_none_or(|last| last.0 <= at) {
            self.seq += 1;
            self.lane.push_back((at, self.seq, end, message));
        } else {
            self.push(at, Event::Message { end, message: Box::new(message) });
        }
    }

    /// When the next one is.
    pub(super) fn next_at(&mut self) -> Option<Nanos> {
        self.turn_pages();
        let page = self.today.last().map(|entry| entry.at);
        let lane = self.lane.front().map(|entry| entry.0);
        [page, lane].into_iter().flatten().min()
    }

    pub(super) fn pop(&mut self) -> Option<(Nanos, Next)> {
        self.turn_pages();
        let from_lane = match (self.lane.front(), self.today.last()) {
            (Some((at, seq, ..)), Some(entry)) => (*at, *seq) < (entry.at, entry.seq),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if from_lane {
            let (at, _, end, message) = self.lane.pop_front()?;
            return Some((at, Next::Message { end, message }));
        }
        self.today.pop().map(|entry| (entry.at, Next::Event(entry.event)))
    }

    /// Opens the next page that has an entry, when the open one is used up.
    fn turn_pages(&mut self) {
        while self.today.is_empty() {
            if self.in_pages == 0 {
                let Some(soonest) = self.later.peek() else { return };
                self.open = soonest.at / PAGE;
            } else {
                self.open += 1;
            }
            let page = &mut self.pages[(self.open % PAGES as u64) as usize];
            self.in_pages -= page.len();
            self.today.append(page);
            while let Some(entry) = self.later.peek_mut()
                && entry.at / PAGE <= self.open
            {
                self.today.push(PeekMut::pop(entry));
            }
            self.today.sort_unstable();
        }
    }
}

impl Ord for Entry {
    /// A heap gives the greatest first, so the soonest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.seq).cmp(&(self.at, self.seq))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

const _: () = assert!(size_of::<Entry>() <= 40, "entries are moved often");

/// Nanoseconds of a page: some hundred events of the largest runs.
const PAGE: Nanos = 1 << 15;

/// Pages kept: a quarter of a second, which is farther than most events are ahead.
const PAGES: usize = 1 << 13;

#[cfg(test)]
mod tests {
    use kraken_core::rng::Rng;

    use super::*;

    fn drain(queue: &mut Queue) -> Vec<(Nanos, u32)> {
        let mut order = Vec::new();
        while let Some(at) = queue.next_at() {
            let (popped, next) = queue.pop().unwrap();
            assert_eq!(at, popped);
            order.push(match next {
                Next::Message { end, .. } | Next::Event(Event::Message { end, .. }) => (at, end),
                Next::Event(Event::Join { host }) => (at, host),
                other => panic!("{other:?}"),
            });
        }
        order
    }

    #[test]
    fn events_come_by_time_and_then_in_the_order_they_were_put_in() {
        let mut queue = Queue::new();
        queue.push(5, Event::Join { host: 0 });
        queue.push_message(3, 3, 1, Message::Complete);
        queue.push(3, Event::Join { host: 2 });
        queue.push_message(3, 3, 3, Message::Complete);
        queue.push_message(9, 4, 4, Message::Complete);
        queue.push_message(4, 4, 5, Message::Complete);
        queue.push(3, Event::Join { host: 6 });
        let order = drain(&mut queue);
        assert_eq!(order, [(3, 1), (3, 2), (3, 3), (3, 6), (4, 5), (5, 0), (9, 4)]);
    }

    #[test]
    fn near_and_far_the_order_is_that_of_a_sorted_list() {
        let mut rng = Rng::new(3);
        let mut queue = Queue::new();
        let (mut list, mut order) = (Vec::new(), Vec::new());
        let mut now = 0;
        for host in 0..20_000 {
            let ahead = PAGE << rng.below(16);
            let at = now + rng.below(ahead as usize) as Nanos;
            queue.push(at, Event::Join { host });
            list.push((at, host));
            if rng.below(3) == 0
                && let Some((at, Next::Event(Event::Join { host }))) = queue.pop()
            {
                assert!(at >= now);
                now = at;
                order.push((at, host));
            }
        }
        order.append(&mut drain(&mut queue));
        list.sort_unstable();
        assert_eq!(order, list);
    }
}
