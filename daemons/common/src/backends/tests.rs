//! Backends of this machine and of a testfs, as settings name them and as they open.

use kraken_core::http::ClientConfig;
use kraken_core::{ErrorKind, Namespace};

use super::*;

#[tokio::test]
async fn the_first_that_matches_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let first = BackendConfig {
        namespace: "^library/".into(),
        ..BackendConfig::local(dir.path().join("a"))
    };
    let second = BackendConfig {
        namespace: "x".into(),
        bandwidth: ThrottleConfig { ingress_bytes_per_sec: 9, egress_bytes_per_sec: 1 },
        ..BackendConfig::local(dir.path().join("b"))
    };
    let client = Client::new(ClientConfig::default());
    let (router, bandwidths) =
        open(&[first, second], Layout::ShardedDockerBlob, &client).await.unwrap();
    bandwidths.divide(3);
    bandwidths.divide(0);
    let route = |name: &str| router.route(&name.parse::<Namespace>().unwrap()).map(drop);
    route("library/x").unwrap();
    route("x").unwrap();
    assert_eq!(route("y").unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(dir.path().join("a").exists() && dir.path().join("b").exists());
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named_with_its_namespace() {
    let client = Client::new(ClientConfig::default());
    let config = BackendConfig::local("/proc/none");
    let error = open(&[config], Layout::Identity, &client).await.unwrap_err().to_string();
    assert!(error.contains("\".*\"") && error.contains("/proc/none"), "{error}");
}

#[cfg(feature = "program")]
mod yaml {
    use super::*;
    use crate::upstream::{RoleName, Settings};

    fn read(text: &str) -> Result<Vec<BackendConfig>> {
        let settings = Settings::parse(RoleName::Origin, "o.yaml", text).unwrap();
        configured(&settings.root(), Layout::ShardedDockerBlob)
    }

    fn one(text: &str) -> BackendConfig {
        let mut all = read(&format!("backends:\n- {text}")).unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    #[test]
    fn every_key_counts() {
        assert_eq!(read("").unwrap(), []);
        let plain = one("{namespace: .*, backend: {local: {root_directory: /b}}}");
        assert_eq!(plain, BackendConfig::local("/b"));
        let testfs = "testfs: {addr: 'h:1', root: blobs, name_path: sharded_docker_blob}";
        let full = one(&format!("{{namespace: a/.*, must_ready: true, backend: {{{testfs}}}}}"));
        let layout = Layout::ShardedDockerBlob;
        let testfs = TestFsBackendConfig { addr: "h:1".into(), root: "blobs".into(), layout };
        let kind = BackendKind::TestFs(testfs);
        let bandwidth = ThrottleConfig::default();
        let expected =
            BackendConfig { namespace: "a/.*".into(), kind, must_ready: true, bandwidth };
        assert_eq!(full, expected);
        let identity =
            one("{namespace: .*, backend: {testfs: {addr: 'h:1', name_path: identity}}}");
        let BackendKind::TestFs(testfs) = identity.kind else { panic!("{identity:?}") };
        assert_eq!((testfs.root.as_str(), testfs.layout), ("", Layout::Identity));
    }

    #[test]
    fn bandwidth_is_in_bits_and_only_where_it_is_enabled() {
        let rates = |text: &str| {
            let backend = "backend: {local: {root_directory: /b}}";
            let bandwidth =
                one(&format!("{{namespace: a, {backend}, bandwidth: {{{text}}}}}")).bandwidth;
            (bandwidth.ingress_bytes_per_sec, bandwidth.egress_bytes_per_sec)
        };
        let bits = "ingress_bits_per_sec: 8000, egress_bits_per_sec: 7";
        assert_eq!(rates(bits), (0, 0));
        assert_eq!(rates(&format!("enable: true, {bits}")), (1000, 1));
    }

    #[test]
    fn what_cannot_be_is_named_with_its_place() {
        for (text, expected) in [
            (
                "- {namespace: .*, backend: {s3: {bucket: b}}}",
                "o.yaml:2:33: backends[0].backend.s3: not built yet; there are local and testfs",
            ),
            (
                "- {namespace: .*, backend: {}}",
                "backends[0].backend: no type is given; there are local and testfs",
            ),
            ("- {namespace: .*}", "backends[0].backend: no type is given"),
            (
                "- {namespace: a, backend: {local: {root_directory: /b}}, bandwidth: {enable: true}}",
                "o.yaml:2:58: backends[0].bandwidth.ingress_bits_per_sec: a limit is enabled and has \
                 no number",
            ),
            ("- {backend: {local: {root_directory: /b}}}", "backends[0].namespace is not set"),
            ("- {namespace: a, backend: {local: {}}}", "local.root_directory is not set"),
            (
                "- {namespace: a, backend: {testfs: {name_path: identity}}}",
                "testfs.addr is not set",
            ),
            ("- {namespace: a, backend: {testfs: {addr: 'h:1'}}}", "name_path is not set"),
            (
                "- {namespace: a, backend: {testfs: {addr: 'h:1', name_path: docker_tag}}}",
                "testfs.name_path: there is no place",
            ),
        ] {
            let error = read(&format!("backends:\n{text}")).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn write_back() {
        let read = |text: &str| {
            let settings = Settings::parse(RoleName::BuildIndex, "b.yaml", text).unwrap();
            WriteBackConfig::configured(&settings.root().section("writeback")).unwrap()
        };
        let [half_a_minute, quarter] = [30, 15].map(Duration::from_secs);
        let default = WriteBackConfig {
            retry_interval: half_a_minute,
            probe_interval: quarter,
            at_once: 4,
            spare: 2,
        };
        assert_eq!(read(""), default);
        assert_eq!(default.retry_initial(), RETRY_INITIAL);
        let changed = read(
            "writeback: {retry_interval: 100ms, poll_retries_interval: 250ms, \
             num_incoming_workers: 7, num_retry_workers: 8}",
        );
        let [retry_interval, probe_interval] = [100, 250].map(Duration::from_millis);
        let expected = WriteBackConfig { retry_interval, probe_interval, at_once: 7, spare: 8 };
        assert_eq!(changed, expected);
        assert_eq!(changed.retry_initial(), retry_interval);
        let spinning = read("writeback: {retry_interval: 30, poll_retries_interval: 1ns}");
        let pauses = (spinning.retry_interval, spinning.probe_interval, spinning.retry_initial());
        let min = crate::limits::RETRY_PAUSE_MIN;
        assert_eq!(pauses, (min, min, min));
    }
}
