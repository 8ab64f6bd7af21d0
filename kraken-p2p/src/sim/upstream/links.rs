//! The connections of a torrent: those that are, those that are to be, and who is not dialled.

use std::collections::BTreeMap;
use std::time::Duration;

use kraken_core::{Bitfield, PeerId, Time};

use super::config::UpstreamConfig;
use crate::swarm::{ConnId, Refused};

/// Connections and dials under way; both take room.
#[derive(Debug, Default)]
pub(super) struct Links {
    all: Vec<Link>,
    /// Until when; those whose time is up may still stand here.
    blacklist: BTreeMap<PeerId, Time>,
}

/// A connection, or a dial under way.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) conn: ConnId,
    pub(super) peer_id: PeerId,
    /// What the tracker said; whoever dials is no origin.
    pub(super) origin: bool,
    pub(super) active: bool,
    /// What the other side has, as far as this one knows.
    pub(super) theirs: Bitfield,
    pub(super) created_at: Time,
    /// When a piece was last received over it, or handed to its writer.
    pub(super) progress_at: Time,
    /// Its torrent was put aside meanwhile.
    pub(super) orphaned: bool,
}

impl Links {
    /// Takes room for a connection, unless there is none.
    pub(super) fn add(&mut self, link: Link, config: &UpstreamConfig) -> Result<(), Refused> {
        if self.all.len() >= config.max_open_conn {
            return Err(Refused::Full);
        }
        if self.with(&link.peer_id).is_some() {
            return Err(Refused::AlreadyConnected);
        }
        self.all.push(link);
        Ok(())
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Link> {
        let place = self.all.iter().position(|link| link.conn == conn)?;
        Some(self.all.remove(place))
    }

    /// All, dials under way too, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.all.iter_mut()
    }

    pub(super) fn active(&self) -> impl Iterator<Item = &Link> {
        self.all.iter().filter(|link| link.active)
    }

    pub(super) fn of(&self, conn: ConnId) -> Option<&Link> {
        self.all.iter().find(|link| link.conn == conn)
    }

    pub(super) fn of_mut(&mut self, conn: ConnId) -> Option<&mut Link> {
        self.all.iter_mut().find(|link| link.conn == conn)
    }

    pub(super) fn with(&self, peer_id: &PeerId) -> Option<&Link> {
        self.all.iter().find(|link| link.peer_id == *peer_id)
    }

    /// Whether nothing but connections takes up all the room.
    pub(super) fn is_saturated(&self, config: &UpstreamConfig) -> bool {
        self.active().count() == config.max_open_conn
    }

    /// A peer that is on it already does not stay longer for it.
    pub(super) fn blacklist(&mut self, now: Time, peer_id: PeerId, config: &UpstreamConfig) {
        if !config.disable_blacklist && !self.is_blacklisted(now, &peer_id) {
            self.blacklist.insert(peer_id, now + config.blacklist_duration);
        }
    }

    pub(super) fn is_blacklisted(&self, now: Time, peer_id: &PeerId) -> bool {
        self.blacklist.get(peer_id).is_some_and(|until| *until > now)
    }

    pub(super) fn clear_blacklist(&mut self) {
        self.blacklist.clear();
    }
}

impl Link {
    /// One that is to be.
    pub(super) fn pending(conn: ConnId, peer_id: PeerId, origin: bool) -> Self {
        Self {
            conn,
            peer_id,
            origin,
            active: false,
            theirs: Bitfield::new(0),
            created_at: Time::ZERO,
            progress_at: Time::ZERO,
            orphaned: false,
        }
    }

    /// Whether the scheduler, when it looks, closes it.
    pub(super) fn is_over(&self, now: Time, config: &UpstreamConfig) -> bool {
        let longer = |since: Time, than: Duration| now.since(since) > than;
        self.orphaned
            || longer(self.created_at.max(self.progress_at), config.conn_tti)
            || longer(self.created_at, config.conn_ttl)
    }
}
