//! Which address of this host others reach it by, and what it is called.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs as _};

use kraken_core::{Error, Result};

use crate::HostList;

/// An address of this host, and the interface that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Interface {
    name: String,
    address: IpAddr,
}

/// What peers are told to connect to: `asked` (the value of `--peer-ip`, an address or a name) if
/// it is given; otherwise `bind` if that is a real address, since nothing else is listened on;
/// otherwise the first IPv4 address of eth0, ib0, eth1 or eth2, as in uber/kraken; otherwise the
/// only IPv4 address that is not of the loopback. An error tells to pass `--peer-ip`.
pub fn peer_ip(asked: &str, bind: IpAddr) -> Result<String> {
    if !asked.is_empty() {
        return checked(asked);
    }
    if !bind.is_unspecified() {
        return Ok(bind.to_string());
    }
    let found = if_addrs::get_if_addrs().map_err(|e| {
        Error::io("list the addresses of this host; --peer-ip makes that unnecessary", e)
    })?;
    let found: Vec<Interface> = found
        .into_iter()
        .map(|interface| Interface { address: interface.ip(), name: interface.name })
        .collect();
    choose(&found).map(|address| address.to_string())
}

/// What this host calls itself; empty if it cannot be said in a host list.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if HostList::new(vec![format!("{name}:1")]).is_ok() { name } else { String::new() }
}

/// `asked`, if a peer could dial it.
fn checked(asked: &str) -> Result<String> {
    let bad = |why: &str| Err(Error::invalid(format!("--peer-ip {asked:?}: {why}")));
    match asked.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => bad("peers cannot connect to that"),
        Ok(_) => Ok(asked.to_owned()),
        Err(_) if HostList::new(vec![format!("{asked}:1")]).is_err() => {
            bad("neither an IP address nor a host name")
        }
        Err(_) => match (asked, 1).to_socket_addrs() {
            Ok(_) => Ok(asked.to_owned()),
            Err(error) => bad(&format!("does not resolve ({error}); pass an address of this host")),
        },
    }
}

fn choose(interfaces: &[Interface]) -> Result<Ipv4Addr> {
    let addresses: Vec<(&str, Ipv4Addr)> = interfaces
        .iter()
        .filter_map(|interface| match interface.address {
            IpAddr::V4(v4) if !v4.is_loopback() => Some((interface.name.as_str(), v4)),
            _ => None,
        })
        .collect();
    for preferred in PREFERRED {
        if let Some((_, address)) = addresses.iter().find(|(name, _)| *name == preferred) {
            return Ok(*address);
        }
    }
    if let [(_, address)] = addresses.as_slice() {
        return Ok(*address);
    }
    let listed: Vec<String> =
        addresses.iter().map(|(name, address)| format!("{address} of {name}")).collect();
    let why = if listed.is_empty() {
        "this host has no IPv4 address but the loopback's".to_owned()
    } else {
        format!("none of {} has one, and there are {}", PREFERRED.join(", "), listed.join(", "))
    };
    Err(Error::invalid(format!(
        "no telling which address peers reach this host by: {why}; pass it with --peer-ip"
    )))
}

/// The interfaces that uber/kraken looks at, in its order.
const PREFERRED: [&str; 4] = ["eth0", "ib0", "eth1", "eth2"];

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    fn interfaces(all: &[(&str, &str)]) -> Vec<Interface> {
        let made = all.iter().map(|(name, address)| Interface {
            name: (*name).to_owned(),
            address: address.parse().unwrap(),
        });
        made.collect()
    }

    #[test]
    fn what_is_asked_for_goes_first() {
        let bind = "10.0.0.1".parse().unwrap();
        for good in ["10.9.9.9", "fd00::1", "localhost"] {
            assert_eq!(peer_ip(good, bind).unwrap(), good);
        }
        assert_eq!(peer_ip("", bind).unwrap(), "10.0.0.1");
        for bad in ["0.0.0.0", "::", "a b", "10.0.0.1:80", "http://a", " ", "nobody.invalid"] {
            let error = peer_ip(bad, ANY).unwrap_err().to_string();
            assert!(error.contains("--peer-ip"), "{error}");
        }
    }

    #[test]
    fn interfaces_are_looked_at_in_uber_krakens_order() {
        let lo = ("lo", "127.0.0.1");
        let chosen = |all: &[(&str, &str)]| choose(&interfaces(all)).map(|ip| ip.to_string());
        let [eth0, eth1] = [("eth0", "10.0.0.1"), ("eth1", "10.1.0.1")];
        let bridge = ("docker0", "172.17.0.1");
        assert_eq!(chosen(&[lo, eth1, bridge, eth0]).unwrap(), "10.0.0.1");
        assert_eq!(chosen(&[lo, bridge, eth1, ("eth0", "fd00::1")]).unwrap(), "10.1.0.1");
        assert_eq!(chosen(&[lo, ("ens3", "10.2.0.1")]).unwrap(), "10.2.0.1");
        assert_eq!(chosen(&[eth0, ("eth0", "10.0.0.2")]).unwrap(), "10.0.0.1");
        let error = chosen(&[lo, bridge, ("ens3", "10.2.0.1")]).unwrap_err().to_string();
        assert!(error.contains("172.17.0.1 of docker0, 10.2.0.1 of ens3; pass"), "{error}");
        let error = chosen(&[lo]).unwrap_err().to_string();
        assert!(error.contains("no IPv4 address") && error.contains("--peer-ip"), "{error}");
    }

    #[test]
    fn this_host_has_a_name() {
        let name = host_name();
        assert!(!name.contains(['/', ':', ' ']), "{name}");
    }

    #[test]
    fn this_host_has_addresses_or_says_what_to_do() {
        if let Err(error) = peer_ip("", ANY) {
            assert!(error.to_string().contains("--peer-ip"), "{error}");
        }
    }
}
