//! What a scrape says, and that every name is documented.

use std::collections::BTreeSet;
use std::path::Path;

use http::{Method, Request};
use http_body_util::BodyExt as _;

use super::names::{Definition, GROUPS, Kind};
use super::*;

/// Names that the log goes by.
const CRATES: [&str; 3] = ["kraken_core", "kraken_common", "kraken_p2p"];

fn definitions() -> impl Iterator<Item = &'static Definition> {
    GROUPS.iter().flat_map(|group| group.definitions).copied()
}

fn metrics() -> Metrics {
    Metrics::new("test", || async {
        let mut figures = Figures::new();
        figures.set_with(&names::STORE_BLOBS, &["arriving"], 1);
        figures.set(&names::NODE_SENT_BYTES, 7);
        figures.set_with(&names::STORE_BLOBS, &["complete"], 2);
        figures.set_real(&names::NODE_COMPLETED_DOWNLOAD_SECONDS, 1.5);
        figures
    })
}

async fn scrape(metrics: &Metrics, accept: &str) -> (String, String) {
    let request = Request::get("/metrics").header(ACCEPT, accept).body(()).unwrap();
    let answer = metrics.answer(request.headers()).await;
    let content_type = answer.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (content_type, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn names_follow_the_rule_and_are_unique() {
    let mut seen = BTreeSet::new();
    for Definition { name, kind, labels, help } in definitions() {
        assert!(seen.insert(name), "{name} twice");
        assert!(name.starts_with("kraken_"), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert!(!labels.contains(&"role") && !help.ends_with('.'), "{name}");
    }
}

#[test]
fn the_documented_names_are_these() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATIONS.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (begin, end) = ("<!-- metrics: begin -->\n", "<!-- metrics: end -->");
    let (before, rest) = text.split_once(begin).unwrap();
    let (tables, after) = rest.split_once(end).unwrap();
    let expected = names::tables_markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, format!("{before}{begin}{expected}\n{end}{after}")).unwrap();
    } else {
        assert!(
            tables.trim() == expected.trim(),
            "docs/OPERATIONS.md is not what the names say; run this test with UPDATE_DOCS=1"
        );
    }
    // The prose around the tables names only what there is.
    let all: BTreeSet<&str> = definitions().map(|definition| definition.name).collect();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named = words.filter(|word| word.starts_with("kraken_") && !CRATES.contains(word));
    for word in named {
        let name = word.trim_end_matches("_bucket").trim_end_matches("_count");
        assert!(all.contains(name), "docs/OPERATIONS.md names {word}, which is no metric");
    }
}

#[tokio::test]
async fn a_scrape_in_both_formats() {
    let metrics = metrics();
    let (content_type, open) = scrape(&metrics, "application/openmetrics-text;version=1.0.0").await;
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE kraken_node_sent_bytes counter"));
    let (content_type, text) = scrape(&metrics, "*/*").await;
    assert!(content_type.starts_with("text/plain; version=0.0.4"));
    for line in [
        "# TYPE kraken_node_sent_bytes_total counter",
        "kraken_node_sent_bytes_total{role=\"test\"} 7",
        "kraken_node_completed_download_seconds_total{role=\"test\"} 1.5",
        "kraken_store_blobs{role=\"test\",state=\"arriving\"} 1",
        "kraken_store_blobs{role=\"test\",state=\"complete\"} 2",
        "kraken_metrics_complete{role=\"test\"} 1",
        "kraken_http_requests_in_flight{role=\"test\"} 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("EOF") && !text.contains("# UNIT"));
    let of_blobs = text.lines().filter(|line| line.starts_with("# TYPE kraken_store_blobs "));
    assert_eq!(of_blobs.count(), 1);
    #[cfg(target_os = "linux")]
    for name in GROUPS[0].definitions.iter().map(|definition| definition.name) {
        assert!(text.contains(&format!("\n{name}{{role=\"test\"")), "{name} is not in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_that_hangs_leaves_its_numbers_out() {
    let metrics = Metrics::new("test", std::future::pending);
    let (_, text) = scrape(&metrics, "").await;
    assert!(text.contains("kraken_metrics_complete{role=\"test\"} 0"), "{text}");
}

#[tokio::test]
async fn requests_are_counted_to_their_ends() {
    const ROUTES: &[&str] = &["/blobs/{digest}"];
    let metrics = metrics();
    let begin = |method: &str, path: &str| {
        metrics.requests().begin(&Method::from_bytes(method.as_bytes()).unwrap(), path, ROUTES)
    };
    let mut first = begin("GET", "/blobs/1");
    first.answered(StatusCode::OK);
    let body = Counted::new(crate::Body::full("12345"), Some(first));
    drop(begin("GET", "/blobs/2"));
    let mut odd = begin("BREW", "/pot");
    odd.answered(StatusCode::NOT_FOUND);
    drop(odd);
    let connected = metrics.requests().connected();
    let (_, text) = scrape(&metrics, "").await;
    for line in [
        "kraken_http_requests_in_flight{role=\"test\"} 1",
        "kraken_http_connections{role=\"test\"} 1",
        "kraken_http_requests_total{role=\"test\",method=\"GET\",route=\"/blobs/{digest}\",\
            status=\"499\"} 1",
        "kraken_http_requests_total{role=\"test\",method=\"other\",route=\"other\",\
            status=\"404\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    body.collect().await.unwrap();
    drop(connected);
    let (_, text) = scrape(&metrics, "").await;
    for line in [
        "kraken_http_requests_in_flight{role=\"test\"} 0",
        "kraken_http_connections{role=\"test\"} 0",
        "kraken_http_response_bytes_total{role=\"test\",route=\"/blobs/{digest}\"} 5",
        "kraken_http_request_duration_seconds_count{role=\"test\",method=\"GET\",\
            route=\"/blobs/{digest}\"} 2",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
