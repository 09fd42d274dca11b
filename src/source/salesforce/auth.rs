//! Logging in: the JWT bearer and the client credentials flow of OAuth 2.0.
//!
//! <https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_jwt_flow.htm>,
//! <https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_client_credentials_flow.htm>

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::error::{Refusal, code};
use crate::api::common::Outcome;
use crate::http;
use crate::source::SourceError;

/// Salesforce refuses an assertion that lives for more than three minutes.
const LIFETIME: SignedDuration = SignedDuration::from_secs(170);
/// With clocks further apart than this, an assertion may be refused for its `exp` alone.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// How the integration logs in. It holds credentials: it has no `Debug`.
pub(super) enum Flow {
    JwtBearer {
        username: String,
        client_id: SecretString,
        key: Box<EncodingKey>,
        audience: String,
    },
    ClientCredentials {
        client_id: SecretString,
        client_secret: SecretString,
    },
}

/// A session: its token, and the host that it is good for.
pub(super) struct Session {
    pub token: SecretString,
    pub instance: Url,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
}

#[derive(Deserialize)]
struct Token {
    access_token: SecretString,
    instance_url: Option<String>,
}

#[derive(Default, Deserialize)]
struct OauthError {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Flow {
    fn form(&self, now: Timestamp) -> Result<Vec<(&'static str, SecretString)>, SourceError> {
        match self {
            Flow::JwtBearer {
                username,
                client_id,
                key,
                audience,
            } => {
                let claims = Claims {
                    iss: client_id.expose_secret(),
                    sub: username,
                    aud: audience,
                    exp: (now + LIFETIME).as_second(),
                };
                let assertion =
                    jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, key).map_err(|error| {
                        let message = format!(
                            "the private key can't sign with RS256 ({error}); it must be RSA of 2048 bits or more"
                        );
                        SourceError::new(Outcome::ConfigurationInvalid, message)
                    })?;
                Ok(vec![
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".into()),
                    ("assertion", assertion.into()),
                ])
            }
            Flow::ClientCredentials {
                client_id,
                client_secret,
            } => Ok(vec![
                ("grant_type", "client_credentials".into()),
                ("client_id", client_id.clone()),
                ("client_secret", client_secret.clone()),
            ]),
        }
    }
}

/// Asks for a token once; a second time, by the server's clock, where an assertion was refused and the clocks disagree.
pub(super) async fn login(http: &reqwest::Client, config: &Config, now: Timestamp) -> Result<Session, Refusal> {
    let (refusal, server) = match request(http, config, now).await {
        Ok(session) => return Ok(session),
        Err(refused) => refused,
    };
    let skew = server.map_or(SignedDuration::ZERO, |server| server.duration_since(now));
    let refused = matches!(&refusal, Refusal::Final(error) if error.outcome == Outcome::AuthenticationFailed);
    let Some(server) = server.filter(|_| refused && skew.abs() > SKEW && matches!(config.flow, Flow::JwtBearer { .. }))
    else {
        return Err(refusal);
    };
    tracing::warn!(
        seconds = skew.as_secs(),
        "the org's clock and this machine's disagree; logging in by the org's"
    );
    request(http, config, server).await.map_err(|(refusal, _)| refusal)
}

async fn request(
    http: &reqwest::Client,
    config: &Config,
    now: Timestamp,
) -> Result<Session, (Refusal, Option<Timestamp>)> {
    let form = config.flow.form(now).map_err(|error| (Refusal::Final(error), None))?;
    let form: Vec<(&str, &str)> = form
        .iter()
        .map(|(name, value)| (*name, value.expose_secret()))
        .collect();
    let url = config
        .instance
        .join("/services/oauth2/token")
        .unwrap_or_else(|_| config.instance.clone());
    let sent = http
        .post(url)
        .header("accept", "application/json")
        .form(&form)
        .send()
        .await;
    let response = sent.map_err(|error| (Refusal::transport(&config.instance, error), None))?;
    let server = http::date(response.headers());
    answer(response, config, now).await.map_err(|refusal| (refusal, server))
}

async fn answer(response: Response, config: &Config, now: Timestamp) -> Result<Session, Refusal> {
    let status = response.status();
    let wait = http::retry_after(response.headers(), now);
    let body = response
        .bytes()
        .await
        .map_err(|error| Refusal::transport(&config.instance, error))?;
    if !status.is_success() {
        return Err(refused(status, wait, &body, &config.instance));
    }
    let token: Token = serde_json::from_slice(&body)
        .map_err(|_| Refusal::passing("the token endpoint's answer is not the JSON of a token", None))?;
    let instance = match token.instance_url {
        Some(url) => http::endpoint(
            "the instance_url that the token endpoint answered",
            &url,
            config.allow_plaintext,
        )
        .map_err(|message| Refusal::Final(SourceError::new(Outcome::ConfigurationInvalid, message)))?,
        None => config.instance.clone(),
    };
    Ok(Session {
        token: token.access_token,
        instance,
    })
}

/// [OAuth 2.0 error codes](https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_flow_errors.htm): an object,
/// unlike the errors of every other resource.
fn refused(status: StatusCode, wait: Option<Duration>, body: &[u8], instance: &Url) -> Refusal {
    if status.is_redirection() {
        return Refusal::redirected(instance);
    }
    let oauth: OauthError = serde_json::from_slice(body).unwrap_or_default();
    let passing = status.is_server_error()
        || matches!(status.as_u16(), 408 | 420 | 429)
        || matches!(
            oauth.error.as_str(),
            "temporarily_unavailable" | "server_error" | "unknown_error"
        );
    let shown = match code(&oauth.error) {
        Some(error) => format!("{} {error}", status.as_u16()),
        None => status.as_u16().to_string(),
    };
    if passing {
        return Refusal::passing(&format!("the token endpoint answered {shown}"), wait);
    }
    let message = match advice(&oauth) {
        Some((description, advice)) => format!("the org refuses the login ({shown}: {description}); {advice}"),
        None if status == StatusCode::NOT_FOUND => format!(
            "{}{} has no token endpoint ({shown}); check instanceUrl: it must be the org's My Domain URL",
            instance.host_str().unwrap_or_default(),
            instance.port().map(|port| format!(":{port}")).unwrap_or_default()
        ),
        None => format!(
            "the org refuses the login ({shown}); check the consumer key, the secret or the private key, the user, and the \
             connected app's policies"
        ),
    };
    Refusal::Final(SourceError::new(Outcome::AuthenticationFailed, message))
}

/// What to check, for the descriptions that Salesforce is known to give. Other text of the answer is not shown: it may repeat
/// what was sent.
fn advice(oauth: &OauthError) -> Option<(&'static str, &'static str)> {
    const KNOWN: [(&str, &str); 16] = [
        (
            "user hasn't approved this consumer",
            "pre-authorise the integration user in the connected app's policies",
        ),
        (
            "user is not admin approved",
            "grant the connected app to the user's profile or a permission set",
        ),
        (
            "audience is invalid",
            "check audience: login.salesforce.com for production, test.salesforce.com for a sandbox",
        ),
        (
            "invalid assertion",
            "check that the connected app holds the certificate of this private key",
        ),
        (
            "expired authorization code",
            "check the clocks: the assertion was held to be expired",
        ),
        ("expired access/refresh token", "log in again with new credentials"),
        (
            "ip restricted",
            "relax the connected app's IP restrictions, or add this cluster's addresses",
        ),
        ("inactive user", "activate the integration user"),
        (
            "inactive organization",
            "the org is locked, expired or suspended: ask its administrator",
        ),
        (
            "no valid scopes",
            "give the connected app the scope \"Manage user data via APIs (api)\"",
        ),
        (
            "no client credentials user enabled",
            "set the \"Run As\" user of the client credentials flow",
        ),
        (
            "request not supported on this domain",
            "set instanceUrl to the org's My Domain URL, not login.salesforce.com",
        ),
        ("client identifier invalid", "check the consumer key in the Secret"),
        (
            "invalid client credentials",
            "check the consumer key and the consumer secret in the Secret",
        ),
        (
            "grant type not supported",
            "enable this OAuth flow in the connected app",
        ),
        (
            "authentication failure",
            "check the user's name, and that the user may log in at this hour and place",
        ),
    ];
    let description = oauth.error_description.to_lowercase();
    KNOWN.iter().copied().find(|(known, _)| description.contains(known))
}
