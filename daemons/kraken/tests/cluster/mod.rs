//! Whole clusters of child processes on this machine, and small clients that share no code with
//! what they test.
#![allow(dead_code, reason = "each test file uses the part that it needs")]

pub(crate) mod content;
pub(crate) mod http;
pub(crate) mod registry;
pub(crate) mod role;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kraken_core::Digest;
use serde_json::{Value, json};

use self::registry::Registry;
use self::role::{Port, Role, merge};

/// Bytes of a piece in every cluster here, so that small blobs have many.
pub(crate) const PIECE_LEN: usize = 64 << 10;

/// How long anything that must happen may take, on however slow a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// How many processes of which roles, and what their configurations have beside the addresses.
pub(crate) struct Plan {
    pub(crate) origins: usize,
    pub(crate) agents: usize,
    /// Merged into the configuration of every origin.
    pub(crate) origin: Value,
    /// Merged into the configuration of every agent.
    pub(crate) agent: Value,
    /// Merged into the configuration of the proxy.
    pub(crate) proxy: Value,
    /// A file server is the origins' backend, in place of a directory, that sends so many bytes a
    /// second.
    pub(crate) slow_backend: Option<u64>,
    /// Put in front of the origins' command line.
    pub(crate) origin_wrapper: Vec<String>,
    /// Put behind every origin's command line.
    pub(crate) origin_flags: Vec<String>,
    /// Put in front of the proxy's command line.
    pub(crate) proxy_wrapper: Vec<String>,
}

/// A running cluster. Dropping it kills every process and removes every file; the logs are printed
/// when a test fails.
pub(crate) struct Cluster {
    /// The backend, if it is slow.
    pub(crate) testfs: Option<Role>,
    pub(crate) origins: Vec<Role>,
    pub(crate) tracker: Role,
    pub(crate) build_index: Role,
    pub(crate) proxy: Role,
    pub(crate) agents: Vec<Agent>,
    /// Last, so that the processes are gone before their files.
    dir: tempfile::TempDir,
}

/// One agent.
pub(crate) struct Agent {
    pub(crate) role: Role,
    pub(crate) registry: SocketAddr,
    pub(crate) peer: SocketAddr,
}

impl Cluster {
    /// Starts every role and waits until all of them are healthy.
    pub(crate) fn start(plan: &Plan) -> Self {
        let dir = tempfile::Builder::new().prefix("kraken-test-").tempdir().unwrap();
        let origin_ports: Vec<[Port; 2]> =
            (0..plan.origins).map(|_| [Port::reserve(), Port::reserve()]).collect();
        let names: Vec<String> =
            origin_ports.iter().map(|[http, _]| http.addr().to_string()).collect();
        let testfs = plan.slow_backend.map(|bytes_per_sec| testfs(dir.path(), bytes_per_sec));
        let store = match &testfs {
            Some(testfs) => json!({
                "namespace": ".*",
                "backend": {"testfs": {
                    "addr": testfs.http.to_string(),
                    "root": "",
                    "name_path": "sharded_docker_blob",
                }},
            }),
            None => backend(".*", &dir.path().join("backend")),
        };
        let origins = origin_ports.into_iter().enumerate().map(|(number, [http, peer])| {
            let name = format!("origin-{number}");
            let mut config = json!({
                "cluster": {"static": names},
                "castore": castore(&dir.path().join(&name)),
                "metainfogen": {"piece_lengths": {"0": PIECE_LEN}},
                "backends": [store.clone()],
                "writeback": {"retry_interval": "250ms", "poll_retries_interval": "250ms"},
            });
            merge(&mut config, &plan.origin);
            let ports = [("blobserver-port", http.addr()), ("peer-port", peer.addr())];
            let mut role = Role::new(dir.path(), &name, "origin", &ports, config, http.addr());
            role.reserved = vec![http, peer];
            role.wrapper.clone_from(&plan.origin_wrapper);
            role.flags.extend_from_slice(&plan.origin_flags);
            role.start();
            role
        });
        let origins: Vec<Role> = origins.collect();
        let tracker = json!({
            "origin": {"hosts": {"static": names}},
            "trackerserver": {"announce_interval": "200ms"},
            "originstore": {
                "locations_ttl": "500ms",
                "origin_context_ttl": "500ms",
                "origin_unavailable_ttl": "500ms",
            },
        });
        let tracker = one_port_role(dir.path(), "tracker", &[], tracker);
        let build_index = json!({
            "origin": {"hosts": {"static": names}},
            "store": castore(&dir.path().join("build-index")),
            "backends": [backend(".*", &dir.path().join("tags"))],
            "tag_types": [{"namespace": ".*", "type": "docker"}],
        });
        let build_index = one_port_role(dir.path(), "build-index", &[], build_index);
        let mut proxy = json!({
            "origin": {"hosts": {"static": names}},
            "build_index": {"hosts": {"static": [build_index.http.to_string()]}},
            "castore": castore(&dir.path().join("proxy")),
        });
        merge(&mut proxy, &plan.proxy);
        let proxy = one_port_role(dir.path(), "proxy", &plan.proxy_wrapper, proxy);
        let mut cluster =
            Self { testfs, origins, tracker, build_index, proxy, agents: Vec::new(), dir };
        for _ in 0..plan.agents {
            cluster.add_agent(&plan.agent);
        }
        cluster
    }

    /// Starts one more agent, which has nothing yet; its number.
    pub(crate) fn add_agent(&mut self, extra: &Value) -> usize {
        let number = self.agents.len();
        let [registry, peer, server] = [Port::reserve(), Port::reserve(), Port::reserve()];
        let name = format!("agent-{number}");
        let data_dir = self.dir.path().join(&name);
        let mut config = json!({
            "store": {"cache_dir": data_dir.join("cache"), "download_dir": data_dir.join("download")},
            "tracker": {"hosts": {"static": [self.tracker.http.to_string()]}},
            "build_index": {"hosts": {"static": [self.build_index.http.to_string()]}},
        });
        merge(&mut config, extra);
        let ports = [
            ("agent-registry-port", registry.addr()),
            ("peer-port", peer.addr()),
            ("agent-server-port", server.addr()),
        ];
        let mut role = Role::new(self.dir.path(), &name, "agent", &ports, config, server.addr());
        let (registry_addr, peer_addr) = (registry.addr(), peer.addr());
        role.reserved = vec![registry, peer, server];
        role.start();
        self.agents.push(Agent { role, registry: registry_addr, peer: peer_addr });
        number
    }

    /// A client of the proxy's registry.
    pub(crate) fn push_to<'a>(&self, repository: &'a str) -> Registry<'a> {
        Registry { addr: self.proxy.http, repository }
    }

    /// A client of an agent's registry.
    pub(crate) fn pull_from<'a>(&self, agent: usize, repository: &'a str) -> Registry<'a> {
        Registry { addr: self.agents[agent].registry, repository }
    }

    /// Where an origin keeps a blob that it has.
    pub(crate) fn origin_entry(&self, origin: usize, digest: &Digest) -> PathBuf {
        self.cache_entry(&format!("origin-{origin}"), digest)
    }

    /// Where a role, named with its number, keeps a blob that it has.
    pub(crate) fn cache_entry(&self, role: &str, digest: &Digest) -> PathBuf {
        entry(&self.dir.path().join(role).join("cache"), digest)
    }

    /// Where an agent keeps a blob that arrives.
    pub(crate) fn download_entry(&self, agent: usize, digest: &Digest) -> PathBuf {
        entry(&self.dir.path().join(format!("agent-{agent}/download")), digest)
    }

    /// Where the origins write blobs back to.
    pub(crate) fn backend_dir(&self) -> PathBuf {
        self.dir.path().join("backend")
    }

    /// The file of a blob that is written back, in docker/distribution's layout.
    pub(crate) fn backend_file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let blobs = self.backend_dir().join("docker/registry/v2/blobs/sha256");
        blobs.join(&hex[0..2]).join(hex).join("data")
    }
}

impl Cluster {
    /// Makes these bytes a blob of the backend alone.
    pub(crate) fn put_cold(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let file = self.backend_file(&digest);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
        digest
    }

    /// The bytes that the slow backend has sent since it started.
    pub(crate) fn backend_sent(&self) -> u64 {
        let answer = http::get(self.testfs.as_ref().expect("a slow backend").http, "/x/stats");
        let stats: Value = serde_json::from_slice(&answer.body).unwrap();
        stats["sent"].as_u64().unwrap()
    }
}

impl Agent {
    /// One of the node's counters.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let answer = http::get(self.role.http, "/x/stats");
        assert_eq!(answer.status, 200, "{answer:?}");
        let stats: Value = serde_json::from_slice(&answer.body).unwrap();
        stats[name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
    }
}

impl Default for Plan {
    /// One origin, one agent, no more than the addresses.
    fn default() -> Self {
        Self {
            origins: 1,
            agents: 1,
            origin: json!({}),
            slow_backend: None,
            agent: json!({}),
            proxy: json!({}),
            origin_wrapper: Vec::new(),
            origin_flags: Vec::new(),
            proxy_wrapper: Vec::new(),
        }
    }
}

/// Asks `probe` again and again until it has an answer.
pub(crate) fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn entry(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    root.join(&hex[0..2]).join(&hex[2..4]).join(hex)
}

/// A file server over the directory that is the backend otherwise.
fn testfs(dir: &Path, bytes_per_sec: u64) -> Role {
    let port = Port::reserve();
    let addr = port.addr();
    let mut role = Role::new(dir, "testfs", "testfs", &[("port", addr)], json!({}), addr);
    role.reserved = vec![port];
    let root = dir.join("backend");
    role.flags.push(format!("--root={}", root.display()));
    role.flags.push(format!("--egress-bytes-per-sec={bytes_per_sec}"));
    role.start();
    role
}

/// Where a role keeps uploads and what becomes of them.
pub(crate) fn castore(dir: &Path) -> Value {
    json!({"upload_dir": dir.join("upload"), "cache_dir": dir.join("cache")})
}

/// A backend on the disk for the namespaces that match.
pub(crate) fn backend(namespace: &str, dir: &Path) -> Value {
    json!({"namespace": namespace, "backend": {"local": {"root_directory": dir}}})
}

/// A role with one port, started.
fn one_port_role(dir: &Path, kind: &'static str, wrapper: &[String], config: Value) -> Role {
    let port = Port::reserve();
    let addr = port.addr();
    let mut role = Role::new(dir, kind, kind, &[("port", addr)], config, addr);
    role.reserved = vec![port];
    role.wrapper = wrapper.to_vec();
    role.start();
    role
}
