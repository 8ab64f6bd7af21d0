//! Crowds of swarms under virtual time, and one swarm played by hand.

mod crowd;
mod no_cancel;
mod play;
mod provisional;
mod script;
mod trouble;

use std::time::Duration;

use self::crowd::{Crowd, peer_id};
use super::{CloseReason, SwarmConfig};

const MIB: u64 = 1 << 20;

#[test]
fn eight_leechers_and_one_origin_finish_near_the_bound() {
    // 512 MiB at 40 MiB/s everywhere takes 12.8 s on one link.
    for (pieces, piece_len, goal) in [(128, 4 * MIB, 1.18), (512, MIB, 1.12)] {
        let mut crowd = Crowd::new(pieces, piece_len);
        let origin = crowd.origin(40.0);
        for _ in 0..8 {
            crowd.leecher(40.0);
        }
        let seconds = crowd.run(120, &[]);
        let ratio = crowd.hosts[origin].sent as f64 / f64::from(pieces);
        let duplicates = crowd.duplicates();
        println!(
            "{pieces} pieces: {:.3} of the link's time, the origin sent each piece {ratio:.2} \
             times, {duplicates} duplicates",
            seconds / 12.8
        );
        assert!(seconds / 12.8 < goal + 0.1, "{seconds} s");
        assert!(ratio < 1.5, "{ratio}");
        assert!(duplicates <= u64::from(pieces) * 8 / 100, "{duplicates}");
    }
}

#[test]
fn forty_leechers_that_join_over_a_second_finish() {
    let mut crowd = Crowd::new(256, 4 * MIB);
    crowd.origin(300.0);
    crowd.origin(300.0);
    for _ in 0..40 {
        crowd.leecher(300.0);
        crowd.run_for(0.025);
    }
    let start = crowd.now;
    crowd.run(60, &[]);
    crowd.run_for(0.01);
    let mut times: Vec<f64> = crowd
        .hosts
        .iter()
        .filter_map(|host| host.completed)
        .map(|at| at.since(start).as_secs_f64() + 0.5)
        .collect();
    times.sort_by(f64::total_cmp);
    println!("of 3.41 s on the link: p50 {:.2}, max {:.2}", times[20], times[39]);
    assert!(times[39] < 5.5, "{times:?}");
    // Everyone knows soon that there is nothing left to do for the others.
    crowd.run_for(40.0);
    for host in &crowd.hosts {
        let snapshot = host.swarm.snapshot(&crowd.meta.digest()).unwrap();
        assert!(snapshot.conns.is_empty(), "{snapshot:?}");
    }
}

#[test]
fn pieces_that_wait_for_a_busy_machine_are_not_fetched_twice() {
    for rate in [8.0, 16.0, 32.0, 64.0] {
        let (mut received, mut in_vain, mut seconds) = (0, 0, 0.0);
        for seed in 0..10 {
            let mut crowd = Crowd::new(64, MIB);
            crowd.origin(rate);
            crowd.leecher(400.0);
            crowd.leecher(400.0);
            crowd.load(seed);
            seconds += crowd.run(120, &[]);
            crowd.run_for(5.0);
            in_vain += crowd.duplicates();
            received += 2 * 64 + crowd.duplicates();
        }
        println!(
            "busy machines, origin at {rate} MiB/s: {in_vain} of {received} pieces came in vain; \
             {seconds:.1} s in all"
        );
        assert!(in_vain * 200 <= received, "{in_vain} of {received}");
    }
}

#[test]
fn what_is_said_behind_pieces_costs_little() {
    for (pieces, piece_len) in [(128, 4 * MIB), (512, MIB)] {
        let mut crowd = Crowd::new(pieces, piece_len);
        crowd.said_after_pieces = true;
        crowd.origin(40.0);
        for _ in 0..8 {
            crowd.leecher(40.0);
        }
        let seconds = crowd.run(120, &[]);
        crowd.run_for(1.0);
        println!(
            "{pieces} pieces, said after pieces: {:.3} of the link's time, {} duplicates",
            seconds / 12.8,
            crowd.duplicates()
        );
        assert!(seconds / 12.8 < 1.2, "{seconds} s");
        assert!(crowd.duplicates() <= u64::from(pieces) * 8 / 100);
    }
}

#[test]
fn sixteen_leechers_on_slow_links_finish_together() {
    // Those that came last have the fewest connections: they must find more.
    let mut crowd = Crowd::new(256, MIB);
    crowd.origin(10.0);
    for _ in 0..16 {
        crowd.leecher(10.0);
    }
    let seconds = crowd.run(120, &[]);
    println!("sixteen on slow links: {:.3} of the link's time", seconds / 25.6);
    assert!(seconds / 25.6 < 1.15, "{seconds} s");
}

#[test]
fn full_queues_on_the_way_cost_little() {
    // 50 ms each way, as behind a bandwidth cap whose queue is full.
    for (pieces, piece_len, goal) in [(128, 4 * MIB, 1.25), (512, MIB, 1.12)] {
        let mut crowd = Crowd::new(pieces, piece_len);
        crowd.latency = Duration::from_millis(50);
        crowd.origin(40.0);
        for _ in 0..8 {
            crowd.leecher(40.0);
        }
        let seconds = crowd.run(120, &[]);
        println!("{pieces} pieces, 50 ms each way: {:.3} of the link's time", seconds / 12.8);
        assert!(seconds / 12.8 < goal, "{seconds} s");
    }
}

#[test]
fn a_whole_blob_comes_nearly_in_order() {
    let mut crowd = Crowd::new(512, MIB);
    crowd.origin(40.0);
    let first = crowd.leecher(40.0);
    for _ in 0..7 {
        crowd.leecher(40.0);
    }
    for seconds in [3.2, 6.4, 9.6] {
        crowd.run_for(3.2);
        let here = &crowd.hosts[first].on_disk;
        let in_order = here.iter().zip(0..).take_while(|(index, at)| index.0 == *at).count();
        let all = here.count() as usize;
        println!("after {seconds} s {in_order} of {all} in order");
        assert!(all as f64 > seconds * 30.0 && in_order + 120 > all, "{in_order} of {all}");
    }
}

#[test]
fn a_seed_that_hangs_with_a_full_queue_costs_little_more_than_its_bytes() {
    let mut crowd = Crowd::new(128, MIB);
    crowd.origin(40.0);
    let hangs = crowd.origin(40.0);
    let leecher = crowd.leecher(100.0);
    crowd.run_for(1.0);
    crowd.hosts[hangs].hung = true;
    let seconds = crowd.run(120, &[]);
    println!("one of two seeds hangs after 1 s: {seconds:.2} s of {:.2} s more", 48.0 / 40.0);
    assert!(seconds < 4.0, "{seconds}");
    assert_eq!(crowd.hosts[leecher].swarm.counters().pieces_duplicate, 0);
}

#[test]
fn a_liar_is_banned_and_the_rest_finish() {
    let mut crowd = Crowd::new(64, MIB);
    crowd.origin(20.0);
    let liar = crowd.host(SwarmConfig::default(), false, 100.0);
    crowd.hosts[liar].liar = true;
    crowd.seed(liar);
    for _ in 0..4 {
        crowd.leecher(50.0);
    }
    crowd.run(60, &[]);
    let banned = crowd.hosts.iter().filter(|host| host.closes.contains(&CloseReason::Lied));
    assert!(banned.count() >= 2);
    for host in &crowd.hosts[2..] {
        let bans: Vec<_> = host.swarm.blacklist(crowd.now);
        assert!(
            bans.iter()
                .filter(|ban| ban.remaining.is_none())
                .all(|ban| ban.peer_id == peer_id(liar))
        );
        assert!(host.swarm.counters().pieces_corrupt <= 16, "one batch at most");
    }
}

#[test]
fn a_blob_that_fails_its_digest_is_fetched_again_from_origins_only() {
    let mut crowd = Crowd::new(32, MIB);
    crowd.origin(50.0);
    let other = crowd.host(SwarmConfig::default(), false, 50.0);
    crowd.seed(other);
    let victim = crowd.leecher(50.0);
    crowd.hosts[victim].mismatches = 1;
    while crowd.hosts[victim].discards == 0 {
        crowd.step();
    }
    let before = crowd.hosts[victim].swarm.counters();
    assert_eq!(before.bans, 0);
    crowd.run_for(0.1);
    crowd.run(60, &[]);
    while crowd.hosts[victim].completed.is_none() {
        crowd.step();
    }
    let after = crowd.hosts[victim].swarm.counters();
    assert_eq!(after.pieces_from_origins - before.pieces_from_origins, 32);
    assert_eq!(after.pieces_from_peers, before.pieces_from_peers);
    assert_eq!(crowd.hosts[victim].discards, 1);
}

#[test]
fn a_blob_that_always_fails_its_digest_is_given_up() {
    let mut crowd = Crowd::new(8, MIB);
    crowd.origin(50.0);
    let victim = crowd.leecher(50.0);
    crowd.hosts[victim].mismatches = u32::MAX;
    for _ in 0..100_000 {
        if crowd.hosts[victim].dropped.is_some() {
            break;
        }
        crowd.step();
    }
    assert!(crowd.hosts[victim].dropped.as_ref().unwrap().contains("digest"));
    assert_eq!(crowd.hosts[victim].discards, 3);
    assert_eq!(crowd.hosts[victim].swarm.torrents().count(), 0);
}

#[test]
fn a_full_seed_costs_no_time_when_there_are_others() {
    let mut crowd = Crowd::new(16, MIB);
    let config = SwarmConfig { accept_max: 0, ..SwarmConfig::origin() };
    let full = crowd.host(config, true, 50.0);
    crowd.seed(full);
    crowd.origin(50.0);
    crowd.leecher(50.0);
    let seconds = crowd.run(60, &[]);
    assert!(seconds < 0.6, "{seconds}");
}

#[test]
fn a_seed_that_was_full_is_tried_again_within_seconds() {
    let mut crowd = Crowd::new(16, MIB);
    let config = SwarmConfig { accept_max: 1, ..SwarmConfig::origin() };
    let seed = crowd.host(config, true, 10.0);
    crowd.seed(seed);
    let alone = SwarmConfig { accept_max: 0, seed: false, ..SwarmConfig::default() };
    crowd.leecher_with(alone.clone(), 10.0);
    crowd.leecher_with(alone, 10.0);
    let seconds = crowd.run(60, &[]);
    assert!(crowd.refused_full > 0);
    assert!(seconds < 7.0, "{seconds}");
}

#[test]
fn hung_peers_do_not_hold_up_the_others() {
    let mut crowd = Crowd::new(128, 4 * MIB);
    crowd.origin(100.0);
    let hung = crowd.host(SwarmConfig::default(), false, 100.0);
    crowd.hosts[hung].hung = true;
    crowd.seed(hung);
    for _ in 0..6 {
        crowd.leecher(100.0);
    }
    let seconds = crowd.run(120, &[]);
    println!("with a hung seed: {seconds:.2} s of 5.12 s");
    assert!(seconds < 9.0, "{seconds}");
}

#[test]
fn a_tracker_that_comes_back_is_found() {
    let mut crowd = Crowd::new(16, MIB);
    crowd.origin(50.0);
    crowd.tracker_down = true;
    let leecher = crowd.leecher(50.0);
    crowd.run_for(60.0);
    let announces = crowd.hosts[leecher].swarm.counters().announces;
    assert!((6..20).contains(&announces), "{announces}");
    crowd.tracker_down = false;
    let seconds = crowd.run(60, &[]);
    assert!(seconds < 14.0, "{seconds}");
}

#[test]
fn a_lonely_node_does_not_storm_its_tracker() {
    let mut crowd = Crowd::new(16, MIB);
    let leecher = crowd.leecher(50.0);
    crowd.run_for(60.0);
    let announces = crowd.hosts[leecher].swarm.counters().announces;
    assert!((20..30).contains(&announces), "{announces}");
    crowd.run_for(300.0);
    assert!(crowd.hosts[leecher].dropped.is_some(), "leecher_tti");
    assert_eq!(crowd.hosts[leecher].swarm.poll_timeout(), None);
}

#[test]
fn without_seeding_nothing_is_sent_and_the_blob_arrives() {
    let mut crowd = Crowd::new(32, MIB);
    crowd.origin(50.0);
    let selfish = SwarmConfig { seed: false, ..SwarmConfig::default() };
    let first = crowd.leecher_with(selfish.clone(), 50.0);
    let second = crowd.leecher_with(selfish, 50.0);
    crowd.run(60, &[]);
    assert_eq!(crowd.hosts[first].sent + crowd.hosts[second].sent, 0);
}

#[test]
fn a_reader_gets_the_beginning_first() {
    let mut crowd = Crowd::new(128, MIB);
    crowd.origin(10.0);
    let reader = crowd.host(SwarmConfig::default(), false, 100.0);
    crowd.add(reader, false);
    crowd.demand(reader, 64 * MIB..96 * MIB);
    crowd.run_for(1.0);
    let first = crowd.hosts[reader].on_disk.iter().next().unwrap();
    assert_eq!(first.0, 64);
    crowd.run_for(10.0);
    let here: Vec<u32> = crowd.hosts[reader].on_disk.iter().map(|index| index.0).collect();
    assert_eq!(here, (64..96).collect::<Vec<_>>(), "what nobody waits for is not fetched");
    crowd.run_for(31.0);
    assert!(crowd.hosts[reader].closes.contains(&CloseReason::Idle));
    crowd.download(reader);
    crowd.run(60, &[]);
}

/// What the first waits for takes its link 12 seconds.
#[test]
fn a_reader_of_little_does_not_wait_for_one_of_much() {
    let mut crowd = Crowd::new(128, MIB);
    crowd.origin(10.0);
    let reader = crowd.host(SwarmConfig::default(), false, 100.0);
    crowd.add(reader, false);
    crowd.demand(reader, MIB..128 * MIB);
    crowd.run_for(2.0);
    let (digest, last) = (crowd.digest(), 120 * MIB..121 * MIB);
    let swarm = &mut crowd.hosts[reader].swarm;
    swarm.set_demand(crowd.now, &digest, crate::swarm::DemandId(2), Some(last));
    crowd.run_for(4.0);
    assert!(crowd.hosts[reader].on_disk.contains(kraken_core::PieceIndex(120)));
}

#[test]
fn a_reader_whose_bytes_are_here_may_take_its_time() {
    let mut crowd = Crowd::new(16, MIB);
    crowd.origin(50.0);
    let reader = crowd.host(SwarmConfig::default(), false, 50.0);
    crowd.add(reader, false);
    crowd.demand(reader, 0..4 * MIB);
    crowd.run_for(900.0);
    assert_eq!(crowd.hosts[reader].on_disk.count(), 4);
    assert!(crowd.hosts[reader].dropped.is_none());
    let digest = crowd.digest();
    crowd.hosts[reader].swarm.clear_demand(crowd.now, &digest, crate::swarm::DemandId(1));
    crowd.run_for(400.0);
    assert!(crowd.hosts[reader].dropped.is_some(), "leecher_tti");
}

#[test]
fn an_idle_seeder_is_forgotten() {
    let mut crowd = Crowd::new(4, MIB);
    let origin = crowd.origin(10.0);
    crowd.run_for(299.0);
    assert!(crowd.hosts[origin].dropped.is_none());
    crowd.run_for(12.0);
    assert!(crowd.hosts[origin].dropped.is_some());
}
