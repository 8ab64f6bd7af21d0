//! Work that goes on beside the requests for as long as a role runs.

use std::future::Future;

use tokio::task::JoinHandle;

/// A task that nobody waits for until its owner closes it; it ends with its owner in any case.
#[derive(Debug)]
pub struct Companion(JoinHandle<()>);

impl Companion {
    /// Starts `work`, which must bear being dropped at any await. Must be called inside a tokio
    /// runtime.
    pub fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Ends the work, and returns when it has ended.
    pub async fn close(mut self) {
        self.0.abort();
        if let Err(error) = (&mut self.0).await
            && error.is_panic()
        {
            tracing::error!(%error, "work beside the requests ended abnormally");
        }
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn closing_ends_what_never_ends() {
        let held = Arc::new(());
        let work = |held: Arc<()>| async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        let companion = Companion::spawn(work(Arc::clone(&held)));
        tokio::task::yield_now().await;
        companion.close().await;
        assert_eq!(Arc::strong_count(&held), 1);
        drop(Companion::spawn(work(Arc::clone(&held))));
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
