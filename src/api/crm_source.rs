//! `CrmSource`: one CRM org or portal.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{ProbeResult, SecretValue};
use super::job_template::JobTemplate;

/// One CRM org: its connection, its credentials and how often it is probed.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ferrygate.io",
    version = "v1alpha1",
    kind = "CrmSource",
    plural = "crmsources",
    shortname = "crm",
    category = "ferrygate",
    namespaced,
    status = "CrmSourceStatus",
    derive = "PartialEq",
    doc = "One CRM org or portal: its connection, its credentials, and how often it is probed.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "CRM", type_ = "string", json_path = ".status.crm"),
    printcolumn(
        name = "Authenticated",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Authenticated\")].status"
    ),
    printcolumn(
        name = "Budget",
        type_ = "string",
        json_path = ".status.budget.used",
        description = "How much of the org's daily API requests is used"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("has(self.salesforce)").message("spec must name exactly one CRM: salesforce")
)]
pub struct CrmSourceSpec {
    /// A Salesforce org.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salesforce: Option<SalesforceSource>,
    /// Bounds on the requests made to the org, by all runs together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<SourceLimits>,
    /// How many runs may go on at once, over every pipeline that uses this source. The others wait: first those of the
    /// suppression lane start, then the one that is nearest to missing its objective.
    #[serde(default = "default_max_concurrent_runs")]
    #[schemars(range(min = 1, max = 1000), extend("format" = "int32"))]
    pub max_concurrent_runs: u32,
    /// How often the probe logs in and reads the schema anew.
    #[serde(default)]
    pub schema_check: SchemaCheck,
    /// What the probes' Jobs need beside what every worker has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_template: Option<JobTemplate>,
    /// No probe and no run of any pipeline is started while this is true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

fn default_max_concurrent_runs() -> u32 {
    4
}

/// A Salesforce org, reached by its REST API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new(
        "self.instanceUrl.startsWith('https://') || (has(self.allowPlaintext) && self.allowPlaintext)"
    ).message("instanceUrl must begin with https://; http:// needs allowPlaintext: true")
)]
pub struct SalesforceSource {
    /// The org's My Domain URL, for example `https://acme.my.salesforce.com`, without a path.
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^/?#]+/?$"))]
    pub instance_url: String,
    /// Allows `http://`: for a simulator on the same machine, never for a real org.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_plaintext: bool,
    /// The REST API version, for example `62.0`.
    #[serde(default = "default_api_version")]
    #[schemars(regex(pattern = r"^[0-9]{2,3}\.0$"))]
    pub api_version: String,
    /// How to log in.
    pub auth: SalesforceAuth,
    /// Whether many records are read by the Bulk API 2.0.
    #[serde(default, skip_serializing_if = "BulkQuery::is_default")]
    pub bulk_query: BulkQuery,
}

/// Whether records are read by query jobs of the Bulk API 2.0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BulkQuery {
    /// Where a run has 100,000 records and more to read, and the org's Bulk API serves the object and its mapped fields; by REST
    /// otherwise.
    #[default]
    Auto,
    /// By REST always.
    Never,
}

impl BulkQuery {
    fn is_default(&self) -> bool {
        *self == BulkQuery::default()
    }
}

fn default_api_version() -> String {
    "62.0".into()
}

/// Exactly one OAuth 2.0 flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("has(self.jwtBearer) != has(self.clientCredentials)")
        .message("auth must name exactly one of jwtBearer, clientCredentials")
)]
pub struct SalesforceAuth {
    /// The [JWT bearer flow](https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_jwt_flow.htm).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt_bearer: Option<JwtBearer>,
    /// The [client credentials flow](https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_client_credentials_flow.htm).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_credentials: Option<ClientCredentials>,
}

/// The OAuth 2.0 JWT bearer flow: the connected app holds the certificate of the private key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtBearer {
    /// The integration user's name: the assertion's `sub`.
    #[schemars(length(min = 1, max = 255))]
    pub username: String,
    /// The connected app's consumer key: the assertion's `iss`.
    pub client_id: SecretValue,
    /// The RSA private key, PEM, that signs the assertion with RS256.
    pub private_key: SecretValue,
    /// The assertion's `aud`. By default `https://login.salesforce.com`, or `https://test.salesforce.com` where the instance's
    /// host is a sandbox's (`….sandbox.my.salesforce.com`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub audience: Option<String>,
}

/// The OAuth 2.0 client credentials flow: the connected app names the user that it runs as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientCredentials {
    /// The connected app's consumer key.
    pub client_id: SecretValue,
    /// The connected app's consumer secret.
    pub client_secret: SecretValue,
}

/// Bounds on the requests made to a CRM, of which each of `maxConcurrentRuns` gets an equal part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceLimits {
    /// Requests a second that all runs together may make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000), extend("format" = "int32"))]
    pub requests_per_second: Option<u32>,
    /// How much of the daily requests that the org has left when they start all runs together may use, for example `30%`: the
    /// rest is left to others. A run that has used its part is parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_request_share: Option<Percent>,
}

/// A whole number of hundredths, written `30%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// So many hundredths of a number.
    pub fn of(self, whole: i64) -> i64 {
        let hundredths = i128::from(whole) * i128::from(self.0) / 100;
        // At most the whole, which fits.
        i64::try_from(hundredths).unwrap_or(whole)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
        match number {
            Some(number @ 1..=100) => Ok(Percent(number)),
            _ => Err(serde::de::Error::custom(format!(
                "{text:?} is no share: it must be a whole number from 1 to 100 with a percent sign, for example 30%"
            ))),
        }
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^([1-9][0-9]?|100)%$" })
    }
}

/// How often the probe logs in and reads the schema anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("duration(self.every) >= duration('1m')").message("schemaCheck.every must be at least 1m")
)]
pub struct SchemaCheck {
    /// The interval, at least one minute, for example `1h`.
    #[schemars(length(max = 32), regex(pattern = super::common::DURATION))]
    pub every: Duration,
}

impl Default for SchemaCheck {
    fn default() -> Self {
        SchemaCheck {
            every: std::time::Duration::from_secs(3600).into(),
        }
    }
}

/// What is known of the org. `probe`, `schema` and `budget` are written by the probe's worker, the rest by the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = super::common::unseen()))]
pub struct CrmSourceStatus {
    /// The generation that the conditions speak of; -1 until a controller has seen the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = super::common::UNSEEN))]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`, `Authenticated`, `SchemaObserved`, `WithinBudget`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The CRM's name, for `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crm: Option<String>,
    /// The probe that is under way: the name of its Job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_probe: Option<String>,
    /// What the last finished probe found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeResult>,
    /// The described objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["object".into()]))]
    pub schema: Vec<DescribedObject>,
    /// The org's API requests, as its own limits told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// An object as the CRM described it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DescribedObject {
    /// The object's API name.
    pub object: String,
    /// How many fields the integration user sees.
    pub fields: i32,
    /// A hash over the fields' names, types and lengths: another hash is another schema.
    pub hash: String,
}

/// The org's API requests in its rolling 24 hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// The share that is used, for example `27%`.
    pub used: String,
    /// How many requests are left.
    pub remaining: i64,
    /// How many requests the org has.
    pub max: i64,
}
