//! Messages to frames, byte for byte as Go's protobuf library writes them: fields in ascending
//! order, defaults left out.

use bytes::{BufMut, BytesMut};

use super::decode::clip_error_text;
use super::message::{ErrorCode, Handshake, Message};

/// Appends one frame: the four-byte length and the message. The bytes of a piece go after the
/// frame of its [`Message::PiecePayload`] and are the caller's to send.
///
/// Everything but a handshake is far below the limit for frames; a handshake is as long as its
/// bitfield, and peers refuse it beyond [`crate::limits::FRAME_LEN_MAX`] (some 250,000 pieces).
///
/// # Panics
///
/// If the handshake's bitfield is 4 GiB long.
pub fn encode(message: &Message, out: &mut BytesMut) {
    match message {
        Message::Handshake(handshake) => put_handshake(out, handshake),
        Message::PieceRequest { index, offset, length } => {
            put_frame(out, 1, 4, &span(index.0, *offset, *length));
        }
        Message::PiecePayload { index, offset, length } => {
            put_frame(out, 2, 5, &span(index.0, *offset, *length));
        }
        Message::AnnouncePiece { index } => {
            put_frame(out, 3, 6, &[Field::Varint(2, index.0.into())]);
        }
        Message::CancelPiece { index } => put_frame(out, 4, 7, &[Field::Varint(2, index.0.into())]),
        Message::Error { index, code, text } => {
            let code = match code {
                ErrorCode::PieceRequestFailed => 0,
                ErrorCode::Unknown(code) => *code,
            };
            let fields = [
                Field::Bytes(2, clip_error_text(text).as_bytes()),
                Field::Varint(3, index.0.into()),
                Field::Varint(4, code),
            ];
            put_frame(out, 5, 8, &fields);
        }
        Message::Complete => put_bare_frame(out, 6),
        Message::PieceProof { index, proof } => {
            let proof = proof.to_bytes();
            put_frame(out, 100, 100, &[Field::Varint(2, index.0.into()), Field::Bytes(3, &proof)]);
        }
        Message::Final { info_hash } => {
            put_frame(out, 101, 101, &[Field::Bytes(2, info_hash.to_string().as_bytes())]);
        }
        Message::WantPieces { index, count } => {
            let fields = [Field::Varint(2, index.0.into()), Field::Varint(4, (*count).into())];
            put_frame(out, 102, 102, &fields);
        }
        Message::Unknown(kind) => put_bare_frame(out, *kind),
    }
}

fn put_handshake(out: &mut BytesMut, handshake: &Handshake) {
    let info_hash = handshake.info_hash.to_string();
    let name = handshake.digest.wire_name();
    let peer_id = handshake.peer_id.to_string();
    let mut tail = BytesMut::new();
    for remote in &handshake.remote_peers {
        // uber/kraken refuses an entry whose bitfield cannot be read: an empty one is its length.
        let id = remote.to_string();
        let entry = [Field::Bytes(1, id.as_bytes()), Field::Bytes(2, &[0; 8])];
        put_message(&mut tail, 7, &entry);
    }
    if let Some(capabilities) = handshake.capabilities {
        put_message(&mut tail, 100, &[Field::Varint(1, capabilities.0)]);
    }
    let fields = [
        Field::Bytes(2, info_hash.as_bytes()),
        Field::Bytes(3, name.as_bytes()),
        Field::Bytes(4, peer_id.as_bytes()),
        Field::Bytes(5, &handshake.bitfield),
        Field::Bytes(6, handshake.namespace.as_str().as_bytes()),
        Field::Encoded(&tail),
    ];
    put_frame(out, 0, 3, &fields);
}

fn span(index: u32, offset: u32, length: u32) -> [Field<'static>; 3] {
    [
        Field::Varint(2, index.into()),
        Field::Varint(3, offset.into()),
        Field::Varint(4, length.into()),
    ]
}

/// A field to write, by its number.
#[derive(Clone, Copy)]
enum Field<'a> {
    /// Left out when zero.
    Varint(u32, u64),
    /// Left out when empty.
    Bytes(u32, &'a [u8]),
    /// Fields that are encoded already.
    Encoded(&'a [u8]),
}

impl Field<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Varint(_, 0) | Self::Bytes(_, []) => 0,
            Self::Varint(number, value) => key_len(*number) + varint_len(*value),
            Self::Bytes(number, bytes) => {
                key_len(*number) + varint_len(bytes.len() as u64) + bytes.len()
            }
            Self::Encoded(bytes) => bytes.len(),
        }
    }

    fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Varint(_, 0) | Self::Bytes(_, []) => {}
            Self::Varint(number, value) => {
                put_varint(out, u64::from(*number) << 3);
                put_varint(out, *value);
            }
            Self::Bytes(number, bytes) => {
                put_varint(out, u64::from(*number) << 3 | 2);
                put_varint(out, bytes.len() as u64);
                out.put_slice(bytes);
            }
            Self::Encoded(bytes) => out.put_slice(bytes),
        }
    }
}

/// A frame with a message of type `kind` and its sub-message, which is there even when empty.
fn put_frame(out: &mut BytesMut, kind: u64, number: u32, fields: &[Field<'_>]) {
    let kind = Field::Varint(2, kind);
    put_header(out, kind.len() + message_len(number, fields));
    kind.put(out);
    put_message(out, number, fields);
}

/// A frame with a message that is nothing but its type.
fn put_bare_frame(out: &mut BytesMut, kind: u64) {
    let kind = Field::Varint(2, kind);
    put_header(out, kind.len());
    kind.put(out);
}

fn put_header(out: &mut BytesMut, len: usize) {
    out.reserve(4 + len);
    out.put_u32(u32::try_from(len).expect("a frame is shorter than 4 GiB"));
}

fn put_message(out: &mut BytesMut, number: u32, fields: &[Field<'_>]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, fields_len(fields) as u64);
    for field in fields {
        field.put(out);
    }
}

fn message_len(number: u32, fields: &[Field<'_>]) -> usize {
    let len = fields_len(fields);
    key_len(number) + varint_len(len as u64) + len
}

fn fields_len(fields: &[Field<'_>]) -> usize {
    fields.iter().map(Field::len).sum()
}

fn key_len(number: u32) -> usize {
    varint_len(u64::from(number) << 3)
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}
