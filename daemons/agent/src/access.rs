//! Who may pull.

use http::{Request, Response};
use kraken_common::answer::Cause;
use kraken_common::{AllowedClients, Body, ClientAddr};
use kraken_registry_api::failure::Failure;

/// The answer to `request` if it does not come from one of `allowed`: 403 in the registry's words.
pub(crate) fn refusal<B>(allowed: &AllowedClients, request: &Request<B>) -> Option<Response<Body>> {
    let client = request.extensions().get::<ClientAddr>().map(|client| client.0.ip());
    if client.is_some_and(|client| allowed.allows(client)) {
        return None;
    }
    let whose = client.map_or_else(String::new, |client| format!(" from {client}"));
    let message = format!("pulls{whose} are not allowed here");
    let mut answer = Failure::denied(message.clone()).into_response().map(Body::new);
    answer.extensions_mut().insert(Cause(message));
    Some(answer)
}
