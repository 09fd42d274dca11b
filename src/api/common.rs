//! What several kinds share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::conditions::Reason;

/// A duration as a resource may state it: whole or decimal numbers with a unit each, such as `90s` or `1h30m`. Stricter than
/// Go's, so that what the API server takes is what the controller can read, and short enough for the cost of a CEL rule.
pub const DURATION: &str = r"^([0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m|h))+$";

/// The schema of a day of the calendar: `2026-12-01`.
pub(super) fn day(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date"})
}

/// A reference to a resource in the same namespace. References never cross a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalReference {
    /// `metadata.name` of the resource.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A value that stands in a Secret of the same namespace, never in the resource itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretValue {
    /// The Secret and the key in it.
    pub secret_key_ref: SecretKeySelector,
}

/// One key of one Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeySelector {
    /// `metadata.name` of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its `data`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// The CDPs that a contract can speak of, by the names of their members in a `CdpSink`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Cdp {
    /// The Segment HTTP Tracking API, or a compatible one.
    Segment,
    /// mParticle.
    Mparticle,
    /// Salesforce Data Cloud.
    SalesforceDataCloud,
    /// Adobe Experience Platform.
    AdobeExperiencePlatform,
    /// Apache Unomi.
    Unomi,
    /// A composable CDP's profile tables in PostgreSQL.
    Postgres,
    /// An HTTP API of one's own.
    Http,
}

impl Cdp {
    /// The name that manifests have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Cdp::Segment => "segment",
            Cdp::Mparticle => "mparticle",
            Cdp::SalesforceDataCloud => "salesforceDataCloud",
            Cdp::AdobeExperiencePlatform => "adobeExperiencePlatform",
            Cdp::Unomi => "unomi",
            Cdp::Postgres => "postgres",
            Cdp::Http => "http",
        }
    }
}

/// How closely a trait must be kept, from least to most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Classification {
    /// May be published.
    Public,
    /// For the company's own people.
    #[default]
    Internal,
    /// Says something about a person who can be named.
    Personal,
    /// Special categories: health, belief, biometrics and the like.
    Sensitive,
}

/// What the last finished probe of a source or a sink found. Written by the probe's worker; the conditions are derived
/// from it by the controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeResult {
    /// The name of the probe's Job.
    pub run: String,
    /// `metadata.generation` of the resource that was probed.
    pub observed_generation: i64,
    /// When the probe ended.
    pub time: Time,
    /// `Succeeded`, or the reason of the failure: one of the reasons of a run's outcome.
    pub outcome: Outcome,
    /// What was found, for a person.
    pub message: String,
}

/// How a run or a probe ended. The reasons are the ones that conditions and Events show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// All that was to be done was done.
    Succeeded,
    /// SIGTERM ended it after a checkpoint; the next run goes on from there.
    Interrupted,
    /// The CRM refused the credentials.
    AuthenticationFailed,
    /// A resource, a Secret's key or a mapping is wrong, and no retry helps.
    ConfigurationInvalid,
    /// The CRM no longer has a field or an object that the mapping names.
    SchemaDrifted,
    /// The CRM's request quota is used up; the stream is parked.
    SourceThrottled,
    /// The CRM could not be reached or answered with a passing error.
    SourceUnavailable,
    /// The CDP could not be reached or answered with a passing error.
    SinkUnavailable,
    /// The CDP refused the credentials or the whole request, and no retry helps.
    SinkRefused,
    /// The state store could not be read or written: disk full, damaged file.
    StateUnavailable,
    /// Another run has taken this one's place.
    Superseded,
    /// A defect of Ferrygate.
    InternalError,
}

impl Outcome {
    /// The exit code of a worker that ended so, after `sysexits.h`. The Job's `podFailurePolicy` tells them apart:
    /// 78 (configuration) and 70 (defect) fail the Job at once, 75 (outage) backs off, 69 (parked until the quota's reset)
    /// fails the Job at once and leaves the next try to the controller.
    pub fn exit_code(self) -> i32 {
        match self {
            Outcome::Succeeded => 0,
            Outcome::AuthenticationFailed
            | Outcome::ConfigurationInvalid
            | Outcome::SchemaDrifted
            | Outcome::SinkRefused => exit::CONFIGURATION,
            Outcome::Interrupted
            | Outcome::SourceUnavailable
            | Outcome::SinkUnavailable
            | Outcome::StateUnavailable => exit::OUTAGE,
            Outcome::SourceThrottled => exit::PARKED,
            Outcome::Superseded => exit::SUPERSEDED,
            Outcome::InternalError => exit::DEFECT,
        }
    }

    /// The reason that conditions and Events show for it.
    pub fn reason(self) -> Reason {
        match self {
            Outcome::Succeeded => Reason::Succeeded,
            Outcome::Interrupted => Reason::Interrupted,
            Outcome::AuthenticationFailed => Reason::AuthenticationFailed,
            Outcome::ConfigurationInvalid => Reason::ConfigurationInvalid,
            Outcome::SchemaDrifted => Reason::SchemaDrifted,
            Outcome::SourceThrottled => Reason::SourceThrottled,
            Outcome::SourceUnavailable => Reason::SourceUnavailable,
            Outcome::SinkUnavailable => Reason::SinkUnavailable,
            Outcome::SinkRefused => Reason::SinkRefused,
            Outcome::StateUnavailable => Reason::StateUnavailable,
            Outcome::Superseded => Reason::Superseded,
            Outcome::InternalError => Reason::InternalError,
        }
    }
}

/// Exit codes of a worker, after `sysexits.h`.
pub mod exit {
    /// `EX_UNAVAILABLE`: the CRM's quota is used up; parked until its reset.
    pub const PARKED: i32 = 69;
    /// `EX_SOFTWARE`: a defect of Ferrygate.
    pub const DEFECT: i32 = 70;
    /// `EX_TEMPFAIL`: an outage; trying again helps.
    pub const OUTAGE: i32 = 75;
    /// `EX_PROTOCOL`: another run has taken this one's place.
    pub const SUPERSEDED: i32 = 76;
    /// `EX_CONFIG`: something that a person must mend.
    pub const CONFIGURATION: i32 = 78;
}

/// The generation that a controller has seen of a resource that none has seen, or whose status was emptied: without it, kstatus
/// takes the resource for ready at once.
/// <https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>
pub const UNSEEN: i64 = -1;

/// The status of a resource that no controller has seen.
pub(crate) fn unseen() -> serde_json::Value {
    serde_json::json!({"observedGeneration": UNSEEN})
}
