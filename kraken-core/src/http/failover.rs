//! Asking several hosts in order until one answers.

use super::failure::{is_network_error, status_of};
use crate::{Error, ErrorKind, Result};

/// Asks `hosts` in order until one answers, and returns that answer.
///
/// The next host is asked on a network error and on a status of 429 or at least 500; any other
/// failure is an answer of the system and is returned at once. `on_network_error` is told each
/// host that did not answer at all, which is what passive health counts. Without an answer the
/// last failure is returned.
pub async fn first_answering<'a, H, T, Fut>(
    hosts: &'a [H],
    mut on_network_error: impl FnMut(&'a str),
    mut ask: impl FnMut(&'a str) -> Fut,
) -> Result<T>
where
    H: AsRef<str>,
    Fut: Future<Output = Result<T>>,
{
    let mut failure = None;
    for host in hosts {
        let host = host.as_ref();
        let error = match ask(host).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if is_network_error(&error) {
            on_network_error(host);
        } else if !status_of(&error).is_some_and(|status| status == 429 || status >= 500) {
            return Err(error);
        }
        failure = Some(error);
    }
    Err(failure.unwrap_or_else(|| Error::new(ErrorKind::Unavailable, "there is no host to ask")))
}
