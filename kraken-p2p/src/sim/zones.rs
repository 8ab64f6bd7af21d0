//! The thin links between zones.

use std::collections::VecDeque;
use std::time::Duration;

use super::carried::Carried;
use super::engine::nanos;
use super::rate::{Pipe, Span};
use super::scenario::{Rate, Scenario};
use super::world::Nanos;

/// All links between zones, and the latency inside them.
#[derive(Debug)]
pub(super) struct Zones {
    latency: Nanos,
    links: Vec<Link>,
}

#[derive(Debug)]
struct Link {
    zones: (usize, usize),
    latency: Nanos,
    /// Bytes of a piece that go over it before another's may.
    slice_len: u64,
    /// There and back.
    ways: [Way; 2],
}

/// One direction. Routers hold little: a flow that finds no room waits at its sender, and those
/// that wait take turns.
#[derive(Debug, Clone)]
struct Way {
    pipe: Pipe,
    /// Bytes that may be on their way through it at once, and that are.
    room: u64,
    inside: u64,
    waiting: VecDeque<u32>,
    bytes: u64,
    carried: Carried,
}

impl Zones {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let links = scenario.zone_links.iter().map(|link| {
            let slice_len = scenario.network.slice_on(link.bytes_per_sec);
            // Fewer slices would leave it idle while the next one is on its way to it.
            let least = slice_len.saturating_mul(4);
            let way = Way {
                pipe: Pipe::new(Rate::flat(link.bytes_per_sec)),
                room: least.max((link.bytes_per_sec * BUFFER.as_secs_f64()) as u64),
                inside: 0,
                waiting: VecDeque::new(),
                bytes: 0,
                carried: Carried::default(),
            };
            let latency = nanos(link.latency).max(1);
            Link { zones: link.zones, latency, slice_len, ways: [way.clone(), way] }
        });
        Self { latency: nanos(scenario.network.latency), links: links.collect() }
    }

    /// Inside a zone; and to the trackers and back, which no link between zones makes longer.
    pub(super) fn usual_latency(&self) -> Nanos {
        self.latency
    }

    pub(super) fn latency(&self, from: usize, to: usize) -> Nanos {
        self.place(from, to).map_or(self.latency, |(link, _)| self.links[link].latency)
    }

    /// Bytes of a piece that go from one zone to another before another's may, if a link says so.
    pub(super) fn slice_len(&self, from: usize, to: usize) -> Option<u64> {
        self.place(from, to).map(|(link, _)| self.links[link].slice_len)
    }

    /// Puts bytes on the link between two zones; when they are across. `None` without one.
    pub(super) fn cross(
        &mut self,
        now: Nanos,
        from: usize,
        to: usize,
        bytes: u64,
        stretch: f64,
    ) -> Option<Span> {
        let (link, way) = self.place(from, to)?;
        let way = &mut self.links[link].ways[way];
        way.bytes += bytes;
        Some(way.pipe.put(now, bytes, stretch))
    }

    /// What a link has carried in that direction, as the audit counts.
    pub(super) fn carried(&mut self, from: usize, to: usize) -> Option<(usize, &mut Carried)> {
        let (link, way) = self.place(from, to)?;
        Some((link, &mut self.links[link].ways[way].carried))
    }

    /// Whether a slice may be sent now; if not, its flow is told in turn.
    pub(super) fn enter(&mut self, from: usize, to: usize, flow: u32, bytes: u64) -> bool {
        let Some((link, way)) = self.place(from, to) else { return true };
        let way = &mut self.links[link].ways[way];
        if way.inside == 0 || way.inside + bytes <= way.room {
            way.inside += bytes;
            return true;
        }
        if !way.waiting.contains(&flow) {
            way.waiting.push_back(flow);
        }
        false
    }

    /// Bytes that have been let in have left, or do not come.
    pub(super) fn leave(&mut self, from: usize, to: usize, bytes: u64) {
        if let Some((link, way)) = self.place(from, to) {
            self.links[link].ways[way].inside -= bytes;
        }
    }

    /// How many flows wait for room.
    pub(super) fn waiting(&self, from: usize, to: usize) -> usize {
        self.place(from, to).map_or(0, |(link, way)| self.links[link].ways[way].waiting.len())
    }

    /// The next flow that waits, if there is room for so many bytes.
    pub(super) fn next_waiting(&mut self, from: usize, to: usize, bytes: u64) -> Option<u32> {
        let (link, way) = self.place(from, to)?;
        let way = &mut self.links[link].ways[way];
        let has_room = way.inside == 0 || way.inside + bytes <= way.room;
        if has_room { way.waiting.pop_front() } else { None }
    }

    /// Whether there are no links between zones.
    pub(super) fn is_one(&self) -> bool {
        self.links.is_empty()
    }

    /// The bytes that went over each link, there and back.
    pub(super) fn bytes(&self) -> impl Iterator<Item = ((usize, usize), [u64; 2])> + '_ {
        self.links.iter().map(|link| (link.zones, [link.ways[0].bytes, link.ways[1].bytes]))
    }

    fn place(&self, from: usize, to: usize) -> Option<(usize, usize)> {
        if from == to {
            return None;
        }
        self.links.iter().enumerate().find_map(|(at, link)| match link.zones {
            zones if zones == (from, to) => Some((at, 0)),
            zones if zones == (to, from) => Some((at, 1)),
            _ => None,
        })
    }
}

/// How long what a router holds takes to leave it.
const BUFFER: Duration = Duration::from_millis(20);
