//! Who a record is at a CDP, and why: pure decisions, from a record's keys and what the identity map knows of their values.
//!
//! 1. `rules` holds what the mapping says of a key: its role, the values that identify nobody, how many records may share one.
//! 2. `resolve` judges each key by its rule and the [`Evidence`] of the map, in a [`Verdict`] that says why.
//! 3. `secret` makes the hashes under which the map keeps values: it holds none of them in plain.
//! 4. `remembered` is the form in which a record's verdicts stay in the state store, for `ferrygate explain`.
//!
//! No verdict rests on the order of delivery within a run: the evidence is of all keys as they were before the run's first
//! record was delivered. See `docs/decisions/0010-keys-are-read-before-records.md`.

mod remembered;
mod resolve;
mod rules;
mod secret;

pub use remembered::{Memory, Remembered, recall, remember};
pub use resolve::{Evidence, Key, Place, Refusal, Resolved, Verdict, resolve};
pub use rules::{BlockedValues, KeyRule};
pub use secret::{KeyHash, Secret, SecretError};

use sha2::{Digest, Sha256};

/// The record that a person goes on as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Successor<'m> {
    /// How it came to that.
    pub relation: Relation,
    /// The CRM's id of the other record, which is its user id at the sink as well.
    pub id: &'m str,
}

/// How a person comes to go on as another record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// Two records were merged, and the other one stays.
    Merged,
    /// A lead became a contact.
    Converted,
}

impl Relation {
    /// The relation's name in results and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Relation::Merged => "Merged",
            Relation::Converted => "Converted",
        }
    }
}

impl Successor<'_> {
    /// The fingerprint of a suppressed record that goes on as another one, from that of the suppression alone: that it was
    /// merged may be learnt after it was deleted.
    pub fn fingerprint(&self, suppression: [u8; 16]) -> [u8; 16] {
        let digest: [u8; 32] = Sha256::new_with_prefix(suppression)
            .chain_update(self.relation.as_str())
            .chain_update(self.id)
            .finalize()
            .into();
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&digest[..16]);
        fingerprint
    }
}
