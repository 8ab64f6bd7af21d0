//! The configuration of every role, in the keys of uber/kraken: the same file for every system.
//!
//! The values are those of uber/kraken's own base files but for what the measurement needs: no
//! TLS, no limit of bandwidth (links have theirs), no nginx in the path, so that the programs
//! themselves are what is measured. Its place is taken by a script that only sleeps.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use kraken_core::{Error, Result};
use serde_json::{Value, json};

use crate::client::STORAGE_ROOT;

/// Writes the configurations of a run.
pub(crate) struct Configs<'a> {
    tuned: bool,
    piece_len: u64,
    dir: &'a Path,
}

impl<'a> Configs<'a> {
    /// Configurations that put everything under `dir`, which is absolute.
    pub(crate) fn new(tuned: bool, piece_len: u64, dir: &'a Path) -> Result<Self> {
        let configs = Self { tuned, piece_len, dir };
        configs.write_file(NGINX, "#!/bin/sh\nexec sleep 1000000000\n", 0o755)?;
        configs.write_file(TEMPLATE, "# nginx is out of the path\n", 0o644)?;
        Ok(configs)
    }

    /// Where everything is.
    pub(crate) fn dir(&self) -> &Path {
        self.dir
    }

    pub(crate) fn tracker(&self, port: u16, origins: &[SocketAddr]) -> Value {
        let mut config = self.common("hub");
        config["origin"] = json!({"hosts": {"static": origins}});
        config["peerhandoutpolicy"] = json!({"priority": "completeness"});
        config["trackerserver"] = json!({"listener": listener(port)});
        config
    }

    pub(crate) fn origin(
        &self,
        host: &str,
        port: u16,
        origins: &[SocketAddr],
        storage: SocketAddr,
    ) -> Value {
        let mut config = self.common(host);
        let data = self.dir.join(host);
        config["cluster"] = json!({"static": origins});
        // Every origin of a scenario holds the blob.
        config["hashring"] = json!({"max_replica": origins.len()});
        let testfs = json!({"addr": storage, "root": STORAGE_ROOT, "name_path": "identity"});
        config["backends"] = json!([{"namespace": ".*", "backend": {"testfs": testfs}}]);
        config["blobserver"] = json!({"listener": listener(port)});
        config["castore"] = json!({
            "upload_dir": data.join("upload"),
            "cache_dir": data.join("cache"),
            "capacity": 1 << 20,
        });
        config["localdb"] = json!({"source": data.join("origin.db")});
        config["metainfogen"] = json!({"piece_lengths": {"0": self.piece_len}});
        config["peer_id_factory"] = json!("addr_hash");
        config["scheduler"] = json!({
            "conn": {"bandwidth": {"enable": false}},
            "log": {"timeEncoder": "iso8601"},
            "torrentlog": {"disable": true},
        });
        if self.tuned {
            config["scheduler"]["connstate"] = json!({"max_open_conn": 100});
        }
        config
    }

    pub(crate) fn agent(&self, host: &str, registry_port: u16, tracker: SocketAddr) -> Value {
        let mut config = self.common(host);
        let data = self.dir.join(host);
        config["tracker"] = json!({"hosts": {"static": [tracker]}});
        // Nobody asks for a tag, so nobody needs to be there.
        let nobody = SocketAddr::new(tracker.ip(), 1);
        config["build_index"] = json!({"hosts": {"static": [nobody]}});
        config["store"] = json!({
            "download_dir": data.join("download"),
            "cache_dir": data.join("cache"),
            "download_cleanup": {"ttl": "24h"},
            "cache_cleanup": {"ttl": "24h"},
        });
        config["registry"] = json!({"docker": {
            "version": 0.1,
            "log": {"level": "error"},
            "http": listener(registry_port),
        }});
        config["peer_id_factory"] = json!("addr_hash");
        config["scheduler"] = json!({
            "conn": {"bandwidth": {"enable": false}},
            "dispatch": {"piece_request_policy": "rarest_first"},
            "log": {"timeEncoder": "iso8601"},
            "torrentlog": {
                "service_name": "kraken-agent",
                "path": self.dir.join(format!("{host}-torrent.log")),
                "encoding": "json",
                "timeEncoder": "epoch",
            },
        });
        if self.tuned {
            config["scheduler"]["dispatch"] =
                json!({"piece_request_policy": "default", "pipeline_limit": 1});
        }
        config
    }

    /// What every role has.
    fn common(&self, host: &str) -> Value {
        let plain = json!({"disabled": true});
        // uber/kraken writes what it gives to nginx to this name under a directory that all of its
        // processes share, unless the name leads out of there.
        let name = format!("../..{}", self.dir.join(format!("{host}-nginx.conf")).display());
        json!({
            "zap": {
                "level": "info",
                "development": false,
                "encoding": "console",
                "disableStacktrace": true,
                "encoderConfig": {
                    "messageKey": "message",
                    "nameKey": "logger_name",
                    "levelKey": "level",
                    "timeKey": "ts",
                    "callerKey": "caller",
                    "stacktraceKey": "stack",
                    "levelEncoder": "capital",
                    "timeEncoder": "iso8601",
                    "durationEncoder": "seconds",
                    "callerEncoder": "short",
                },
                "outputPaths": ["stdout"],
                "errorOutputPaths": ["stdout"],
            },
            "tls": {"server": plain, "client": plain},
            "nginx": {
                "binary": self.dir.join(NGINX),
                "name": name,
                "template_path": self.dir.join(TEMPLATE),
                "cache_dir": self.dir.join(format!("{host}-nginx")),
                "log_dir": self.dir,
            },
        })
    }

    /// Writes a configuration for `host`, and makes the directory of its data; the file.
    pub(crate) fn write(&self, host: &str, config: &Value) -> Result<PathBuf> {
        let data = self.dir.join(host);
        std::fs::create_dir_all(&data)
            .map_err(|e| Error::io(format!("make directory {}", data.display()), e))?;
        // All JSON is YAML.
        self.write_file(&format!("{host}.yaml"), &format!("{config:#}\n"), 0o644)
    }

    fn write_file(&self, name: &str, text: &str, mode: u32) -> Result<PathBuf> {
        let path = self.dir.join(name);
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(mode).open(&path);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .map_err(|e| Error::io(format!("write {}", path.display()), e))?;
        Ok(path)
    }
}

/// What an origin at `ip` is told on its command line.
pub(crate) fn origin_flags(ip: IpAddr, http: u16, peer: u16) -> [String; 4] {
    [
        format!("--blobserver-hostname={ip}"),
        format!("--blobserver-port={http}"),
        format!("--peer-ip={ip}"),
        format!("--peer-port={peer}"),
    ]
}

/// What an agent at `ip` is told on its command line.
pub(crate) fn agent_flags(ip: IpAddr, http: u16, peer: u16, registry: u16) -> [String; 4] {
    [
        format!("--agent-registry-port={registry}"),
        format!("--agent-server-port={http}"),
        format!("--peer-ip={ip}"),
        format!("--peer-port={peer}"),
    ]
}

/// So many free ports, all different.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    let find = || -> std::io::Result<Vec<u16>> {
        // All are held until the last is found, so that no two are the same.
        let bind = |_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0));
        let held: Vec<TcpListener> = (0..count).map(bind).collect::<std::io::Result<_>>()?;
        held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
    };
    find().map_err(|e| Error::io("find free ports", e))
}

fn listener(port: u16) -> Value {
    json!({"net": "tcp", "addr": format!("0.0.0.0:{port}")})
}

/// The script in nginx's place.
const NGINX: &str = "nginx";

/// What the script is given and does not read.
const TEMPLATE: &str = "nginx.template";

#[cfg(test)]
mod tests {
    use kraken_common::upstream::{Load, RoleName};

    use super::*;

    #[test]
    fn every_key_is_one_that_both_systems_know() {
        let dir = tempfile::tempdir().unwrap();
        let addr: SocketAddr = "127.0.0.1:1".parse().unwrap();
        for tuned in [false, true] {
            let configs = Configs::new(tuned, 4 << 20, dir.path()).unwrap();
            for (role, config) in [
                (RoleName::Tracker, configs.tracker(1, &[addr])),
                (RoleName::Origin, configs.origin("origin0", 1, &[addr], addr)),
                (RoleName::Agent, configs.agent("agent0", 1, addr)),
            ] {
                let path = configs.write("host", &config).unwrap();
                let settings = Load::new(&path).role(role).strict(true).read().unwrap();
                settings.require_plain().unwrap();
            }
        }
    }
}
