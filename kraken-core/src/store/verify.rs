//! Reading a file to check what it holds.

use std::fs::File;
use std::io;
use std::ops::Range;

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};

use crate::digest::{Algorithm, Digest, DigestHasher};
use crate::error::{Error, Result};
use crate::metainfo::{MetaInfo, PieceHasher};
use crate::piece::{Geometry, PieceIndex};
use crate::store::limits;

/// A digest over the bytes from the start up to a point that moves on.
#[derive(Debug)]
pub(super) struct Frontier {
    algorithm: Algorithm,
    hasher: DigestHasher,
    hashed: u64,
}

impl Frontier {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, hasher: DigestHasher::new(algorithm), hashed: 0 }
    }

    /// Forgets all bytes taken.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.algorithm);
    }

    /// How many bytes have been taken.
    pub(super) fn hashed(&self) -> u64 {
        self.hashed
    }

    /// Takes the next bytes from memory.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.hashed += bytes.len() as u64;
    }

    /// Takes the bytes up to `end` from the file.
    pub(super) fn advance(&mut self, file: &File, end: u64) -> Result<()> {
        let start = self.hashed;
        read_chunks(file, start, end, |chunk| self.update(chunk))
    }

    /// The digest of all bytes up to `len`, by `algorithm`, which may be another than the one
    /// begun with. It can go on from there.
    pub(super) fn digest(&mut self, file: &File, len: u64, algorithm: Algorithm) -> Result<Digest> {
        if algorithm != self.algorithm || self.hashed > len {
            *self = Self::new(algorithm);
        }
        self.advance(file, len)?;
        Ok(self.hasher.clone().finish())
    }
}

/// Whether the file's bytes hash to the digest.
pub(super) fn matches_digest(file: &File, len: u64, digest: &Digest) -> Result<bool> {
    let mut frontier = Frontier::new(digest.algorithm());
    Ok(frontier.digest(file, len, digest.algorithm())? == *digest)
}

/// Whether a piece's bytes match its BLAKE3, or its CRC32 where the metainfo has no BLAKE3.
pub(super) fn matches_piece(file: &File, meta: &MetaInfo, index: PieceIndex) -> Result<bool> {
    let range = meta.geometry().range(index);
    if let Some(wanted) = meta.blake3_of(index) {
        return matches_blake3(file, range, &wanted);
    }
    let mut hasher = crc32fast::Hasher::new();
    read_chunks(file, range.start, range.end, |chunk| hasher.update(chunk))?;
    Ok(meta.crc32_of(index) == Some(hasher.finalize()))
}

/// Whether a run of bytes has this BLAKE3.
pub(super) fn matches_blake3(file: &File, range: Range<u64>, wanted: &[u8; 32]) -> Result<bool> {
    let mut hasher = blake3::Hasher::new();
    read_chunks(file, range.start, range.end, |chunk| {
        hasher.update(chunk);
    })?;
    Ok(hasher.finalize().as_bytes() == wanted)
}

/// Computes all sums of a blob on disk.
pub(super) fn metainfo_of(file: &File, digest: Digest, geometry: Geometry) -> Result<MetaInfo> {
    let mut hasher = PieceHasher::new(geometry);
    read_chunks(file, 0, geometry.blob_len(), |chunk| hasher.update(chunk))?;
    hasher.finish(digest)
}

fn read_chunks(file: &File, start: u64, end: u64, mut take: impl FnMut(&[u8])) -> Result<()> {
    let mut at = start;
    let mut chunk = Vec::with_capacity(end.saturating_sub(start).min(CHUNK_LEN) as usize);
    while at < end {
        let failed = |error: io::Error| Error::io(format!("read bytes at {at} to verify"), error);
        // Memory that nobody cleared before; what is read past the end is left out.
        chunk.clear();
        match pread(file, spare_capacity(&mut chunk), at) {
            Ok(0) => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(failed(error.into())),
        }
        chunk.truncate(usize::try_from(end - at).unwrap_or(usize::MAX));
        take(&chunk);
        at += chunk.len() as u64;
    }
    Ok(())
}

const CHUNK_LEN: u64 = limits::READ_LEN as u64;
