//! A client of one repository of one registry.

use std::net::SocketAddr;

use kraken_core::Digest;

use super::content::{Image, MANIFEST_TYPE};
use super::http::{self, Answer};

/// Where, and what.
#[derive(Clone, Copy)]
pub(crate) struct Registry<'a> {
    pub(crate) addr: SocketAddr,
    pub(crate) repository: &'a str,
}

impl Registry<'_> {
    /// Pushes blobs, then the manifest under `tag`; all must be taken.
    pub(crate) fn push(&self, image: &Image, tag: &str) {
        for blob in &image.blobs {
            self.push_blob(blob);
        }
        let answer = self.push_manifest(image, tag);
        assert_eq!(answer.status, 201, "push {tag}: {answer:?}");
    }

    /// Pushes one blob, which must be taken.
    pub(crate) fn push_blob(&self, blob: &[u8]) -> Digest {
        let answer = self.try_push_blob(blob);
        assert_eq!(answer.status, 201, "push a blob of {} bytes: {answer:?}", blob.len());
        Digest::sha256(blob)
    }

    /// Pushes one blob in two chunks, as docker does with `POST`, `PATCH` and `PUT`; the first
    /// answer that is no success, or else the last.
    pub(crate) fn try_push_blob(&self, blob: &[u8]) -> Answer {
        let mut answer = self.send("POST", &self.path("blobs/uploads/"), &[], b"");
        let (first, second) = blob.split_at(blob.len() / 2);
        for chunk in [first, second] {
            if answer.status != 202 {
                return answer;
            }
            let headers = [("content-type", "application/octet-stream")];
            answer = self.send("PATCH", &location(&answer), &headers, chunk);
        }
        if answer.status != 202 {
            return answer;
        }
        let location = location(&answer);
        let separator = if location.contains('?') { '&' } else { '?' };
        let digest = Digest::sha256(blob);
        self.send("PUT", &format!("{location}{separator}digest={digest}"), &[], b"")
    }

    pub(crate) fn push_manifest(&self, image: &Image, reference: &str) -> Answer {
        let path = self.path(&format!("manifests/{reference}"));
        self.send("PUT", &path, &[("content-type", MANIFEST_TYPE)], &image.manifest)
    }

    /// Pulls what a tag names and all of it; every byte must be right.
    pub(crate) fn pull(&self, image: &Image, tag: &str) {
        let answer = self.manifest(tag);
        assert_eq!(answer.status, 200, "pull {tag}: {answer:?}");
        assert!(answer.body == image.manifest, "pull {tag}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some(MANIFEST_TYPE));
        let digest = image.digest().to_string();
        assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
        // All at once, as docker does.
        std::thread::scope(|scope| {
            for blob in &image.blobs {
                scope.spawn(|| self.pull_blob(blob));
            }
        });
    }

    /// Pulls a blob, which must be these bytes.
    pub(crate) fn pull_blob(&self, blob: &[u8]) {
        let digest = Digest::sha256(blob);
        let answer = self.blob(&digest);
        assert_eq!(answer.status, 200, "pull {digest}: {answer:?}");
        assert!(answer.body == blob, "pull {digest}: other bytes");
    }

    pub(crate) fn blob(&self, digest: &Digest) -> Answer {
        self.send("GET", &self.path(&format!("blobs/{digest}")), &[], b"")
    }

    pub(crate) fn manifest(&self, reference: &str) -> Answer {
        let path = self.path(&format!("manifests/{reference}"));
        self.send("GET", &path, &[("accept", MANIFEST_TYPE)], b"")
    }

    /// A request for a path of this registry.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        http::send(method, self.addr, path, headers, body)
    }

    /// A path of the repository.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.repository)
    }
}

/// Where to go on with an upload, without the host.
fn location(answer: &Answer) -> String {
    let location = answer.header("location").unwrap_or_else(|| panic!("no location: {answer:?}"));
    match location.strip_prefix("http://").and_then(|rest| rest.split_once('/')) {
        Some((_, path)) => format!("/{path}"),
        None => location.to_owned(),
    }
}
