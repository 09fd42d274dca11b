//! The [Segment HTTP Tracking API](https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/) and those
//! compatible with it: RudderStack, Jitsu and others.
//!
//! In the order in which data passes: [`encode`] writes a record's calls, [`batch`] gathers them up to the API's limits,
//! [`deliver`] sends a batch and divides it where the API refuses it, over [`client`]. Beside them, over [`api`], [`privacy`] has
//! people erased and [`profile`] looks for profiles.

mod api;
mod batch;
mod client;
mod deliver;
mod encode;
pub(crate) mod json;
mod privacy;
mod profile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use batch::Batch;
use client::{Client, PATIENCE, SILENCE};
pub use encode::{EncodeError, Encoded, Encoder};
pub use privacy::privacy_endpoint;
use privacy::{MOST_SUBJECTS, Privacy};
use profile::Profiles;

use crate::api::CdpSinkSpec;
use crate::api::common::Outcome;
use crate::http::{self, Patience};
use crate::secrets::Secrets;
use crate::sink::{Asked, Delivered, SinkError, Sought, Standing};

/// A Segment source, or that of a compatible CDP. Clones share its connections and its pace.
#[derive(Clone, Debug)]
pub struct Segment {
    client: Arc<Client>,
    encoder: Encoder,
    privacy: Option<Arc<Privacy>>,
    profiles: Option<Arc<Profiles>>,
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
        let privacy = match &segment.privacy_api {
            None => None,
            Some(privacy) => {
                let token = secrets
                    .read(&privacy.token)
                    .map_err(|error| invalid(error.to_string()))?;
                let privacy = Privacy::new(http.clone(), segment, privacy, token, patience).map_err(invalid)?;
                Some(Arc::new(privacy))
            }
        };
        let profiles = match segment.read_back.as_ref().map(|read_back| &read_back.profile_api) {
            None => None,
            Some(profiles) => {
                let token = secrets
                    .read(&profiles.token)
                    .map_err(|error| invalid(error.to_string()))?;
                let profiles = Profiles::new(http.clone(), segment, profiles, token, patience).map_err(invalid)?;
                Some(Arc::new(profiles))
            }
        };
        let rate = spec.limits.as_ref().map(|limits| limits.requests_per_second);
        Ok(Segment {
            client: Arc::new(Client::new(http, &endpoint, key, rate, patience)),
            encoder: Encoder::new(spec),
            privacy,
            profiles,
        })
    }

    /// Sends a batch of no call, and asks the APIs beside the Tracking API something, which tells of their tokens.
    ///
    /// # Errors
    /// `SinkRefused` or `SinkUnavailable`.
    pub async fn probe(&self) -> Result<(), SinkError> {
        deliver::probe(&self.client).await?;
        self.probe_beside().await
    }

    async fn probe_beside(&self) -> Result<(), SinkError> {
        if let Some(privacy) = &self.privacy {
            privacy.probe().await?;
        }
        if let Some(profiles) = &self.profiles {
            profiles.probe().await?;
        }
        Ok(())
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

    /// See [`crate::sink::Sink::erasure`].
    pub fn erasure(&self) -> Option<(&'static str, usize)> {
        self.privacy.as_ref().map(|privacy| (privacy.kind(), MOST_SUBJECTS))
    }

    /// See [`crate::sink::Sink::erase`].
    ///
    /// # Errors
    /// As there.
    pub async fn erase(&self, subjects: &[String], known: Vec<String>) -> Result<Asked, SinkError> {
        self.privacy()?.erase(subjects, known).await
    }

    /// See [`crate::sink::Sink::find_erasure`].
    ///
    /// # Errors
    /// As there.
    pub async fn find_erasure(&self, sought: &Sought) -> Result<Option<String>, SinkError> {
        self.privacy()?.find(sought).await
    }

    /// See [`crate::sink::Sink::standing`].
    ///
    /// # Errors
    /// As there.
    pub async fn standing(&self, regulation: &str) -> Result<Standing, SinkError> {
        self.privacy()?.standing(regulation).await
    }

    /// Whether profiles can be looked for.
    pub fn reads_back(&self) -> bool {
        self.profiles.is_some()
    }

    /// See [`crate::sink::Sink::has_profile`].
    ///
    /// # Errors
    /// As there.
    pub async fn has_profile(&self, user: &str) -> Result<bool, SinkError> {
        match &self.profiles {
            Some(profiles) => profiles.has(user).await,
            None => Err(SinkError {
                outcome: Outcome::ConfigurationInvalid,
                message: "spec.segment.readBack is needed to look for profiles".into(),
            }),
        }
    }

    fn privacy(&self) -> Result<&Privacy, SinkError> {
        self.privacy.as_deref().ok_or_else(|| SinkError {
            outcome: Outcome::ConfigurationInvalid,
            message: "spec.segment.privacyApi is needed to erase people".into(),
        })
    }
}
