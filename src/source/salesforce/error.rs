//! What an answer other than success means, and whether trying again helps.
//!
//! Status codes: <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>; codes in the body:
//! <https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_calls_concepts_core_data_objects.htm>.

use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde::Deserialize;

use crate::api::common::Outcome;
use crate::http;
use crate::source::SourceError;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The session has ended: log in, and ask again.
    Session,
    /// The query's cursor is gone: ask the query again, after the last record.
    Locator,
    /// The quota is used up; the server may say for how long.
    Quota(Option<Duration>),
    /// The quota of the Bulk API's query jobs is used up.
    BulkQuota(Option<Duration>),
    /// The Bulk API does not serve the object, or the query: the code, as it may be shown.
    Unsupported(String),
    /// Asking again may help; the server may say when.
    Passing { what: String, wait: Option<Duration> },
    /// Asking again does not help.
    Final(SourceError),
}

impl Refusal {
    pub fn passing(what: &str, wait: Option<Duration>) -> Refusal {
        Refusal::Passing {
            what: what.to_owned(),
            wait,
        }
    }

    pub fn transport(instance: &Url, error: reqwest::Error) -> Refusal {
        Refusal::Passing {
            what: format!("{}: {}", instance.origin().ascii_serialization(), http::describe(error)),
            wait: None,
        }
    }

    /// No redirect is followed: the token must not reach another host.
    pub fn redirected(instance: &Url) -> Refusal {
        Refusal::Final(SourceError::new(
            Outcome::ConfigurationInvalid,
            format!(
                "{} answers with a redirect, and redirects are not followed; set instanceUrl to the org's My Domain URL",
                instance.origin().ascii_serialization()
            ),
        ))
    }
}

#[derive(Default, Deserialize)]
struct ApiError {
    #[serde(rename = "errorCode", default)]
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Many(Vec<ApiError>),
    One(ApiError),
}

/// A code as it may be shown: no other text of an answer is, because it may repeat a record's value.
pub(super) fn code(text: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    (!text.is_empty() && text.len() <= 64 && text.bytes().all(plain)).then_some(text)
}

/// What an answer that is no success means. `subject` says what was asked for, for a person.
pub(super) fn classify(status: StatusCode, wait: Option<Duration>, body: &[u8], subject: &str) -> Refusal {
    let error = match serde_json::from_slice(body) {
        Ok(Body::Many(errors)) => errors.into_iter().next().unwrap_or_default(),
        Ok(Body::One(error)) => error,
        Err(_) => ApiError::default(),
    };
    let shown = match code(&error.code) {
        Some(code) => format!("{} {code}", status.as_u16()),
        None => status.as_u16().to_string(),
    };
    let passing = || Refusal::Passing {
        what: format!("the org answered {shown}"),
        wait,
    };
    let fatal = |outcome, message| Refusal::Final(SourceError::new(outcome, message));
    match (status.as_u16(), error.code.as_str()) {
        (401, _) | (_, "INVALID_SESSION_ID" | "INVALID_AUTH_HEADER") => Refusal::Session,
        (_, "INVALID_QUERY_LOCATOR") => Refusal::Locator,
        // "ConcurrentRequests Limit exceeded" passes in seconds; "TotalRequests Limit exceeded" is the quota of 24 hours.
        (_, "REQUEST_LIMIT_EXCEEDED") if error.message.contains("Concurrent") => passing(),
        (_, "REQUEST_LIMIT_EXCEEDED") => Refusal::Quota(wait),
        // "Max bulk v2 query jobs (10000) per 24 hrs has been reached", and the like of the results' size.
        (_, "LIMIT_EXCEEDED") => Refusal::BulkQuota(wait),
        (_, code) if is_unsupported(code, &error.message) => Refusal::Unsupported(shown.clone()),
        (
            _,
            "UNABLE_TO_LOCK_ROW"
            | "SERVER_UNAVAILABLE"
            | "QUERY_TIMEOUT"
            | "REQUEST_RUNNING_TOO_LONG"
            | "UNKNOWN_EXCEPTION"
            | "TXN_SECURITY_METERING_ERROR",
        ) => passing(),
        (_, "INVALID_FIELD" | "INVALID_TYPE" | "MALFORMED_QUERY") => {
            let message = match drifted(&error.message) {
                Some((kind, name)) => format!(
                    "{subject}: the org has no {kind} {name:?}, or the integration user may not see it ({shown}); correct the \
                     mapping, or give the user access"
                ),
                None => format!(
                    "{subject}: the org refuses the query ({shown}); check that the object and the fields of the mapping still \
                     exist and that the integration user may see them"
                ),
            };
            fatal(Outcome::SchemaDrifted, message)
        }
        (_, "API_DISABLED_FOR_ORG" | "API_CURRENTLY_DISABLED") => fatal(
            Outcome::AuthenticationFailed,
            format!("the user may not use the API ({shown}); give its profile or a permission set \"API Enabled\""),
        ),
        (403, _) => fatal(
            Outcome::AuthenticationFailed,
            format!("{subject}: the org forbids it ({shown}); check the integration user's permissions"),
        ),
        (404, _) => fatal(
            Outcome::SchemaDrifted,
            format!(
                "{subject}: not found ({shown}); check that it exists, that the integration user may see it, and apiVersion"
            ),
        ),
        (406 | 408 | 420 | 429 | 500.., _) => passing(),
        (414 | 431, _) => fatal(
            Outcome::ConfigurationInvalid,
            format!("{subject}: the query is too long for a URI ({shown}); map fewer fields"),
        ),
        _ => fatal(
            Outcome::ConfigurationInvalid,
            format!("{subject}: the org refuses the request ({shown})"),
        ),
    }
}

/// Whether the Bulk API refuses to serve an object or a query that REST may well serve. Its words: "Entity 'X' is not supported by
/// the Bulk API", "Selecting compound data not supported in Bulk Query", "Blob field not supported in Bulk V2 Query with CSV
/// content type".
pub(super) fn is_unsupported(code: &str, message: &str) -> bool {
    let bulk = message.contains("supported") && message.contains("Bulk");
    code == "INVALIDENTITY" || bulk && matches!(code, "FUNCTIONALITY_NOT_ENABLED" | "API_ERROR" | "INVALID_BATCH")
}

/// Which name the org doesn't know, by the sentences of `INVALID_FIELD` and `INVALID_TYPE`.
fn drifted(message: &str) -> Option<(&'static str, &str)> {
    [
        ("field", "No such column '"),
        ("object", "sObject type '"),
        ("field", "field '"),
    ]
    .into_iter()
    .find_map(|(kind, before)| {
        let name = message.split_once(before)?.1.split_once('\'')?.0;
        Some((kind, code(name)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(refusal: Refusal) -> String {
        match refusal {
            Refusal::Session => "session".into(),
            Refusal::Locator => "locator".into(),
            Refusal::Quota(wait) => format!("quota {wait:?}"),
            Refusal::BulkQuota(wait) => format!("bulk quota {wait:?}"),
            Refusal::Unsupported(code) => format!("unsupported {code}"),
            Refusal::Passing { what, wait } => format!("passing {wait:?}: {what}"),
            Refusal::Final(error) => format!("{:?}: {}", error.outcome, error.message),
        }
    }

    #[test]
    fn an_answer_is_told_passing_or_final_by_its_code() {
        let cases = [
            (
                401,
                r#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#,
                "session",
            ),
            (401, "", "session"),
            (
                400,
                r#"{"errorCode":"INVALID_QUERY_LOCATOR","message":"invalid query locator"}"#,
                "locator",
            ),
            (
                403,
                r#"[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests Limit exceeded."}]"#,
                "quota Some(7s)",
            ),
            (
                400,
                r#"[{"errorCode":"LIMIT_EXCEEDED","message":"Max bulk v2 query jobs (10000) per 24 hrs has been reached (10021)"}]"#,
                "bulk quota Some(7s)",
            ),
            (
                400,
                r#"[{"errorCode":"INVALIDENTITY","message":"Entity 'ContactShare' is not supported by the Bulk API."}]"#,
                "unsupported 400 INVALIDENTITY",
            ),
            (
                400,
                r#"[{"errorCode":"API_ERROR","message":"Blob field not supported in Bulk V2 Query with CSV content type"}]"#,
                "unsupported 400 API_ERROR",
            ),
            (
                400,
                r#"[{"errorCode":"API_ERROR","message":"Implementation restriction"}]"#,
                "ConfigurationInvalid: Contact: the org refuses the request (400 API_ERROR)",
            ),
            (
                403,
                r#"[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"ConcurrentPerOrgLongTxn Limit exceeded."}]"#,
                "passing Some(7s): the org answered 403 REQUEST_LIMIT_EXCEEDED",
            ),
            (
                400,
                r#"[{"errorCode":"UNABLE_TO_LOCK_ROW","message":"…"}]"#,
                "passing Some(7s): the org answered 400 UNABLE_TO_LOCK_ROW",
            ),
            (503, "<html>", "passing Some(7s): the org answered 503"),
            (420, "", "passing Some(7s): the org answered 420"),
            (429, "[]", "passing Some(7s): the org answered 429"),
            (
                400,
                r#"[{"errorCode":"INVALID_FIELD","message":"\nSELECT X FROM Contact\n ^\nNo such column 'Fax__c' on entity 'Contact'."}]"#,
                "SchemaDrifted: Contact: the org has no field \"Fax__c\", or the integration user may not see it \
                 (400 INVALID_FIELD); correct the mapping, or give the user access",
            ),
            (
                400,
                r#"[{"errorCode":"INVALID_TYPE","message":"sObject type 'Contakt' is not supported."}]"#,
                "SchemaDrifted: Contact: the org has no object \"Contakt\", or the integration user may not see it \
                 (400 INVALID_TYPE); correct the mapping, or give the user access",
            ),
            (
                400,
                r#"[{"errorCode":"MALFORMED_QUERY","message":"unexpected token: 'ada@acme.example'"}]"#,
                "SchemaDrifted: Contact: the org refuses the query (400 MALFORMED_QUERY); check that the object and the fields of \
                 the mapping still exist and that the integration user may see them",
            ),
            (
                400,
                r#"[{"errorCode":"ada@acme.example","message":"ada@acme.example"}]"#,
                "ConfigurationInvalid: Contact: the org refuses the request (400)",
            ),
        ];
        for (status, body, expected) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            let refusal = classify(status, Some(Duration::from_secs(7)), body.as_bytes(), "Contact");
            assert_eq!(told(refusal), expected, "{body}");
        }
    }
}
