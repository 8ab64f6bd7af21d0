//! Frames to messages.

use bytes::{Buf, Bytes, BytesMut};
use kraken_core::{Digest, Error, ErrorKind, PieceIndex, PieceProof, Result};

use super::message::{Capabilities, ErrorCode, Handshake, Message};
use super::proto::{RawBitfield, RawError, RawMessage, RawProof, RawSpan};
use crate::limits;

/// Takes one frame off the front of `buffer`. `None` while it is not all there: read more and ask
/// again; 4 + [`limits::FRAME_LEN_MAX`] bytes always hold a frame.
///
/// What follows the frame stays in `buffer`: after [`Message::PiecePayload`] that is the beginning
/// of the piece's bytes, if any have come. After an error the stream has no more meaning and the
/// connection must be closed.
pub fn decode_frame(buffer: &mut BytesMut) -> Result<Option<Message>> {
    let Some((header, rest)) = buffer.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let len = frame_len(*header)?;
    let Some(frame) = rest.get(..len) else {
        return Ok(None);
    };
    let message = decode_message(frame)?;
    buffer.advance(header.len() + len);
    Ok(Some(message))
}

/// The length of the frame that follows its four-byte header; refused when it is over
/// [`limits::FRAME_LEN_MAX`].
pub fn frame_len(header: [u8; 4]) -> Result<usize> {
    let len = u32::from_be_bytes(header);
    usize::try_from(len).ok().filter(|len| *len <= limits::FRAME_LEN_MAX).ok_or_else(|| {
        Error::new(
            ErrorKind::TooLarge,
            format!("a frame of {len} bytes, more than {}", limits::FRAME_LEN_MAX),
        )
    })
}

/// Decodes the message that fills `frame`, the bytes after the four-byte header.
///
/// Refused: what proto3 refuses, a type without the sub-message that goes with it, negative
/// numbers, and a handshake whose ids are not what they should be. Fields that nobody knows are
/// skipped, and so are messages of an unknown type, as [`Message::Unknown`].
pub fn decode_message(frame: &[u8]) -> Result<Message> {
    let raw = RawMessage::parse(frame).map_err(|e| e.context("decode a message"))?;
    message(raw).map_err(|e| e.context("take a message"))
}

fn message(raw: RawMessage<'_>) -> Result<Message> {
    match raw.kind {
        0 => handshake(raw.bitfield.ok_or_else(|| missing("bitfield"))?)
            .map(|handshake| Message::Handshake(Box::new(handshake))),
        1 => {
            let span = raw.piece_request.ok_or_else(|| missing("piece request"))?;
            Ok(Message::PieceRequest {
                index: span.index()?,
                offset: natural("offset", span.offset)?,
                length: natural("length", span.length)?,
            })
        }
        2 => {
            let span = raw.piece_payload.ok_or_else(|| missing("piece payload"))?;
            Ok(Message::PiecePayload {
                index: span.index()?,
                offset: natural("offset", span.offset)?,
                length: natural("length", span.length)?,
            })
        }
        3 => {
            let span = raw.announce_piece.ok_or_else(|| missing("announce piece"))?;
            Ok(Message::AnnouncePiece { index: span.index()? })
        }
        4 => {
            let span = raw.cancel_piece.ok_or_else(|| missing("cancel piece"))?;
            Ok(Message::CancelPiece { index: span.index()? })
        }
        5 => error(&raw.error.ok_or_else(|| missing("error"))?),
        // uber/kraken sets nothing but the type.
        6 => Ok(Message::Complete),
        100 => piece_proof(&raw.piece_proof.ok_or_else(|| missing("piece proof"))?),
        101 => {
            let raw = raw.final_sums.ok_or_else(|| missing("final"))?;
            Ok(Message::Final { info_hash: raw.parse()? })
        }
        102 => {
            let span = raw.want_pieces.ok_or_else(|| missing("want pieces"))?;
            Ok(Message::WantPieces { index: span.index()?, count: natural("count", span.length)? })
        }
        kind => Ok(Message::Unknown(enumeration(kind))),
    }
}

fn handshake(raw: RawBitfield<'_>) -> Result<Handshake> {
    Ok(Handshake {
        peer_id: raw.peer_id.parse()?,
        info_hash: raw.info_hash.parse()?,
        digest: Digest::parse_wire_name(raw.name)?,
        namespace: raw.namespace.parse()?,
        // A copy, so that a bitfield kept for long does not keep the read buffer.
        bitfield: Bytes::copy_from_slice(raw.bitfield),
        remote_peers: raw
            .remote_peers
            .into_iter()
            .map(|id| id.parse().map_err(|e: Error| e.context("a remote peer")))
            .collect::<Result<_>>()?,
        capabilities: raw.capabilities.map(Capabilities),
    })
}

fn error(raw: &RawError<'_>) -> Result<Message> {
    Ok(Message::Error {
        index: PieceIndex(natural("index", raw.index)?),
        code: match raw.code {
            0 => ErrorCode::PieceRequestFailed,
            code => ErrorCode::Unknown(enumeration(code)),
        },
        text: clip_error_text(raw.text).to_owned(),
    })
}

fn piece_proof(raw: &RawProof<'_>) -> Result<Message> {
    let proof = raw.proof.try_into().map_err(|_| {
        let (len, expected) = (raw.proof.len(), PieceProof::LEN);
        Error::invalid(format!("a piece proof of {len} bytes, not {expected}"))
    })?;
    let index = PieceIndex(natural("index", raw.index)?);
    Ok(Message::PieceProof { index, proof: Box::new(PieceProof::from_bytes(proof)) })
}

impl RawSpan {
    fn index(&self) -> Result<PieceIndex> {
        natural("index", self.index).map(PieceIndex)
    }
}

/// The beginning of `text`, at most [`limits::ERROR_TEXT_MAX`] bytes.
pub(super) fn clip_error_text(text: &str) -> &str {
    text.split_at(text.floor_char_boundary(limits::ERROR_TEXT_MAX)).0
}

fn natural(what: &str, value: i32) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::invalid(format!("{what} {value} is negative")))
}

/// An enumeration's number as its varint has it: negative ones are sign-extended.
fn enumeration(value: i32) -> u64 {
    i64::from(value).cast_unsigned()
}

fn missing(what: &str) -> Error {
    Error::invalid(format!("its type says {what}, but it has none"))
}
