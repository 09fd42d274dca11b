//! What a `CrmSource` says of a Salesforce org, validated.

use jsonwebtoken::EncodingKey;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::auth::Flow;
use crate::api::CrmSourceSpec;
use crate::api::common::Outcome;
use crate::api::crm_source::{BulkQuery, Percent, SalesforceSource};
use crate::http;
use crate::secrets::Secrets;
use crate::source::SourceError;

/// An org: where it is, and how to log in.
pub(super) struct Config {
    pub instance: Url,
    pub allow_plaintext: bool,
    /// `/services/data/v62.0`
    pub data_path: String,
    pub flow: Flow,
    /// By all runs together.
    pub requests_per_second: Option<u32>,
    /// By all runs together, of what the org has left.
    pub daily_request_share: Option<Percent>,
    /// How many runs may share the two.
    pub parts: u32,
    /// So many records and more are read by the Bulk API; none, where it is not to be used.
    pub bulk_from: Option<i64>,
}

/// Below it REST needs fifty requests at the most, and answers at once; a query job waits in the org's queue and is asked about in
/// between. Above it the org divides the work, and its result can be gone on with for a week.
const BULK_FROM: i64 = 100_000;

impl Config {
    /// Validates, and reads the credentials.
    pub fn new(spec: &CrmSourceSpec, secrets: &Secrets) -> Result<Config, SourceError> {
        let invalid = |message: String| SourceError::new(Outcome::ConfigurationInvalid, message);
        let salesforce = spec
            .salesforce
            .as_ref()
            .ok_or_else(|| invalid("spec must name exactly one CRM: salesforce".into()))?;
        let instance =
            http::endpoint("instanceUrl", &salesforce.instance_url, salesforce.allow_plaintext).map_err(invalid)?;
        if instance.path() != "/" || instance.query().is_some() || instance.fragment().is_some() {
            return Err(invalid(
                "instanceUrl must be the org's My Domain URL without a path, for example https://acme.my.salesforce.com".into(),
            ));
        }
        let version = &salesforce.api_version;
        if !version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') || version.is_empty() {
            return Err(invalid("apiVersion must be a number like 62.0".into()));
        }
        let limits = spec.limits.clone().unwrap_or_default();
        Ok(Config {
            data_path: format!("/services/data/v{version}"),
            flow: flow(salesforce, &instance, secrets)?,
            instance,
            allow_plaintext: salesforce.allow_plaintext,
            requests_per_second: limits.requests_per_second,
            daily_request_share: limits.daily_request_share,
            parts: spec.max_concurrent_runs.max(1),
            bulk_from: match salesforce.bulk_query {
                BulkQuery::Auto => Some(BULK_FROM),
                BulkQuery::Never => None,
            },
        })
    }
}

fn flow(salesforce: &SalesforceSource, instance: &Url, secrets: &Secrets) -> Result<Flow, SourceError> {
    let invalid = |message: String| SourceError::new(Outcome::ConfigurationInvalid, message);
    let read = |value| -> Result<SecretString, SourceError> {
        secrets.read(value).map_err(|error| invalid(error.to_string()))
    };
    match (&salesforce.auth.jwt_bearer, &salesforce.auth.client_credentials) {
        (Some(jwt), None) => {
            let pem = read(&jwt.private_key)?;
            let key = EncodingKey::from_rsa_pem(pem.expose_secret().as_bytes()).map_err(|_| {
                let selector = &jwt.private_key.secret_key_ref;
                invalid(format!(
                    "key {:?} of Secret {:?} is not an RSA private key in PEM form (-----BEGIN PRIVATE KEY----- or \
                     -----BEGIN RSA PRIVATE KEY-----, without a passphrase)",
                    selector.key, selector.name
                ))
            })?;
            Ok(Flow::JwtBearer {
                username: jwt.username.clone(),
                client_id: read(&jwt.client_id)?,
                key: Box::new(key),
                audience: jwt.audience.clone().unwrap_or_else(|| audience(instance).to_owned()),
            })
        }
        (None, Some(client)) => Ok(Flow::ClientCredentials {
            client_id: read(&client.client_id)?,
            client_secret: read(&client.client_secret)?,
        }),
        _ => Err(invalid(
            "auth must name exactly one of jwtBearer, clientCredentials".into(),
        )),
    }
}

/// Whom the assertion addresses. A sandbox's My Domain is `NAME--SANDBOX.sandbox.my.salesforce.com`:
/// <https://help.salesforce.com/s/articleView?id=xcloud.domain_name_url_formats.htm>
fn audience(instance: &Url) -> &'static str {
    match instance.host_str() {
        Some(host) if host.ends_with(".sandbox.my.salesforce.com") || host == "test.salesforce.com" => {
            "https://test.salesforce.com"
        }
        _ => "https://login.salesforce.com",
    }
}
