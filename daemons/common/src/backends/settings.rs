//! `backends` and `writeback` of uber/kraken's configuration.

use std::path::PathBuf;
use std::time::Duration;

use kraken_backends::layers::ThrottleConfig;
use kraken_backends::{Layout, TestFsBackendConfig};
use kraken_core::Result;

use super::{BackendConfig, BackendKind, WriteBackConfig};
use crate::limits;
use crate::upstream::Section;

/// The entries of `backends` in `root`, all of an origin's or a build-index's settings. `layout` is
/// the one of docker/distribution for what is kept there; testfs may have it or `identity`.
pub fn configured(root: &Section<'_>, layout: Layout) -> Result<Vec<BackendConfig>> {
    root.sections("backends").iter().map(|entry| backend(entry, layout)).collect()
}

fn backend(entry: &Section<'_>, layout: Layout) -> Result<BackendConfig> {
    let namespace = entry.value("namespace")?;
    let types = entry.section("backend");
    // The schema lets only one of them be given.
    let kind = match types.given().first() {
        Some(&"local") => BackendKind::Local(types.value::<PathBuf>("local.root_directory")?),
        Some(&"testfs") => BackendKind::TestFs(testfs(&types.section("testfs"), layout)?),
        Some(other) => {
            return Err(types.error(other, "not built yet; there are local and testfs"));
        }
        None => return Err(entry.error("backend", "no type is given; there are local and testfs")),
    };
    let must_ready = entry.value("must_ready")?;
    Ok(BackendConfig { namespace, kind, must_ready, bandwidth: bandwidth(entry)? })
}

fn testfs(testfs: &Section<'_>, layout: Layout) -> Result<TestFsBackendConfig> {
    let name: String = testfs.value("name_path")?;
    let chosen: Layout = name.parse()?;
    if chosen != layout && chosen != Layout::Identity {
        return Err(testfs.error("name_path", "there is no place for such names in this layout"));
    }
    let root = testfs.optional("root")?.unwrap_or_default();
    Ok(TestFsBackendConfig { addr: testfs.value("addr")?, root, layout: chosen })
}

fn bandwidth(entry: &Section<'_>) -> Result<ThrottleConfig> {
    let bandwidth = entry.section("bandwidth");
    if !bandwidth.value::<bool>("enable")? {
        return Ok(ThrottleConfig::default());
    }
    let bytes = |key: &str| -> Result<u64> {
        match bandwidth.optional::<u64>(key)? {
            // Less than a byte is not the same as no limit.
            Some(bits) if bits > 0 => Ok(u64::max(bits / 8, 1)),
            _ => Err(bandwidth.error(key, "a limit is enabled and has no number")),
        }
    };
    Ok(ThrottleConfig {
        ingress_bytes_per_sec: bytes("ingress_bits_per_sec")?,
        egress_bytes_per_sec: bytes("egress_bits_per_sec")?,
    })
}

impl WriteBackConfig {
    /// What a section for persisted retry says; pauses are at least [`limits::RETRY_PAUSE_MIN`].
    pub fn configured(retry: &Section<'_>) -> Result<Self> {
        let pause = |key: &str| -> Result<Duration> {
            Ok(retry.value::<Duration>(key)?.max(limits::RETRY_PAUSE_MIN))
        };
        Ok(Self {
            retry_interval: pause("retry_interval")?,
            probe_interval: pause("poll_retries_interval")?,
            at_once: retry.value("num_incoming_workers")?,
            spare: retry.value("num_retry_workers")?,
        })
    }
}
