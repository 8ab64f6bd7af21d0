//! Cleaning a store by age, now and then, for as long as a role runs.

use std::sync::Arc;
#[cfg(feature = "program")]
use std::time::Duration;
use std::time::SystemTime;

use futures_util::future::join_all;
#[cfg(feature = "program")]
use kraken_core::Result;
use kraken_core::store::{Area, Cleaned, CleanupConfig, Store};
use tokio::sync::Mutex;

use crate::blocking;
#[cfg(feature = "program")]
use crate::limits;
use crate::task::Companion;
#[cfg(feature = "program")]
use crate::upstream::Section;

/// Cleans the areas of one store, each at its own pace; one run at a time.
#[derive(Debug)]
pub struct Cleaner {
    work: Companion,
    /// Held by the run under way.
    turn: Arc<Mutex<()>>,
}

impl Cleaner {
    /// Begins; the first run of each area is after its interval. Must be called inside a tokio
    /// runtime.
    pub fn start<const N: usize>(store: &Store, areas: [(Area, CleanupConfig); N]) -> Self {
        let turn: Arc<Mutex<()>> = Arc::default();
        let enabled = areas.into_iter().filter(|(_, config)| !config.disabled);
        let loops: Vec<_> = enabled
            .map(|(area, config)| clean(store.clone(), area, config, Arc::clone(&turn)))
            .collect();
        let work = Companion::spawn(async move {
            join_all(loops).await;
        });
        Self { work, turn }
    }

    /// Ends it, and returns when the run under way is over.
    pub async fn close(self) {
        self.work.close().await;
        drop(self.turn.lock().await);
    }
}

/// Cleans one area for ever.
async fn clean(store: Store, area: Area, config: CleanupConfig, turn: Arc<Mutex<()>>) {
    loop {
        tokio::time::sleep(config.interval).await;
        let (store, turn) = (store.clone(), Arc::clone(&turn).lock_owned().await);
        let cleaned = blocking("clean the store", move || {
            let cleaned = store.clean(area, &config, SystemTime::now());
            // Whoever has the turn next may want the store for itself.
            drop(store);
            drop(turn);
            cleaned
        });
        match cleaned.await {
            Ok(Cleaned { removed: 0, .. }) => {}
            Ok(Cleaned { removed, bytes, kept, aggressive }) => {
                tracing::info!(?area, removed, bytes, kept, aggressive, "the store was cleaned");
            }
            Err(error) => tracing::warn!(?area, %error, "not all that is due was removed"),
        }
    }
}

/// The cleanup that a `*_cleanup` section says; pauses are at least [`limits::CLEANUP_PAUSE_MIN`].
#[cfg(feature = "program")]
pub fn configured(section: &Section<'_>) -> Result<CleanupConfig> {
    let percent = |key: &str| match section.value::<u64>(key)? {
        0 => Ok(None),
        percent => match u8::try_from(percent) {
            Ok(percent) if percent <= 100 => Ok(Some(percent)),
            _ => Err(section.error(key, "more than 100 per cent")),
        },
    };
    Ok(CleanupConfig {
        disabled: section.value("disabled")?,
        interval: section.value::<Duration>("interval")?.max(limits::CLEANUP_PAUSE_MIN),
        tti: section.value("tti")?,
        ttl: Some(section.value("ttl")?).filter(|ttl: &Duration| !ttl.is_zero()),
        aggressive_threshold: percent("aggressive_threshold")?,
        aggressive_ttl: section.value("aggressive_ttL")?,
        aggressive_lower_threshold: percent("aggressive_lower_threshold")?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kraken_core::store::StoreConfig;
    use kraken_core::{Algorithm, Digest};

    use super::*;

    fn put(store: &Store, bytes: &[u8]) -> Digest {
        let (upload, digest) =
            (store.create_upload(Algorithm::Sha256).unwrap(), Digest::sha256(bytes));
        upload.append(bytes).unwrap();
        upload.commit(&digest, &[]).unwrap();
        digest
    }

    #[tokio::test]
    async fn what_is_due_goes_until_it_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig::under(dir.path())).unwrap();
        let often = CleanupConfig {
            interval: Duration::from_millis(1),
            tti: Duration::ZERO,
            ..CleanupConfig::default()
        };
        let never = CleanupConfig { disabled: true, ..often };
        let upload = store.create_upload(Algorithm::Sha256).unwrap();
        let digest = put(&store, b"x");
        let cleaner = Cleaner::start(&store, [(Area::Uploads, never), (Area::Cache, often)]);
        while store.contains(&digest) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cleaner.close().await;
        assert!(store.upload(upload.id()).is_ok(), "nothing is removed where cleanup is disabled");
        drop(upload);
        drop(store);
        Store::open(StoreConfig::under(dir.path())).unwrap();
    }

    #[cfg(feature = "program")]
    #[test]
    fn every_key_counts() {
        use crate::upstream::{RoleName, Settings};

        let read = |keys: &str| {
            let text = format!("castore: {{cache_cleanup: {{{keys}}}}}");
            let settings = Settings::parse(RoleName::Origin, "o.yaml", &text).unwrap();
            configured(&settings.root().section("castore.cache_cleanup"))
        };
        let default = CleanupConfig::default();
        assert_eq!(read("").unwrap(), default);
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for (keys, expected) in [
            ("disabled: true", CleanupConfig { disabled: true, ..default }),
            ("interval: 1h", CleanupConfig { interval: hours(1), ..default }),
            ("interval: 30", CleanupConfig { interval: limits::CLEANUP_PAUSE_MIN, ..default }),
            ("tti: 2h", CleanupConfig { tti: hours(2), ..default }),
            ("tti: 0", default),
            ("ttl: 24h", CleanupConfig { ttl: Some(hours(24)), ..default }),
            ("ttl: 0", default),
            (
                "aggressive_threshold: 80",
                CleanupConfig { aggressive_threshold: Some(80), ..default },
            ),
            ("aggressive_ttL: 3h", CleanupConfig { aggressive_ttl: hours(3), ..default }),
            (
                "aggressive_lower_threshold: 60",
                CleanupConfig { aggressive_lower_threshold: Some(60), ..default },
            ),
        ] {
            assert_eq!(read(keys).unwrap(), expected, "{keys}");
        }
        let error = read("aggressive_threshold: 101").unwrap_err().to_string();
        assert!(error.ends_with("aggressive_threshold: more than 100 per cent"), "{error}");
    }
}
