//! Work that blocks, off the runtime's own threads.

use kraken_core::{Error, ErrorKind, Result};

/// Runs `work` on the runtime's blocking threads; `what` it is goes into the error when the runtime
/// shuts down before it ran.
///
/// Not cancel safe in one sense: work that has begun runs to its end although nobody waits.
pub async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::new(ErrorKind::Cancelled, what).with_source(error)),
    }
}
