//! Why a state store can't be read or written.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::api::common::Outcome;

/// Why a state store can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another run, or another pod of the same run, has opened the store since.
    #[error("run {run:?} (number {epoch}) was superseded: the state store belongs to run {by:?} (number {by_epoch})")]
    Superseded {
        /// The run that was refused.
        run: String,
        /// Its number.
        epoch: i64,
        /// The run that the store belongs to.
        by: String,
        /// Its number.
        by_epoch: i64,
    },
    /// The disk or the volume is full.
    #[error(
        "the state store {} can't grow: the disk is full ({cause}); nothing is lost, the run goes on from its last checkpoint \
         once there is room: enlarge the volume (spec.state.volume.size) or free space", path.display()
    )]
    Full {
        /// The store's file.
        path: PathBuf,
        /// SQLite's words.
        cause: String,
    },
    /// The file is not a whole SQLite database any more.
    #[error(
        "the state store {} is damaged ({cause}); it is left as it is. Restore it from a backup or, to go on from the watermark \
         in the pipeline's status, move the file away", path.display()
    )]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// SQLite's words.
        cause: String,
    },
    /// A newer Ferrygate has written the file.
    #[error(
        "the state store {} has format {found}, and this Ferrygate knows formats up to {known}: run the version that wrote it, \
         or a later one", path.display()
    )]
    TooNew {
        /// The store's file.
        path: PathBuf,
        /// The file's format.
        found: i64,
        /// The highest format that is known here.
        known: i64,
    },
    /// The file can't be opened, read or written.
    #[error("the state store {} can't be used: {cause}", path.display())]
    Unavailable {
        /// The store's file.
        path: PathBuf,
        /// The operating system's or SQLite's words.
        cause: String,
    },
}

impl StateError {
    /// How a run that meets this ends.
    pub fn outcome(&self) -> Outcome {
        match self {
            StateError::Superseded { .. } => Outcome::Superseded,
            _ => Outcome::StateUnavailable,
        }
    }

    pub(super) fn sqlite(path: &Path, error: rusqlite::Error) -> StateError {
        let path = path.to_owned();
        let cause = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StateError::Full { path, cause },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StateError::Damaged { path, cause },
            _ => match error {
                // A value of another type than the schema's strict tables allow can't have been written by us.
                rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::FromSqlConversionFailure(..) => StateError::Damaged { path, cause },
                _ => StateError::Unavailable { path, cause },
            },
        }
    }

    pub(super) fn unavailable(path: &Path, cause: impl std::fmt::Display) -> StateError {
        StateError::Unavailable {
            path: path.to_owned(),
            cause: cause.to_string(),
        }
    }
}
