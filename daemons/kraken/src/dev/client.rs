//! A registry client, as small as the proof needs it.

use std::net::SocketAddr;

use bytes::Bytes;
use kraken_core::http::{Client, Request};
use kraken_core::{Algorithm, Digest, DigestHasher, Error, ErrorKind, Result};

use super::image::{Image, MANIFEST_TYPE};

/// Longest manifest read, in bytes; the proof's own is far shorter.
const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// Pushes and pulls one repository of one registry.
pub(super) struct Registry<'a> {
    pub(super) client: &'a Client,
    pub(super) addr: SocketAddr,
    pub(super) repository: &'a str,
}

impl Registry<'_> {
    /// Pushes blobs and then the manifest under `tag`, as docker does.
    pub(super) async fn push(&self, image: &Image, tag: &str) -> Result<()> {
        for blob in &image.blobs {
            self.push_blob(blob).await?;
        }
        let request = Request::put(self.url(&format!("manifests/{tag}")))
            .header("content-type", MANIFEST_TYPE)
            .body(image.manifest.clone());
        self.client.send(request).await?;
        Ok(())
    }

    async fn push_blob(&self, blob: &Bytes) -> Result<()> {
        let started =
            self.client.send(Request::post(self.url("blobs/uploads/")).expect(&[202])).await?;
        let location = self.location(started.header("location"))?;
        let sent =
            self.client.send(Request::patch(location).body(blob.clone()).expect(&[202])).await?;
        let location = self.location(sent.header("location"))?;
        let digest = Digest::sha256(blob);
        let separator = if location.contains('?') { '&' } else { '?' };
        let finish = Request::put(format!("{location}{separator}digest={digest}")).expect(&[201]);
        self.client.send(finish).await?;
        Ok(())
    }

    /// Pulls the manifest of a tag.
    pub(super) async fn pull_manifest(&self, tag: &str) -> Result<Bytes> {
        let request =
            Request::get(self.url(&format!("manifests/{tag}"))).header("accept", MANIFEST_TYPE);
        self.client.send(request).await?.bytes(MANIFEST_BYTES_MAX).await
    }

    /// Pulls a blob and checks every byte; its length.
    pub(super) async fn pull_blob(&self, digest: &Digest) -> Result<u64> {
        let response = self.client.send(Request::get(self.url(&format!("blobs/{digest}")))).await?;
        let mut body = response.stream();
        let mut hasher = DigestHasher::new(Algorithm::Sha256);
        let mut len = 0;
        while let Some(chunk) = body.chunk().await? {
            hasher.update(&chunk);
            len += chunk.len() as u64;
        }
        let got = hasher.finish();
        if got != *digest {
            let message = format!("pull {digest} from {}: got {got}", self.addr);
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        Ok(len)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/v2/{}/{path}", self.addr, self.repository)
    }

    fn location(&self, header: Option<&str>) -> Result<String> {
        match header {
            Some(path) if path.starts_with('/') => Ok(format!("http://{}{path}", self.addr)),
            Some(url) => Ok(url.to_owned()),
            None => Err(Error::invalid(format!("push to {}: no Location", self.addr))),
        }
    }
}
