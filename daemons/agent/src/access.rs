//! The port that registries' clients pull from: who may, and what the log is told of refusals.

use bytes::Bytes;
use http::{Request, Response};
use kraken_common::answer::{self, Answer};
use kraken_common::{AllowedClients, Body, ClientAddr};
use kraken_registry_api::failure::{Failure, Reason};
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
    logged(response)
}

fn refusal<B>(allowed: &AllowedClients, request: &Request<B>) -> Option<Failure> {
    let client = request.extensions().get::<ClientAddr>().map(|client| client.0.ip());
    if client.is_some_and(|client| allowed.allows(client)) {
        return None;
    }
    let whose = client.map_or_else(String::new, |client| format!(" from {client}"));
    Some(Failure::denied(format!("pulls{whose} are not allowed here")))
}

/// The registry's answer, with the reason of a refusal where the access log finds it.
fn logged(mut response: Response<kraken_registry_api::Body>) -> Answer {
    let reason = response.extensions_mut().remove::<Reason>();
    let answer = response.map(Body::new);
    match reason {
        Some(Reason(reason)) => answer::because(answer, reason),
        None => answer,
    }
}
