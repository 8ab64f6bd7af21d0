//! The peer wire protocol: bytes to messages and back, byte-compatible with uber/kraken
//! (`proto/p2p/p2p.proto`, `lib/torrent/scheduler/conn/message.go`).
//!
//! [`encode`] and [`decode_frame`] are the whole of it. The codec is written by hand so that every
//! length is checked before anything is allocated; the tests hold it against one that is generated.
//! `docs/PROTOCOL.md` describes the protocol.

mod decode;
mod encode;
mod message;
mod proto;
#[cfg(test)]
mod tests;

pub use decode::{decode_frame, decode_message, frame_len};
pub use encode::encode;
pub use message::{Capabilities, ErrorCode, Handshake, Message};
