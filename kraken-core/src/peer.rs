//! Who a peer is: what announces and peer contexts carry.

use serde::{Deserialize, Serialize};

use crate::ids::PeerId;

/// A peer as announces and handouts carry it (uber/kraken's `core.PeerInfo`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Its self-chosen id.
    pub peer_id: PeerId,
    /// Where it accepts peer connections: an IP address or a host name.
    pub ip: String,
    /// The port there.
    pub port: u16,
    /// Whether it is an origin.
    #[serde(default)]
    pub origin: bool,
    /// Whether it has the whole blob.
    #[serde(default)]
    pub complete: bool,
}

/// What an origin says of itself at `GET /internal/peercontext`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerContext {
    /// Where it accepts peer connections.
    pub ip: String,
    /// The port there.
    pub port: u16,
    /// Its peer id.
    pub peer_id: PeerId,
    /// The zone it was started with.
    #[serde(default)]
    pub zone: String,
    /// The cluster it was started with.
    #[serde(default)]
    pub cluster: String,
    /// Whether it is an origin.
    #[serde(default)]
    pub origin: bool,
}

impl PeerContext {
    /// The peer as a handout carries it.
    pub fn to_peer_info(&self, complete: bool) -> PeerInfo {
        PeerInfo {
            peer_id: self.peer_id,
            ip: self.ip.clone(),
            port: self.port,
            origin: self.origin,
            complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_context_json_is_that_of_go() {
        let context = PeerContext {
            ip: "10.0.0.1".into(),
            port: 8080,
            peer_id: PeerId::new([7; 20]),
            zone: String::new(),
            cluster: String::new(),
            origin: true,
        };
        let ids = vec!["7"; 20].join(",");
        assert_eq!(
            serde_json::to_string(&context).unwrap(),
            format!(
                r#"{{"ip":"10.0.0.1","port":8080,"peer_id":[{ids}],"zone":"","cluster":"","origin":true}}"#
            )
        );
    }
}
