//! What a CDP answers to the request to erase people.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// What became of a request to erase people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The CDP has taken it on; its id there.
    Taken(String),
    /// The CDP refuses it for its content: with fewer people in it, it might be taken.
    Refused(String),
    /// The quota is used up: the CDP takes none before this instant.
    Later(Timestamp),
}

/// How an erasure stands that the CDP has taken on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is not done.
    Running,
    /// It is done; the API's word for that.
    Finished(String),
    /// It has ended, and not all is erased.
    Failed {
        /// The API's word.
        status: String,
        /// What happened and what to do.
        advice: String,
    },
}

/// A request that was sent, and of which it is not known whether it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// When it was first sent.
    pub since: Timestamp,
    /// What [`subjects_hash`] gives of those whose erasure it asked for.
    pub subjects: [u8; 32],
    /// Requests that are known from around that time: it is none of them.
    pub known: Vec<String>,
}

/// A hash of a set of people, in whatever order they come.
pub fn subjects_hash<'s>(subjects: impl IntoIterator<Item = &'s str>) -> [u8; 32] {
    let mut subjects: Vec<&str> = subjects.into_iter().collect();
    subjects.sort_unstable();
    let mut hash = Sha256::new();
    for subject in subjects {
        hash.update((subject.len() as u64).to_le_bytes());
        hash.update(subject);
    }
    hash.finalize().into()
}
