//! `POST /services/oauth2/token`: the JWT bearer and the client credentials flows.
//!
//! Errors are an object `{error, error_description}`, not the array of the REST API.
//! <https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_jwt_flow.htm>
//! <https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_client_credentials_flow.htm>
//! <https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_flow_errors.htm>

use std::collections::HashMap;

use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::json;

use super::org::Org;
use super::sessions::Credentials;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Where an assertion may be addressed, beside the org's own host.
const AUDIENCES: [&str; 2] = ["https://login.salesforce.com", "https://test.salesforce.com"];
/// An assertion may live five minutes; the rest allows for clocks that differ.
const LONGEST: i64 = 300 + 60;
pub const ORG_ID: &str = "00D5g000004xYzAEAU";
const ORG_ID_SHORT: &str = "00D5g000004xYzA";

struct Refusal(&'static str, &'static str);

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    prn: Option<String>,
    aud: Option<Audience>,
    exp: Option<Expiry>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A number, or the text of one: simple-salesforce sends text, and is let in.
#[derive(Deserialize)]
#[serde(untagged)]
enum Expiry {
    Number(f64),
    Text(String),
}

impl Expiry {
    fn seconds(&self) -> Option<f64> {
        match self {
            Self::Number(seconds) => Some(*seconds),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

pub fn token(org: &Org, headers: &HeaderMap, body: &Bytes) -> Response {
    let base = base_url(headers);
    let granted = form(headers, body).and_then(|form| grant(org, headers, &form, &base));
    let mut response = match granted {
        Ok(user) => accepted(org, &user, &base),
        Err(Refusal(error, description)) => {
            let body = json!({"error": error, "error_description": description});
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-cache,must-revalidate,max-age=0,no-store,private"),
    );
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json;charset=UTF-8"),
    );
    response
}

/// The host that the client called is the org's own: its My Domain.
fn base_url(headers: &HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    format!("http://{host}")
}

fn form(headers: &HeaderMap, body: &Bytes) -> Result<HashMap<String, String>, Refusal> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        return Err(Refusal("unsupported_grant_type", "grant type not supported"));
    }
    Ok(form_urlencoded::parse(body).into_owned().collect())
}

fn grant(org: &Org, headers: &HeaderMap, form: &HashMap<String, String>, base: &str) -> Result<String, Refusal> {
    let credentials = org.sessions.credentials();
    match form.get("grant_type").map(String::as_str) {
        Some(JWT_BEARER) => jwt_bearer(&credentials, form, base),
        Some("client_credentials") => client_credentials(&credentials, headers, form),
        _ => Err(Refusal("unsupported_grant_type", "grant type not supported")),
    }
}

fn jwt_bearer(credentials: &Credentials, form: &HashMap<String, String>, base: &str) -> Result<String, Refusal> {
    let invalid = Refusal("invalid_grant", "invalid assertion");
    let assertion = form
        .get("assertion")
        .ok_or(Refusal("invalid_request", "must provide assertion"))?;
    let claims: Claims = assertion
        .split('.')
        .nth(1)
        .and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok())
        .and_then(|claims| serde_json::from_slice(&claims).ok())
        .ok_or(invalid)?;
    if claims.iss.as_ref() != Some(&credentials.client_id) {
        return Err(Refusal("invalid_client_id", "client identifier invalid"));
    }
    if !signed(credentials, assertion) {
        return Err(Refusal("invalid_grant", "invalid assertion"));
    }
    let audiences = match claims.aud {
        Some(Audience::One(audience)) => vec![audience],
        Some(Audience::Several(audiences)) => audiences,
        None => Vec::new(),
    };
    let addressed = |audience: &String| {
        let audience = audience.trim_end_matches('/');
        AUDIENCES.contains(&audience) || audience == base || audience == base.replacen("http:", "https:", 1)
    };
    if !audiences.iter().any(addressed) {
        return Err(Refusal("invalid_grant", "audience is invalid"));
    }
    let left = claims.exp.and_then(|exp| exp.seconds()).unwrap_or_default() - precise(Timestamp::now().as_second());
    if left <= 0.0 || left > precise(LONGEST) {
        return Err(Refusal("invalid_grant", "expired authorization code"));
    }
    let user = claims.sub.or(claims.prn).unwrap_or_default();
    if credentials.revoked || user != credentials.username {
        return Err(Refusal("invalid_grant", "user hasn't approved this consumer"));
    }
    Ok(user)
}

/// Instants in seconds are far below where a double loses whole numbers.
#[allow(clippy::cast_precision_loss)]
fn precise(seconds: i64) -> f64 {
    seconds as f64
}

fn signed(credentials: &Credentials, assertion: &str) -> bool {
    let key = credentials
        .public_key
        .as_ref()
        .and_then(|pem| DecodingKey::from_rsa_pem(pem.as_bytes()).ok());
    // The claims are checked apart, to answer as the service does.
    let mut validation = Validation::new(Algorithm::RS256);
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_aud) = (false, false);
    key.is_some_and(|key| jsonwebtoken::decode::<serde_json::Value>(assertion, &key, &validation).is_ok())
}

fn client_credentials(
    credentials: &Credentials,
    headers: &HeaderMap,
    form: &HashMap<String, String>,
) -> Result<String, Refusal> {
    let in_body = form.get("client_id").cloned().zip(form.get("client_secret").cloned());
    let (id, secret) = basic(headers)
        .or(in_body)
        .ok_or(Refusal("invalid_client", "invalid client credentials"))?;
    if id != credentials.client_id {
        return Err(Refusal("invalid_client_id", "client identifier invalid"));
    }
    if secret != credentials.client_secret {
        return Err(Refusal("invalid_client", "invalid client credentials"));
    }
    if credentials.revoked {
        return Err(Refusal("invalid_grant", "no client credentials user enabled"));
    }
    Ok(credentials.username.clone())
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let encoded = authorization.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    pair.split_once(':')
        .map(|(id, secret)| (id.to_owned(), secret.to_owned()))
}

/// There is no `expires_in`: a client learns of the end by a 401.
fn accepted(org: &Org, username: &str, base: &str) -> Response {
    let user = org.read().user;
    let token = org.sessions.start(ORG_ID_SHORT, username);
    let id = format!("{base}/id/{ORG_ID}/{user}");
    let issued_at = Timestamp::now().as_millisecond().to_string();
    let secret = org.sessions.credentials().client_secret;
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = STANDARD.encode(aws_lc_rs::hmac::sign(&key, format!("{id}{issued_at}").as_bytes()));
    Json(json!({
        "access_token": token,
        "signature": signature,
        "scope": "api",
        "instance_url": base,
        "id": id,
        "token_type": "Bearer",
        "issued_at": issued_at,
    }))
    .into_response()
}
