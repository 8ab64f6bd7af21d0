//! The answer to an announce as JSON. Handouts are most of what a tracker writes: fifty lists of
//! twenty numbers each, which one by one through serde cost a third of its time.

use kraken_core::{PeerId, PeerInfo};

use super::client::AnnounceResponse;

impl AnnounceResponse {
    /// As JSON: the bytes that serde would make.
    pub fn to_json(&self) -> Vec<u8> {
        let peers = self.peers.as_deref();
        let mut out = Vec::with_capacity(64 + peers.map_or(0, |peers| peers.len() * PEER_LEN));
        out.extend_from_slice(b"{\"peers\":");
        match peers {
            Some(peers) => {
                out.push(b'[');
                for (at, peer) in peers.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    write_peer(peer, &mut out);
                }
                out.push(b']');
            }
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"interval\":");
        out.extend_from_slice(self.interval.to_string().as_bytes());
        out.extend_from_slice(if self.bridge { b",\"bridge\":true}" } else { b"}" });
        out
    }
}

fn write_peer(peer: &PeerInfo, out: &mut Vec<u8>) {
    let PeerInfo { peer_id, ip, port, origin, complete } = peer;
    out.extend_from_slice(b"{\"peer_id\":[");
    write_id(peer_id, out);
    out.extend_from_slice(b"],\"ip\":");
    write_host(ip, out);
    out.extend_from_slice(b",\"port\":");
    write_port(*port, out);
    out.extend_from_slice(match (origin, complete) {
        (false, false) => b",\"origin\":false,\"complete\":false}",
        (false, true) => b",\"origin\":false,\"complete\":true}",
        (true, false) => b",\"origin\":true,\"complete\":false}",
        (true, true) => b",\"origin\":true,\"complete\":true}",
    });
}

/// The numbers with commas between them. Four bytes are written for each and what is too much is
/// written over: a copy of fixed length is one instruction.
fn write_id(id: &PeerId, out: &mut Vec<u8>) {
    let mut list = [0; 20 * 4];
    let mut end = 0;
    for byte in id.as_bytes() {
        let (text, len) = NUMBERS[usize::from(*byte)];
        list[end..end + 4].copy_from_slice(&text);
        end += usize::from(len);
    }
    // But for the last comma.
    out.extend_from_slice(&list[..end - 1]);
}

fn write_host(host: &str, out: &mut Vec<u8>) {
    if host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:_[]%".contains(&b)) {
        out.push(b'"');
        out.extend_from_slice(host.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(serde_json::Value::from(host).to_string().as_bytes());
    }
}

fn write_port(port: u16, out: &mut Vec<u8>) {
    let mut digits = [0; 5];
    let (mut start, mut rest) = (digits.len(), port);
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// A peer with a long address takes about as much as this.
const PEER_LEN: usize = 192;

/// Each byte as a number and a comma, and how long that is.
const NUMBERS: [([u8; 4], u8); 256] = {
    let mut numbers = [([b','; 4], 0); 256];
    let mut number = 0;
    while number < 256 {
        let digits = [(number / 100) as u8, (number / 10 % 10) as u8, (number % 10) as u8];
        let skipped = if number >= 100 { 0 } else { 2 - (number >= 10) as usize };
        let mut at = skipped;
        while at < 3 {
            numbers[number].0[at - skipped] = b'0' + digits[at];
            at += 1;
        }
        numbers[number].1 = (4 - skipped) as u8;
        number += 1;
    }
    numbers
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same_as_serde(response: &AnnounceResponse) {
        let expected = serde_json::to_string(response).unwrap();
        assert_eq!(String::from_utf8(response.to_json()).unwrap(), expected);
    }

    fn peer(bytes: [u8; 20], ip: &str, port: u16) -> PeerInfo {
        let (origin, complete) = (bytes[0] < 128, bytes[1] < 128);
        PeerInfo { peer_id: PeerId::new(bytes), ip: ip.to_owned(), port, origin, complete }
    }

    #[test]
    fn every_number_and_nobody() {
        for (first, port) in (0..=u8::MAX).step_by(16).zip([0, 9, 10, 99, 100, 9999, 10_000]) {
            let bytes = std::array::from_fn(|at| first.wrapping_add(at as u8));
            let peers = Some(vec![peer(bytes, "10.0.0.1", port)]);
            same_as_serde(&AnnounceResponse { peers, interval: 3_000_000_000, bridge: false });
        }
        for byte in 0..=u8::MAX {
            let peers = Some(vec![peer([byte; 20], "agent-1", u16::MAX); 2]);
            same_as_serde(&AnnounceResponse { peers, interval: -1, bridge: true });
        }
        for peers in [None, Some(Vec::new())] {
            same_as_serde(&AnnounceResponse { peers, interval: i64::MIN, bridge: false });
        }
    }

    proptest! {
        #[test]
        fn the_bytes_that_serde_makes(
            peers in prop::option::of(prop::collection::vec((any::<[u8; 20]>(), ".{0,20}", any::<u16>()), 0..4)),
            interval in any::<i64>(),
            bridge in any::<bool>(),
        ) {
            let peers = peers.map(|peers| {
                peers.iter().map(|(bytes, ip, port)| peer(*bytes, ip, *port)).collect()
            });
            same_as_serde(&AnnounceResponse { peers, interval, bridge });
        }
    }
}
