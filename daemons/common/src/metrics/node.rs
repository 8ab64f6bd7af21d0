//! The numbers of a node of the swarm.

use kraken_p2p::node::{Node, NodeStats};

use super::figures::Figures;
use super::names;

impl Figures {
    /// Asks `node`; nothing once it is closed.
    pub async fn add_node(&mut self, node: &Node) {
        if let Ok(stats) = node.totals().await {
            self.add_node_stats(&stats);
        }
    }

    /// Notes what a node counts.
    pub fn add_node_stats(&mut self, stats: &NodeStats) {
        let NodeStats { swarm, downloads, .. } = stats;
        let from = [ORIGIN, PEER];
        let received = [stats.received_from_origins, stats.received_from_peers];
        let stored = [swarm.pieces_from_origins, swarm.pieces_from_peers];
        for (source, (bytes, pieces)) in from.iter().zip(received.into_iter().zip(stored)) {
            self.set_with(&names::NODE_RECEIVED_BYTES, &[source], bytes);
            self.set_with(&names::NODE_STORED_PIECES, &[source], pieces);
        }
        self.set(&names::NODE_SENT_BYTES, stats.sent);
        self.set(&names::NODE_SENT_PIECES, swarm.pieces_sent);
        self.set(&names::NODE_DUPLICATE_PIECES, stats.duplicate_pieces);
        self.set(&names::NODE_CORRUPT_PIECES, stats.corrupt_pieces);
        self.set(&names::NODE_REQUEST_TIMEOUTS, swarm.requests_timed_out);
        self.set(&names::NODE_ANNOUNCES, swarm.announces);
        self.set(&names::NODE_FAILED_ANNOUNCES, stats.announces_failed);
        self.set(&names::NODE_DIALS, swarm.dials);
        self.set(&names::NODE_ACCEPTED_CONNECTIONS, swarm.accepted);
        self.set(&names::NODE_REFUSED_CONNECTIONS, stats.refused);
        self.set(&names::NODE_VIOLATIONS, stats.violations);
        self.set(&names::NODE_BANNED_PEERS, swarm.bans);
        self.set(&names::NODE_MISMATCHED_BLOBS, swarm.blobs_mismatched);
        self.set(&names::NODE_COMPLETED_DOWNLOADS, downloads.completed.count);
        self.set(&names::NODE_COMPLETED_DOWNLOAD_BYTES, downloads.completed.bytes);
        let secs = downloads.completed.time.as_secs_f64();
        self.set_real(&names::NODE_COMPLETED_DOWNLOAD_SECONDS, secs);
        for (end, total) in [
            ("complete", downloads.completed),
            ("failed", downloads.failed),
            ("left", downloads.left),
        ] {
            for (part, time) in total.times.named() {
                let time = time.as_secs_f64();
                self.set_real_with(&names::NODE_DOWNLOAD_PART_SECONDS, &[end, part], time);
            }
        }
        self.set(&names::NODE_FAILED_DOWNLOADS, downloads.failed.count);
        self.set(&names::NODE_LEFT_DOWNLOADS, downloads.left.count);
        self.set_len(&names::NODE_DOWNLOADS, stats.downloads_running);
        self.set_len(&names::NODE_CONNECTIONS, stats.conns);
        self.set_len(&names::NODE_TORRENTS, stats.torrents_len);
    }
}

const ORIGIN: &str = "origin";
const PEER: &str = "peer";
