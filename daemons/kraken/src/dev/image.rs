//! The image that the proof pushes: incompressible layers, each a valid tar+gzip.

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use kraken_core::Digest;
use kraken_core::rng::Rng;
use serde_json::json;

/// The media type of the manifest.
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A whole image in memory.
pub(super) struct Image {
    /// Config and layers, in the order to push them.
    pub(super) blobs: Vec<Bytes>,
    /// The manifest that names them.
    pub(super) manifest: Bytes,
}

impl Image {
    /// `layers` layers of `layer_len` random bytes each; other seeds give other bytes.
    pub(super) fn generate(seed: u64, layers: usize, layer_len: usize) -> std::io::Result<Self> {
        let mut random = Rng::new(seed);
        let mut blobs = Vec::new();
        let mut diff_ids = Vec::new();
        for number in 0..layers {
            let tar = tar_of(&format!("random-{number}"), &random_bytes(&mut random, layer_len))?;
            diff_ids.push(Digest::sha256(&tar).to_string());
            blobs.push(gzip(&tar)?);
        }
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let descriptors: Vec<_> = blobs.iter().map(|layer| descriptor(LAYER_TYPE, layer)).collect();
        blobs.insert(0, config.to_string().into());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, &blobs[0]),
            "layers": descriptors,
        });
        Ok(Self { blobs, manifest: manifest.to_string().into() })
    }
}

fn descriptor(media_type: &str, blob: &Bytes) -> serde_json::Value {
    json!({
        "mediaType": media_type,
        "digest": Digest::sha256(blob).to_string(),
        "size": blob.len(),
    })
}

fn tar_of(name: &str, content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    let mut tar = tar::Builder::new(Vec::with_capacity(content.len() + 4096));
    tar.append_data(&mut header, name, content)?;
    tar.into_inner()
}

/// Stored, not compressed: random bytes do not get smaller.
fn gzip(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder =
        GzEncoder::new(Vec::with_capacity(bytes.len() + bytes.len() / 1000), Compression::none());
    std::io::Write::write_all(&mut encoder, bytes)?;
    encoder.finish().map(Bytes::from)
}

/// Incompressible bytes.
fn random_bytes(random: &mut Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for chunk in bytes.chunks_mut(8) {
        let word = random.next().to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn layers_are_valid_tar_gzip() {
        let image = Image::generate(7, 2, 100_000).unwrap();
        assert_eq!(image.blobs.len(), 3);
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&image.blobs[1][..]));
        let mut entry = tar.entries().unwrap().next().unwrap().unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!(content, random_bytes(&mut Rng::new(7), 100_000));
        let manifest: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
        let digest = Digest::sha256(&image.blobs[2]).to_string();
        assert_eq!(manifest["layers"][1]["digest"], digest);
    }
}
