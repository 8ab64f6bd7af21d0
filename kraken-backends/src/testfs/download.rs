//! A range cut out of a whole file as it arrives.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use kraken_core::http::ResponseBody;
use kraken_core::{Error, ErrorKind, Result};

use crate::name::ObjectName;
use crate::source::BlobStream;

/// A body on its way to the end of a range.
struct Cut {
    body: ResponseBody,
    name: ObjectName,
    /// How much of the body has come.
    position: u64,
    /// How long the body must be.
    len: u64,
    range: Range<u64>,
}

/// The bytes `range` of a body of `len` bytes. The stream fails with `Mismatch` if the body, as far
/// as it is read, is shorter or longer: then it is not the file whose size was asked.
pub(super) fn cut(body: ResponseBody, name: ObjectName, len: u64, range: Range<u64>) -> BlobStream {
    let cut = Cut { body, name, position: 0, len, range };
    stream::try_unfold(cut, |mut cut| async move {
        let chunk = cut.next().await?;
        Ok(chunk.map(|chunk| (chunk, cut)))
    })
    .boxed()
}

impl Cut {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.position < self.range.end {
            let Some(mut chunk) = self.body.chunk().await? else {
                return Err(self.mismatch("is shorter"));
            };
            let before = bounded(self.range.start.saturating_sub(self.position), chunk.len());
            self.position = self.position.saturating_add(chunk.len() as u64);
            let beyond = bounded(self.position.saturating_sub(self.range.end), chunk.len());
            if self.position > self.len {
                return Err(self.mismatch("is longer"));
            }
            chunk.truncate(chunk.len() - beyond);
            let chunk = chunk.split_off(before.min(chunk.len()));
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
        // Also lets the connection be used again.
        if self.range.end == self.len && self.body.chunk().await?.is_some() {
            return Err(self.mismatch("is longer"));
        }
        Ok(None)
    }

    fn mismatch(&self, how: &str) -> Error {
        let message = format!("download {}: what came {how} than {} bytes", self.name, self.len);
        Error::new(ErrorKind::Mismatch, message)
    }
}

fn bounded(count: u64, max: usize) -> usize {
    usize::try_from(count).unwrap_or(max).min(max)
}
