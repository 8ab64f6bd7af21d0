//! Who may use a port: networks that are allowed.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use kraken_core::{Error, Result};

/// The clients that a port is open to.
///
/// ```
/// # use kraken_common::AllowedClients;
/// let clients = AllowedClients::only(vec!["127.0.0.1".parse()?, "10.0.0.0/8".parse()?]);
/// assert!(clients.allows("10.1.2.3".parse().unwrap()));
/// assert!(!clients.allows("192.168.0.1".parse().unwrap()));
/// # Ok::<_, kraken_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedClients(Option<Vec<Cidr>>);

/// A network: an address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// How many leading bits count; all for a single address.
    pub prefix: u8,
}

impl AllowedClients {
    /// Everybody.
    pub fn all() -> Self {
        Self(None)
    }

    /// Those with an address in one of `networks`; without any, nobody.
    pub fn only(networks: Vec<Cidr>) -> Self {
        Self(Some(networks))
    }

    /// Whether a client at `address` is one of them; an IPv4 address in its IPv6 form counts as
    /// IPv4.
    pub fn allows(&self, address: IpAddr) -> bool {
        match &self.0 {
            None => true,
            Some(networks) => networks.iter().any(|network| network.contains(address)),
        }
    }
}

impl Cidr {
    /// Whether `address` is inside; an IPv4 address in its IPv6 form counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let wide = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, true),
            IpAddr::V6(v6) => (v6.to_bits(), false),
        };
        let ((ours, v4), (theirs, theirs_v4)) = (wide(self.address), wide(address));
        let shift = 128_u32.saturating_sub(u32::from(self.prefix));
        let same = (ours ^ theirs).checked_shr(shift).unwrap_or(0) == 0;
        v4 == theirs_v4 && same
    }

    /// The network that `text` names; otherwise what of it is wrong, if more can be said than that
    /// it is none.
    pub(crate) fn read(text: &str) -> Result<Self, Option<String>> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| None)?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => max,
            Some(digits) => match digits.parse() {
                Ok(prefix) if prefix <= max && !digits.starts_with('+') => prefix,
                _ => return Err(Some(format!("after the / comes a number from 0 to {max}"))),
            },
        };
        Self { address, prefix }.canonical()
    }

    /// A network of IPv4 addresses in their IPv6 form is one of IPv4.
    fn canonical(self) -> Result<Self, Option<String>> {
        match (self.address.to_canonical(), self.prefix.checked_sub(MAPPED_BITS)) {
            (address, _) if address == self.address => Ok(self),
            (address, Some(prefix)) => Ok(Self { address, prefix }),
            (address, None) => Err(Some(format!(
                "it holds more than IPv4 addresses in their IPv6 form; write {address} with a \
                 number from 0 to 32"
            ))),
        }
    }
}

impl FromStr for Cidr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::read(text).map_err(|reason| {
            let reason = reason.unwrap_or_else(|| "not like 127.0.0.1 or 10.0.0.0/8".to_owned());
            Error::invalid(format!("network {text:?}: {reason}"))
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The bits before an IPv4 address in its IPv6 form.
const MAPPED_BITS: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks() {
        let net = |text: &str| text.parse::<Cidr>().unwrap();
        assert_eq!(net("10.0.0.1").to_string(), "10.0.0.1/32");
        assert_eq!(net("::1").prefix, 128);
        assert!(net("172.16.0.0/12").contains(ip("172.31.255.255")));
        assert!(!net("172.16.0.0/12").contains(ip("172.32.0.0")));
        assert!(net("127.0.0.1").contains(ip("::ffff:127.0.0.1")));
        assert!(net("0.0.0.0/0").contains(ip("1.2.3.4")) && !net("0.0.0.0/0").contains(ip("::1")));
        assert!(net("fd00::/8").contains(ip("fdff::1")) && net("::/0").contains(ip("fe80::1")));
        for bad in ["10.0.0.0/33", "10.0.0/8", "::/129", "a", "", "10.0.0.0/", "10.0.0.0/+8"] {
            let error = bad.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
        assert_eq!(net("::ffff:127.0.0.0/104"), net("127.0.0.0/8"));
        assert_eq!(net("::ffff:10.0.0.1"), net("10.0.0.1"));
        assert_eq!(net("::ffff:0.0.0.0/96"), net("0.0.0.0/0"));
        let error = "::ffff:10.0.0.0/95".parse::<Cidr>().unwrap_err().to_string();
        assert!(error.contains("write 10.0.0.0 with a number"), "{error}");
        // What no text can say, a caller can.
        assert!(Cidr { address: ip("::1"), prefix: 255 }.contains(ip("::1")));
    }

    #[test]
    fn clients() {
        assert!(AllowedClients::all().allows(ip("1.2.3.4")));
        assert!(!AllowedClients::only(Vec::new()).allows(ip("127.0.0.1")));
        let some =
            AllowedClients::only(vec!["::1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
        assert!(some.allows(ip("::1")) && some.allows(ip("::ffff:10.9.9.9")));
        assert!(!some.allows(ip("127.0.0.1")));
    }
}
