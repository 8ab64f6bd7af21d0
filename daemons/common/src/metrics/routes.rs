//! Paths by class, so that labels stay few whatever clients ask for.

/// The class of `path`: the first of `routes` that it matches, else [`OTHER`].
///
/// A segment in braces matches any one segment; one that ends in `..}`, of which a route may have
/// one, matches one or more.
pub(crate) fn class(routes: &'static [&'static str], path: &str) -> &'static str {
    routes.iter().find(|route| matches(route, path)).copied().unwrap_or(OTHER)
}

fn matches(route: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (route.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wild), Some(_)) if wild.ends_with("..}") => break,
            (Some(wanted), Some(given)) if fits(wanted, given) => {}
            _ => return false,
        }
    }
    // What is left of the path beside the one segment that the wild one has at least.
    loop {
        match (wanted.next_back(), given.next_back()) {
            (None, _) => return true,
            (Some(wanted), Some(given)) if fits(wanted, given) => {}
            _ => return false,
        }
    }
}

fn fits(wanted: &str, given: &str) -> bool {
    wanted == given || wanted.starts_with('{') && !given.is_empty()
}

/// The paths of a registry, for [`Server::with_metrics`](crate::Server::with_metrics).
pub const REGISTRY: &[&str] = &[
    "/v2/",
    "/v2/{name..}/manifests/{reference}",
    "/v2/{name..}/blobs/uploads/",
    "/v2/{name..}/blobs/uploads/{id}",
    "/v2/{name..}/blobs/{digest}",
    "/v2/{name..}/tags/list",
    "/v2/{name..}/referrers/{digest}",
    "/v2/_catalog",
    "/health",
    "/readiness",
];

/// The class of a path that no route matches.
pub(crate) const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_by_class() {
        const ROUTES: &[&str] = &[
            "/health",
            "/v2/",
            "/v2/{name..}/blobs/uploads/{id}",
            "/v2/{name..}/blobs/{digest}",
            "/namespace/{namespace}/blobs/{digest}",
            "/list/{prefix..}",
        ];
        for (path, at) in [
            ("/health", Some(0)),
            ("/health/", None),
            ("/v2/", Some(1)),
            ("/v2", None),
            ("/v2/a/blobs/uploads/1", Some(2)),
            ("/v2/a/b/c/blobs/sha256:1", Some(3)),
            ("/v2/blobs/sha256:1", None),
            ("/v2//blobs/sha256:1", Some(3)),
            ("/namespace/a%2Fb/blobs/1", Some(4)),
            ("/namespace/a/b/blobs/1", None),
            ("/list/a/b", Some(5)),
            ("/list", None),
            ("", None),
            ("*", None),
            ("////////", None),
        ] {
            let expected = at.map_or(OTHER, |at: usize| ROUTES[at]);
            assert_eq!(class(ROUTES, path), expected, "{path}");
        }
    }
}
