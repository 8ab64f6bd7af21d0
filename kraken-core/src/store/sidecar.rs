//! Small files beside a blob's `data`.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::ids::Namespace;
use crate::store::{VERIFIES_BLOBS, limits, write_backs};
use crate::{limits as core_limits, metainfo::MetaInfo};

/// One small file that lies beside a blob, by name and content.
///
/// Names of the store's own (`_status`, `_verified`, `_last_access_time`) cannot be made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    name: Cow<'static, str>,
    bytes: Vec<u8>,
}

impl Sidecar {
    /// Metainfo as JSON.
    pub const TORRENT_META: &'static str = "_torrentmeta";
    /// `true` while the blob is not yet written back: it is neither evicted nor deleted.
    pub const PERSIST: &'static str = "_persist";
    /// The namespaces that say where the blob is written back to, one a line; uber/kraken has no
    /// such file.
    pub const NAMESPACE: &'static str = "_namespace";

    /// A sidecar of any other name: an underscore, then letters, digits, underscores, dashes.
    pub fn new(name: impl Into<Cow<'static, str>>, bytes: Vec<u8>) -> Result<Self> {
        let name = name.into();
        check_name(&name)?;
        if bytes.len() > len_max(&name) {
            let text = format!("sidecar {name} of {} bytes", bytes.len());
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        Ok(Self { name, bytes })
    }

    /// `_persist`: the blob stays until it is removed.
    pub fn persist() -> Self {
        Self { name: Self::PERSIST.into(), bytes: b"true".to_vec() }
    }

    /// `_namespace` with one namespace; a blob that is there already adds it to its own (see
    /// [`Store::add_write_back`](super::Store::add_write_back)).
    pub fn namespace(namespace: &Namespace) -> Self {
        Self { name: Self::NAMESPACE.into(), bytes: write_backs::encode(namespace) }
    }

    /// `_torrentmeta`.
    pub fn torrent_meta(meta: &MetaInfo) -> Self {
        Self { name: Self::TORRENT_META.into(), bytes: meta.to_json() }
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether this is `_persist` and says that the blob must stay.
    pub(super) fn is_persist(&self) -> bool {
        self.name == Self::PERSIST && persists(&self.bytes)
    }
}

/// One byte a piece: 0 or 1.
pub(super) const STATUS: &str = "_status";
/// Provisional metainfo as JSON, in place of `_torrentmeta`. uber/kraken has no such file.
pub(super) const PROVISIONAL: &str = "_provisional";
/// A proof of [`PieceProof::LEN`](crate::PieceProof::LEN) bytes for each piece, zeros where there
/// is none. uber/kraken has no such file.
pub(super) const PROOFS: &str = "_proofs";
/// When the blob was last opened.
pub(super) const ACCESS_TIME: &str = "_last_access_time";
/// What the data file looked like when its digest was last checked.
pub(super) const VERIFIED: &str = "_verified";
/// What a sidecar's name ends with while it is being written.
pub(super) const TMP_SUFFIX: &str = ".tmp";

/// Refuses names that are the store's own or no sidecar's.
pub(super) fn check_name(name: &str) -> Result<()> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let valid = name.len() <= limits::SIDECAR_NAME_LEN_MAX
        && name.strip_prefix('_').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(word))
        && ![STATUS, PROVISIONAL, PROOFS, ACCESS_TIME, VERIFIED].contains(&name);
    if valid {
        Ok(())
    } else {
        Err(Error::invalid(format!("sidecar {:?}: not a valid name", crate::digest::clip(name))))
    }
}

/// The longest content a sidecar of this name may have.
fn len_max(name: &str) -> usize {
    match name {
        Sidecar::TORRENT_META => core_limits::METAINFO_BYTES_MAX,
        STATUS => core_limits::PIECES_MAX as usize,
        _ => limits::SIDECAR_BYTES_MAX,
    }
}

/// Writes a sidecar beside its final name and renames it there, so that a reader meets the old
/// content or the new, never a part. One writer per entry at a time.
pub(super) fn write(entry: &Path, name: &str, bytes: &[u8], durable: bool) -> Result<()> {
    let tmp = entry.join(format!("{name}{TMP_SUFFIX}"));
    let written = File::create(&tmp)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            if durable { file.sync_all() } else { Ok(()) }
        })
        .and_then(|()| fs::rename(&tmp, entry.join(name)));
    written.map_err(|error| {
        // The first error counts; what is left is cleaned at the next start.
        let _ = fs::remove_file(&tmp);
        Error::io(format!("write {name} in {}", entry.display()), error)
    })
}

/// A sidecar's content; `None` where there is no such file.
pub(super) fn read(entry: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let len_max = len_max(name) as u64;
    let attempt = || -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(entry.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(len_max + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    };
    match attempt() {
        Ok(Some(bytes)) if bytes.len() as u64 > len_max => Err(Error::new(
            ErrorKind::TooLarge,
            format!("{name} in {}: more than {len_max} bytes", entry.display()),
        )),
        Ok(found) => Ok(found),
        Err(error) => Err(Error::io(format!("read {name} in {}", entry.display()), error)),
    }
}

/// Removes a sidecar; whether it was there.
pub(super) fn remove(entry: &Path, name: &str) -> Result<bool> {
    match fs::remove_file(entry.join(name)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(format!("remove {name} in {}", entry.display()), error)),
    }
}

/// Whether the content of `_persist` says that the blob must stay. What cannot be read as Go's
/// `strconv.ParseBool` would read `false` counts as true: losing a blob is the worse mistake.
pub(super) fn persists(content: &[u8]) -> bool {
    !matches!(content, b"false" | b"FALSE" | b"False" | b"f" | b"F" | b"0")
}

/// The content of `_last_access_time`: eight bytes that begin with Go's zig-zag varint of unix
/// seconds, the rest zero.
pub(super) fn encode_access_time(unix_secs: u64) -> [u8; 8] {
    let mut bytes = [0; 8];
    let mut rest = unix_secs << 1;
    for byte in &mut bytes {
        *byte = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            break;
        }
        *byte |= 0x80;
    }
    bytes
}

/// The inverse of [`encode_access_time`]; `None` for what is no varint or lies before 1970.
pub(super) fn decode_access_time(bytes: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return (value & 1 == 0).then_some(value >> 1);
        }
    }
    None
}

/// The content of `_verified` for a data file as it is now: its length, time of change and inode,
/// and the boot in which it was checked where it was not flushed to disk. A file of another look
/// is hashed before it is used.
pub(super) fn verified_stamp(file: &File, durable: bool) -> Result<String> {
    let stat = file.metadata().map_err(|error| Error::io("stat a blob", error))?;
    let boot = if durable { "durable".into() } else { boot_id() };
    let check = if VERIFIES_BLOBS { "checked" } else { "unchecked" };
    Ok(format!(
        "1 {} {}.{:09} {} {check} {boot}\n",
        stat.size(),
        stat.mtime(),
        stat.mtime_nsec(),
        stat.ino()
    ))
}

/// Whether `stored`, the content of `_verified`, describes the file as it is now.
pub(super) fn is_verified(stored: &[u8], file: &File) -> Result<bool> {
    for durable in [true, false] {
        if stored == verified_stamp(file, durable)?.as_bytes() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Changes whenever the machine starts; what the page cache had not written is lost then.
fn boot_id() -> String {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => id.trim().to_owned(),
        // Then no stamp ever matches what the last boot wrote, at the cost of hashing again.
        Err(_) => format!("process-{}", std::process::id()),
    }
}
