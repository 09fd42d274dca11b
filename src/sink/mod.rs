//! CDPs: a folder each, all behind [`Sink`].
//!
//! Encoding is apart from delivering: an encoder turns a mapped record into the API's bytes on the transforming thread, the
//! deliverer sends batches of them and tells what the CDP refused.

use crate::api::common::Outcome;

/// Why a sink could not go on.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// How a run that meets this ends.
    pub outcome: Outcome,
    /// What happened and what to do. It holds no value of a record and no credential.
    pub message: String,
}
