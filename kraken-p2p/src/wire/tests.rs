//! The codec against byte vectors of the Go original, and against a generated one.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use kraken_core::{Bitfield, Digest, ErrorKind, InfoHash, PieceIndex, PieceProof};
use proptest::prelude::*;
use prost::Message as _;

use super::proto::{RawBitfield, RawError, RawMessage, RawProof, RawSpan};
use super::*;
use crate::limits;

/// uber/kraken's `p2p.proto`, with fields 100 to 102.
mod oracle {
    use std::collections::BTreeMap;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Message {
        #[prost(string, tag = "1")]
        pub(super) version: String,
        #[prost(int32, tag = "2")]
        pub(super) kind: i32,
        #[prost(message, optional, tag = "3")]
        pub(super) bitfield: Option<Bitfield>,
        #[prost(message, optional, tag = "4")]
        pub(super) piece_request: Option<PieceRequest>,
        #[prost(message, optional, tag = "5")]
        pub(super) piece_payload: Option<PiecePayload>,
        #[prost(message, optional, tag = "6")]
        pub(super) announce_piece: Option<Index>,
        #[prost(message, optional, tag = "7")]
        pub(super) cancel_piece: Option<Index>,
        #[prost(message, optional, tag = "8")]
        pub(super) error: Option<Error>,
        #[prost(message, optional, tag = "9")]
        pub(super) complete: Option<Complete>,
        #[prost(message, optional, tag = "100")]
        pub(super) piece_proof: Option<PieceProof>,
        #[prost(message, optional, tag = "101")]
        pub(super) final_sums: Option<Final>,
        #[prost(message, optional, tag = "102")]
        pub(super) want_pieces: Option<PieceRequest>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Bitfield {
        #[prost(string, tag = "2")]
        pub(super) info_hash: String,
        #[prost(string, tag = "3")]
        pub(super) name: String,
        #[prost(string, tag = "4")]
        pub(super) peer_id: String,
        #[prost(bytes = "vec", tag = "5")]
        pub(super) bitfield: Vec<u8>,
        #[prost(string, tag = "6")]
        pub(super) namespace: String,
        #[prost(btree_map = "string, bytes", tag = "7")]
        pub(super) remote: BTreeMap<String, Vec<u8>>,
        #[prost(message, optional, tag = "100")]
        pub(super) capabilities: Option<Capabilities>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Capabilities {
        #[prost(uint64, tag = "1")]
        pub(super) bits: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PieceRequest {
        #[prost(int32, tag = "2")]
        pub(super) index: i32,
        #[prost(int32, tag = "3")]
        pub(super) offset: i32,
        #[prost(int32, tag = "4")]
        pub(super) length: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PiecePayload {
        #[prost(int32, tag = "2")]
        pub(super) index: i32,
        #[prost(int32, tag = "3")]
        pub(super) offset: i32,
        #[prost(int32, tag = "4")]
        pub(super) length: i32,
        #[prost(string, tag = "5")]
        pub(super) digest: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Index {
        #[prost(int32, tag = "2")]
        pub(super) index: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Error {
        #[prost(string, tag = "2")]
        pub(super) text: String,
        #[prost(int32, tag = "3")]
        pub(super) index: i32,
        #[prost(int32, tag = "4")]
        pub(super) code: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PieceProof {
        #[prost(int32, tag = "2")]
        pub(super) index: i32,
        #[prost(bytes = "vec", tag = "3")]
        pub(super) proof: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Final {
        #[prost(string, tag = "2")]
        pub(super) info_hash: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Complete {}
}

const HANDSHAKE: &str = "000000af1aac011228396335316330356532333239326262623562383432353931363164\
    333036643136373439396133301a40323364643436343431376430316631356439376434383234346462653839336\
    56638643330646337376261326630313738626330613562373833383635306134222831323835363861386639666\
    2326537613866633333386539353738363965623439326465346332622a1000000000000000030000000000000005\
    32026e73";

fn unhex(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn frame_of(message: &Message) -> BytesMut {
    let mut out = BytesMut::new();
    encode(message, &mut out);
    out
}

fn framed(message: &[u8]) -> BytesMut {
    let mut frame = BytesMut::from(&u32::try_from(message.len()).unwrap().to_be_bytes()[..]);
    frame.extend_from_slice(message);
    frame
}

fn hello_handshake() -> Handshake {
    let mut bitfield = Bitfield::new(3);
    bitfield.set(PieceIndex(0));
    bitfield.set(PieceIndex(2));
    Handshake {
        peer_id: "128568a8f9fb2e7a8fc338e957869eb492de4c2b".parse().unwrap(),
        info_hash: "9c51c05e23292bbb5b84259161d306d167499a30".parse().unwrap(),
        digest: Digest::sha256(b"hello kraken"),
        namespace: "ns".parse().unwrap(),
        bitfield: bitfield.to_wire().into(),
        remote_peers: Vec::new(),
        capabilities: None,
    }
}

#[test]
fn vectors_of_the_go_original() {
    let index = PieceIndex;
    for (hex, message) in [
        (HANDSHAKE, Message::Handshake(Box::new(hello_handshake()))),
        ("00000006100122022005", Message::PieceRequest { index: index(0), offset: 0, length: 5 }),
        (
            "000000081001220410022002",
            Message::PieceRequest { index: index(2), offset: 0, length: 2 },
        ),
        (
            "0000000810022a0410022002",
            Message::PiecePayload { index: index(2), offset: 0, length: 2 },
        ),
        ("00000006100332021001", Message::AnnouncePiece { index: index(1) }),
        ("0000000410033200", Message::AnnouncePiece { index: index(0) }),
        ("000000021006", Message::Complete),
        (
            "0000001a1005421612127069656365206e6f7420636f6d706c6574651801",
            Message::Error {
                index: index(1),
                code: ErrorCode::PieceRequestFailed,
                text: "piece not complete".into(),
            },
        ),
    ] {
        let bytes = unhex(hex);
        assert_eq!(frame_of(&message), bytes, "{message:?}");
        let mut buffer = BytesMut::from(&bytes[..]);
        assert_eq!(decode_frame(&mut buffer).unwrap(), Some(message));
        assert!(buffer.is_empty());
    }
}

#[test]
fn frames_may_come_in_any_cut_and_leave_the_payload() {
    let payload = Message::PiecePayload { index: PieceIndex(2), offset: 0, length: 2 };
    let mut stream = frame_of(&Message::AnnouncePiece { index: PieceIndex(7) });
    encode(&payload, &mut stream);
    stream.extend_from_slice(b"en");
    let (mut buffer, mut messages) = (BytesMut::new(), Vec::new());
    for byte in &stream {
        buffer.extend_from_slice(&[*byte]);
        while let Some(message) =
            (messages.len() < 2).then(|| decode_frame(&mut buffer).unwrap()).flatten()
        {
            messages.push(message);
        }
    }
    assert_eq!(messages, [Message::AnnouncePiece { index: PieceIndex(7) }, payload]);
    assert_eq!(buffer, &b"en"[..]);
}

#[test]
fn the_length_of_a_frame_is_checked_before_it_is_awaited() {
    let longest = u32::try_from(limits::FRAME_LEN_MAX).unwrap();
    let mut buffer = BytesMut::from(&longest.to_be_bytes()[..]);
    assert_eq!(decode_frame(&mut buffer).unwrap(), None);
    for len in [longest + 1, u32::MAX] {
        let mut buffer = BytesMut::from(&len.to_be_bytes()[..]);
        assert_eq!(decode_frame(&mut buffer).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}

#[test]
fn what_crashes_the_go_original_is_refused_with_a_reason() {
    let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let negative = |kind: u8, sub: u8, field: u8| {
        let mut message = vec![0x10, kind, sub << 3 | 2, 11, field << 3];
        message.extend_from_slice(&minus_one);
        message
    };
    for (message, reason) in [
        (vec![], "bitfield, but it has none"),
        (vec![0x10, 1], "piece request, but it has none"),
        (vec![0x10, 2], "piece payload, but it has none"),
        (vec![0x10, 3], "announce piece, but it has none"),
        (vec![0x10, 4], "cancel piece, but it has none"),
        (vec![0x10, 5], "error, but it has none"),
        (vec![0x10, 100], "piece proof, but it has none"),
        (vec![0x10, 100, 0xa2, 6, 3, 0x1a, 1, 0], "a piece proof of 1 bytes, not 148"),
        (vec![0x10, 101], "final, but it has none"),
        (vec![0x10, 102], "want pieces, but it has none"),
        (vec![0x10, 101, 0xaa, 6, 0], "0 hex characters, not 40"),
        (negative(3, 6, 2), "index -1 is negative"),
        (negative(1, 4, 2), "index -1 is negative"),
        (negative(1, 4, 3), "offset -1 is negative"),
        (negative(2, 5, 4), "length -1 is negative"),
        (negative(5, 8, 3), "index -1 is negative"),
        (vec![0x1a, 0], "0 hex characters, not 40"),
        (vec![0x10], "varint is cut short"),
        (vec![0x1a, 5, 0], "a field of 5 bytes, 1 left"),
        (vec![0x02, 0], "field number 0"),
        (vec![0x0b, 0x0c], "field 1 has wire type 3"),
        (vec![0x12, 0], "field 2 is not a varint"),
        (vec![0x18, 0], "field 3 has no length"),
        (vec![0x0a, 1, 0xff], "field 1 is not UTF-8"),
    ] {
        let error = decode_frame(&mut framed(&message)).unwrap_err();
        assert!(error.to_string().contains(reason), "{message:x?}: {error}");
    }
}

#[test]
fn handshakes_that_are_not_what_they_should_be_are_refused() {
    let whole = unhex(HANDSHAKE).split_off(4);
    let good = oracle::Message::decode(&whole[..]).unwrap();
    let spoil = |change: fn(&mut oracle::Bitfield)| {
        let mut message = good.clone();
        change(message.bitfield.as_mut().unwrap());
        decode_message(&message.encode_to_vec())
    };
    assert!(spoil(|_| ()).is_ok());
    for change in [
        (|b| b.info_hash.push('0')) as fn(&mut oracle::Bitfield),
        |b| b.info_hash = "g".repeat(40),
        |b| b.peer_id.clear(),
        |b| b.name = format!("md5:{}", b.name),
        |b| b.namespace = "n".repeat(kraken_core::limits::NAMESPACE_LEN_MAX + 1),
        |b| b.remote = BTreeMap::from([("x".into(), vec![])]),
    ] {
        assert!(spoil(change).is_err());
    }
}

#[test]
fn remote_peers_are_bounded() {
    let id = |n: usize| format!("{n:040x}");
    let mut message = oracle::Message::decode(&unhex(HANDSHAKE)[4..]).unwrap();
    message.bitfield.as_mut().unwrap().remote = (0..500).map(|n| (id(n), vec![0; 8])).collect();
    let Message::Handshake(handshake) = decode_message(&message.encode_to_vec()).unwrap() else {
        panic!("not a handshake");
    };
    let expected = (0..limits::REMOTE_PEERS_MAX).map(|n| id(n).parse().unwrap());
    assert_eq!(handshake.remote_peers, expected.collect::<Vec<_>>());
}

#[test]
fn unknown_fields_are_skipped_and_submessages_merge() {
    let mut bytes = unhex(HANDSHAKE).split_off(4);
    // Varint, fixed64, bytes and fixed32 under field 1000; then field 3 again, with a capability
    // message in it twice, and the type.
    bytes.extend(unhex("c03e2ac13e0102030405060708c23e020102c53e01020304"));
    bytes.extend(unhex("1a0ba206020807a20603c03e01"));
    bytes.extend(unhex("1000"));
    let expected = Handshake { capabilities: Some(Capabilities(7)), ..hello_handshake() };
    assert_eq!(decode_message(&bytes).unwrap(), Message::Handshake(Box::new(expected)));
    let twice = unhex("10011000100122022005220410022007");
    let expected = Message::PieceRequest { index: PieceIndex(2), offset: 0, length: 7 };
    assert_eq!(decode_message(&twice).unwrap(), expected);
}

#[test]
fn unknown_types_and_codes_keep_their_numbers() {
    for kind in [7, 103, u64::MAX] {
        let frame = frame_of(&Message::Unknown(kind));
        assert_eq!(decode_message(&frame[4..]).unwrap(), Message::Unknown(kind));
    }
    let code = ErrorCode::Unknown(9);
    let error = Message::Error { index: PieceIndex(1), code, text: String::new() };
    assert_eq!(decode_message(&frame_of(&error)[4..]).unwrap(), error);
}

#[test]
fn error_texts_are_cut_between_characters() {
    let text = format!("{}ä", "x".repeat(limits::ERROR_TEXT_MAX - 1));
    let raw = oracle::Message {
        kind: 5,
        error: Some(oracle::Error { text: text.clone(), index: 0, code: 0 }),
        ..Default::default()
    };
    let cut = Message::Error {
        index: PieceIndex(0),
        code: ErrorCode::PieceRequestFailed,
        text: "x".repeat(limits::ERROR_TEXT_MAX - 1),
    };
    assert_eq!(decode_message(&raw.encode_to_vec()).unwrap(), cut);
    let long = Message::Error { index: PieceIndex(0), code: ErrorCode::PieceRequestFailed, text };
    assert_eq!(frame_of(&long), frame_of(&cut));
}

fn natural() -> impl Strategy<Value = u32> {
    0..=i32::MAX.cast_unsigned()
}

fn arb_handshake() -> impl Strategy<Value = Handshake> {
    (
        any::<([u8; 20], [u8; 20], [u8; 32])>(),
        "\\PC{0,40}",
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::btree_set(any::<[u8; 20]>(), 0..5),
        prop::option::of(any::<u64>()),
    )
        .prop_map(|(ids, namespace, bitfield, remote, capabilities)| Handshake {
            peer_id: kraken_core::PeerId::new(ids.0),
            info_hash: kraken_core::InfoHash::new(ids.1),
            digest: Digest::sha256(&ids.2),
            namespace: namespace.parse().unwrap(),
            bitfield: Bytes::from(bitfield),
            remote_peers: remote.into_iter().map(kraken_core::PeerId::new).collect(),
            capabilities: capabilities.map(Capabilities),
        })
}

fn arb_proof() -> impl Strategy<Value = Box<PieceProof>> {
    prop::collection::vec(any::<u8>(), PieceProof::LEN)
        .prop_map(|bytes| Box::new(PieceProof::from_bytes(bytes.as_slice().try_into().unwrap())))
}

fn arb_message() -> impl Strategy<Value = Message> {
    let index = || natural().prop_map(PieceIndex);
    let span = || (index(), natural(), natural());
    let code = prop_oneof![
        Just(ErrorCode::PieceRequestFailed),
        (1..=i32::MAX as u64).prop_map(ErrorCode::Unknown)
    ];
    prop_oneof![
        arb_handshake().prop_map(|handshake| Message::Handshake(Box::new(handshake))),
        span().prop_map(|(index, offset, length)| Message::PieceRequest { index, offset, length }),
        span().prop_map(|(index, offset, length)| Message::PiecePayload { index, offset, length }),
        index().prop_map(|index| Message::AnnouncePiece { index }),
        index().prop_map(|index| Message::CancelPiece { index }),
        (index(), code, "\\PC{0,60}").prop_map(|(index, code, text)| Message::Error {
            index,
            code,
            text
        }),
        Just(Message::Complete),
        (index(), arb_proof()).prop_map(|(index, proof)| Message::PieceProof { index, proof }),
        any::<[u8; 20]>().prop_map(|id| Message::Final { info_hash: InfoHash::new(id) }),
        (index(), 0..=i32::MAX as u32)
            .prop_map(|(index, count)| Message::WantPieces { index, count }),
        prop_oneof![7..=99u64, 103..=i32::MAX as u64].prop_map(Message::Unknown),
    ]
}

fn int(value: u32) -> i32 {
    value.cast_signed()
}

/// The message as the generated codec has it.
fn to_oracle(message: &Message) -> oracle::Message {
    let mut out = oracle::Message::default();
    match message {
        Message::Handshake(handshake) => {
            out.bitfield = Some(oracle::Bitfield {
                info_hash: handshake.info_hash.to_string(),
                name: handshake.digest.hex(),
                peer_id: handshake.peer_id.to_string(),
                bitfield: handshake.bitfield.to_vec(),
                namespace: handshake.namespace.to_string(),
                remote: (handshake.remote_peers.iter())
                    .map(|id| (id.to_string(), vec![0; 8]))
                    .collect(),
                capabilities: handshake.capabilities.map(|c| oracle::Capabilities { bits: c.0 }),
            });
        }
        Message::PieceRequest { index, offset, length } => {
            out.kind = 1;
            let (index, offset, length) = (int(index.0), int(*offset), int(*length));
            out.piece_request = Some(oracle::PieceRequest { index, offset, length });
        }
        Message::PiecePayload { index, offset, length } => {
            out.kind = 2;
            let (index, offset, length) = (int(index.0), int(*offset), int(*length));
            let digest = String::new();
            out.piece_payload = Some(oracle::PiecePayload { index, offset, length, digest });
        }
        Message::AnnouncePiece { index } => {
            out.kind = 3;
            out.announce_piece = Some(oracle::Index { index: int(index.0) });
        }
        Message::CancelPiece { index } => {
            out.kind = 4;
            out.cancel_piece = Some(oracle::Index { index: int(index.0) });
        }
        Message::Error { index, code, text } => {
            out.kind = 5;
            let code = match code {
                ErrorCode::PieceRequestFailed => 0,
                ErrorCode::Unknown(code) => i32::try_from(*code).unwrap(),
            };
            out.error = Some(oracle::Error { text: text.clone(), index: int(index.0), code });
        }
        Message::Complete => out.kind = 6,
        Message::PieceProof { index, proof } => {
            out.kind = 100;
            let (index, proof) = (int(index.0), proof.to_bytes().to_vec());
            out.piece_proof = Some(oracle::PieceProof { index, proof });
        }
        Message::Final { info_hash } => {
            out.kind = 101;
            out.final_sums = Some(oracle::Final { info_hash: info_hash.to_string() });
        }
        Message::WantPieces { index, count } => {
            out.kind = 102;
            let (index, length) = (int(index.0), int(*count));
            out.want_pieces = Some(oracle::PieceRequest { index, length, ..Default::default() });
        }
        Message::Unknown(kind) => out.kind = i32::try_from(*kind).unwrap(),
    }
    out
}

/// What our parser should have read, given what the generated one has.
fn to_raw(message: &oracle::Message) -> RawMessage<'_> {
    let span = |span: &oracle::PieceRequest| RawSpan {
        index: span.index,
        offset: span.offset,
        length: span.length,
    };
    let index = |piece: &oracle::Index| RawSpan { index: piece.index, ..RawSpan::default() };
    RawMessage {
        kind: message.kind,
        bitfield: message.bitfield.as_ref().map(|bitfield| RawBitfield {
            info_hash: &bitfield.info_hash,
            name: &bitfield.name,
            peer_id: &bitfield.peer_id,
            bitfield: &bitfield.bitfield,
            namespace: &bitfield.namespace,
            remote_peers: bitfield.remote.keys().map(String::as_str).collect(),
            capabilities: bitfield.capabilities.as_ref().map(|c| c.bits),
        }),
        piece_request: message.piece_request.as_ref().map(span),
        piece_payload: message.piece_payload.as_ref().map(|span| RawSpan {
            index: span.index,
            offset: span.offset,
            length: span.length,
        }),
        announce_piece: message.announce_piece.as_ref().map(index),
        cancel_piece: message.cancel_piece.as_ref().map(index),
        error: message.error.as_ref().map(|error| RawError {
            text: &error.text,
            index: error.index,
            code: error.code,
        }),
        piece_proof: message
            .piece_proof
            .as_ref()
            .map(|piece| RawProof { index: piece.index, proof: &piece.proof }),
        final_sums: message.final_sums.as_ref().map(|sums| &*sums.info_hash),
        want_pieces: message.want_pieces.as_ref().map(span),
    }
}

/// Both parsers take the bytes for the same, or both refuse them. Only the other takes groups, and
/// entries of the map of peers whatever wire type they come with.
fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    let theirs = oracle::Message::decode(bytes);
    match RawMessage::parse(bytes) {
        Ok(mut ours) => {
            if let Some(bitfield) = &mut ours.bitfield {
                bitfield.remote_peers.sort_unstable();
            }
            let theirs =
                theirs.map_err(|e| TestCaseError::fail(format!("only we take it: {e}")))?;
            prop_assert_eq!(ours, to_raw(&theirs));
        }
        Err(error) if error.to_string().contains("has wire type") => {}
        Err(error) if error.to_string().contains("field 7 has no length") => {}
        Err(error) => prop_assert!(theirs.is_err(), "only we refuse it: {}", error),
    }
    Ok(())
}

/// One field with a likely number and any value.
fn arb_field() -> impl Strategy<Value = Vec<u8>> {
    let varint = |value: u64| {
        let mut out = Vec::new();
        prost::encoding::encode_varint(value, &mut out);
        out
    };
    let number =
        prop_oneof![8 => 1u64..10, 1 => 100u64..102, 1 => any::<u16>().prop_map(u64::from)];
    let value = prop_oneof![
        any::<u64>().prop_map(move |value| (0u64, varint(value))),
        (0u64..4).prop_map(move |value| (0u64, varint(value))),
        prop::collection::vec(any::<u8>(), 0..12)
            .prop_map(move |bytes| { (2, [varint(bytes.len() as u64), bytes].concat()) }),
        "[a-f]{0,12}".prop_map(move |text| (2, [varint(text.len() as u64), text.into()].concat())),
        any::<[u8; 8]>().prop_map(|bytes| (1, bytes.to_vec())),
        any::<[u8; 4]>().prop_map(|bytes| (5, bytes.to_vec())),
    ];
    (number, value)
        .prop_map(move |(number, (kind, value))| [varint(number << 3 | kind), value].concat())
}

/// Fields, and messages of fields, nested as deep as the protocol nests and one deeper.
fn arb_fields() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop::collection::vec(arb_field(), 0..5).prop_map(|fields| fields.concat());
    leaf.prop_recursive(3, 24, 4, |inner| {
        let number = prop_oneof![3 => Just(3u64), 1 => Just(7), 1 => 100u64..102, 2 => 4u64..10];
        let nested = (number, inner).prop_map(|(number, bytes)| {
            let mut out = Vec::new();
            prost::encoding::encode_varint(number << 3 | 2, &mut out);
            prost::encoding::encode_varint(bytes.len() as u64, &mut out);
            [out, bytes].concat()
        });
        prop::collection::vec(prop_oneof![2 => nested, 1 => arb_field()], 0..4)
            .prop_map(|fields| fields.concat())
    })
}

proptest! {
    #[test]
    fn encodes_what_the_generated_codec_encodes(message in arb_message()) {
        let frame = frame_of(&message);
        let theirs = to_oracle(&message).encode_to_vec();
        prop_assert_eq!(&frame[4..], &theirs[..]);
        prop_assert_eq!(&frame[..4], &u32::try_from(theirs.len()).unwrap().to_be_bytes());
        prop_assert_eq!(decode_message(&theirs).unwrap(), message);
    }

    #[test]
    fn reads_any_bytes_as_the_generated_codec_does(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        agree(&bytes)?;
        let _ = decode_frame(&mut framed(&bytes));
        let _ = decode_frame(&mut BytesMut::from(&bytes[..]));
    }

    #[test]
    fn reads_any_fields_as_the_generated_codec_does(bytes in arb_fields()) {
        agree(&bytes)?;
        let _ = decode_message(&bytes);
    }

    #[test]
    fn reads_damaged_messages_as_the_generated_codec_does(
        message in arb_message(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = frame_of(&message).split_off(4).to_vec();
        if !bytes.is_empty() {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        agree(&bytes)?;
        let _ = decode_message(&bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        agree(&bytes)?;
    }
}
