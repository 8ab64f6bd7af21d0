//! The peer wire protocol: bytes to messages and back, byte-compatible with uber/kraken
//! (`proto/p2p/p2p.proto`, `lib/torrent/scheduler/conn/message.go`).

mod message;

pub use message::{Capabilities, ErrorCode, Handshake, Message};
