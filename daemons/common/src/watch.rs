//! Which hosts are well: asked at their `/health`, again and again.

use std::future::pending;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use kraken_core::health::{ActiveConfig, ActiveFilter};
use kraken_core::http::{Client, Method, Request};
use kraken_core::{Error, ErrorKind, Result};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::hosts::{HostList, Hosts};
use crate::limits;
#[cfg(feature = "program")]
use crate::upstream::Section;

/// Hosts of another daemon, and how it is found out which of them are well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchedHosts {
    /// Which there are.
    pub hosts: Hosts,
    /// How they are checked; `None` takes every host for well.
    pub checks: Option<Checks>,
}

/// How often hosts are checked, and what that comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// The time between two checks of a host.
    pub interval: Duration,
    /// When a host counts as ill.
    pub health: HealthConfig,
}

/// When a host counts as ill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthConfig {
    /// Failed checks in a row that make a host ill.
    pub fails: u32,
    /// Passed checks in a row that make it well again.
    pub passes: u32,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// What checks of hosts have shown so far.
///
/// The only host of a list is not checked and counts as well, as in uber/kraken.
#[derive(Debug)]
pub struct HealthChecks {
    client: Client,
    timeout: Duration,
    filter: ActiveFilter,
    hosts: Vec<String>,
    except: Option<String>,
    /// Those that passed the last checks.
    passed: Vec<String>,
}

/// When the next round of checks is due, whatever else happens until then.
#[derive(Debug)]
struct Pace {
    interval: Option<Duration>,
    next: Instant,
}

impl WatchedHosts {
    /// What a section for hosts with active health checks says; an error if it names no hosts.
    #[cfg(feature = "program")]
    pub fn configured(section: &Section<'_>) -> Result<Self> {
        let hosts = section.hosts("hosts")?;
        let check = section.section("healthcheck");
        let checks = match check.value("disabled")? {
            true => None,
            false => Some(Checks {
                interval: check.value("monitor.interval")?,
                health: HealthConfig::configured(&check.section("filter"))?,
            }),
        };
        Ok(Self { hosts, checks })
    }

    /// As [`Hosts::at_start`]; all are taken for well.
    pub async fn at_start(&self) -> Result<Vec<String>> {
        self.hosts.at_start().await
    }

    /// The hosts at this moment, taken for well. Cancel safe.
    pub async fn resolve(&self) -> Result<Vec<String>> {
        self.hosts.resolve().await
    }

    /// Tells `change` which hosts to ask whenever they are others than before, beginning with
    /// `known`: those that are well, or all if none is. Never ends: the caller stops it.
    pub async fn follow(
        &self,
        known: Vec<String>,
        client: &Client,
        change: impl FnMut(Vec<String>),
    ) {
        self.follow_closely(known, client, change, |_| {}).await;
    }

    /// Like [`follow`](Self::follow), and tells `passed` of every check a host passes: one that was
    /// away too briefly to count as ill is back.
    pub async fn follow_closely(
        &self,
        known: Vec<String>,
        client: &Client,
        mut change: impl FnMut(Vec<String>),
        mut passed: impl FnMut(&String),
    ) {
        let all = Mutex::new(known.clone());
        let resolved = Notify::new();
        let following = self.hosts.follow(known.clone(), |hosts| {
            *all.lock().unwrap_or_else(PoisonError::into_inner) = hosts;
            resolved.notify_one();
        });
        let health = self.checks.map(|checks| checks.health).unwrap_or_default();
        let mut checks = HealthChecks::new(health, client.clone());
        let mut told = known;
        let mut pace = Pace::new(self.checks.map(|checks| checks.interval));
        let checking = async {
            loop {
                let hosts = all.lock().unwrap_or_else(PoisonError::into_inner).clone();
                checks.set_hosts(hosts);
                let healthy = checks.healthy();
                if healthy != told {
                    told.clone_from(&healthy);
                    change(healthy);
                }
                tokio::select! {
                    () = pace.due() => {
                        checks.run().await;
                        checks.passed.iter().for_each(&mut passed);
                        pace.begin();
                    }
                    () = resolved.notified() => {}
                }
            }
        };
        // Neither ends.
        tokio::join!(following, checking);
    }
}

impl Pace {
    /// The first round is after `interval`; without one there is none.
    fn new(interval: Option<Duration>) -> Self {
        let interval = interval.map(|interval| interval.max(limits::CHECK_PAUSE_MIN));
        let mut pace = Self { interval, next: Instant::now() };
        pace.begin();
        pace
    }

    /// The time to the next round begins.
    fn begin(&mut self) {
        self.next = Instant::now() + self.interval.unwrap_or_default();
    }

    /// Waits for the next round. Cancel safe: whoever asks again waits for the rest only.
    async fn due(&self) {
        match self.interval {
            Some(_) => tokio::time::sleep_until(self.next).await,
            None => pending().await,
        }
    }
}

impl HealthConfig {
    /// What a section for a health filter says.
    #[cfg(feature = "program")]
    pub fn configured(filter: &Section<'_>) -> Result<Self> {
        Ok(Self {
            fails: filter.value("fails")?,
            passes: filter.value("passes")?,
            timeout: filter.value("timeout")?,
        })
    }
}

impl HealthChecks {
    /// Of no hosts yet.
    pub fn new(config: HealthConfig, client: Client) -> Self {
        let active = ActiveConfig { fails: config.fails, passes: config.passes };
        Self {
            client,
            timeout: config.timeout,
            filter: ActiveFilter::new(active),
            hosts: Vec::new(),
            except: None,
            passed: Vec::new(),
        }
    }

    /// Takes `host` for well without asking: it is this process.
    #[must_use]
    pub fn except(self, host: String) -> Self {
        Self { except: Some(host), ..self }
    }

    /// Replaces the hosts: new ones are well, those not named are forgotten.
    pub fn set_hosts(&mut self, hosts: Vec<String>) {
        self.filter.set_hosts(&hosts);
        self.hosts = hosts;
    }

    /// Checks every host once, all at the same time. Cancel safe: dropped, it has changed nothing.
    pub async fn run(&mut self) {
        if !self.filter.needs_checks() {
            self.passed.clear();
            return;
        }
        let hosts = self.hosts.iter().filter(|host| self.except.as_ref() != Some(*host));
        let (client, timeout) = (&self.client, self.timeout);
        let checks = stream::iter(hosts.cloned().collect::<Vec<_>>())
            .map(|host| async move { (check(client, &host, timeout).await, host) })
            .buffer_unordered(limits::CHECKS_AT_ONCE_MAX);
        let checks = checks.collect::<Vec<_>>().await;
        self.passed.clear();
        for (checked, host) in checks {
            match checked {
                Ok(()) => {
                    if self.filter.passed(&host) {
                        tracing::info!(host, "well again");
                    }
                    self.passed.push(host);
                }
                Err(error) if self.filter.failed(&host) => {
                    tracing::warn!(host, %error, "ill: not asked until it answers again");
                }
                Err(error) => tracing::debug!(host, %error, "check failed"),
            }
        }
    }

    /// Whether `host` is well.
    pub fn is_healthy(&self, host: &str) -> bool {
        self.filter.is_healthy(host)
    }

    /// The hosts that are well in the order of the list, or all if none is: to ask an ill one is
    /// better than to ask nobody.
    pub fn healthy(&self) -> Vec<String> {
        let healthy = self.hosts.iter().filter(|host| self.filter.is_healthy(host));
        let healthy: Vec<String> = healthy.cloned().collect();
        if healthy.is_empty() { self.hosts.clone() } else { healthy }
    }
}

impl Default for HealthConfig {
    /// uber/kraken's.
    fn default() -> Self {
        Self { fails: 3, passes: 2, timeout: Duration::from_secs(3) }
    }
}

impl From<Hosts> for WatchedHosts {
    /// Without checks.
    fn from(hosts: Hosts) -> Self {
        Self { hosts, checks: None }
    }
}

impl From<HostList> for WatchedHosts {
    /// Without checks.
    fn from(list: HostList) -> Self {
        Hosts::from(list).into()
    }
}

async fn check(client: &Client, host: &str, timeout: Duration) -> Result<()> {
    let asked = async {
        let answer = client.send(Request::to(Method::GET, host, "/health")).await?;
        answer.bytes(limits::HEALTH_BODY_MAX).await.map(drop)
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(answered) => answered,
        Err(_) => {
            let message = format!("ask {host} for its health: no answer within {timeout:?}");
            Err(Error::new(ErrorKind::Unavailable, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use kraken_core::http::ClientConfig;

    use super::*;
    use crate::{Server, Serving, answer};

    /// A host that is well as long as `well` says so.
    fn host(well: &Arc<AtomicBool>) -> Serving {
        let server = Server::bind(([127, 0, 0, 1], 0).into(), "a host", "port").unwrap();
        let well = Arc::clone(well);
        server.spawn(move |_| {
            let well = well.load(Ordering::SeqCst);
            async move {
                let ill = answer::empty(http::StatusCode::SERVICE_UNAVAILABLE);
                if well { answer::ok() } else { ill }
            }
        })
    }

    #[tokio::test]
    async fn hosts_are_ill_and_well_again_as_checks_in_a_row_say() {
        let switches: Vec<Arc<AtomicBool>> =
            (0..3).map(|_| Arc::new(AtomicBool::new(true))).collect();
        let serving: Vec<Serving> = switches.iter().map(host).collect();
        let hosts: Vec<String> = serving.iter().map(|host| host.addr().to_string()).collect();
        let config = HealthConfig { fails: 2, passes: 2, ..HealthConfig::default() };
        let client = Client::new(ClientConfig::default());
        let mut checks = HealthChecks::new(config, client).except(hosts[2].clone());
        checks.set_hosts(hosts.clone());
        for switch in &switches[1..] {
            switch.store(false, Ordering::SeqCst);
        }
        checks.run().await;
        assert_eq!(checks.healthy(), hosts);
        checks.run().await;
        assert_eq!(checks.healthy(), [&*hosts[0], &*hosts[2]], "this process is well in any case");
        assert!(!checks.is_healthy(&hosts[1]));
        switches[1].store(true, Ordering::SeqCst);
        checks.run().await;
        assert!(!checks.is_healthy(&hosts[1]));
        checks.run().await;
        assert_eq!(checks.healthy(), hosts);
        for host in serving {
            host.close().await;
        }
    }

    #[tokio::test]
    async fn who_asks_is_told_of_those_that_are_well() {
        let well = Arc::new(AtomicBool::new(true));
        let (one, two) = (host(&well), host(&Arc::new(AtomicBool::new(true))));
        let hosts = vec![one.addr().to_string(), two.addr().to_string()];
        let health = HealthConfig { fails: 1, passes: 1, ..HealthConfig::default() };
        let checks = Some(Checks { interval: Duration::from_millis(1), health });
        let watched = WatchedHosts { hosts: Hosts::fixed(hosts.clone()).unwrap(), checks };
        let client = Client::new(ClientConfig::default());
        let (tell, mut told) = tokio::sync::mpsc::channel(8);
        let follow = watched.follow(hosts.clone(), &client, |hosts| tell.try_send(hosts).unwrap());
        well.store(false, Ordering::SeqCst);
        let see = async {
            assert_eq!(told.recv().await.unwrap(), [&*hosts[1]]);
            well.store(true, Ordering::SeqCst);
            assert_eq!(told.recv().await.unwrap(), hosts);
        };
        tokio::select! { () = follow => panic!("it ended"), () = see => {} }
        one.close().await;
        two.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn checks_are_due_however_often_the_hosts_change() {
        let mut pace = Pace::new(Some(Duration::from_secs(10)));
        for _ in 0..2 {
            let mut changes = 0;
            while tokio::time::timeout(Duration::from_secs(3), pace.due()).await.is_err() {
                changes += 1;
            }
            assert_eq!(changes, 3);
            pace.begin();
        }
        let never = Pace::new(None);
        assert!(tokio::time::timeout(Duration::from_secs(3600), never.due()).await.is_err());
    }

    #[tokio::test]
    async fn who_asks_is_told_of_every_check_passed() {
        let hosts = [true, false].map(|well| host(&Arc::new(AtomicBool::new(well))));
        let names: Vec<String> = hosts.iter().map(|host| host.addr().to_string()).collect();
        let health = HealthConfig { fails: 100, ..HealthConfig::default() };
        let checks = Some(Checks { interval: Duration::from_millis(1), health });
        let watched = WatchedHosts { hosts: Hosts::fixed(names.clone()).unwrap(), checks };
        let client = Client::new(ClientConfig::default());
        let (tell, mut told) = tokio::sync::mpsc::channel(1);
        let change = |_| panic!("nobody is ill");
        let passed = |host: &String| drop(tell.try_send(host.clone()));
        let follow = watched.follow_closely(names.clone(), &client, change, passed);
        let see = async {
            for _ in 0..3 {
                assert_eq!(told.recv().await.unwrap(), names[0]);
            }
        };
        tokio::select! { () = follow => panic!("it ended"), () = see => {} }
        for host in hosts {
            host.close().await;
        }
    }

    #[tokio::test]
    async fn nobody_asks_a_single_host() {
        let client = Client::new(ClientConfig::default());
        let mut checks = HealthChecks::new(HealthConfig::default(), client);
        checks.set_hosts(vec!["127.0.0.1:1".into()]);
        for _ in 0..5 {
            checks.run().await;
        }
        assert!(checks.is_healthy("127.0.0.1:1"));
    }

    #[cfg(feature = "program")]
    #[test]
    fn a_section_says_all_of_it() {
        use crate::upstream::{RoleName, Settings};

        let configured = |text: &str| {
            let settings = Settings::parse(RoleName::Tracker, "inline", text).unwrap();
            WatchedHosts::configured(&settings.root().section("origin"))
        };
        assert!(configured("").is_err());
        let hosts = "hosts: {static: ['a:1']}";
        let plain = configured(&format!("origin: {{{hosts}}}")).unwrap();
        assert_eq!(plain.hosts.source, Hosts::fixed(vec!["a:1".into()]).unwrap().source);
        let checks = plain.checks.unwrap();
        assert_eq!(
            (checks.interval, checks.health),
            (Duration::from_secs(10), HealthConfig::default())
        );
        let off = configured(&format!("origin: {{{hosts}, healthcheck: {{disabled: true}}}}"));
        assert_eq!(off.unwrap().checks, None);
        let other = "{filter: {fails: 5, passes: 6, timeout: 7s}, monitor: {interval: 8s}}";
        let checks = configured(&format!("origin: {{{hosts}, healthcheck: {other}}}"));
        let [timeout, interval] = [7, 8].map(Duration::from_secs);
        let health = HealthConfig { fails: 5, passes: 6, timeout };
        assert_eq!(checks.unwrap().checks, Some(Checks { interval, health }));
    }
}
