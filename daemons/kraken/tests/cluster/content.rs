//! Bytes to push.

use kraken_core::Digest;
use serde_json::json;

/// The media type of the manifests here.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image: config and layers, and the manifest that names them.
pub(crate) struct Image {
    pub(crate) blobs: Vec<Vec<u8>>,
    pub(crate) manifest: Vec<u8>,
}

impl Image {
    /// A config and one layer for each of the lengths; another seed gives other bytes.
    pub(crate) fn new(seed: u64, layer_lens: &[usize]) -> Self {
        let config = json!({"architecture": "amd64", "os": "linux", "seed": seed});
        let layers = layer_lens.iter().zip(seed << 8..).map(|(len, seed)| random(seed, *len));
        let blobs: Vec<Vec<u8>> =
            std::iter::once(config.to_string().into_bytes()).chain(layers).collect();
        let descriptor = |kind: &str, blob: &Vec<u8>| {
            json!({
                "mediaType": format!("application/vnd.oci.image.{kind}"),
                "digest": Digest::sha256(blob).to_string(),
                "size": blob.len(),
            })
        };
        let layers: Vec<_> =
            blobs[1..].iter().map(|blob| descriptor("layer.v1.tar", blob)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor("config.v1+json", &blobs[0]),
            "layers": layers,
        });
        Self { blobs, manifest: manifest.to_string().into_bytes() }
    }

    /// What a tag of this image names.
    pub(crate) fn digest(&self) -> Digest {
        Digest::sha256(&self.manifest)
    }
}

/// Incompressible bytes: Vigna's SplitMix64.
pub(crate) fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = vec![0; len];
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
    bytes
}
