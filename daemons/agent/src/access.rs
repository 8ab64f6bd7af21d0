//! The port that registries' clients pull from, and who may.

use bytes::Bytes;
use http::Request;
use kraken_common::answer::Answer;
use kraken_common::{AllowedClients, Body, ClientAddr};
use kraken_registry_api::failure::Failure;
use kraken_registry_api::{Backend, Registry};

/// Answers one request for `registry`: 403 in its words if it does not come from one of `allowed`.
pub(crate) async fn answer<R, B>(
    registry: &Registry<R>,
    allowed: &AllowedClients,
    request: Request<B>,
) -> Answer
where
    R: Backend,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let response = match refusal(allowed, &request) {
        Some(refusal) => refusal.into_response(),
        None => registry.answer(request).await,
    };
    response.map(Body::new)
}

fn refusal<B>(allowed: &AllowedClients, request: &Request<B>) -> Option<Failure> {
    let client = request.extensions().get::<ClientAddr>().map(|client| client.0.ip());
    if client.is_some_and(|client| allowed.allows(client)) {
        return None;
    }
    let whose = client.map_or_else(String::new, |client| format!(" from {client}"));
    Some(Failure::denied(format!("pulls{whose} are not allowed here")))
}
