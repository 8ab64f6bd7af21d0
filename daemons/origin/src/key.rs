//! The key by which an origin vouches for pieces of blobs that have no sums yet.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind as IoErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use kraken_core::{Error, Result, SigningKey};

/// The key in `dir`, made there when it is not. Only its owner may read it: whoever has it may pass
/// any bytes off as pieces of a blob that arrives. Blocks.
pub(crate) fn load(dir: &Path) -> Result<SigningKey> {
    let path = dir.join(NAME);
    let failed = |error| Error::io(format!("read or make the key {}", path.display()), error);
    let mut seed = [0; 32];
    match File::open(&path) {
        Ok(mut file) => {
            file.read_exact(&mut seed).map_err(failed)?;
            return Ok(SigningKey::from_seed(&seed));
        }
        Err(error) if error.kind() == IoErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    seed = random()?;
    let tmp = dir.join(format!("{NAME}.tmp"));
    // What an earlier start left there may be for others to read.
    match std::fs::remove_file(&tmp) {
        Err(error) if error.kind() != IoErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let write = options.open(&tmp).and_then(|mut file| {
        file.write_all(&seed)?;
        file.sync_all()
    });
    write.and_then(|()| std::fs::rename(&tmp, &path)).map_err(failed)?;
    Ok(SigningKey::from_seed(&seed))
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Error::io("read /dev/urandom", error))?;
    Ok(bytes)
}

const NAME: &str = "key";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let key = load(dir.path()).unwrap().public();
        assert_eq!(load(dir.path()).unwrap().public(), key);
        let mode = std::fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::remove_file(dir.path().join(NAME)).unwrap();
        let left = dir.path().join(format!("{NAME}.tmp"));
        std::fs::write(&left, b"left by a start that was killed").unwrap();
        assert_ne!(load(dir.path()).unwrap().public(), key);
        let mode = std::fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, left.exists()), (0o600, false));
        std::fs::write(dir.path().join(NAME), b"short").unwrap();
        assert!(load(dir.path()).unwrap_err().to_string().contains("/key"));
        assert_ne!(random::<16>().unwrap(), random::<16>().unwrap());
    }
}
