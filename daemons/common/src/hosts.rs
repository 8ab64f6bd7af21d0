//! Lists of hosts named in the configuration.

use kraken_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::limits;

/// Hosts as `host:port`, fixed for the life of the process; without duplicates, in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct HostList(Vec<String>);

impl HostList {
    /// The list of `hosts`, each of which must be `host:port`.
    pub fn new(hosts: Vec<String>) -> Result<Self> {
        if hosts.len() > limits::HOSTS_MAX {
            return Err(Error::invalid(format!(
                "host list: {} hosts, more than {}",
                hosts.len(),
                limits::HOSTS_MAX
            )));
        }
        let mut list: Vec<String> = Vec::with_capacity(hosts.len());
        for host in hosts {
            check(&host)?;
            if !list.contains(&host) {
                list.push(host);
            }
        }
        Ok(Self(list))
    }

    /// The hosts.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hosts.
    pub fn into_vec(self) -> Vec<String> {
        self.0
    }
}

impl TryFrom<Vec<String>> for HostList {
    type Error = Error;

    fn try_from(hosts: Vec<String>) -> Result<Self> {
        Self::new(hosts)
    }
}

impl From<HostList> for Vec<String> {
    fn from(list: HostList) -> Self {
        list.0
    }
}

/// Whether `host` is `name:port`, `v4:port` or `[v6]:port`.
fn check(host: &str) -> Result<()> {
    let bad = |why: &str| Err(Error::invalid(format!("host {host:?}: {why}")));
    let Some((name, port)) = host.rsplit_once(':') else { return bad("not of the form host:port") };
    if port.parse::<u16>().map_or(true, |port| port == 0) {
        return bad("the port is not a number from 1 to 65535");
    }
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match literal {
        Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => Ok(()),
        Some(_) => bad("not an IPv6 address between the brackets"),
        None if name.is_empty() => bad("no name before the port"),
        None if name.contains(':') => bad("an IPv6 address needs brackets"),
        None if name.contains(|c: char| !c.is_ascii_graphic() || "/?#@".contains(c)) => {
            bad("not a host name")
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in ["a:1", "10.0.0.1:80", "[::1]:80", "origin-1.example.com:15002"] {
            assert!(HostList::new(vec![good.into()]).is_ok(), "{good}");
        }
        for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "::1:80", "[x]:80", "a/b:1", "a b:1"] {
            assert!(HostList::new(vec![bad.into()]).is_err(), "{bad}");
        }
        let list: HostList = serde_json::from_str(r#"["b:1","a:1","b:1"]"#).unwrap();
        assert_eq!(list.as_slice(), ["b:1", "a:1"]);
        assert!(serde_json::from_str::<HostList>(r#"["b"]"#).is_err());
    }
}
