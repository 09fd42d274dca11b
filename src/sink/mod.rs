//! CDPs: a folder each, all behind [`Sink`].
//!
//! Encoding is apart from delivering: an encoder turns a mapped record into the API's bytes on the transforming thread, the
//! deliverer sends batches of them and tells what the CDP refused.

mod erasure;
mod provenance;
pub mod segment;

pub use erasure::{Asked, Sought, Standing, subjects_hash};
pub use provenance::Provenance;
pub use segment::{Batch, EncodeError, Encoded, Encoder};

use crate::api::CdpSinkSpec;
use crate::api::common::Outcome;
use crate::secrets::Secrets;

/// A CDP.
#[derive(Clone, Debug)]
pub enum Sink {
    /// The Segment HTTP Tracking API, or a compatible one.
    Segment(segment::Segment),
}

impl Sink {
    /// Validates the configuration and reads the credentials. Nothing is sent: [`Sink::probe`] does that.
    ///
    /// # Errors
    /// `ConfigurationInvalid` where the resource or a Secret is wrong.
    pub async fn connect(spec: &CdpSinkSpec, secrets: &Secrets) -> Result<Sink, SinkError> {
        segment::Segment::new(spec, secrets).map(Sink::Segment)
    }

    /// Whether the CDP answers, and does not refuse the credentials. Segment itself answers 200 to any write key, so that
    /// there a success says no more than that the endpoint is reached.
    ///
    /// # Errors
    /// `SinkRefused` where no retry helps, `SinkUnavailable` otherwise.
    pub async fn probe(&self) -> Result<(), SinkError> {
        match self {
            Sink::Segment(segment) => segment.probe().await,
        }
    }

    /// What turns mapped records into this CDP's bytes. It is cheap to clone and does no IO.
    pub fn encoder(&self) -> Encoder {
        match self {
            Sink::Segment(segment) => segment.encoder(),
        }
    }

    /// An empty batch with this API's limits.
    pub fn batch(&self) -> Batch {
        match self {
            Sink::Segment(segment) => segment.batch(),
        }
    }

    /// Sends one batch. Passing errors are retried, with jitter or when the CDP says so, for two minutes at most; a batch that
    /// the CDP refuses for its content is divided until the culprits stand alone. An item whose consent has ended is not sent,
    /// nor sent again. Returns what was not taken; all else is, in the sense that this API gives to its answer.
    ///
    /// # Errors
    /// `SinkRefused` where the CDP refuses the credentials, the endpoint, or every item; `SinkUnavailable` where it can't be
    /// reached. Some of the batch may have been taken: what is sent again carries the same message ids.
    pub async fn deliver(&self, batch: &Batch) -> Result<Delivered, SinkError> {
        match self {
            Sink::Segment(segment) => segment.deliver(batch).await,
        }
    }

    /// What the CDP is asked for by [`Sink::erase`], in its API's word, and of how many people at once at most. None where the
    /// sink names no privacy API.
    pub fn erasure(&self) -> Option<(&'static str, usize)> {
        match self {
            Sink::Segment(segment) => segment.erasure(),
        }
    }

    /// Asks the CDP to erase people by their user ids. Passing errors are retried for two minutes at most, each after a look
    /// whether the try before has arrived, which is none of the `known` ones.
    ///
    /// # Errors
    /// `SinkRefused` where the CDP refuses the credentials or the endpoint; `SinkUnavailable` where it can't be reached. The
    /// request may have arrived all the same: [`Sink::find_erasure`] tells.
    pub async fn erase(&self, subjects: &[String], known: Vec<String>) -> Result<Asked, SinkError> {
        match self {
            Sink::Segment(segment) => segment.erase(subjects, known).await,
        }
    }

    /// Looks whether a request has arrived; its id at the CDP.
    ///
    /// # Errors
    /// As [`Sink::erase`].
    pub async fn find_erasure(&self, sought: &Sought) -> Result<Option<String>, SinkError> {
        match self {
            Sink::Segment(segment) => segment.find_erasure(sought).await,
        }
    }

    /// How an erasure stands that the CDP has taken on.
    ///
    /// # Errors
    /// As [`Sink::erase`].
    pub async fn standing(&self, regulation: &str) -> Result<Standing, SinkError> {
        match self {
            Sink::Segment(segment) => segment.standing(regulation).await,
        }
    }

    /// Whether profiles can be looked for.
    pub fn reads_back(&self) -> bool {
        match self {
            Sink::Segment(segment) => segment.reads_back(),
        }
    }

    /// Whether the CDP has a profile of a user id.
    ///
    /// # Errors
    /// As [`Sink::erase`].
    pub async fn has_profile(&self, user: &str) -> Result<bool, SinkError> {
        match self {
            Sink::Segment(segment) => segment.has_profile(user).await,
        }
    }
}

/// What was not taken of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// The items that the CDP refuses for good.
    pub refused: Vec<Refused>,
    /// The positions of the items that were not sent, or not to the end, because their consent ended meanwhile. An earlier
    /// try may have reached the CDP while it was there.
    pub withheld: Vec<usize>,
}

/// An item that the CDP refuses for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The item's position in its batch, in the order of [`Batch::push`].
    pub item: usize,
    /// Why. It holds no value of a record.
    pub reason: String,
}

/// Why a sink could not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// How a run that meets this ends.
    pub outcome: Outcome,
    /// What happened and what to do. It holds no value of a record and no credential.
    pub message: String,
}
