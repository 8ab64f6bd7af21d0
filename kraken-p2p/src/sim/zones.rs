//! The thin links between zones.

use super::engine::nanos;
use super::rate::Pipe;
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
    /// There and back.
    pipes: [Pipe; 2],
    bytes: [u64; 2],
}

impl Zones {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let links = scenario.zone_links.iter().map(|link| {
            let pipe = Pipe::new(Rate::flat(link.bytes_per_sec));
            Link {
                zones: link.zones,
                latency: nanos(link.latency).max(1),
                pipes: [pipe.clone(), pipe],
                bytes: [0; 2],
            }
        });
        Self { latency: nanos(scenario.network.latency), links: links.collect() }
    }

    /// Inside a zone.
    pub(super) fn usual_latency(&self) -> Nanos {
        self.latency
    }

    pub(super) fn latency(&self, from: usize, to: usize) -> Nanos {
        self.place(from, to).map_or(self.latency, |(link, _)| self.links[link].latency)
    }

    /// Puts bytes on the link between two zones; when they are across. `None` without one.
    pub(super) fn cross(
        &mut self,
        now: Nanos,
        from: usize,
        to: usize,
        bytes: u64,
        stretch: f64,
    ) -> Option<Nanos> {
        let (link, way) = self.place(from, to)?;
        let link = &mut self.links[link];
        link.bytes[way] += bytes;
        Some(link.pipes[way].put(now, bytes, stretch))
    }

    /// The bytes that went over each link, there and back.
    pub(super) fn bytes(&self) -> impl Iterator<Item = ((usize, usize), [u64; 2])> + '_ {
        self.links.iter().map(|link| (link.zones, link.bytes))
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
