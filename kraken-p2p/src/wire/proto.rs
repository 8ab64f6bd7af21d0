//! The protocol-buffer layer: the fields of uber/kraken's messages as they stand in a frame,
//! merged by the rules of proto3 and not yet judged.

use kraken_core::{Error, Result};

use crate::limits;

/// The fields of `p2p.Message`, and fields 100 to 102, which are ours. `version` is checked to be
/// text and dropped; `complete` is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RawMessage<'a> {
    pub(super) kind: i32,
    pub(super) bitfield: Option<RawBitfield<'a>>,
    pub(super) piece_request: Option<RawSpan>,
    pub(super) piece_payload: Option<RawSpan>,
    pub(super) announce_piece: Option<RawSpan>,
    pub(super) cancel_piece: Option<RawSpan>,
    pub(super) error: Option<RawError<'a>>,
    pub(super) piece_proof: Option<RawProof<'a>>,
    /// The info hash of our `Final`.
    pub(super) final_sums: Option<&'a str>,
    /// Of which the length is a number of pieces.
    pub(super) want_pieces: Option<RawSpan>,
}

/// The fields of `p2p.BitfieldMessage`, and field 100, which is ours.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RawBitfield<'a> {
    pub(super) info_hash: &'a str,
    pub(super) name: &'a str,
    pub(super) peer_id: &'a str,
    pub(super) bitfield: &'a [u8],
    pub(super) namespace: &'a str,
    /// The distinct keys of `remoteBitfieldBytes` as they came; those past
    /// [`limits::REMOTE_PEERS_MAX`] are dropped.
    pub(super) remote_peers: Vec<&'a str>,
    pub(super) capabilities: Option<u64>,
}

/// A piece and a span of it: what requests, payloads, announcements and cancels have of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawSpan {
    pub(super) index: i32,
    pub(super) offset: i32,
    pub(super) length: i32,
}

/// The fields of `p2p.ErrorMessage`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RawError<'a> {
    pub(super) text: &'a str,
    pub(super) index: i32,
    pub(super) code: i32,
}

/// The fields of our `PieceProof`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RawProof<'a> {
    pub(super) index: i32,
    pub(super) proof: &'a [u8],
}

/// Which fields of a [`RawSpan`] a message has; others are unknown to it, and skipped.
#[derive(Clone, Copy)]
enum Spanned {
    /// Index, offset and length.
    Request,
    /// These, and a digest that nobody sets.
    Payload,
    /// The index alone.
    Index,
}

impl<'a> RawMessage<'a> {
    /// Parses one message, which fills `bytes`.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut raw = Self::default();
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next_field()? {
            match number {
                1 => drop(value.text(number)?),
                2 => raw.kind = value.int32(number)?,
                3 => raw.bitfield.get_or_insert_default().merge(value.bytes(number)?)?,
                4 => merge_span(&mut raw.piece_request, value.bytes(number)?, Spanned::Request)?,
                5 => merge_span(&mut raw.piece_payload, value.bytes(number)?, Spanned::Payload)?,
                6 => merge_span(&mut raw.announce_piece, value.bytes(number)?, Spanned::Index)?,
                7 => merge_span(&mut raw.cancel_piece, value.bytes(number)?, Spanned::Index)?,
                8 => raw.error.get_or_insert_default().merge(value.bytes(number)?)?,
                9 => skip_all(value.bytes(number)?)?,
                100 => raw.piece_proof.get_or_insert_default().merge(value.bytes(number)?)?,
                101 => merge_text(raw.final_sums.get_or_insert_default(), value.bytes(number)?)?,
                102 => merge_span(&mut raw.want_pieces, value.bytes(number)?, Spanned::Request)?,
                _ => {}
            }
        }
        Ok(raw)
    }
}

impl<'a> RawBitfield<'a> {
    fn merge(&mut self, bytes: &'a [u8]) -> Result<()> {
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next_field()? {
            match number {
                2 => self.info_hash = value.text(number)?,
                3 => self.name = value.text(number)?,
                4 => self.peer_id = value.text(number)?,
                5 => self.bitfield = value.bytes(number)?,
                6 => self.namespace = value.text(number)?,
                7 => self.merge_remote_peer(value.bytes(number)?)?,
                100 => self.merge_capabilities(value.bytes(number)?)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// One entry of the map `remoteBitfieldBytes`: of the key and the bitfield only the key is
    /// ever used.
    fn merge_remote_peer(&mut self, entry: &'a [u8]) -> Result<()> {
        let mut key = "";
        let mut fields = Fields(entry);
        while let Some((number, value)) = fields.next_field()? {
            match number {
                1 => key = value.text(number)?,
                2 => drop(value.bytes(number)?),
                _ => {}
            }
        }
        if self.remote_peers.len() < limits::REMOTE_PEERS_MAX && !self.remote_peers.contains(&key) {
            self.remote_peers.push(key);
        }
        Ok(())
    }

    fn merge_capabilities(&mut self, bytes: &'a [u8]) -> Result<()> {
        let bits = self.capabilities.get_or_insert_default();
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next_field()? {
            if number == 1 {
                *bits = value.varint(number)?;
            }
        }
        Ok(())
    }
}

impl<'a> RawError<'a> {
    fn merge(&mut self, bytes: &'a [u8]) -> Result<()> {
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next_field()? {
            match number {
                2 => self.text = value.text(number)?,
                3 => self.index = value.int32(number)?,
                4 => self.code = value.int32(number)?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> RawProof<'a> {
    fn merge(&mut self, bytes: &'a [u8]) -> Result<()> {
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next_field()? {
            match number {
                2 => self.index = value.int32(number)?,
                3 => self.proof = value.bytes(number)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A sub-message of which nothing but the text of field 2 is known.
fn merge_text<'a>(text: &mut &'a str, bytes: &'a [u8]) -> Result<()> {
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next_field()? {
        if number == 2 {
            *text = value.text(number)?;
        }
    }
    Ok(())
}

fn merge_span(span: &mut Option<RawSpan>, bytes: &[u8], spanned: Spanned) -> Result<()> {
    let span = span.get_or_insert_default();
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next_field()? {
        match (number, spanned) {
            (2, _) => span.index = value.int32(number)?,
            (3, Spanned::Request | Spanned::Payload) => span.offset = value.int32(number)?,
            (4, Spanned::Request | Spanned::Payload) => span.length = value.int32(number)?,
            (5, Spanned::Payload) => drop(value.text(number)?),
            _ => {}
        }
    }
    Ok(())
}

/// Checks that a message of which no field is known is at least made of fields.
fn skip_all(bytes: &[u8]) -> Result<()> {
    let mut fields = Fields(bytes);
    while fields.next_field()?.is_some() {}
    Ok(())
}

/// The value of one field; it borrows from the frame.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Four or eight bytes, which no known field has.
    Fixed,
}

impl<'a> Value<'a> {
    fn varint(self, number: u32) -> Result<u64> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(Error::invalid(format!("field {number} is not a varint"))),
        }
    }

    /// The low 32 bits, as proto3 has it for `int32` and enumerations: negative numbers come as
    /// varints of ten bytes.
    fn int32(self, number: u32) -> Result<i32> {
        const LOW: u64 = u32::MAX as u64;
        let low = u32::try_from(self.varint(number)? & LOW).unwrap_or_default();
        Ok(low.cast_signed())
    }

    fn bytes(self, number: u32) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Error::invalid(format!("field {number} has no length"))),
        }
    }

    fn text(self, number: u32) -> Result<&'a str> {
        std::str::from_utf8(self.bytes(number)?)
            .map_err(|_| Error::invalid(format!("field {number} is not UTF-8")))
    }
}

/// What is left to read of one message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next field's number and value; `None` at the end.
    fn next_field(&mut self) -> Result<Option<(u32, Value<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let key = u32::try_from(key)
            .map_err(|_| Error::invalid(format!("field key {key} is out of bounds")))?;
        let number = key >> 3;
        if number == 0 {
            return Err(Error::invalid("field number 0"));
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            // Groups (3 and 4) are older than proto3 and nest; no peer sends them.
            wire_type => {
                return Err(Error::invalid(format!("field {number} has wire type {wire_type}")));
            }
        };
        Ok(Some((number, value)))
    }

    fn varint(&mut self) -> Result<u64> {
        const BYTES_MAX: usize = 10;
        let mut value = 0;
        for (position, &byte) in self.0.iter().take(BYTES_MAX).enumerate() {
            if position == BYTES_MAX - 1 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * position);
            if byte < 0x80 {
                self.0 = self.0.get(position + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(Error::invalid("a varint is cut short or too long"))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let split = usize::try_from(len).ok().and_then(|len| self.0.split_at_checked(len));
        let Some((taken, rest)) = split else {
            return Err(Error::invalid(format!("a field of {len} bytes, {} left", self.0.len())));
        };
        self.0 = rest;
        Ok(taken)
    }
}
