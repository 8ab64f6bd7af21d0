//! Instructions of taking a request's method, path and query apart.
//!
//! `cargo bench -p kraken-registry-api --bench instructions`, with valgrind and gungraun-runner
//! installed (see docs/BENCHMARKS.md).

#![allow(missing_docs, reason = "the macros make items that nobody can document")]

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use http::Method;
use kraken_registry_api::failure::Failure;
use kraken_registry_api::route::{Route, parse};

const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// A request's line, by what is asked.
fn request(what: &str) -> (Method, String, Option<String>) {
    let (method, path, query) = match what {
        "ping" => (Method::GET, "/v2/".to_owned(), None),
        "manifest_by_tag" => {
            (Method::GET, "/v2/team/project/image/manifests/v1.2.3".to_owned(), None)
        }
        "manifest_by_digest" => {
            (Method::HEAD, format!("/v2/team/project/image/manifests/{DIGEST}"), None)
        }
        "blob" => (Method::GET, format!("/v2/team/project/image/blobs/{DIGEST}"), None),
        "escaped_blob" => {
            let digest = DIGEST.replace(':', "%3A");
            (Method::GET, format!("/v2/team/project/image/blobs/{digest}"), None)
        }
        "finish_upload" => {
            let id = "b0a7e3c2-6a0b-4f0e-9a51-0c2c1fd5b8a7";
            let path = format!("/v2/team/project/image/blobs/uploads/{id}");
            (Method::PUT, path, Some(format!("digest={}", DIGEST.replace(':', "%3A"))))
        }
        "tags" => {
            let query = "n=100&last=v1.2.3".to_owned();
            (Method::GET, "/v2/team/project/image/tags/list".to_owned(), Some(query))
        }
        _ => (Method::GET, "/v2/team/project/nothing/here".to_owned(), None),
    };
    (method, path, query)
}

#[library_benchmark(setup = request)]
#[bench::ping("ping")]
#[bench::manifest_by_tag("manifest_by_tag")]
#[bench::manifest_by_digest("manifest_by_digest")]
#[bench::blob("blob")]
#[bench::escaped_blob("escaped_blob")]
#[bench::finish_upload("finish_upload")]
#[bench::tags("tags")]
#[bench::unknown("unknown")]
fn route((method, path, query): (Method, String, Option<String>)) -> Result<Route, Failure> {
    let route = parse(black_box(&method), black_box(&path), black_box(query.as_deref()));
    // Not freed here: that is not what is counted.
    std::mem::forget((method, path, query));
    route
}

library_benchmark_group!(name = routes, benchmarks = [route]);
main!(library_benchmark_groups = [routes]);
