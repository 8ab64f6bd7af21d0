//! Which backends a complete blob is still to be written to.
//!
//! `_persist` says that there are some, `_namespace` which: one namespace a line, so that a blob
//! pushed to a second namespace while the first is pending reaches both backends. Without
//! `_persist` the lines are what was pending last and mean nothing.

use std::borrow::Cow;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Namespace;
use crate::store::cache::Store;
use crate::store::index::Exclusive;
use crate::store::limits;
use crate::store::sidecar::{self, Sidecar};

/// The lines of `_namespace`, each as it stands there: one that cannot be read stays, so that its
/// write-back is not forgotten.
#[derive(Debug, PartialEq, Eq)]
struct Lines(Vec<Vec<u8>>);

impl Store {
    /// The namespaces whose backends a complete blob is still to be written to, in the order they
    /// came; none where there is no such blob or it is written back. A blob of uber/kraken's that
    /// is pending does not say where to: then it is the empty namespace. Lines that cannot be read
    /// are left out, and an error only where no other is left.
    pub fn write_backs(&self, digest: &Digest) -> Result<Vec<Namespace>> {
        let lines = self.inner.exclusive(digest).pending()?;
        let (mut readable, mut failure) = (Vec::new(), None);
        for line in &lines.0 {
            match decode(line) {
                Ok(namespace) => readable.push(namespace),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if readable.is_empty() => {
                Err(error.context(format!("read _namespace of {digest}")))
            }
            _ => Ok(readable),
        }
    }

    /// Remembers, beside what is pending already, that a complete blob is to be written to the
    /// backend of `namespace`, and keeps it from going before it is; `ErrorKind::NotFound` where
    /// there is no such blob. Durable and atomic. Idempotent.
    pub fn add_write_back(&self, digest: &Digest, namespace: &Namespace) -> Result<()> {
        let sidecars = [Sidecar::namespace(namespace), Sidecar::persist()];
        self.inner.exclusive(digest).add_sidecars(&sidecars)
    }

    /// The backend of `namespace` has the blob; whether that was pending. Others that are pending
    /// stay so; after the last the blob may be evicted. Atomic.
    pub fn end_write_back(&self, digest: &Digest, namespace: &Namespace) -> Result<bool> {
        let exclusive = self.inner.exclusive(digest);
        let mut pending = exclusive.pending()?;
        let before = pending.0.len();
        pending.0.retain(|line| decode(line).ok().as_ref() != Some(namespace));
        if pending.0.len() == before {
            return Ok(false);
        }
        if pending.0.is_empty() {
            exclusive.remove_metadata(Sidecar::PERSIST)?;
        } else {
            exclusive.set_metadata(&pending.sidecar()?)?;
        }
        Ok(true)
    }
}

impl Exclusive<'_> {
    /// Gives a complete blob sidecars that another blob would have been committed with: a
    /// namespace joins those that are pending, any other takes the place of its like.
    pub(super) fn add_sidecars(&self, sidecars: &[Sidecar]) -> Result<()> {
        let mut pending = self.pending()?;
        for sidecar in sidecars {
            if sidecar.name() == Sidecar::NAMESPACE {
                pending.join(Lines::parse(sidecar.bytes()));
                self.set_metadata(&pending.sidecar()?)?;
            } else {
                self.set_metadata(sidecar)?;
            }
        }
        Ok(())
    }

    /// What is pending.
    fn pending(&self) -> Result<Lines> {
        if !self.store().index().cached(self.digest()).is_some_and(|cached| cached.persist) {
            return Ok(Lines(Vec::new()));
        }
        let found = sidecar::read(&self.store().layout.cached(self.digest()), Sidecar::NAMESPACE)?;
        Ok(Lines::parse(&found.unwrap_or_default()))
    }
}

impl Lines {
    fn parse(bytes: &[u8]) -> Self {
        Self(bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
    }

    fn join(&mut self, others: Self) {
        for line in others.0 {
            if !self.0.contains(&line) {
                self.0.push(line);
            }
        }
    }

    fn sidecar(&self) -> Result<Sidecar> {
        let bytes = self.0.join(&b'\n');
        if bytes.len() > limits::SIDECAR_BYTES_MAX {
            let text = format!("{} namespaces wait for a write-back of one blob", self.0.len());
            return Err(Error::new(ErrorKind::Unavailable, text));
        }
        Sidecar::new(Sidecar::NAMESPACE, bytes)
    }
}

/// A namespace as a line: it is free text, so a line feed in it is escaped.
pub(super) fn encode(namespace: &Namespace) -> Vec<u8> {
    namespace.as_str().replace('%', "%25").replace('\n', "%0A").into()
}

fn decode(line: &[u8]) -> Result<Namespace> {
    let text = std::str::from_utf8(line)
        .map_err(|error| Error::invalid("a namespace that is not text").with_source(error))?;
    let text = match text.contains('%') {
        true => Cow::Owned(text.replace("%0A", "\n").replace("%25", "%")),
        false => Cow::Borrowed(text),
    };
    text.parse()
}
