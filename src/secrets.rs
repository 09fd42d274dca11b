//! Credentials: read from files that the kubelet mounts or, in `ferrygate run --files`, from Secret manifests.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use secrecy::SecretString;

use crate::api::SecretValue;
use crate::api::common::SecretKeySelector;

/// Where the controller mounts the Secrets of a Job: `MOUNT/SECRET/KEY`.
pub const MOUNT: &str = "/etc/ferrygate/secrets";

/// Where credentials are read from.
#[derive(Debug)]
pub enum Secrets {
    /// A folder with a folder a Secret and a file a key.
    Directory(PathBuf),
    /// Secret manifests that were read from files.
    Manifests(BTreeMap<SecretKeySelector, SecretString>),
}

/// Why a credential could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The Secret or the key is not there.
    #[error(
        "Secret {secret:?} has no key {key:?}, or does not exist; create it in this namespace, for example with \
         `kubectl create secret generic {secret} --from-file={key}=FILE`"
    )]
    Missing {
        /// The Secret's name.
        secret: String,
        /// The key.
        key: String,
    },
    /// The key is there and can't be read as text.
    #[error("key {key:?} of Secret {secret:?} can't be read: {cause}")]
    Unreadable {
        /// The Secret's name.
        secret: String,
        /// The key.
        key: String,
        /// Why, without the value.
        cause: io::Error,
    },
}

impl Secrets {
    /// The value of one key, without white space at its end (which `--from-file` brings along).
    pub fn read(&self, value: &SecretValue) -> Result<SecretString, SecretError> {
        let selector = &value.secret_key_ref;
        let missing = || SecretError::Missing {
            secret: selector.name.clone(),
            key: selector.key.clone(),
        };
        match self {
            Secrets::Manifests(values) => values.get(selector).cloned().ok_or_else(missing),
            Secrets::Directory(directory) => {
                match std::fs::read_to_string(directory.join(&selector.name).join(&selector.key)) {
                    Ok(text) => Ok(SecretString::from(text.trim_end())),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
                    Err(cause) => Err(SecretError::Unreadable {
                        secret: selector.name.clone(),
                        key: selector.key.clone(),
                        cause,
                    }),
                }
            }
        }
    }
}
