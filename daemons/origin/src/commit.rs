//! From an upload to a blob: verified, with its metainfo beside it.

use std::sync::Arc;

use kraken_common::blocking;
use kraken_core::store::{Blob, Sidecar, Upload};
use kraken_core::{Digest, Error, ErrorKind, Result};

use crate::parts::Parts;

/// Verifies an upload and commits it with its metainfo and other sidecars.
pub(crate) async fn commit_upload(
    parts: &Parts,
    upload: Upload,
    digest: &Digest,
    mut sidecars: Vec<Sidecar>,
) -> Result<Arc<Blob>> {
    let (wanted, piece_lengths) = (*digest, parts.piece_lengths.clone());
    blocking("write an upload", move || {
        upload.verify(&wanted)?;
        let piece_len = piece_lengths.for_blob(upload.len());
        let metainfo = upload.compute_metainfo(&wanted, piece_len)?;
        sidecars.push(Sidecar::torrent_meta(&metainfo));
        upload.commit(&wanted, &sidecars).map_err(|error| give_up_if_full(&upload, error))
    })
    .await
}

/// What a full disk stopped is thrown away at once: left for later it would keep the disk full.
pub(crate) fn give_up_if_full(upload: &Upload, error: Error) -> Error {
    if error.kind() == ErrorKind::NoSpace
        && let Err(error) = upload.cancel()
    {
        tracing::warn!(%error, "an upload that does not fit could not be removed");
    }
    error
}
