//! The OCI distribution API (Docker Registry V2) as one mountable service over traits.
//!
//! [`Registry`] speaks the protocol in full: routes, errors, ranges and multi-ranges, chunked
//! uploads, mounts, manifests, pages of tags. It is a `tower` and a `hyper` service over any
//! request body. What is behind it is the embedder's: a [`Backend`] of [`BlobSource`],
//! [`Manifests`] and, where the registry takes pushes or lists tags, [`Uploads`] and [`Tags`].
//!
//! It does not open sockets, store anything, authenticate anyone, convert manifests, encode content
//! or know of peers: it passes on the bytes it is given, or breaks the connection. It offers no
//! deletes, no catalog and no referrers.
#![forbid(unsafe_code)]

mod backend;
mod blobs;
mod body;
mod conditional;
pub mod failure;
pub mod limits;
pub mod manifest;
mod manifests;
pub mod range;
mod response;
pub mod route;
mod service;
mod tags;
mod upload_id;
mod uploads;

pub use backend::{
    Backend, BlobReader, BlobSource, ByteStream, Manifest, ManifestStat, Manifests, Tags, Uploads,
};
pub use body::Body;
pub use route::Route;
pub use service::{Registry, ResponseFuture};
pub use upload_id::UploadId;
