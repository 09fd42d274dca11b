//! `CdpSink`: one destination.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Cdp, Classification, ProbeResult, SecretValue};
use super::job_template::JobTemplate;

/// One destination: its connection, how it identifies people, and what it may hold.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ferrygate.io",
    version = "v1alpha1",
    kind = "CdpSink",
    plural = "cdpsinks",
    shortname = "cdp",
    category = "ferrygate",
    namespaced,
    status = "CdpSinkStatus",
    derive = "PartialEq",
    doc = "One customer data platform: its connection, how it identifies people, and what it may hold.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "CDP", type_ = "string", json_path = ".status.cdp"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel, validation = Rule::new("has(self.segment)").message("spec must name exactly one CDP: segment"))]
pub struct CdpSinkSpec {
    /// The Segment HTTP Tracking API, or a compatible one: its endpoint makes it RudderStack, Jitsu or another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<SegmentSink>,
    /// Which identities of the mapping become this CDP's.
    pub identity: SinkIdentity,
    /// The purposes without which a person is not activated here.
    #[serde(default, skip_serializing_if = "SinkConsent::is_empty")]
    pub consent: SinkConsent,
    /// The highest classification that this CDP may hold; traits above it don't reach it.
    #[serde(default = "default_max_classification")]
    pub max_classification: Classification,
    /// Bounds on the requests made to the CDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<SinkLimits>,
    /// What the probes' Jobs need beside what every worker has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_template: Option<JobTemplate>,
}

impl CdpSinkSpec {
    /// Which CDP it is, for the projections of mappings; none where the spec names none.
    pub fn cdp(&self) -> Option<Cdp> {
        self.segment.as_ref().map(|_| Cdp::Segment)
    }
}

/// Bounds on the requests made to a CDP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SinkLimits {
    /// Requests a second that one run may make.
    #[schemars(range(min = 1, max = 10000), extend("format" = "int32"))]
    pub requests_per_second: u32,
}

fn default_max_classification() -> Classification {
    Classification::Personal
}

/// The [Segment HTTP Tracking API](https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new(
        "self.endpoint.startsWith('https://') || (has(self.allowPlaintext) && self.allowPlaintext)"
    ).message("endpoint must begin with https://; http:// needs allowPlaintext: true"),
    validation = Rule::new(
        "!has(self.privacyApi) || !has(self.privacyApi.endpoint) || self.privacyApi.endpoint.startsWith('https://') \
         || (has(self.allowPlaintext) && self.allowPlaintext)"
    ).message("privacyApi.endpoint must begin with https://; http:// needs allowPlaintext: true"),
    validation = Rule::new(
        "!has(self.readBack) || !has(self.readBack.profileApi.endpoint) \
         || self.readBack.profileApi.endpoint.startsWith('https://') \
         || (has(self.allowPlaintext) && self.allowPlaintext)"
    ).message("readBack.profileApi.endpoint must begin with https://; http:// needs allowPlaintext: true")
)]
pub struct SegmentSink {
    /// The API's base, for example `https://api.segment.io/v1` or, for an EU workspace,
    /// `https://events.eu1.segmentapis.com/v1`. The wrong region answers 200 and loses what it is sent.
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^/?#]+(/[^?#]*)?$"))]
    pub endpoint: String,
    /// Allows `http://`: for a simulator on the same machine, or a mesh that encrypts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_plaintext: bool,
    /// The write key of the Segment source.
    pub write_key: SecretValue,
    /// Where the erasure of people is asked for: what `deletes: Erase` of a stream needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy_api: Option<SegmentPrivacyApi>,
    /// How delivered profiles can be read back. Without it, what can't be proved stays unconfirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_back: Option<SegmentReadBack>,
}

/// How delivered profiles can be read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SegmentReadBack {
    /// The Profile API of a Unify space.
    pub profile_api: SegmentProfileApi,
}

/// Segment's [Profile API](https://segment.com/docs/unify/profile-api/). It shows no consent; it shows that an erased profile is
/// gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SegmentProfileApi {
    /// The API's base. By default that of the sink's own region: `https://profiles.segment.com` or, for an EU workspace,
    /// `https://profiles.euw1.segment.com`. A sink whose `endpoint` is none of Segment's own has no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^/?#]+(/[^?#]*)?$"))]
    pub endpoint: Option<String>,
    /// The space's id: Unify settings, API access.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub space_id: String,
    /// An access token of the space.
    pub token: SecretValue,
}

/// Segment's [Public API](https://docs.segmentapis.com/tag/Deletion-and-Suppression), by which a person's data is erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SegmentPrivacyApi {
    /// The API's base. By default that of the sink's own region: `https://api.segmentapis.com` or, for an EU workspace,
    /// `https://eu1.api.segmentapis.com`. A sink whose `endpoint` is none of Segment's own has no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^/?#]+(/[^?#]*)?$"))]
    pub endpoint: Option<String>,
    /// A Public API token with access to the workspace's deletion and suppression.
    pub token: SecretValue,
    /// How far an erasure reaches.
    #[serde(default)]
    pub regulation: SegmentRegulation,
    /// The id of the one Segment source whose data is erased. Without it, the person is erased from all sources of the
    /// workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub source_id: Option<String>,
}

/// The types of Segment's
/// [regulations](https://segment.com/docs/privacy/user-deletion-and-suppression/#regulations) that erase a person and take
/// them again, should they come back. Those that suppress the user id for good are not among them: see
/// `docs/decisions/0012-an-erasure-is-asked-for-once-and-never-of-the-living.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SegmentRegulation {
    /// Erases in Segment and its connected warehouses, and hands the request on to the destinations that take one.
    #[default]
    DeleteOnly,
    /// Erases in Segment's own systems alone.
    DeleteInternal,
}

impl SegmentRegulation {
    /// The type's name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            SegmentRegulation::DeleteOnly => "DELETE_ONLY",
            SegmentRegulation::DeleteInternal => "DELETE_INTERNAL",
        }
    }
}

/// Which identities of the mapping become this CDP's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SinkIdentity {
    /// The identity kind that becomes the CDP's user id.
    #[schemars(length(min = 1, max = 63))]
    pub user_id: String,
    /// The identity kind that becomes the CDP's group id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub group_id: Option<String>,
    /// The identity kinds that are sent beside the user id, as `context.externalIds`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    pub external_ids: Vec<String>,
}

/// The purposes without which a person is not activated here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SinkConsent {
    /// All of these purposes must be granted; without one, only a suppression is delivered, never a trait.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)))]
    pub require: Vec<String>,
}

impl SinkConsent {
    fn is_empty(&self) -> bool {
        self.require.is_empty()
    }
}

/// What is known of the CDP. `probe` is written by the probe's worker, the rest by the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = super::common::unseen()))]
pub struct CdpSinkStatus {
    /// The generation that the conditions speak of; -1 until a controller has seen the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = super::common::UNSEEN))]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The CDP's name, for `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cdp: Option<String>,
    /// The probe that is under way: the name of its Job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_probe: Option<String>,
    /// What the last finished probe found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeResult>,
}
