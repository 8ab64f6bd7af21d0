//! The one HTTP/1.1 and 2 client: pooled connections, deadlines on silence, retry and failover.
//!
//! Three deadlines bound how long the other side may be *silent*: while connecting, until the
//! response head, between chunks of a response body. None bounds a whole transfer, so a blob of
//! any size gets through a slow link. Unexpected statuses are errors that keep their status
//! ([`status_of`]); failures of the network are told apart from answers ([`is_network_error`]).
//!
//! Redirects are not followed, nothing is decompressed, no cookie is kept. No TLS library is
//! chosen here: `https` needs a [`Connector`] handed in; the plain client refuses such URLs.
#![allow(clippy::disallowed_methods, reason = "this is the module that does network I/O")]

mod body;
mod client;
mod connect;
mod escape;
mod failover;
mod failure;
pub mod limits;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
pub use body::{Body, ByteStream};
pub use client::{Client, ClientConfig, Scheme};
pub use connect::{BoxError, Connector, tcp_connector};
pub use escape::escape_segment;
pub use failover::first_answering;
pub use failure::{
    FAILURE_HEADER, FAILURE_MISMATCH, NetworkCause, NetworkError, StatusError, is_network_error,
    is_verdict, status_of,
};
pub use request::Request;
pub use response::{Response, ResponseBody};
