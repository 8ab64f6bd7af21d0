//! Vocabulary and pure logic shared by every part of Kraken: digests, ids, metainfo, pieces,
//! bitfields, rendezvous order, token buckets.
//!
//! The default build reads no clock, opens no file and no socket, and spawns nothing; time comes in
//! as [`time::Time`]. Two features add a shell: `store` (a content-addressable blob store on the
//! local disk) and `http` (the one HTTP client). No TLS library is ever chosen here.
#![deny(unsafe_code)]

pub mod bitfield;
pub mod bucket;
pub mod cause;
pub mod digest;
pub mod error;
pub mod health;
pub mod hrw;
#[cfg(feature = "http")]
pub mod http;
pub mod ids;
pub mod limits;
pub mod metainfo;
pub mod peer;
pub mod piece;
pub mod proof;
pub mod provisional;
pub mod range_set;
pub mod retry;
pub mod ring;
pub mod rng;
pub mod sendfile;
pub mod spare_chunks;
#[cfg(feature = "store")]
pub mod store;
pub mod time;

pub use bitfield::Bitfield;
pub use cause::Cause;
pub use digest::{Algorithm, Digest, DigestHasher};
pub use error::{Error, ErrorKind, Result};
pub use ids::{InfoHash, Namespace, PeerId, Reference, Repository, Tag, TagName};
pub use metainfo::{MetaInfo, PieceSums};
pub use peer::{PeerContext, PeerInfo};
pub use piece::{Geometry, PieceIndex};
pub use proof::{OriginKey, PieceProof, SigningKey};
pub use provisional::{AttemptId, PROVISIONAL_HEADER, PROVISIONAL_KNOWN, Provisional, TorrentMeta};
pub use range_set::RangeSet;
pub use sendfile::SendfileQueue;
pub use spare_chunks::SpareChunks;
pub use time::Time;
