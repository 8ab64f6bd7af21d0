//! What vouches for the pieces of a blob that has no sums yet.

use std::os::unix::fs::FileExt as _;

use crate::error::{Error, ErrorKind, Result};
use crate::metainfo::MetaInfo;
use crate::piece::PieceIndex;
use crate::proof::PieceProof;
use crate::provisional::Provisional;
use crate::store::blob::Blob;
use crate::store::verify::matches_blake3;

impl Blob {
    /// As [`Blob::mark`], of a piece that may be read because `proof` vouches for it; the proof is
    /// kept for those who are sent the piece. Blocks.
    pub fn mark_proven(&self, index: PieceIndex, proof: &PieceProof) -> Result<()> {
        if let Some(proofs) = &self.proofs {
            proofs.write_all_at(&proof.to_bytes(), offset_of(index)).map_err(|error| {
                Error::io(format!("keep the proof of piece {index} of {}", self.digest()), error)
            })?;
        }
        self.mark(index, true)
    }

    /// What vouches for a marked piece, if it was marked before there were sums. Still there when
    /// the blob is complete, for as long as somebody has had it open. Blocks.
    pub fn proof(&self, index: PieceIndex) -> Result<Option<PieceProof>> {
        let Some(proofs) = self.proofs.as_ref().filter(|_| self.pieces().contains(index)) else {
            return Ok(None);
        };
        let mut bytes = [0; PieceProof::LEN];
        proofs.read_exact_at(&mut bytes, offset_of(index)).map_err(|error| {
            Error::io(format!("read the proof of piece {index} of {}", self.digest()), error)
        })?;
        Ok((bytes != [0; PieceProof::LEN]).then(|| PieceProof::from_bytes(&bytes)))
    }

    /// Whether a marked piece is what was vouched for in this attempt. Whose signature it was is
    /// known: it was checked before it was written.
    pub(super) fn matches_proof(&self, meta: &Provisional, index: PieceIndex) -> Result<bool> {
        match self.proof(index)? {
            Some(proof) if proof.attempt == meta.attempt() => {
                matches_blake3(&self.file(), meta.geometry().range(index), &proof.blake3)
            }
            _ => Ok(false),
        }
    }

    /// Whether what was vouched for so far is what `meta` says; no byte of the blob is read for it.
    pub(super) fn proofs_fit(&self, meta: &MetaInfo) -> Result<bool> {
        for index in self.pieces().iter() {
            let fits = self.proof(index)?.is_some_and(|proof| {
                meta.crc32_of(index) == Some(proof.crc32)
                    && meta.blake3_of(index).is_none_or(|blake3| blake3 == proof.blake3)
            });
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The metainfo that the proofs of all pieces make.
    pub(super) fn finish_metainfo(&self, meta: &Provisional) -> Result<MetaInfo> {
        let mut proofs = Vec::with_capacity(meta.geometry().pieces() as usize);
        for index in meta.geometry().indexes() {
            let proof = self.proof(index)?.ok_or_else(|| {
                let text = format!("commit {}: nothing vouches for piece {index}", self.digest());
                Error::new(ErrorKind::Internal, text)
            })?;
            proofs.push(proof);
        }
        meta.finish(&proofs)
    }
}

fn offset_of(index: PieceIndex) -> u64 {
    u64::from(index.0) * PieceProof::LEN as u64
}
