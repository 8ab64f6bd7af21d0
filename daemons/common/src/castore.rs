//! `castore` of uber/kraken's configuration: blobs on the disk of an origin or a proxy.

use kraken_core::Result;
use kraken_core::store::StoreConfig;

use crate::upstream::Section;

/// The store that `castore` says, without a place for downloads; the rest is by default.
pub fn configured(castore: &Section<'_>) -> Result<StoreConfig> {
    Ok(StoreConfig {
        upload_dir: castore.value("upload_dir")?,
        cache_dir: castore.value("cache_dir")?,
        capacity_bytes: castore.optional("capacity_bytes")?.filter(|bytes| *bytes > 0),
        ..StoreConfig::default()
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::upstream::{RoleName, Settings};

    #[test]
    fn every_key_counts() {
        let read = |text: &str| {
            let settings = Settings::parse(RoleName::Proxy, "p.yaml", text).unwrap();
            configured(&settings.root().section("castore"))
        };
        let store = read("castore: {upload_dir: /u/, cache_dir: /c}").unwrap();
        assert_eq!(store.upload_dir, Path::new("/u"));
        assert_eq!((&*store.cache_dir, store.download_dir), (Path::new("/c"), None));
        assert_eq!(store.capacity_bytes, None);
        let store = read("castore: {upload_dir: u, cache_dir: c, capacity_bytes: 1KB}").unwrap();
        assert_eq!(store.capacity_bytes, Some(1024));
        for (text, missing) in [
            ("", "castore.upload_dir is not set"),
            ("castore: {upload_dir: u}", "castore.cache_dir is not set"),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), missing);
        }
    }
}
