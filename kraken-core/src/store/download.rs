//! Blobs that arrive piece by piece.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::{Arc, Weak};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::bitfield::Bitfield;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::metainfo::MetaInfo;
use crate::proof::PieceProof;
use crate::provisional::TorrentMeta;
use crate::store::blob::{Arriving, Blob};
use crate::store::cache::Store;
use crate::store::evict::Charge;
use crate::store::index::{Exclusive, Partial};
use crate::store::layout::DATA;
use crate::store::sidecar::{self, Sidecar};
use crate::store::verify::metainfo_of;

impl Store {
    /// Opens the blob of `meta` to download it, or what there is of it: the complete blob if it is
    /// in the cache, the arriving one with every marked piece checked again, or an empty one of
    /// full length. What was begun under other sums or another geometry is begun anew, unless
    /// somebody has it open: then it is `ErrorKind::Conflict`. `ErrorKind::Mismatch` where the
    /// complete blob does not fit `meta`, `ErrorKind::NoSpace` where it finds no room.
    ///
    /// Idempotent. Blocks, for up to the time it takes to read what is there.
    pub fn open_download(&self, meta: &MetaInfo) -> Result<Arc<Blob>> {
        self.open_torrent(&TorrentMeta::Final(meta.clone()))
    }

    /// As [`Store::open_download`], also of a blob that has no sums yet. What was begun in another
    /// attempt, or with sums that are of no use, is begun anew; what has sums keeps them.
    pub fn open_torrent(&self, meta: &TorrentMeta) -> Result<Arc<Blob>> {
        let exclusive = self.inner.exclusive(&meta.digest());
        if let Some(blob) = exclusive.load_cached()? {
            exclusive.adopt(&blob, meta)?;
            return Ok(blob);
        }
        if let Some(blob) = exclusive.open_partial() {
            exclusive.join(&blob, meta)?;
            return Ok(blob);
        }
        match exclusive.resume(Some(meta))? {
            Some(blob) => Ok(blob),
            None => exclusive.begin(meta),
        }
    }

    /// The arriving blob of this digest, with every marked piece checked again; `None` where
    /// there is none. Blocks, for up to the time it takes to read what is there.
    pub fn arriving(&self, digest: &Digest) -> Result<Option<Arc<Blob>>> {
        if !self.inner.index().has_partial(digest) {
            return Ok(None);
        }
        let exclusive = self.inner.exclusive(digest);
        match exclusive.open_partial() {
            Some(blob) => Ok(Some(blob)),
            // It may have become complete meanwhile.
            None => match exclusive.resume(None)? {
                Some(blob) => Ok(Some(blob)),
                None => exclusive.load_cached(),
            },
        }
    }
}

impl Exclusive<'_> {
    /// The handle of an arriving blob, if somebody has it.
    fn open_partial(&self) -> Option<Arc<Blob>> {
        let index = self.store().index();
        let open = index.slots.get(self.digest())?.partial.as_ref()?.open.upgrade();
        drop(index);
        open
    }

    /// Gives a complete blob the metainfo it is asked for by, if that is true of its bytes.
    fn adopt(&self, blob: &Blob, meta: &TorrentMeta) -> Result<()> {
        let lie = || Error::new(ErrorKind::Mismatch, format!("metainfo of {}", self.digest()));
        let meta = match meta {
            TorrentMeta::Final(meta) => meta,
            TorrentMeta::Provisional(meta) if meta.geometry().blob_len() == blob.len() => {
                return Ok(());
            }
            TorrentMeta::Provisional(_) => return Err(lie()),
        };
        if blob.metainfo().is_some_and(|held| sums_say_no_less(&held, meta)) {
            return Ok(());
        }
        if meta.geometry().blob_len() != blob.len() {
            return Err(lie());
        }
        let found = metainfo_of(&blob.file(), *self.digest(), meta.geometry())?;
        if !sums_say_no_less(&found, meta) {
            return Err(lie());
        }
        blob.replace_metainfo_locked(self, &found)
    }

    /// Gives an arriving blob what `meta` has beyond its own metainfo, with every marked piece
    /// checked against it.
    fn join(&self, blob: &Blob, meta: &TorrentMeta) -> Result<()> {
        match (blob.torrent_meta(), meta) {
            (Some(held), _) if says_no_less(&held, meta) => Ok(()),
            (Some(held), TorrentMeta::Final(sums)) if says_no_less(meta, &held) => {
                if held.as_final().is_some() {
                    blob.check_marks(meta)?;
                } else if !blob.proofs_fit(sums)? {
                    let text = format!("metainfo of {}: its pieces are others", self.digest());
                    return Err(Error::new(ErrorKind::Mismatch, text));
                }
                blob.replace_metainfo_locked(self, sums)
            }
            _ => Err(Error::new(
                ErrorKind::Conflict,
                format!("download {}: it arrives under other metainfo", self.digest()),
            )),
        }
    }

    /// Opens what is on disk and checks its marked pieces; `None` where there is nothing, or
    /// nothing that fits `wanted`: then the rest has been removed.
    fn resume(&self, wanted: Option<&TorrentMeta>) -> Result<Option<Arc<Blob>>> {
        let store = self.store();
        if !store.index().has_partial(self.digest()) {
            return Ok(None);
        }
        let dir = store.layout.download(self.digest())?;
        let Some(parts) = self.read_partial(&dir, wanted)? else {
            self.throw_away_partial()?;
            return Ok(None);
        };
        let meta = parts.meta.clone();
        let blob = self.hand_out(parts);
        blob.check_marks(&meta)?;
        Ok(Some(blob))
    }

    /// What the files of an arriving blob say; `None` where they do not fit one another or
    /// `wanted`.
    fn read_partial(&self, dir: &Path, wanted: Option<&TorrentMeta>) -> Result<Option<Arriving>> {
        let json = match sidecar::read(dir, Sidecar::TORRENT_META)? {
            Some(json) => Some(json),
            None => sidecar::read(dir, sidecar::PROVISIONAL)?,
        };
        let stored = json
            .and_then(|json| TorrentMeta::from_json(&json).ok())
            .filter(|meta| meta.digest() == *self.digest());
        let Some(stored) = stored else { return Ok(None) };
        let meta = match wanted {
            None => stored,
            Some(wanted) if says_no_less(&stored, wanted) => stored,
            Some(wanted) if says_no_less(wanted, &stored) => {
                write_meta(dir, wanted, self.store().layout.durable())?;
                wanted.clone()
            }
            Some(_) => return Ok(None),
        };
        let statuses = sidecar::read(dir, sidecar::STATUS)?.unwrap_or_default();
        let geometry = meta.geometry();
        if statuses.len() as u64 != u64::from(geometry.pieces()) {
            return Ok(None);
        }
        let mut pieces = Bitfield::new(geometry.pieces());
        for (index, status) in geometry.indexes().zip(&statuses) {
            if *status == 1 {
                pieces.set(index);
            }
        }
        let open = |name: &str| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(dir.join(name))
                .map_err(|error| Error::io(format!("open {name} in {}", dir.display()), error))
        };
        let (file, status) = (open(DATA)?, open(sidecar::STATUS)?);
        // There are none where sums were there from the start.
        let proofs = open(sidecar::PROOFS).ok();
        let stat =
            file.metadata().map_err(|error| Error::io(format!("stat {}", dir.display()), error))?;
        let fits = stat.len() == geometry.blob_len();
        let provable = proofs.is_some() || meta.as_final().is_some();
        Ok((fits && provable).then_some(Arriving { meta, file, status, proofs, pieces }))
    }

    /// Makes the files of a blob of which nothing is here.
    fn begin(&self, meta: &TorrentMeta) -> Result<Arc<Blob>> {
        let store = self.store();
        let dir = store.layout.download(self.digest())?;
        let len = meta.geometry().blob_len();
        let charge = Charge::admit(store, len)?;
        let created = store.with_room(len, || self.create_files(&dir, meta));
        let (file, status, proofs) = created.inspect_err(|_| {
            // The first failure counts; what is left is cleaned at the next start.
            let _ = store.layout.remove_entry(&dir);
        })?;
        let pieces = Bitfield::new(meta.geometry().pieces());
        store.index().put_partial(self.digest(), Partial { len, open: Weak::new() });
        charge.hand_over();
        Ok(self.hand_out(Arriving { meta: meta.clone(), file, status, proofs, pieces }))
    }

    /// The metainfo comes last: an entry without it is not begun.
    fn create_files(&self, dir: &Path, meta: &TorrentMeta) -> Result<(File, File, Option<File>)> {
        let layout = &self.store().layout;
        layout.remove_entry(dir)?;
        layout.make_dir(dir)?;
        let create = |name: &str, len: u64| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .open(dir.join(name))
                .and_then(|file| allocate(&file, len).map(|()| file))
                .map_err(|error| {
                    Error::io(format!("make {name} of {len} bytes in {}", dir.display()), error)
                })
        };
        let file = create(DATA, meta.geometry().blob_len())?;
        let pieces = u64::from(meta.geometry().pieces());
        let status = create(sidecar::STATUS, pieces)?;
        let proofs = match meta {
            TorrentMeta::Provisional(_) => {
                Some(create(sidecar::PROOFS, pieces * PieceProof::LEN as u64)?)
            }
            TorrentMeta::Final(_) => None,
        };
        write_meta(dir, meta, layout.durable())?;
        Ok((file, status, proofs))
    }

    /// Makes the one handle.
    fn hand_out(&self, parts: Arriving) -> Arc<Blob> {
        let blob = Blob::arriving(self.store(), parts);
        let mut index = self.store().index();
        let slot = index.slots.get_mut(self.digest());
        if let Some(partial) = slot.and_then(|slot| slot.partial.as_mut()) {
            partial.open = Arc::downgrade(&blob);
        }
        index.touch(self.digest());
        drop(index);
        blob
    }

    /// Removes an arriving blob; whether there was one.
    pub(super) fn throw_away_partial(&self) -> Result<bool> {
        if let Some(blob) = self.open_partial() {
            blob.discard_locked(self)?;
            return Ok(true);
        }
        let store = self.store();
        if !store.index().has_partial(self.digest()) {
            return Ok(false);
        }
        store.layout.remove_entry(&store.layout.download(self.digest())?)?;
        store.index().remove_partial(self.digest());
        store.notify();
        Ok(true)
    }
}

/// Writes metainfo beside the bytes; what is provisional gives way to what is final.
fn write_meta(dir: &Path, meta: &TorrentMeta, durable: bool) -> Result<()> {
    match meta {
        TorrentMeta::Provisional(_) => {
            sidecar::write(dir, sidecar::PROVISIONAL, &meta.to_json(), durable)
        }
        TorrentMeta::Final(_) => {
            sidecar::write(dir, Sidecar::TORRENT_META, &meta.to_json(), durable)?;
            sidecar::remove(dir, sidecar::PROVISIONAL).map(drop)
        }
    }
}

/// Whether nothing is missing from `held` that `wanted` says. What is final says all that the
/// provisional metainfo of the same geometry does.
fn says_no_less(held: &TorrentMeta, wanted: &TorrentMeta) -> bool {
    match (held, wanted) {
        (TorrentMeta::Final(held), TorrentMeta::Final(wanted)) => sums_say_no_less(held, wanted),
        (TorrentMeta::Final(held), TorrentMeta::Provisional(wanted)) => {
            held.geometry() == wanted.geometry()
        }
        (TorrentMeta::Provisional(held), TorrentMeta::Provisional(wanted)) => {
            held.geometry() == wanted.geometry() && held.attempt() == wanted.attempt()
        }
        (TorrentMeta::Provisional(_), TorrentMeta::Final(_)) => false,
    }
}

/// Whether `held` says all that `wanted` says: the same geometry and sums, and the same piece
/// digests if `wanted` has any.
fn sums_say_no_less(held: &MetaInfo, wanted: &MetaInfo) -> bool {
    held.info_hash() == wanted.info_hash()
        && held.geometry() == wanted.geometry()
        && (wanted.sums().blake3.is_none() || held.sums().blake3 == wanted.sums().blake3)
}

/// Gives a file its full length with room on disk for it, where the file system can: then a full
/// disk is known now and not half-way.
fn allocate(file: &File, len: u64) -> std::io::Result<()> {
    if len > 0 {
        loop {
            match fallocate(file, FallocateFlags::empty(), 0, len) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    file.set_len(len)
}
