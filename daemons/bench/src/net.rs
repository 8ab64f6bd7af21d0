//! Hosts with links of their own: a network namespace for each, joined by a bridge in yet another
//! namespace (in the machine's own, firewall rules for forwarding may drop what is bridged).
//!
//! A cap is a token bucket at each end of a host's link. Deliberately absent: delay and loss.

mod leftovers;
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use kraken_core::{Error, ErrorKind, Result};

use crate::scenario::Rate;

use tools::Tools;

/// Hosts that reach each other; what was made for them is removed when this is dropped.
///
/// Whatever still runs in the hosts' namespaces is killed then: a namespace lives as long as a
/// process in it. All calls block for some milliseconds, [`Network::namespaces`] for up to seconds.
#[derive(Debug)]
pub struct Network {
    hosts: BTreeMap<String, Host>,
    namespaces: Option<Namespaces>,
}

/// What a host shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSpec {
    /// At most eight small letters and digits, such as `agent12`.
    pub name: String,
    /// What its link carries each way, headers included; `None` is no cap.
    pub link: Option<Rate>,
}

/// A host of a [`Network`].
#[derive(Debug, Clone)]
pub struct Host {
    /// What the [`HostSpec`] called it.
    pub name: String,
    /// Where the other hosts reach it; also where it reaches itself.
    pub addr: Ipv4Addr,
    /// The `ip` program and the namespace.
    inside: Option<(PathBuf, String)>,
}

/// Namespaces of one network; all their names begin with `prefix` and a dash.
#[derive(Debug)]
struct Namespaces {
    tools: Tools,
    prefix: String,
    removed: bool,
}

impl Network {
    /// A namespace and a link for each host.
    ///
    /// Needs root, `ip` and `tc`; the error says what is missing.
    pub fn namespaces(hosts: &[HostSpec]) -> Result<Self> {
        check_specs(hosts)?;
        let tools = Tools::find()?;
        let namespaces = Namespaces::claim(tools)?;
        // From here on an error removes what was made: `namespaces` is dropped.
        namespaces.make_links(hosts)?;
        namespaces.configure_hosts(hosts)?;
        namespaces.configure_bridge(hosts)?;
        let ip = &namespaces.tools.ip;
        let hosts = addressed(hosts, NAMESPACES_NET)
            .map(|(spec, addr)| {
                let inside = Some((ip.clone(), namespaces.of(&spec.name)));
                (spec.name.clone(), Host { name: spec.name.clone(), addr, inside })
            })
            .collect();
        Ok(Self { hosts, namespaces: Some(namespaces) })
    }

    /// An address of the loopback device for each host: no caps, nothing is made, no root needed.
    pub fn loopback(hosts: &[HostSpec]) -> Self {
        let hosts = addressed(hosts, LOOPBACK_NET)
            .map(|(spec, addr)| {
                (spec.name.clone(), Host { name: spec.name.clone(), addr, inside: None })
            })
            .collect();
        Self { hosts, namespaces: None }
    }

    /// Kills what runs in the namespaces of benches that died before they could remove them,
    /// removes these namespaces and says how many they were.
    pub fn remove_leftovers() -> Result<usize> {
        let found = leftovers::of_the_dead()?;
        if found.is_empty() {
            return Ok(0);
        }
        leftovers::remove(&Tools::find()?, &found)?;
        Ok(found.len())
    }

    /// Removes all namespaces and says whether that went well, which dropping cannot.
    pub fn close(mut self) -> Result<()> {
        self.namespaces.take().map_or(Ok(()), |mut namespaces| namespaces.remove())
    }

    /// Whether each host has a namespace and a link of its own.
    pub fn is_namespaced(&self) -> bool {
        self.namespaces.is_some()
    }

    /// The host of this name.
    ///
    /// # Panics
    ///
    /// With a name that no [`HostSpec`] had: a mistake of the program.
    pub fn host(&self, name: &str) -> &Host {
        self.hosts.get(name).unwrap_or_else(|| panic!("no host is called {name:?}"))
    }

    /// The congestion control of connections between the hosts.
    pub fn congestion(&self) -> String {
        if self.is_namespaced() { congestion_control() } else { machine_congestion_control() }
    }

    /// How many bytes left the host since it was made; `None` on loopback, where nobody counts.
    ///
    /// The kernel hands on up to 64 KiB of a connection as one packet and counts its headers once,
    /// so this is close to the payload; the caps count the headers of every packet on the wire.
    pub fn sent_bytes(&self, name: &str) -> Result<Option<u64>> {
        let host = self.host(name);
        let Some(namespaces) = &self.namespaces else { return Ok(None) };
        // The bridge's end receives what the host sends.
        let device = bridge_device(&host.name);
        let words = ["-s", "-j", "link", "show", "dev", &device];
        let shown = namespaces.tools.ip_in(&namespaces.of(BRIDGE), &words)?;
        received_bytes(&shown).map(Some).ok_or_else(|| {
            Error::invalid(format!("reading the byte counter of {device}: `ip` said {shown:?}"))
        })
    }
}

impl Host {
    /// `program` on this host, without arguments yet; its process id is that of the child.
    pub fn command(&self, program: &Path) -> Command {
        let Some((ip, namespace)) = &self.inside else { return Command::new(program) };
        let mut command = Command::new(ip);
        command.args(["netns", "exec", namespace]).arg(program);
        command
    }
}

impl Namespaces {
    /// Makes the bridge's namespace, whose name nobody else has, and with it the prefix is ours.
    fn claim(tools: Tools) -> Result<Self> {
        for serial in 0..NETWORKS_MAX {
            let prefix = leftovers::prefix(std::process::id(), serial);
            if tools.add_namespace(&format!("{prefix}-{BRIDGE}"))? {
                return Ok(Self { tools, prefix, removed: false });
            }
        }
        let id = std::process::id();
        Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "making network namespaces: {NETWORKS_MAX} networks of process {id} exist already; \
                 `ip netns delete` them"
            ),
        ))
    }

    /// Every host's namespace, and a pair of devices from it into the bridge's namespace. Both
    /// are made where they belong: none is ever among the machine's own devices.
    fn make_links(&self, hosts: &[HostSpec]) -> Result<()> {
        let bridge = self.of(BRIDGE);
        let mut lines = String::new();
        for (index, spec) in hosts.iter().enumerate() {
            let (inside, device) = (self.of(&spec.name), bridge_device(&spec.name));
            let hardware = hardware_address(index);
            line(&mut lines, format_args!("netns add {inside}"));
            line(
                &mut lines,
                format_args!(
                    "link add {device} netns {bridge} type veth \
                     peer name eth0 address {hardware} netns {inside}"
                ),
            );
        }
        self.tools.ip_batch(None, &lines).map_err(|error| error.context("making the hosts' links"))
    }

    /// Addresses, routes and the upload caps.
    fn configure_hosts(&self, hosts: &[HostSpec]) -> Result<()> {
        for (index, (spec, addr)) in addressed(hosts, NAMESPACES_NET).enumerate() {
            let namespace = self.of(&spec.name);
            let lines = host_lines(hosts, index, addr);
            let made = self.tools.ip_batch(Some(&namespace), &lines).and_then(|()| {
                self.tools.forget_connections(&namespace)?;
                let Some(rate) = spec.link else { return Ok(()) };
                self.tools.tc_batch(&namespace, &cap("eth0", rate))
            });
            made.map_err(|error| error.context(format!("setting up host {}", spec.name)))?;
        }
        Ok(())
    }

    /// The bridge and the download caps.
    fn configure_bridge(&self, hosts: &[HostSpec]) -> Result<()> {
        let mut links = String::from("link add br0 type bridge\nlink set br0 up\n");
        let mut caps = String::new();
        for spec in hosts {
            let device = bridge_device(&spec.name);
            line(&mut links, format_args!("link set {device} master br0"));
            line(&mut links, format_args!("link set {device} up"));
            if let Some(rate) = spec.link {
                caps.push_str(&cap(&device, rate));
            }
        }
        let namespace = self.of(BRIDGE);
        let made = self.tools.ip_batch(Some(&namespace), &links).and_then(|()| {
            if caps.is_empty() { Ok(()) } else { self.tools.tc_batch(&namespace, &caps) }
        });
        made.map_err(|error| error.context("setting up the hosts' bridge"))
    }

    fn remove(&mut self) -> Result<()> {
        leftovers::remove(&self.tools, &leftovers::with_prefix(&self.prefix)?)?;
        self.removed = true;
        Ok(())
    }

    fn of(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        if !self.removed {
            // What could not be removed now, `remove_leftovers` finds when this process is gone.
            let _ = self.remove();
        }
    }
}

/// The congestion control of connections between hosts with namespaces.
///
/// It is what nearly every machine has by default; the machine's own may be another one.
pub fn congestion_control() -> String {
    CONGESTION.to_owned()
}

/// Says what is missing for [`Network::namespaces`]: root, `ip` or `tc`.
pub fn check_namespaces() -> Result<()> {
    Tools::find().map(drop)
}

pub(crate) fn machine_congestion_control() -> String {
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

fn check_specs(hosts: &[HostSpec]) -> Result<()> {
    if hosts.len() > HOSTS_MAX {
        let count = hosts.len();
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("making {count} hosts: a bridge joins {HOSTS_MAX} at most"),
        ));
    }
    let mut names = BTreeSet::new();
    for HostSpec { name, link } in hosts {
        let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if name.is_empty() || name.len() > NAME_LEN_MAX || !plain || name == BRIDGE {
            return Err(Error::invalid(format!(
                "making host {name:?}: a name is up to {NAME_LEN_MAX} small letters and digits, \
                 and not {BRIDGE:?}"
            )));
        }
        if !names.insert(name) {
            return Err(Error::invalid(format!(
                "making host {name:?}: there are two of this name"
            )));
        }
        if *link == Some(Rate(0)) {
            return Err(Error::invalid(format!(
                "making host {name:?}: its link would carry nothing"
            )));
        }
    }
    Ok(())
}

fn addressed(hosts: &[HostSpec], net: [u8; 2]) -> impl Iterator<Item = (&HostSpec, Ipv4Addr)> {
    hosts.iter().enumerate().map(move |(index, spec)| (spec, address(net, index)))
}

/// The first host is number 1: number 0 is the network's own address.
fn address(net: [u8; 2], index: usize) -> Ipv4Addr {
    let [.., high, low] = number(index);
    Ipv4Addr::new(net[0], net[1], high, low)
}

fn hardware_address(index: usize) -> String {
    let [.., high, low] = number(index);
    format!("02:4b:52:00:{high:02x}:{low:02x}")
}

fn number(index: usize) -> [u8; 4] {
    u32::try_from(index + 1).expect("there are fewer hosts than addresses").to_be_bytes()
}

fn host_lines(hosts: &[HostSpec], index: usize, addr: Ipv4Addr) -> String {
    let [a, b] = NAMESPACES_NET;
    let mut lines = format!(
        "link set lo up\n\
         addr add {addr}/16 dev eth0\n\
         link set eth0 up\n\
         route change {a}.{b}.0.0/16 dev eth0 proto kernel scope link src {addr} \
         congctl {CONGESTION}\n"
    );
    // What a host says to itself, its client to its agent.
    for (to, dev, src) in [
        (format!("{addr}"), "eth0", addr),
        ("127.0.0.1".to_owned(), "lo", Ipv4Addr::LOCALHOST),
        ("127.0.0.0/8".to_owned(), "lo", Ipv4Addr::LOCALHOST),
    ] {
        line(
            &mut lines,
            format_args!(
                "route change local {to} dev {dev} table local proto kernel scope host src {src} \
                 congctl {CONGESTION}"
            ),
        );
    }
    // Permanent entries: the kernel's table of neighbours is one for all namespaces, and with
    // some dozens of hosts that all know each other it would overflow.
    for (other, (_, to)) in addressed(hosts, NAMESPACES_NET).enumerate() {
        if other != index {
            let hardware = hardware_address(other);
            line(
                &mut lines,
                format_args!("neigh add {to} lladdr {hardware} dev eth0 nud permanent"),
            );
        }
    }
    lines
}

/// A token bucket. Its burst must hold the 64 KiB packets of a connection several times: with a
/// smaller one the kernel cuts them up in software, at ten times the CPU.
fn cap(device: &str, Rate(bytes): Rate) -> String {
    format!("qdisc replace dev {device} root tbf rate {bytes}bps burst 256k latency 50ms\n")
}

fn bridge_device(name: &str) -> String {
    format!("v-{name}")
}

fn received_bytes(shown: &str) -> Option<u64> {
    let links: serde_json::Value = serde_json::from_str(shown).ok()?;
    links.get(0)?.get("stats64")?.get("rx")?.get("bytes")?.as_u64()
}

fn line(lines: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(lines, "{text}").expect("a string takes everything");
}

/// Of the bridge's namespace.
const BRIDGE: &str = "br";
const CONGESTION: &str = "cubic";
/// The kernel's bridge has 1024 ports.
const HOSTS_MAX: usize = 1000;
const LOOPBACK_NET: [u8; 2] = [127, 77];
/// A device's name has 15 bytes, and ours have a prefix.
const NAME_LEN_MAX: usize = 8;
const NAMESPACES_NET: [u8; 2] = [10, 77];
/// At the same time in one process: only tests have more than one.
const NETWORKS_MAX: u32 = 16;

#[cfg(test)]
mod tests;
