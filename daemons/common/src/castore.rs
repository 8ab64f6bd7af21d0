//! `castore` of uber/kraken's configuration: blobs on the disk of an origin or a proxy; and the
//! directories that any role keeps files in.
#![allow(clippy::disallowed_methods, reason = "directories are made before anything runs")]

use std::path::{Path, PathBuf};

use kraken_core::store::StoreConfig;
use kraken_core::{Error, Result};
use rustix::fs::Access;

use crate::upstream::{RoleName, Section, Settings};

/// The store that `castore` says, without a place for downloads; the rest is by default.
pub fn configured(castore: &Section<'_>) -> Result<StoreConfig> {
    Ok(StoreConfig {
        upload_dir: castore.value("upload_dir")?,
        cache_dir: castore.value("cache_dir")?,
        capacity_bytes: castore.optional("capacity_bytes")?.filter(|bytes| *bytes > 0),
        ..StoreConfig::default()
    })
}

/// Makes the directories that `settings` name for blobs and tags. What stands there deeper down
/// knows no keys; so an error says here which one moves a directory that cannot be written.
pub fn make_directories(settings: &Settings) -> Result<()> {
    let (section, keys): (_, &[&str]) = match settings.role() {
        RoleName::Agent => ("store", &["download_dir", "cache_dir"]),
        RoleName::Origin | RoleName::Proxy => ("castore", &["upload_dir", "cache_dir"]),
        RoleName::BuildIndex => ("store", &["cache_dir"]),
        RoleName::Tracker => return Ok(()),
    };
    let root = settings.root();
    let section = root.section(section);
    for key in keys {
        make_named(&section, key)?;
    }
    if matches!(settings.role(), RoleName::Origin | RoleName::BuildIndex) {
        for backend in root.sections("backends") {
            make_named(&backend, "backend.local.root_directory")?;
        }
    }
    Ok(())
}

/// Makes the directory that `key` of `section` names, if it names one.
fn make_named(section: &Section<'_>, key: &str) -> Result<()> {
    let Some(dir) = section.optional::<PathBuf>(key)? else { return Ok(()) };
    make_directory(&dir).map_err(|error| {
        let uid = rustix::process::getuid();
        let what = format!(
            "cannot write the directory {}; give it to user {uid}, or name another",
            dir.display()
        );
        Error::io(section.error(key, &what).to_string(), error)
    })
}

fn make_directory(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    Ok(rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK)?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("", "p.yaml: castore.upload_dir is not set"),
            ("castore: {upload_dir: u}", "p.yaml:1:1: castore.cache_dir is not set"),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), missing);
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named_by_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display();
        std::fs::write(dir.path().join("file"), "").unwrap();
        for (role, section, first) in [
            (RoleName::Agent, "store", "download_dir"),
            (RoleName::Origin, "castore", "upload_dir"),
            (RoleName::Proxy, "castore", "upload_dir"),
        ] {
            let made = |cache_dir: &str| {
                let dirs = format!("{first}: {root}/{section}/a, cache_dir: {root}/{cache_dir}");
                let text = format!("{section}: {{{dirs}}}");
                make_directories(&Settings::parse(role, "c.yaml", &text).unwrap())
            };
            made("b").unwrap();
            assert!(dir.path().join(section).join("a").is_dir() && dir.path().join("b").is_dir());
            let error = made("file/b").unwrap_err();
            assert_ne!(error.kind(), kraken_core::ErrorKind::Invalid, "to try again may help");
            let expected = format!("{section}.cache_dir: cannot write the directory {root}/file/b");
            assert!(error.to_string().contains(&expected), "{error}");
        }
        let tracker = Settings::parse(RoleName::Tracker, "c.yaml", "").unwrap();
        make_directories(&tracker).unwrap();
    }
}
