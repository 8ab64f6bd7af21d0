//! `scheduler` and `peer_id_factory` of uber/kraken's configuration, as a node takes them.

use std::time::Duration;

use kraken_core::Result;
use kraken_p2p::node::{NodeConfig, PeerIdFactory};
use kraken_p2p::swarm::SwarmConfig;

use crate::upstream::Section;

/// Sets in `node` what `root` (all of an agent's or an origin's settings) says of the exchange of
/// pieces; what it does not say stays.
pub fn configure(root: &Section<'_>, node: &mut NodeConfig) -> Result<()> {
    node.peer_id = match root.value::<&'static str>("peer_id_factory")? {
        "random" => PeerIdFactory::Random,
        _ => PeerIdFactory::AddrHash,
    };
    let conn = root.section("scheduler.conn");
    node.handshake_timeout = conn.value("handshake_timeout")?;
    let bandwidth = conn.section("bandwidth");
    let limited: bool = bandwidth.value("enable")?;
    let bytes = |key: &str| -> Result<u64> {
        let bits: u64 = bandwidth.value(key)?;
        // Zero bytes are no limit at all.
        Ok(if limited { (bits / 8).max(1) } else { 0 })
    };
    node.egress_bytes_per_sec = bytes("egress_bits_per_sec")?;
    node.ingress_bytes_per_sec = bytes("ingress_bits_per_sec")?;
    swarm(&root.section("scheduler"), &mut node.swarm)
}

fn swarm(scheduler: &Section<'_>, swarm: &mut SwarmConfig) -> Result<()> {
    swarm.seeder_tti = scheduler.value("seeder_tti")?;
    swarm.leecher_tti = scheduler.value("leecher_tti")?;
    swarm.conn_idle = scheduler.value("conn_tti")?;
    swarm.seed = scheduler.value("seed")?;
    let connstate = scheduler.section("connstate");
    match connstate.optional::<usize>("max_open_conn")? {
        // Whoever filled all its room by dialling could not be dialled.
        Some(max) if max > 0 => {
            swarm.accept_max = max;
            swarm.dial_max = swarm.dial_max.min(max);
        }
        _ => {}
    }
    let longest = match connstate.value("disable_blacklist")? {
        true => Duration::ZERO,
        false => connstate.value("blacklist_duration")?,
    };
    swarm.blacklist_duration = longest.max(REDIAL_PAUSE_MIN);
    let dispatch = scheduler.section("dispatch");
    swarm.request_timeout_min = dispatch.value("piece_request_min_timeout")?;
    swarm.request_timeout_per_mib = dispatch.value("piece_request_timeout_per_mb")?;
    swarm.pipeline_agent = dispatch.value("pipeline_limit")?;
    swarm.pipeline_origin = dispatch.value("origin_pipeline_limit")?;
    Ok(())
}

/// A peer refuses a connection within microseconds: without a pause it would be dialled without
/// end.
const REDIAL_PAUSE_MIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{RoleName, Settings};

    fn configured(text: &str) -> NodeConfig {
        let settings = Settings::parse(RoleName::Agent, "inline", text).unwrap();
        let mut node = NodeConfig::default();
        configure(&settings.root(), &mut node).unwrap();
        node
    }

    #[test]
    fn without_keys_a_node_is_as_by_default() {
        let node = configured("");
        assert_eq!(node.swarm, SwarmConfig::default());
        assert_eq!(node.peer_id, PeerIdFactory::AddrHash);
        assert_eq!((node.egress_bytes_per_sec, node.ingress_bytes_per_sec), (0, 0));
        assert_eq!(node.handshake_timeout, NodeConfig::default().handshake_timeout);
    }

    #[test]
    fn every_key_changes_what_it_names() {
        let secs = Duration::from_secs;
        let swarm = |yaml: &str| configured(&format!("scheduler: {{{yaml}}}")).swarm;
        assert_eq!(swarm("seeder_tti: 1h").seeder_tti, secs(3600));
        assert_eq!(swarm("leecher_tti: 1h").leecher_tti, secs(3600));
        assert_eq!(swarm("conn_tti: 1m").conn_idle, secs(60));
        assert!(!swarm("seed: false").seed);
        let few = swarm("connstate: {max_open_conn: 3}");
        assert_eq!((few.dial_max, few.accept_max), (3, 3));
        let many = swarm("connstate: {max_open_conn: 50}");
        assert_eq!((many.dial_max, many.accept_max), (SwarmConfig::default().dial_max, 50));
        assert_eq!(swarm("connstate: {max_open_conn: 0}"), SwarmConfig::default());
        assert_eq!(swarm("connstate: {blacklist_duration: 7s}").blacklist_duration, secs(7));
        let never = swarm("connstate: {disable_blacklist: true, blacklist_duration: 7s}");
        assert_eq!(never.blacklist_duration, REDIAL_PAUSE_MIN);
        let times = swarm(
            "dispatch: {piece_request_min_timeout: 9s, piece_request_timeout_per_mb: 8s, \
             pipeline_limit: 7, origin_pipeline_limit: 6}",
        );
        assert_eq!((times.request_timeout_min, times.request_timeout_per_mib), (secs(9), secs(8)));
        assert_eq!((times.pipeline_agent, times.pipeline_origin), (7, 6));
        let node =
            configured("{peer_id_factory: random, scheduler: {conn: {handshake_timeout: 2s}}}");
        assert_eq!((node.peer_id, node.handshake_timeout), (PeerIdFactory::Random, secs(2)));
    }

    #[test]
    fn bandwidth_is_in_bits_and_only_where_it_is_enabled() {
        let bandwidth = |yaml: &str| {
            let node = configured(&format!("scheduler: {{conn: {{bandwidth: {{{yaml}}}}}}}"));
            (node.egress_bytes_per_sec, node.ingress_bytes_per_sec)
        };
        assert_eq!(bandwidth("enable: true"), (200 << 20, 300 << 20));
        let bits = "egress_bits_per_sec: 8000, ingress_bits_per_sec: 4";
        assert_eq!(bandwidth(&format!("enable: true, {bits}")), (1000, 1));
        assert_eq!(bandwidth(bits), (0, 0));
    }
}
