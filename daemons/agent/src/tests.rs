//! An agent over real HTTP, with nobody to ask.

mod blobs;
mod pull;
mod streams;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use kraken_common::{AllowedClients, ClientAddr, Hosts};
use kraken_core::http::{Client, ClientConfig, Method, Request};
use kraken_core::{Cause, Digest, ErrorKind};
use kraken_registry_api::Registry;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::registry::AgentRegistry;
use crate::{Agent, AgentConfig, access};

fn config(dir: &TempDir) -> AgentConfig {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let nobody = vec!["127.0.0.1:1".to_owned()];
    AgentConfig::local([free; 3], dir.path(), nobody.clone(), nobody).unwrap()
}

/// Status and body.
async fn get(addr: SocketAddr, path: &str) -> (u16, Vec<u8>) {
    let request = Request::to(Method::GET, addr.to_string(), path);
    let any: Vec<u16> = (100..600).collect();
    let response = Client::new(ClientConfig::default()).send(request.expect(&any)).await.unwrap();
    let status = response.status().as_u16();
    (status, response.bytes(1 << 20).await.unwrap().to_vec())
}

#[tokio::test]
async fn others_get_403_from_the_registry_and_only_there() {
    let dir = tempfile::tempdir().unwrap();
    let allowed_clients = AllowedClients::only(vec!["10.0.0.0/8".parse().unwrap()]);
    let agent = Agent::start(AgentConfig { allowed_clients, ..config(&dir) }).await.unwrap();
    for path in ["/v2/", "/v2/library/a/manifests/1", "/nothing"] {
        let (status, body) = get(agent.registry_addr(), path).await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &body["errors"][0]["code"]), (403, &"DENIED".into()), "{path}");
        let message = body["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("127.0.0.1"), "{message}");
    }
    assert_eq!(get(agent.server_addr(), "/health").await.0, 200);
    agent.close().await.unwrap();

    let allowed_clients = AllowedClients::only(vec!["127.0.0.1".parse().unwrap()]);
    let agent = Agent::start(AgentConfig { allowed_clients, ..config(&dir) }).await.unwrap();
    assert_eq!(get(agent.registry_addr(), "/v2/").await.0, 200);
    agent.close().await.unwrap();
}

/// Asks the registry of `agent` as `client` would; the status, what the log is told, the headers.
async fn told(
    agent: &Agent,
    client: &str,
    method: http::Method,
    path: &str,
) -> (u16, String, http::HeaderMap) {
    let registry = Registry::new(AgentRegistry::new(Arc::clone(&agent.parts)));
    let allowed = AllowedClients::only(vec!["127.0.0.1".parse().unwrap()]);
    let mut request = http::Request::new(http_body_util::Empty::<bytes::Bytes>::new());
    (*request.method_mut(), *request.uri_mut()) = (method, path.parse().unwrap());
    request.extensions_mut().insert(ClientAddr(client.parse().unwrap()));
    let answer = access::answer(&registry, &allowed, request).await;
    let (head, _) = answer.into_parts();
    let cause = head.extensions.get::<Cause>().expect("nothing for the log").text().to_owned();
    (head.status.as_u16(), cause, head.headers)
}

#[tokio::test]
async fn the_log_is_told_why_a_request_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(config(&dir)).await.unwrap();
    for (client, method, path, status, reason) in [
        ("127.0.0.1:9", http::Method::PUT, "/v2/", 405, "the root is only read"),
        ("127.0.0.1:9", http::Method::PUT, "/v2/a/manifests/1", 405, "takes no manifests"),
        ("127.0.0.1:9", http::Method::POST, "/v2/a/blobs/uploads/", 405, "takes no uploads"),
        ("127.0.0.1:9", http::Method::GET, "/v2/A/manifests/1", 400, "\"A\""),
        // Which hosts were asked is for the log only.
        ("127.0.0.1:9", http::Method::GET, "/v2/a/manifests/1", 503, "127.0.0.1:1"),
        ("10.9.8.7:9", http::Method::GET, "/v2/", 403, "pulls from 10.9.8.7 are not allowed"),
    ] {
        let (told, cause, headers) = told(&agent, client, method, path).await;
        assert_eq!(told, status, "{path}");
        assert!(cause.contains(reason), "{path}: {cause}");
        assert_eq!(headers["docker-distribution-api-version"], "registry/2.0", "{path}");
    }
    let (status, text) = get(agent.server_addr(), "/readiness").await;
    let text = String::from_utf8(text).unwrap();
    assert!(status == 503 && text.starts_with("agent not ready: "), "{text}");
    agent.close().await.unwrap();
}

#[tokio::test]
async fn both_ports_close_before_either_has_let_its_requests_end() {
    let dir = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_host = Hosts::fixed(vec![silent.local_addr().unwrap().to_string()]).unwrap();
    let config = AgentConfig { build_indexes: silent_host, ..config(&dir) };
    let agent = Agent::start(config).await.unwrap();
    let (registry, server) = (agent.registry_addr(), agent.server_addr());
    // A request under way on each port, which waits for a build-index that says nothing.
    let on_registry = tokio::spawn(get(registry, "/v2/library/a/manifests/1"));
    let on_server = tokio::spawn(get(server, "/tags/library%2Fa:1"));
    let asked = tokio::task::spawn_blocking(move || [(); 2].map(|()| silent.accept().unwrap()));
    let asked = asked.await.unwrap();
    let closing = tokio::spawn(agent.close());
    for addr in [registry, server] {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(!closing.is_finished() && !on_registry.is_finished() && !on_server.is_finished());
    drop(asked);
    assert!(on_registry.await.unwrap().0 >= 500 && on_server.await.unwrap().0 >= 500);
    closing.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_keeps_an_agent_from_starting_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let mut ports = [config(&dir), config(&dir), config(&dir)];
    ports[0].registry_listen = addr;
    ports[1].server_listen = addr;
    ports[2].node.listen = addr;
    let flags = ["--agent-registry-port", "--agent-server-port", "--peer-port"];
    for (config, flag) in ports.into_iter().zip(flags) {
        let error = Agent::start(config).await.unwrap_err().to_string();
        assert!(error.contains(flag) && error.contains(&addr.to_string()), "{error}");
    }
    let unknown = |name: &str| kraken_common::Hosts {
        source: kraken_common::HostSource::Dns(name.into()),
        ttl: std::time::Duration::ZERO,
    };
    let hosts = [
        (AgentConfig { trackers: unknown("t.invalid:1"), ..config(&dir) }, "tracker.hosts"),
        (
            AgentConfig { build_indexes: unknown("b.invalid:1"), ..config(&dir) },
            "build_index.hosts",
        ),
    ];
    for (config, key) in hosts {
        let error = Agent::start(config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(key) && error.to_string().contains(".invalid:1"));
    }
    let none = AgentConfig { trackers: kraken_common::Hosts::default(), ..config(&dir) };
    assert_eq!(Agent::start(none).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_pull_that_hangs_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    // Takes connections and answers nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let tracker = Hosts::fixed(vec![silent.local_addr().unwrap().to_string()]).unwrap();
    let agent = Agent::start(AgentConfig { trackers: tracker, ..config(&dir) }).await.unwrap();
    let addr = agent.server_addr();
    assert_eq!(get(addr, "/x/downloads").await, (200, b"[]".to_vec()));
    let digest = Digest::sha256(b"x");
    let pull = tokio::spawn(async move {
        let path = format!("/namespace/library%2Fa/blobs/{}", digest.wire_name());
        get(addr, &path).await.0
    });
    let list = loop {
        let (_, body) = get(addr, "/x/downloads").await;
        match serde_json::from_slice::<Vec<Value>>(&body).unwrap() {
            list if list.is_empty() => tokio::task::yield_now().await,
            list => break list,
        }
    };
    assert!(list[0]["seconds"].as_f64().is_some());
    let mut told = list[0].clone();
    told["seconds"] = 0.into();
    assert!(told.as_object_mut().unwrap().remove("seconds_by").is_some());
    let expected = json!({
        "digest": digest.to_string(),
        "namespace": "library/a",
        "state": "asking_for_metainfo",
        "length": null,
        "bytes_verified": 0,
        "bytes_from_origins": 0,
        "bytes_from_peers": 0,
        "seconds": 0,
        "peers": 0,
    });
    assert_eq!(told, expected);
    let text = String::from_utf8(get(addr, "/metrics").await.1).unwrap();
    for line in [
        "kraken_http_requests_in_flight{role=\"agent\"} 2",
        "kraken_node_downloads{role=\"agent\"} 0",
        "kraken_store_blobs{role=\"agent\",state=\"complete\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    // The registry's port is for registries' clients.
    assert_eq!(get(agent.registry_addr(), "/metrics").await.0, 404);
    agent.close().await.unwrap();
    assert_eq!(pull.await.unwrap(), 500);
}
