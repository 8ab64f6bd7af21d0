//! What a manifest says of itself and of other content: pure, over any bytes.

use kraken_core::{Digest, Error, Result};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::limits;

/// A manifest taken apart as far as a registry cares. The bytes themselves are what is stored and
/// served; this is only looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The media type it is stored under.
    pub media_type: String,
    /// The configuration of an image.
    pub config: Option<Descriptor>,
    /// The layers of an image.
    pub layers: Vec<Descriptor>,
    /// The manifests of an index or manifest list.
    pub manifests: Vec<Descriptor>,
    /// The manifest this one is attached to; it need not exist.
    pub subject: Option<Descriptor>,
}

/// A reference from a manifest to other content.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content.
    #[serde(default)]
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The length of the content in bytes.
    #[serde(default)]
    pub size: u64,
    /// Other places the content may be had from.
    #[serde(default)]
    pub urls: Option<Vec<String>>,
}

impl Document {
    /// Reads a manifest that came with `content_type`.
    ///
    /// Docker schema 2 manifests and lists, OCI manifests and indexes must have the shape their
    /// media type says; of any other type nothing is known but that it is a JSON object, and it
    /// refers to nothing.
    pub fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Self> {
        // The reason stands in the text: it is about the client's own bytes, and for the client.
        let not_json = |error| Error::invalid(format!("read a manifest as a JSON object: {error}"));
        // serde takes an array for a struct as well.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(Error::invalid("read a manifest: not a JSON object"));
        }
        let shape: Shape<'_> = serde_json::from_slice(bytes).map_err(not_json)?;
        let media_type = shape.media_type(content_type)?;
        if shape.manifests.is_some() && (shape.config.is_some() || shape.layers.is_some()) {
            let message = "read a manifest: it has both manifests and layers or a configuration";
            return Err(Error::invalid(message));
        }
        let kind = Kind::of(&media_type);
        if kind != Kind::Other && shape.schema_version != Some(2) {
            return Err(Error::invalid(format!("read a {media_type}: schemaVersion is not 2")));
        }
        let missing = |what| Error::invalid(format!("read a {media_type}: no {what}"));
        let mut document = Self {
            config: None,
            layers: Vec::new(),
            manifests: Vec::new(),
            subject: None,
            media_type: media_type.clone(),
        };
        match kind {
            Kind::Image => {
                let config = shape.config.ok_or_else(|| missing("config"))?;
                document.config = Some(field("config", config)?);
                document.layers = list("layers", shape.layers)?;
            }
            Kind::Index => {
                if shape.config.is_some() || shape.layers.is_some() {
                    return Err(missing("manifests"));
                }
                document.manifests = list("manifests", shape.manifests)?;
            }
            Kind::Other => return Ok(document),
        }
        document.subject = shape.subject.map(|raw| field("subject", raw)).transpose()?;
        Ok(document)
    }

    /// The blobs that must be there before it: configuration and layers, without those that are
    /// not to be distributed.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers).filter(|descriptor| !descriptor.is_foreign())
    }
}

impl Descriptor {
    /// Whether registries need not have the content: a layer of a "foreign" or
    /// "nondistributable" type.
    pub fn is_foreign(&self) -> bool {
        self.media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
            || self.media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
    }
}

/// The keys that tell the types apart, unread below the first level.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    schema_version: Option<u64>,
    media_type: Option<String>,
    #[serde(borrow)]
    config: Option<&'a RawValue>,
    #[serde(borrow)]
    layers: Option<&'a RawValue>,
    #[serde(borrow)]
    manifests: Option<&'a RawValue>,
    #[serde(borrow)]
    subject: Option<&'a RawValue>,
}

impl Shape<'_> {
    /// From the header, the body's own word, or else the keys; the first two must agree.
    fn media_type(&self, content_type: Option<&str>) -> Result<String> {
        let header = content_type.map(essence).filter(|name| !is_generic(name));
        let own = self.media_type.as_deref().filter(|name| !name.is_empty());
        let media_type = match (header, own) {
            (Some(header), Some(own)) if header != own => {
                return Err(Error::invalid("read a manifest: mediaType is not the Content-Type"));
            }
            (Some(name), _) => name,
            (None, Some(name)) => name.to_owned(),
            (None, None) if self.manifests.is_some() => OCI_INDEX.to_owned(),
            (None, None) if self.config.is_some() => OCI_MANIFEST.to_owned(),
            (None, None) => return Err(Error::invalid("read a manifest: no media type")),
        };
        if is_media_type(&media_type) {
            Ok(media_type)
        } else {
            Err(Error::invalid("read a manifest: a malformed media type"))
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Image,
    Index,
    Other,
}

impl Kind {
    fn of(media_type: &str) -> Self {
        match media_type {
            OCI_MANIFEST | DOCKER_MANIFEST => Self::Image,
            OCI_INDEX | DOCKER_LIST => Self::Index,
            _ => Self::Other,
        }
    }
}

fn field(name: &str, raw: &RawValue) -> Result<Descriptor> {
    serde_json::from_str(raw.get())
        .map_err(|error| Error::invalid(format!("read {name} of a manifest: {error}")))
}

fn list(name: &str, raw: Option<&RawValue>) -> Result<Vec<Descriptor>> {
    // Go writes an empty list as null now and then.
    let Some(raw) = raw else { return Ok(Vec::new()) };
    serde_json::from_str(raw.get())
        .map_err(|error| Error::invalid(format!("read {name} of a manifest: {error}")))
}

/// A Content-Type without its parameters.
fn essence(content_type: &str) -> String {
    let name = content_type.split_once(';').map_or(content_type, |(name, _)| name);
    name.trim().to_owned()
}

/// Whether a Content-Type says nothing of the content.
fn is_generic(media_type: &str) -> bool {
    let generic = ["", "application/json", "application/octet-stream", "text/plain"];
    generic.contains(&media_type) || media_type == "application/x-www-form-urlencoded"
}

/// Whether it is `type/subtype` by RFC 6838, so that it can stand in a header.
fn is_media_type(text: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    text.len() <= limits::MEDIA_TYPE_LEN_MAX
        && text.split_once('/').is_some_and(|(kind, subtype)| word(kind) && word(subtype))
}

/// The media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of a Docker schema 2 image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

#[cfg(test)]
mod tests;
