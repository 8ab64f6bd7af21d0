//! Hashing a blob while it is passed on.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use kraken_core::{Digest, DigestHasher, Error, ErrorKind};
use kraken_registry_api::ByteStream;

/// Passes a whole blob on, its last chunk only once all of it is known to match `digest`; a
/// mismatch breaks the stream, so no reader ever sees a complete blob of wrong bytes.
pub(crate) fn whole(bytes: ByteStream, digest: Digest) -> ByteStream {
    let state =
        State { bytes, digest, hasher: Some(DigestHasher::new(digest.algorithm())), held: None };
    stream::try_unfold(state, |mut state| async move {
        loop {
            let Some(hasher) = &mut state.hasher else { return Ok(None) };
            match state.bytes.next().await.transpose()? {
                Some(chunk) => {
                    hasher.update(&chunk);
                    if let Some(before) = state.held.replace(chunk) {
                        return Ok(Some((before, state)));
                    }
                }
                None => {
                    let got = state.hasher.take().map(DigestHasher::finish);
                    if got != Some(state.digest) {
                        return Err(Error::new(
                            ErrorKind::Mismatch,
                            format!("an origin sent other bytes for {}", state.digest),
                        ));
                    }
                    return Ok(state.held.take().map(|last| (last, state)));
                }
            }
        }
    })
    .boxed()
}

struct State {
    bytes: ByteStream,
    digest: Digest,
    /// Gone once the digest is known.
    hasher: Option<DigestHasher>,
    held: Option<Bytes>,
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;

    fn chunks(parts: &[&'static str]) -> ByteStream {
        let parts: Vec<_> =
            parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect();
        stream::iter(parts).boxed()
    }

    #[tokio::test]
    async fn right_bytes_pass_and_wrong_ones_never_end_well() {
        let digest = Digest::sha256(b"abcdef");
        let good: Vec<Bytes> =
            whole(chunks(&["ab", "cd", "ef"]), digest).try_collect().await.unwrap();
        assert_eq!(good.concat(), b"abcdef");
        let mut bad = whole(chunks(&["ab", "cd", "eX"]), digest);
        assert_eq!(bad.next().await.unwrap().unwrap(), "ab");
        assert_eq!(bad.next().await.unwrap().unwrap(), "cd");
        assert_eq!(bad.next().await.unwrap().unwrap_err().kind(), ErrorKind::Mismatch);
        let empty: Vec<Bytes> =
            whole(chunks(&[]), Digest::sha256(b"")).try_collect().await.unwrap();
        assert!(empty.is_empty());
        let short: Result<Vec<Bytes>, _> = whole(chunks(&["ab"]), digest).try_collect().await;
        assert!(short.is_err());
    }
}
