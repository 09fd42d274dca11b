//! The [Segment HTTP Tracking API](https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/) and those
//! compatible with it: RudderStack, Jitsu and others.
//!
//! In the order in which data passes: [`encode`] writes a record's calls, [`batch`] gathers them up to the API's limits,
//! [`deliver`] sends a batch and divides it where the API refuses it, over [`client`].

mod batch;
mod client;
mod deliver;
mod encode;
pub(crate) mod json;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use batch::Batch;
use client::{Client, PATIENCE, SILENCE};
pub use encode::{EncodeError, Encoded, Encoder};

use crate::api::CdpSinkSpec;
use crate::api::common::Outcome;
use crate::http::{self, Patience};
use crate::secrets::Secrets;
use crate::sink::{Delivered, SinkError};

/// A Segment source, or that of a compatible CDP. Clones share its connections and its pace.
#[derive(Clone, Debug)]
pub struct Segment {
    client: Arc<Client>,
    encoder: Encoder,
}

impl Segment {
    /// Validates the configuration and reads the write key.
    ///
    /// # Errors
    /// `ConfigurationInvalid`.
    pub fn new(spec: &CdpSinkSpec, secrets: &Secrets) -> Result<Segment, SinkError> {
        Self::with_patience(spec, secrets, PATIENCE)
    }

    fn with_patience(spec: &CdpSinkSpec, secrets: &Secrets, patience: Patience) -> Result<Segment, SinkError> {
        let invalid = |message: String| SinkError {
            outcome: Outcome::ConfigurationInvalid,
            message,
        };
        let segment = spec
            .segment
            .as_ref()
            .ok_or_else(|| invalid("spec must name exactly one CDP: segment".into()))?;
        let endpoint = http::endpoint("endpoint", &segment.endpoint, segment.allow_plaintext).map_err(invalid)?;
        if endpoint.query().is_some() || endpoint.fragment().is_some() {
            return Err(invalid(
                "endpoint must be the API's base, for example https://api.segment.io/v1".into(),
            ));
        }
        let key = secrets
            .read(&segment.write_key)
            .map_err(|error| invalid(error.to_string()))?;
        let http = http::client(segment.allow_plaintext, SILENCE).map_err(|error| {
            invalid(format!(
                "no HTTPS client can be made ({}); give the container CA certificates, or name them by SSL_CERT_FILE",
                http::describe(error)
            ))
        })?;
        let rate = spec.limits.as_ref().map(|limits| limits.requests_per_second);
        Ok(Segment {
            client: Arc::new(Client::new(http, &endpoint, key, rate, patience)),
            encoder: Encoder::new(spec),
        })
    }

    /// Sends a batch of no call.
    ///
    /// # Errors
    /// `SinkRefused` or `SinkUnavailable`.
    pub async fn probe(&self) -> Result<(), SinkError> {
        deliver::probe(&self.client).await
    }

    /// The encoder for this sink.
    pub fn encoder(&self) -> Encoder {
        self.encoder.clone()
    }

    /// An empty batch.
    pub fn batch(&self) -> Batch {
        Batch::default()
    }

    /// Sends a batch, and returns what was not taken of it.
    ///
    /// # Errors
    /// `SinkRefused` or `SinkUnavailable`.
    pub async fn deliver(&self, batch: &Batch) -> Result<Delivered, SinkError> {
        deliver::deliver(&self.client, batch).await
    }
}
