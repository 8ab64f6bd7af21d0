//! The registry's routes: any method, path and query.

use http::Method;
use kraken_registry_api::route;

/// Checks what is made of `data`: a byte for the method, then path and query.
pub fn check(data: &[u8]) {
    let Some((method, target)) = data.split_first() else { return };
    let Ok(target) = str::from_utf8(target) else { return };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PATCH,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let method = &methods[usize::from(*method) % methods.len()];
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
}
