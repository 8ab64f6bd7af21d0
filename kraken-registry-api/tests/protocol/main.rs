//! Request in, answer out: the protocol over a registry in memory.

mod blobs;
mod manifests;
mod memory;
mod pushes;
mod server;
