//! Reads of one manifest, as runtimes do them.

use kraken_core::{Digest, Error, ErrorKind, Result};

use super::generator::{Kind, Requests};

/// One request, again and again.
pub(super) struct Manifests {
    request: Vec<u8>,
    kind: Kind,
    /// What the body is.
    manifest: Vec<u8>,
}

impl Manifests {
    /// `GET` or `HEAD` of a manifest by its digest.
    pub(super) fn new(method: &str, repository: &str, digest: &Digest, manifest: Vec<u8>) -> Self {
        let request = format!(
            "{method} /v2/{repository}/manifests/{digest} HTTP/1.1\r\nHost: 127.0.0.1\r\n\
             User-Agent: containerd/1.7\r\nAccept: \
             application/vnd.docker.distribution.manifest.v2+json, \
             application/vnd.oci.image.manifest.v1+json, */*\r\n\r\n"
        );
        let kind = Kind { tag: 0, has_body: method == "GET" };
        Self { request: request.into_bytes(), kind, manifest }
    }
}

impl Requests for Manifests {
    fn next(&mut self, out: &mut Vec<u8>) -> Option<Kind> {
        out.extend_from_slice(&self.request);
        Some(self.kind)
    }

    fn check(&mut self, kind: Kind, status: u16, body: &[u8]) -> Result<()> {
        if status == 200 && (!kind.has_body || body == self.manifest) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(body.get(..200).unwrap_or(body));
        let message = format!("a manifest was answered with {status}: {text}");
        Err(Error::new(ErrorKind::Mismatch, message))
    }
}

/// An image's manifest of usual length.
pub(super) fn manifest() -> String {
    let digest = |name: &str| Digest::sha256(name.as_bytes()).to_string();
    let layers: Vec<_> = (0..12)
        .map(|layer| {
            serde_json::json!({
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "size": 1_000_003 * (layer + 1),
                "digest": digest(&format!("layer {layer}")),
            })
        })
        .collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": 7023,
            "digest": digest("config"),
        },
        "layers": layers,
    });
    format!("{manifest:#}")
}
