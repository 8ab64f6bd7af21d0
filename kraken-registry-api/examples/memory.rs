//! A registry of one blob, answered on one connection after the other:
//! `curl localhost:5000/v2/any/blobs/sha256:$(printf hello | sha256sum | cut -c -64)`.
use async_trait::async_trait;
use bytes::Bytes;
use kraken_core::{Digest, Error, Reference, Repository, Result};
use kraken_registry_api::{Backend, BlobReader, BlobSource, Manifest, Manifests, Registry};

struct Hello;

#[rustfmt::skip]
impl Backend for Hello {
    fn blobs(&self) -> &dyn BlobSource { self }
    fn manifests(&self) -> &dyn Manifests { self }
}

#[async_trait]
impl BlobSource for Hello {
    async fn stat(&self, _: &Repository, digest: &Digest) -> Result<u64> {
        let found = *digest == Digest::sha256(b"hello");
        found.then_some(5).ok_or_else(|| Error::not_found("find a blob"))
    }
    async fn open(&self, repository: &Repository, digest: &Digest) -> Result<Box<dyn BlobReader>> {
        self.stat(repository, digest).await?;
        Ok(Box::new(Bytes::from_static(b"hello")))
    }
}

#[async_trait]
impl Manifests for Hello {
    async fn get(&self, _: &Repository, _: &Reference) -> Result<Manifest> {
        Err(Error::not_found("find a manifest"))
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
    let (registry, http) = (Registry::new(Hello), hyper::server::conn::http1::Builder::new());
    loop {
        let socket = hyper_util::rt::TokioIo::new(listener.accept().await?.0);
        // A client that breaks its connection off ends nothing but that connection.
        let _ = http.serve_connection(socket, registry.clone()).await;
    }
}
