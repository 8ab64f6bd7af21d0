//! Frames of the peer wire, as a stream and as fields added to a handshake that is valid.

use bytes::{Bytes, BytesMut};
use kraken_core::{Digest, InfoHash, PeerId};
use kraken_p2p::wire::{Capabilities, Handshake, Message, decode_frame, decode_message, encode};

/// Checks what is made of `data` as a stream and as more fields of a handshake.
pub fn check(data: &[u8]) {
    let mut stream = BytesMut::new();
    let (first, second) = data.split_at(data.len() / 2);
    for part in [first, second] {
        stream.extend_from_slice(part);
        loop {
            match decode_frame(&mut stream) {
                Ok(Some(message)) => round_trip(&message),
                Ok(None) => break,
                Err(_) => return merged(data),
            }
        }
    }
    merged(data);
}

/// Later fields override or join earlier ones, so most bytes that are fields give a handshake.
fn merged(data: &[u8]) {
    let mut frame = BytesMut::new();
    encode(&Message::Handshake(Box::new(handshake())), &mut frame);
    frame.extend_from_slice(data);
    if let Ok(message) = decode_message(&frame[4..]) {
        round_trip(&message);
    }
}

/// What was read is written and read again as the same.
fn round_trip(message: &Message) {
    let mut frame = BytesMut::new();
    encode(message, &mut frame);
    assert_eq!(&decode_message(&frame[4..]).unwrap(), message);
}

fn handshake() -> Handshake {
    Handshake {
        peer_id: PeerId::new([1; 20]),
        info_hash: InfoHash::new([2; 20]),
        digest: Digest::sha256(b"hello kraken"),
        namespace: "ns".parse().unwrap(),
        bitfield: Bytes::from_static(&[0; 8]),
        remote_peers: vec![PeerId::new([3; 20])],
        capabilities: Some(Capabilities(1)),
    }
}
