//! The numbers of every role are those that the documentation names.

mod cluster;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;

use cluster::content::Image;
use cluster::{Cluster, PIECE_LEN, Plan, http};

/// The names in the tables of `docs/OPERATIONS.md`.
fn documented() -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATIONS.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, tables) = text.split_once("<!-- metrics: begin -->").unwrap();
    let rows = tables.lines().filter_map(|line| line.strip_prefix("| `kraken_"));
    rows.filter_map(|row| Some(format!("kraken_{}", row.split_once('`')?.0))).collect()
}

/// What a role tells as `kind`; every number must be of a name that has a type.
fn told(kind: &str, addr: SocketAddr) -> BTreeSet<String> {
    let answer = http::get(addr, "/metrics");
    assert_eq!(answer.status, 200, "{kind}: {answer:?}");
    let text = answer.text();
    let mut names = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            names.insert(rest.split_once(' ').unwrap().0.to_owned());
        } else if !line.starts_with('#') {
            let (name, rest) = line.split_once('{').unwrap();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            assert!(names.contains(name) || base.is_some_and(|it| names.contains(it)), "{line}");
            assert!(rest.starts_with(&format!("role=\"{kind}\"")), "{line}");
        }
    }
    assert!(text.contains(&format!("kraken_metrics_complete{{role=\"{kind}\"}} 1")), "{text}");
    names
}

#[test]
fn roles_tell_the_documented_numbers_and_no_others() {
    let agent = json!({"store": {"capacity_bytes": "1G"}});
    let cluster = Cluster::start(&Plan { agents: 1, agent, ..Plan::default() });
    let image = Image::new(1, &[3 * PIECE_LEN]);
    cluster.push_to("library/one").push(&image, "1");
    cluster.pull_from(0, "library/one").pull(&image, "1");
    let roles = [
        ("agent", cluster.agents[0].role.http),
        ("origin", cluster.origins[0].http),
        ("tracker", cluster.tracker.http),
        ("build-index", cluster.build_index.http),
        ("proxy", cluster.proxy.http),
    ];
    let told: BTreeSet<String> = roles.iter().flat_map(|(kind, addr)| told(kind, *addr)).collect();
    assert_eq!(told, documented());
    let text = http::get(roles[0].1, "/metrics").text();
    let pulled = text.lines().find_map(|line| {
        line.strip_prefix("kraken_node_completed_downloads_total{role=\"agent\"} ")
    });
    assert!(pulled.unwrap().parse::<u64>().unwrap() >= 1, "{text}");
}
