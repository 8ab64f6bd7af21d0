//! The registry's routes: any method, path and query.
#![no_main]

use http::Method;
use kraken_registry_api::route;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (u8, &str, Option<&str>)| {
    let (method, path, query) = data;
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PATCH,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let method = &methods[usize::from(method) % methods.len()];
    let _ = route::parse(method, path, query);
    let hex = "23dd464417d01f15d97d48244dbe893ef8d30dc77ba2f0178bc0a5b7838650a4";
    for tail in [
        format!("blobs/sha256:{hex}"),
        format!("blobs/uploads/{path}"),
        format!("manifests/{path}"),
        "tags/list".to_owned(),
    ] {
        let _ = route::parse(method, &format!("/v2/{path}/{tail}"), query);
    }
});
