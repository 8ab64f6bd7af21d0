//! The ring of origins as this one sees it: who is in it, and who of them is well.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use kraken_common::watch::HealthChecks;
use kraken_common::{HostSource, Hosts};
use kraken_core::http::Client;
use kraken_core::ring::Ring;
use kraken_core::{Digest, Error, ErrorKind, Result};
use tokio::time::Instant;

use crate::config::RingConfig;
use crate::limits;

/// The ring, and this origin's name in it.
#[derive(Debug)]
pub(crate) struct Membership {
    name: String,
    config: RingConfig,
    view: RwLock<View>,
}

#[derive(Debug)]
struct View {
    ring: Ring,
    /// Members that are not asked.
    ill: BTreeSet<String>,
}

impl Membership {
    /// Finds this origin in the ring by one of its names; an origin that listens at `listen` and
    /// was given none is called so. Waits while a name resolves to other origins only.
    pub(crate) async fn join(mut config: RingConfig, listen: String) -> Result<Self> {
        if config.names.is_empty() {
            config.names.push(listen);
        }
        let (name, members) = if config.origins.is_empty() {
            // A lone origin is the whole ring.
            let name = config.names.swap_remove(0);
            (name.clone(), vec![name])
        } else {
            find(&config).await.map_err(|error| error.context("cluster"))?
        };
        tracing::info!(name, ?members, "this origin in its ring");
        let mut ring = Ring::new(config.replicas_max);
        ring.set_members(members);
        Ok(Self { name, config, view: RwLock::new(View { ring, ill: BTreeSet::new() }) })
    }

    /// All members.
    pub(crate) fn members(&self) -> Vec<String> {
        self.view().ring.members().to_vec()
    }

    /// The owners of a blob that are well, best first; never none.
    pub(crate) fn owners(&self, digest: &Digest) -> Vec<String> {
        let view = self.view();
        let owners = view.ring.locations(digest, |member| !view.ill.contains(member));
        owners.into_iter().map(str::to_owned).collect()
    }

    /// The owners of a blob that are well and come before this origin; all of them, if it is none.
    pub(crate) fn owners_before(&self, digest: &Digest) -> Vec<String> {
        self.owners(digest).into_iter().take_while(|owner| *owner != self.name).collect()
    }

    /// The owners of a blob that are well, but for this origin.
    pub(crate) fn other_owners(&self, digest: &Digest) -> Vec<String> {
        let mut owners = self.owners(digest);
        owners.retain(|owner| *owner != self.name);
        owners
    }

    /// Looks the members up and asks the others how they are, again and again. Tells `change` of
    /// other members. Never ends: the caller stops it, at any await.
    pub(crate) async fn follow(&self, client: Client, mut change: impl FnMut(Vec<String>)) {
        let mut checks = HealthChecks::new(self.config.health, client).except(self.name.clone());
        let (mut members, mut resolved) = (self.members(), Instant::now());
        loop {
            tokio::time::sleep(self.config.refresh_interval.max(limits::REFRESH_PAUSE_MIN)).await;
            if !self.config.origins.is_empty() && resolved.elapsed() >= self.config.origins.ttl {
                resolved = Instant::now();
                match self.config.origins.resolve().await {
                    Ok(found) if found.is_empty() => {}
                    Ok(found) => members = found,
                    Err(error) => tracing::warn!(%error, "the ring stays as it was"),
                }
            }
            checks.set_hosts(members.clone());
            checks.run().await;
            let ill = members.iter().filter(|member| !checks.is_healthy(member));
            let ill: BTreeSet<String> = ill.cloned().collect();
            if self.set(&members, ill) {
                if !members.contains(&self.name) {
                    tracing::warn!(name = self.name, ?members, "this origin is not in its ring");
                }
                change(members.clone());
            }
        }
    }

    /// Whether the members are others than before.
    fn set(&self, members: &[String], ill: BTreeSet<String>) -> bool {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        view.ill = ill;
        let before = view.ring.members().to_vec();
        let changed = view.ring.set_members(members.iter().cloned());
        if changed {
            tracing::info!(from = ?before, to = ?view.ring.members(), "the ring changed");
        }
        changed
    }

    fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This origin's name in the ring, and all members.
async fn find(config: &RingConfig) -> Result<(String, Vec<String>)> {
    let started = Instant::now();
    loop {
        let resolved = config.origins.resolve().await;
        if let Ok(members) = &resolved
            && let Some(name) = config.names.iter().find(|name| members.contains(name))
        {
            return Ok((name.clone(), members.clone()));
        }
        // A list does not change.
        let fixed = matches!(config.origins.source, HostSource::Static(_));
        let waited = started.elapsed();
        if fixed || waited >= config.wait_max {
            let members = resolved?;
            return Err(absent(&config.names, &config.origins, &members, waited));
        }
        tokio::time::sleep(config.wait_interval.max(limits::WAIT_PAUSE_MIN)).await;
    }
}

fn absent(names: &[String], origins: &Hosts, members: &[String], waited: Duration) -> Error {
    let (names, members) = (names.join(" or "), members.join(", "));
    let advice = "set --blobserver-hostname to how it is listed there";
    match &origins.source {
        HostSource::Static(_) => Error::invalid(format!(
            "this origin, {names}, is not in static, which lists {members}: add it, or {advice}"
        )),
        HostSource::Dns(dns) => {
            let message = format!(
                "this origin, {names}, is not among what {dns} resolved to within {} s: \
                 {members}; {advice}",
                waited.as_secs()
            );
            Error::new(ErrorKind::Unavailable, message)
        }
    }
}

#[cfg(test)]
mod tests;
