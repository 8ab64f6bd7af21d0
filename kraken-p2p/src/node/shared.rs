//! What all tasks of a node share.

use std::sync::Arc;

use kraken_core::PeerInfo;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::blocking::Blocking;
use super::buffers::BufferPool;
use super::complaints::Complaints;
use super::config::NodeConfig;
use super::event::Event;
use super::limits as node_limits;
use super::openings::Openings;
use super::running::Asking;
use super::shaping::{Clock, Shaper};
use super::stats::Counters;
use crate::limits;
use crate::storage::TorrentStorage;
use crate::tracker::TrackerClient;

/// Handed to every task of the node.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: NodeConfig,
    /// This node as it announces itself.
    pub(super) local: PeerInfo,
    pub(super) storage: Arc<dyn TorrentStorage>,
    pub(super) tracker: Arc<dyn TrackerClient>,
    pub(super) clock: Clock,
    pub(super) blocking: Blocking,
    pub(super) buffers: Arc<BufferPool>,
    pub(super) egress: Shaper,
    pub(super) ingress: Shaper,
    pub(super) counters: Counters,
    pub(super) complaints: Complaints,
    pub(super) asking: Arc<Asking>,
    pub(super) openings: Openings,
    /// Bounds the incoming handshakes under way.
    pub(super) handshakes: Arc<Semaphore>,
    /// Bounds the announces under way.
    pub(super) announces: Semaphore,
    /// To the task that owns the swarm.
    pub(super) events: mpsc::Sender<Event>,
    pub(super) tasks: TaskTracker,
    pub(super) closing: CancellationToken,
}

impl Shared {
    pub(super) fn new(
        config: NodeConfig,
        local: PeerInfo,
        storage: Arc<dyn TorrentStorage>,
        tracker: Arc<dyn TrackerClient>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let clock = Clock::start();
        let tasks = TaskTracker::new();
        Self {
            local,
            storage,
            tracker,
            clock,
            blocking: Blocking::new(tasks.clone()),
            buffers: BufferPool::new(config.buffers_bytes_max),
            egress: Shaper::new(config.egress_bytes_per_sec, clock),
            ingress: Shaper::new(config.ingress_bytes_per_sec, clock),
            counters: Counters::default(),
            complaints: Complaints::default(),
            asking: Arc::default(),
            openings: Openings::default(),
            handshakes: Arc::new(Semaphore::new(limits::HANDSHAKES_MAX)),
            announces: Semaphore::new(node_limits::ANNOUNCES_MAX),
            events,
            tasks,
            closing: CancellationToken::new(),
            config,
        }
    }

    /// Reports to the swarm's task; waits while it is behind. Whether it was there to be told.
    pub(super) async fn report(&self, event: Event) -> bool {
        self.events.send(event).await.is_ok()
    }
}
