//! Rings that list an origin, and such that do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kraken_common::{HealthConfig, Server, answer};
use kraken_core::http::ClientConfig;

use super::*;

fn ring(names: &[&str], origins: &[&str]) -> RingConfig {
    let owned = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
    RingConfig {
        names: owned(names),
        origins: Hosts::fixed(owned(origins)).unwrap(),
        ..RingConfig::default()
    }
}

fn dns(name: &str) -> Hosts {
    Hosts { source: HostSource::Dns(name.into()), ttl: Duration::ZERO }
}

async fn join(config: RingConfig) -> Result<Membership> {
    Membership::join(config, "10.0.0.1:1".into()).await
}

#[tokio::test]
async fn the_first_name_that_the_ring_has_is_this_origins() {
    let members = ["b:1", "10.0.0.1:1", "a:1"];
    for (names, name) in [(&["a:1", "b:1"][..], "a:1"), (&["c:1", "b:1"], "b:1")] {
        assert_eq!(join(ring(names, &members)).await.unwrap().name, name);
    }
    assert_eq!(join(ring(&[], &members)).await.unwrap().name, "10.0.0.1:1");
    let lone = join(ring(&["a:1", "b:1"], &[])).await.unwrap();
    assert_eq!((lone.name.as_str(), lone.members()), ("a:1", vec!["a:1".to_owned()]));
    let config = RingConfig { replicas_max: 2, ..ring(&["a:1"], &members) };
    let two = join(config).await.unwrap();
    let digest = Digest::sha256(b"x");
    assert_eq!(two.owners(&digest).len(), 2);
    assert!(!two.other_owners(&digest).contains(&"a:1".to_owned()));
}

#[tokio::test]
async fn a_list_without_this_origin_is_an_error_at_once() {
    let error = join(ring(&["a:1", "10.0.0.9:1"], &["b:1", "c:1"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = error.to_string();
    for part in ["cluster", "a:1 or 10.0.0.9:1", "b:1, c:1", "--blobserver-hostname"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_gets_some_time_to_resolve_to_this_origin() {
    let config = RingConfig { origins: dns("localhost:7"), ..ring(&["a:1"], &[]) };
    let started = Instant::now();
    let error = join(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(started.elapsed() >= Duration::from_secs(60));
    let error = error.to_string();
    assert!(error.contains("localhost:7") && error.contains("a:1"), "{error}");
    let names = ["a:1", "127.0.0.1:7", "[::1]:7"];
    let config = RingConfig { origins: dns("localhost:7"), ..ring(&names, &[]) };
    assert_ne!(join(config).await.unwrap().name, "a:1");
    let origins = dns("no-such-host.invalid:7");
    let config = RingConfig { origins, wait_max: Duration::ZERO, ..ring(&["a:1"], &[]) };
    let error = join(config).await.unwrap_err().to_string();
    assert!(error.contains("no-such-host.invalid:7"), "{error}");
}

#[tokio::test]
async fn who_is_ill_owns_nothing_until_it_is_well_again() {
    let well = Arc::new(AtomicBool::new(false));
    let server = Server::bind(([127, 0, 0, 1], 0).into(), "an origin", "port").unwrap();
    let other = server.addr().to_string();
    let serving = server.spawn({
        let well = Arc::clone(&well);
        move |_| {
            let ill = answer::empty(http::StatusCode::SERVICE_UNAVAILABLE);
            let answer = if well.load(Ordering::SeqCst) { answer::ok() } else { ill };
            async move { answer }
        }
    });
    let health = HealthConfig { fails: 1, passes: 1, ..HealthConfig::default() };
    // Nobody listens at `me`: an origin does not ask itself.
    let me = "127.0.0.1:1";
    let config =
        RingConfig { health, refresh_interval: Duration::ZERO, ..ring(&[me], &[me, &other]) };
    let membership = join(config).await.unwrap();
    let digest = Digest::sha256(b"x");
    assert_eq!(membership.owners(&digest).len(), 2);
    let until = async |owners: usize| {
        while membership.owners(&digest).len() != owners {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let follow = membership.follow(Client::new(ClientConfig::default()), |_| panic!("no change"));
    let see = async {
        until(1).await;
        assert_eq!(membership.owners(&digest), [me]);
        well.store(true, Ordering::SeqCst);
        until(2).await;
    };
    tokio::select! { () = follow => panic!("it ended"), () = see => {} }
    serving.close().await;
}

#[tokio::test(start_paused = true)]
async fn other_members_are_told() {
    let config =
        RingConfig { origins: dns("localhost:7"), ..ring(&["127.0.0.1:7", "[::1]:7"], &[]) };
    let membership = join(config).await.unwrap();
    let members = membership.members();
    membership.set(&["a:1".to_owned()], BTreeSet::new());
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let client = Client::new(ClientConfig::default());
    let follow = membership.follow(client, |members| tell.try_send(members).unwrap());
    tokio::select! {
        () = follow => panic!("it ended"),
        found = told.recv() => assert_eq!(found.unwrap(), members),
    }
}
