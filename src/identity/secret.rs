//! The key of a pipeline's identity map, and the hashes made with it.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use secrecy::zeroize::Zeroize;
use sha2::Sha256;

/// The key's file, beside the stores whose hashes are made with it.
const FILE: &str = "identity.key";

/// A keyed hash of an identity's kind and value: the first half of an HMAC-SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; 16]);

impl fmt::Display for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

/// The key of a pipeline's identity map. Whoever may read it can tell whether a value that they know is in the map.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

/// Why the key can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The key is not there, or can't be read or made.
    #[error("the identity map's key {} can't be used: {cause}", path.display())]
    Unusable {
        /// The key's file.
        path: PathBuf,
        /// The operating system's words.
        cause: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{} is no key of an identity map: it must hold 32 bytes. Restore it; without it what the map knows is of no use, and the \
         stores beside it have to be removed with it", path.display()
    )]
    Malformed {
        /// The key's file.
        path: PathBuf,
    },
}

impl Secret {
    /// From the key's 32 bytes.
    pub fn new(key: &[u8; 32]) -> Secret {
        Secret(Hmac::new_from_slice(key).expect("an HMAC takes a key of any length"))
    }

    /// The key in a folder of state, for whoever may read it.
    ///
    /// # Errors
    /// Where there is none, or it may not be read.
    pub fn read(folder: &Path) -> Result<Secret, SecretError> {
        let path = folder.join(FILE);
        let mut bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(cause) => return Err(SecretError::Unusable { path, cause }),
        };
        let secret = <&[u8; 32]>::try_from(bytes.as_slice()).map(Secret::new);
        bytes.zeroize();
        secret.map_err(|_| SecretError::Malformed { path })
    }

    /// The key in a folder of state; it is made, readable by its owner alone, where there is none. Of two processes that make
    /// it at once, both go by the one that was first.
    ///
    /// # Errors
    /// Where it can't be read or made.
    pub fn read_or_make(folder: &Path) -> Result<Secret, SecretError> {
        let path = folder.join(FILE);
        match path.try_exists() {
            Ok(true) => return Secret::read(folder),
            Ok(false) => {}
            Err(cause) => return Err(SecretError::Unusable { path, cause }),
        }
        match make(folder, &path) {
            Ok(()) => {}
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(SecretError::Unusable { path, cause }),
        }
        Secret::read(folder)
    }

    /// The hash under which the map keeps a value of this kind.
    pub fn hash(&self, kind: &str, value: &str) -> KeyHash {
        let mut mac = self.0.clone();
        // No kind has a NUL, and so no two pairs are the same bytes.
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(value.as_bytes());
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest[..16]);
        KeyHash(hash)
    }
}

/// Written beside its place and then linked there: a reader never sees half of it, and an existing one is not replaced.
fn make(folder: &Path, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    std::fs::create_dir_all(folder)?;
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let draft = folder.join(format!("{FILE}.{}", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(&key).and_then(|()| file.sync_all()));
    key.zeroize();
    let linked = written.and_then(|()| std::fs::hard_link(&draft, path));
    let _ = std::fs::remove_file(&draft);
    linked
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_hash_of_a_kind_and_value_is_the_same_on_every_machine() {
        let secret = Secret::new(&[7; 32]);
        let hashes = [("email", "a"), ("emaila", ""), ("phone", "a")].map(|(kind, value)| secret.hash(kind, value));
        assert_ne!(hashes[0], hashes[1]);
        assert_ne!(hashes[0], hashes[2]);
        assert_eq!(hashes[0], Secret::new(&[7; 32]).hash("email", "a"));
        assert_ne!(hashes[0], Secret::new(&[8; 32]).hash("email", "a"));
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        assert!(matches!(Secret::read(&state), Err(SecretError::Unusable { .. })));
        let [first, second] = [(); 2].map(|()| Secret::read_or_make(&state).expect("a key").hash("email", "a"));
        let mode = std::fs::metadata(state.join(FILE))
            .expect("a file")
            .permissions()
            .mode();
        let files = std::fs::read_dir(&state).expect("a folder").count();
        assert_eq!((first, mode & 0o777, files), (second, 0o600, 1));
        std::fs::write(state.join(FILE), "short").expect("written");
        assert!(matches!(
            Secret::read_or_make(&state),
            Err(SecretError::Malformed { .. })
        ));
    }
}
