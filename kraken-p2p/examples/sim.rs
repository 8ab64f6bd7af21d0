//! How much a swarm gains by more connections: `cargo run --release --features sim --example sim`.

use std::sync::Arc;
use std::time::Duration;

use kraken_core::Result;
use kraken_p2p::sim::{Report, Scenario, SwarmPolicy, run};
use kraken_p2p::swarm::SwarmConfig;

fn main() -> Result<()> {
    println!("dials  p50    p99    copies from origins");
    for dial_max in [2, 4, 8] {
        // And no more later on.
        let conns_enough = dial_max;
        let report = simulate(SwarmConfig { dial_max, conns_enough, ..SwarmConfig::default() })?;
        assert!(report.is_ok(), "{:?} {:?}", report.starving, report.violations);
        let copies: f64 = report.blobs.iter().map(|blob| blob.copies_from_origins).sum();
        let times = report.overall;
        println!("{dial_max:5}  {:.3}  {:.3}  {copies:.1}", times.p50, times.p99);
    }
    Ok(())
}

/// 100 hosts that join within a second fetch two blobs of 1.5 GB.
fn simulate(config: SwarmConfig) -> Result<Report> {
    let mut scenario = Scenario::readme(100, Duration::from_secs(1));
    scenario.groups[0].policy = Arc::new(SwarmPolicy::new("fewer connections", config));
    run(&scenario, 42)
}
